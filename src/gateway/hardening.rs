//! How far the system confines this process, as the kernel says (proc_pid_status(5)).

use std::fs;

use crate::admin::Hardening;

/// As it is now; what the kernel does not say is absent.
pub(super) fn hardening() -> Hardening {
    read(&fs::read_to_string("/proc/self/status").unwrap_or_default())
}

fn read(status: &str) -> Hardening {
    let field = |name: &str| {
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, value)| value.trim())
    };
    Hardening {
        no_new_privs: field("NoNewPrivs").map(|value| value == "1"),
        seccomp: field("Seccomp").and_then(|mode| match mode {
            "0" => Some("off"),
            "1" => Some("strict"),
            "2" => Some("filter"),
            _ => None,
        }),
        capabilities: field("CapEff").map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_shown_and_nothing_else() {
        let whole = "Name:\tportreeve\nCapEff:\t0000000000000400\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t3\n";
        let found = read(whole);
        assert_eq!((found.no_new_privs, found.seccomp), (Some(true), Some("filter")));
        assert_eq!(found.capabilities.as_deref(), Some("0000000000000400"));
        let bare = read("NoNewPrivs:\t0\nSeccomp:\t9\n");
        assert_eq!(
            (bare.no_new_privs, bare.seccomp, bare.capabilities),
            (Some(false), None, None)
        );
    }
}

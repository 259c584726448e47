//! Restrictions of the system that keep policies from running, and what to do about them.

use std::io;

use crate::policy::LoadError;

/// Why compiled code does not load: with the fix, if the system forbids making memory executable.
pub(super) fn fault(error: &wasmtime::Error) -> LoadError {
    let words = format!("{error:#}");
    if is_forbidden(error) {
        LoadError::Forbidden(words)
    } else {
        LoadError::Compile(words)
    }
}

/// Whether the system said that it is not permitted.
pub(super) fn is_forbidden(error: &wasmtime::Error) -> bool {
    let code = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        io.or_else(|| Some(cause.downcast_ref::<rustix::io::Errno>()?.raw_os_error()))
    };
    error
        .chain()
        .filter_map(code)
        .any(|code| [EPERM, EACCES].contains(&code))
}

const EPERM: i32 = 1;
const EACCES: i32 = 13;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_forbids_it_is_told_from_code_that_does_not_fit() {
        let denied = wasmtime::Error::new(io::Error::from_raw_os_error(EACCES)).context("cannot protect the code");
        let words = fault(&denied).to_string();
        assert!(
            words.contains("MemoryDenyWriteExecute") && words.contains("cannot protect"),
            "{words}"
        );
        let denied = wasmtime::Error::new(rustix::io::Errno::PERM);
        assert!(matches!(fault(&denied), LoadError::Forbidden(_)));
        let other = wasmtime::Error::new(io::Error::from_raw_os_error(12));
        assert!(matches!(fault(&other), LoadError::Compile(_)));
    }
}

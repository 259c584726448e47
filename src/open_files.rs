//! How many files and sockets this process may have open: as many as the system lets it, and not all of them for forwards.
//!
//! The soft limit that shells and service managers set (1,024 mostly) is for programs that use `select(2)`; this one
//! raises it to the hard limit at the start, which only an administrator can raise. A part is kept back, so that clients can
//! still be accepted, the log be written and names be looked up while forwards use all that they may.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit, and logs it if it does not suffice for `sessions` with a tunnel each. Returns how many files forwards
/// may have open.
pub(crate) fn provide(sessions: usize) -> usize {
    let allowed = raise().unwrap_or_else(|error| {
        tracing::warn!(%error, "cannot raise the limit on open files");
        getrlimit(Resource::RLIMIT_NOFILE).map_or(LEAST, |(soft, _)| soft)
    });
    let sessions = sessions as u64;
    if allowed < sessions + SPARE {
        tracing::warn!(
            allowed,
            sessions,
            "the limit on open files is too low for limits.sessions: raise the hard limit (ulimit -Hn, LimitNOFILE)"
        );
    } else if allowed < 2 * sessions + SPARE {
        tracing::info!(
            allowed,
            sessions,
            "the limit on open files (ulimit -Hn, LimitNOFILE) leaves no room for a tunnel in each session (limits.sessions)"
        );
    }
    usize::try_from(for_forwards(allowed, sessions)).unwrap_or(usize::MAX)
}

/// What is kept back is enough for all sessions, but no more than half of what is allowed.
fn for_forwards(allowed: u64, sessions: u64) -> u64 {
    allowed - (sessions + SPARE).min(allowed / 2)
}

fn raise() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Look-ups at name servers (`names`: 64 at once, each two questions on up to three sockets), listeners, logs, runtimes, compilers and
/// what else is no connection.
const SPARE: u64 = 600;
/// What every system lets a process have.
const LEAST: u64 = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_files_is_kept_back() {
        #[rustfmt::skip]
        let table = [
            // allowed, sessions, for forwards
            (1 << 20,  10_000, (1 << 20) - 10_600),
            (20_000,   10_000, 10_000),
            (4_096,    10_000, 2_048),
            (4_096,    100,    3_396),
            (1_024,    10_000, 512),
            (256,      10_000, 128),
        ];
        for (allowed, sessions, expected) in table {
            assert_eq!(
                for_forwards(allowed, sessions),
                expected,
                "{allowed} files, {sessions} sessions"
            );
        }
    }
}

//! How many files and sockets this process may have open: as many as the system lets it.
//!
//! The soft limit that shells and service managers set (1,024 mostly) is for programs that use `select(2)`; this one
//! raises it to the hard limit at the start, which only an administrator can raise.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit, and says so where it does not suffice for `sessions` with a tunnel each.
pub(crate) fn provide(sessions: usize) {
    let allowed = match raise() {
        Ok(allowed) => allowed,
        Err(error) => return tracing::warn!(%error, "the limit of open files cannot be raised"),
    };
    let sessions = sessions as u64;
    if allowed < sessions + SPARE {
        tracing::warn!(
            allowed,
            sessions,
            "fewer files may be open than limits.sessions needs: raise the hard limit (ulimit -Hn, LimitNOFILE)"
        );
    } else if allowed < 2 * sessions + SPARE {
        tracing::info!(
            allowed,
            sessions,
            "the limit of open files (ulimit -Hn, LimitNOFILE) has no room for a tunnel in each of limits.sessions"
        );
    }
}

fn raise() -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Listeners, logs, runtimes and what else is no connection.
const SPARE: u64 = 100;

//! The bounds that the process sets on itself before it reads a byte.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::{Order, Wrong};

/// Sets every bound; one that is lower already stays.
pub(super) fn set(order: &Order) -> Result<(), Wrong> {
    lower(Resource::RLIMIT_AS, order.address_space, order.address_space)?;
    // A little later for the last word, so that it ends by the signal that says why.
    lower(Resource::RLIMIT_CPU, order.seconds, order.seconds.saturating_add(2))?;
    lower(Resource::RLIMIT_CORE, 0, 0)?;
    lower(Resource::RLIMIT_FSIZE, order.output, order.output)?;
    // When the parent ends, this process ends.
    let dies = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    dies.map_err(|error| Wrong::Broken(format!("it would outlive its parent: {error}")))?;
    // Those who are served come first.
    let _ = rustix::process::nice(10);
    Ok(())
}

fn lower(resource: Resource, most: u64, last: u64) -> Result<(), Wrong> {
    let failed = |error| {
        let fix = "the system must allow setrlimit (systemd: `@resources` in SystemCallFilter)";
        Wrong::Broken(format!("the compiling process cannot limit itself: {error}: {fix}"))
    };
    let (soft, hard) = getrlimit(resource).map_err(failed)?;
    let (most, last) = lowered((most, last), (soft, hard));
    setrlimit(resource, most, last).map_err(failed)
}

/// No limit is above what it was: only root may raise a hard one.
fn lowered((most, last): (u64, u64), (soft, hard): (u64, u64)) -> (u64, u64) {
    let last = last.min(hard);
    (most.min(soft).min(last), last)
}

/// The address space that the process will have if it asks for so much.
pub(super) fn address_space(wanted: u64) -> u64 {
    getrlimit(Resource::RLIMIT_AS).map_or(wanted, |limits| lowered((wanted, wanted), limits).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_never_raised() {
        const NONE: u64 = u64::MAX;
        #[rustfmt::skip]
        let table = [
            // wanted    there was     there is
            ((10, 12),   (NONE, NONE), (10, 12)),
            ((10, 12),   (NONE, 11),   (10, 11)),
            ((10, 12),   (5, NONE),    (5, 12)),
            ((10, 12),   (5, 8),       (5, 8)),
            ((10, 12),   (8, 8),       (8, 8)),
            ((0, 0),     (NONE, NONE), (0, 0)),
        ];
        for (wanted, found, expected) in table {
            assert_eq!(lowered(wanted, found), expected, "{wanted:?} where there was {found:?}");
        }
    }
}

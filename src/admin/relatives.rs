//! Processes of this gateway that are not this one: one that it replaces, or that is to replace it.
//!
//! They have the same user, and connect to sockets for their users. So what comes from them is no administrator, just as nothing is
//! that comes from this process.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// These processes. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Relatives(Arc<Mutex<Vec<Relative>>>);

#[derive(Debug)]
struct Relative {
    process: i32,
    /// Tells whether it is still there; none where the system cannot say, and then its number stays refused.
    handle: Option<OwnedFd>,
}

impl Relatives {
    /// One more process.
    pub(crate) fn add(&self, process: u32) {
        let Ok(process) = i32::try_from(process) else { return };
        let handle = Pid::from_raw(process).map(|process| pidfd_open(process, PidfdFlags::empty()));
        let handle = match handle {
            // It is gone already.
            Some(Err(rustix::io::Errno::SRCH)) => return,
            handle => handle.and_then(Result::ok),
        };
        let mut relatives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        relatives.push(Relative { process, handle });
    }

    /// Those that are still there.
    pub(crate) fn all(&self) -> Vec<u32> {
        let mut relatives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        relatives.retain(Relative::is_there);
        relatives
            .iter()
            .filter_map(|one| u32::try_from(one.process).ok())
            .collect()
    }

    pub(super) fn has(&self, process: i32) -> bool {
        let relatives = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        relatives.iter().any(|one| one.process == process && one.is_there())
    }
}

impl Relative {
    fn is_there(&self) -> bool {
        let Some(handle) = &self.handle else { return true };
        let mut asked = [PollFd::from_borrowed_fd(handle.as_fd(), PollFlags::IN)];
        !matches!(poll(&mut asked, Some(&Timespec::default())), Ok(1..))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_a_relative_until_it_ends() {
        let relatives = Relatives::default();
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let process = child.id();
        relatives.add(process);
        assert!(relatives.has(process as i32));
        assert_eq!(relatives.all(), [process]);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!relatives.has(process as i32), "its number may be another's now");
        assert!(relatives.all().is_empty());
        relatives.add(process);
        assert!(relatives.all().is_empty());
    }
}

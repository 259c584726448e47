//! The side of the successor: takes the sockets, and says when it serves.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::time::Duration;

use super::packets::{End, Word};
use super::{Sockets, VARIABLE};

/// The process that started this one to take its place.
#[derive(Debug)]
pub(crate) struct Predecessor {
    end: End,
    process: u32,
    earlier: Vec<u32>,
}

impl Predecessor {
    /// The one that started this process, and its sockets; none of a process that was started otherwise.
    ///
    /// # Errors
    /// A sentence, if it cannot be heard.
    pub(crate) fn greet() -> Result<Option<(Self, Sockets)>, String> {
        if std::env::var_os(VARIABLE).is_none() {
            return Ok(None);
        }
        let wrong = |error: io::Error| format!("cannot take the listening sockets of the running gateway: {error}");
        let end = End::of(standard_input().map_err(wrong)?);
        match end.hear(Some(PATIENCE)).map_err(wrong)? {
            Some((Word::Take { sockets, processes }, files)) => {
                let process = parent_id();
                let predecessor = Self {
                    end,
                    process,
                    earlier: processes,
                };
                Ok(Some((predecessor, Sockets::new(sockets, files))))
            }
            _ => Err(wrong(io::Error::other("it passed none"))),
        }
    }

    /// It, and those before it that may still serve what they have.
    pub(crate) fn processes(&self) -> Vec<u32> {
        let mut all = self.earlier.clone();
        all.push(self.process);
        all
    }

    /// Says that this process serves. A predecessor that is gone meanwhile needs no answer.
    pub(crate) fn serving(&self) {
        let _ = self.end.say::<OwnedFd>(&Word::Serving, &[]);
    }

    /// Waits until the predecessor accepts nothing more, or is gone. It blocks.
    pub(crate) fn wait(self) {
        while let Err(error) = self.end.hear(None)
            && error.kind() == io::ErrorKind::TimedOut
        {}
    }

    /// Says why this process cannot serve.
    pub(crate) fn failed(self, words: &str) {
        let words = words.chars().take(MOST_WORDS).collect();
        let _ = self.end.say::<OwnedFd>(&Word::Failed(words), &[]);
    }
}

/// Takes the socket that is the standard input, and puts nothing in its place, so that its other end sees when it is closed.
fn standard_input() -> io::Result<OwnedFd> {
    let end = io::stdin().as_fd().try_clone_to_owned()?;
    nix::unistd::dup2_stdin(File::open("/dev/null")?)?;
    Ok(end)
}

/// The sockets are sent as soon as this process runs.
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_WORDS: usize = 8192;

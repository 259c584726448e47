//! The side of the predecessor: starts the successor, passes the sockets, and waits until it serves.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use thiserror::Error;

use super::packets::{End, Word};
use super::{Sockets, VARIABLE};

/// The program as it was started: where its file is, and with which arguments.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
}

/// Why a successor does not serve.
#[derive(Debug, Error)]
pub(crate) enum Unserved {
    /// It cannot be started.
    #[error("cannot start {}: {error}", path.display())]
    Unstarted {
        /// The program.
        path: PathBuf,
        /// The operating system's words.
        error: io::Error,
    },
    /// The sockets cannot be passed.
    #[error("cannot pass the listening sockets: {0}")]
    Unpassed(io::Error),
    /// It said why.
    #[error("the new program does not start: {0}")]
    Failed(String),
    /// It ended.
    #[error("the new program ended before it served: {0}")]
    Ended(ExitStatus),
    /// It closed its standard input, and goes on.
    #[error("the new program does not take the listening sockets: it is not a version of portreeve that can")]
    Deaf,
    /// It took too long.
    #[error("the new program did not serve within {0:?} (limits.upgrade-timeout)")]
    Late(Duration),
    /// This gateway stops.
    #[error("the running gateway stops")]
    Stopped,
}

impl Program {
    /// This program, with its arguments. Its file is looked for where it was started from, to find there later whatever has taken
    /// its place.
    #[must_use]
    pub(crate) fn started() -> Option<Self> {
        let mut words = std::env::args_os();
        let name = words.next().map(PathBuf::from).unwrap_or_default();
        let running = fs::metadata("/proc/self/exe").ok().map(|found| identity(&found));
        // The name that was used follows a link to the next version. Whoever starts a program may give it any name, so only one that
        // leads to the running file counts.
        let leads_here = |path: &PathBuf| fs::metadata(path).ok().map(|found| identity(&found)) == running;
        let path = named(&name).filter(|path| running.is_some() && leads_here(path));
        Some(Self {
            path: path.or_else(|| std::env::current_exe().ok())?,
            arguments: words.collect(),
        })
    }

    /// Where its file is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Starts it, and returns once it serves. `began` is told its process before it gets the sockets. It blocks.
    ///
    /// # Errors
    /// Why it does not serve; it is ended then.
    pub(crate) fn succeed(
        &self,
        sockets: &Sockets,
        processes: Vec<u32>,
        patience: Duration,
        began: impl FnOnce(u32),
        stopped: impl Fn() -> bool,
    ) -> Result<Successor, Unserved> {
        let (end, theirs) = End::pair().map_err(Unserved::Unpassed)?;
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env(VARIABLE, "1")
            .stdin(Stdio::from(theirs));
        let child = command.spawn();
        // With it goes the other end, so that this one sees the end of the process.
        drop(command);
        let child = child.map_err(|error| Unserved::Unstarted {
            path: self.path.clone(),
            error,
        })?;
        began(child.id());
        let mut starting = Starting(Some(child));
        let word = Word::Take {
            sockets: sockets.labels(),
            processes,
        };
        match end.say(&word, &sockets.files()) {
            // It has closed its end, or is gone: which of these is found below.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            // One that has ended already says more by how it did.
            Err(error) => return Err(starting.ended().unwrap_or(Unserved::Unpassed(error))),
            Ok(()) => {}
        }
        starting.wait(&end, patience, stopped)?;
        Ok(Successor {
            process: starting.grown_up(),
            end,
        })
    }
}

/// A successor that serves.
#[derive(Debug)]
pub(crate) struct Successor {
    process: u32,
    end: End,
}

impl Successor {
    /// Its process.
    pub(crate) fn process(&self) -> u32 {
        self.process
    }

    /// Tells it that this process accepts nothing more.
    pub(crate) fn release(&self) {
        let _ = self.end.say::<OwnedFd>(&Word::Released, &[]);
    }
}

/// A process that ends with this value, unless it has grown up.
struct Starting(Option<Child>);

impl Starting {
    fn wait(&mut self, end: &End, patience: Duration, stopped: impl Fn() -> bool) -> Result<(), Unserved> {
        let began = Instant::now();
        loop {
            match end.hear(Some(LOOK)) {
                Ok(Some((Word::Serving, _))) => return Ok(()),
                Ok(Some((Word::Failed(words), _))) => return Err(Unserved::Failed(words)),
                Ok(Some(_)) => {}
                Ok(None) => return Err(self.ended().unwrap_or(Unserved::Deaf)),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(_) => return Err(self.ended().unwrap_or(Unserved::Deaf)),
            }
            if stopped() {
                return Err(Unserved::Stopped);
            }
            if began.elapsed() >= patience {
                return Err(Unserved::Late(patience));
            }
        }
    }

    /// How it ended, if it does so soon.
    fn ended(&mut self) -> Option<Unserved> {
        let child = self.0.as_mut()?;
        for _ in 0..LAST_LOOKS {
            if let Ok(Some(status)) = child.try_wait() {
                return Some(Unserved::Ended(status));
            }
            thread::sleep(LOOK);
        }
        None
    }

    /// It goes on by itself. Its end is still waited for, aside, so that nothing is left of it then.
    fn grown_up(mut self) -> u32 {
        let Some(mut child) = self.0.take() else { return 0 };
        let process = child.id();
        let waiting = thread::Builder::new().name("successor".to_owned());
        if let Err(error) = waiting.spawn(move || child.wait()) {
            tracing::debug!(%error, "the end of the new program will not be noticed");
        }
        process
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The file that a command of this name is, as a shell finds it.
fn named(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return std::path::absolute(name).ok();
    }
    let folders = std::env::var_os("PATH")?;
    let mut candidates = std::env::split_paths(&folders).map(|folder| folder.join(name));
    let found = candidates.find(|path| path.is_file())?;
    std::path::absolute(found).ok()
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// How often it is looked whether this gateway stops.
const LOOK: Duration = Duration::from_millis(50);
const LAST_LOOKS: usize = 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a shell that does this instead of serving.
    fn becomes(script: &str, patience: Duration, stopped: bool) -> String {
        let program = Program {
            path: "/bin/sh".into(),
            arguments: ["-c", script].map(OsString::from).to_vec(),
        };
        let ended = program.succeed(&Sockets::default(), Vec::new(), patience, |_| {}, || stopped);
        ended.unwrap_err().to_string()
    }

    #[test]
    fn a_program_that_does_not_serve_is_named_by_how_it_failed() {
        let long = Duration::from_secs(600);
        #[rustfmt::skip]
        let table = [
            // it does                     for at most                stopped  because
            ("exit 3",                     long,                      false,   "ended before it served: exit status: 3"),
            ("kill -9 $$",                 long,                      false,   "signal: 9"),
            ("exec </dev/null; exec sleep 600", long,                 false,   "does not take the listening sockets"),
            ("exec sleep 600",             Duration::from_millis(1),  false,   "did not serve within 1ms"),
            ("exec sleep 600",             long,                      true,    "the running gateway stops"),
        ];
        for (script, patience, stopped, because) in table {
            let words = becomes(script, patience, stopped);
            assert!(words.contains(because), "{script}: {words}");
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let program = Program {
            path: "/nowhere/portreeve".into(),
            arguments: Vec::new(),
        };
        let ended = program.succeed(&Sockets::default(), Vec::new(), Duration::ZERO, |_| {}, || false);
        let words = ended.unwrap_err().to_string();
        assert!(words.starts_with("cannot start /nowhere/portreeve: "), "{words}");
    }

    #[test]
    fn a_program_is_found_where_it_was_started_from() {
        let program = Program::started().unwrap();
        let found = fs::metadata(program.path()).unwrap();
        assert_eq!(identity(&found), identity(&fs::metadata("/proc/self/exe").unwrap()));
    }
}

//! Processes untrusted bytes in a separate process.
//!
//! The input of a parser, validator or compiler can make it recurse, allocate and panic, and none of them can be interrupted.
//! So a component or module is read in a process that is started for this, from the same executable. The bytes go in as a
//! sealed file in memory ([`Sealed`]), and the result comes back as another one, of bounded size. The process has limits on its
//! time, memory, stack and output (`limits`), opens nothing and inherits no variable. If it fails, this process gets the reason
//! as a sentence ([`Failed`]).
//!
//! Invariant: this room knows neither WebAssembly nor what the work is. The rooms that know it describe it in an [`Order`].

mod child;
mod ending;
mod limits;
mod sealed;

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use child::{Wrong, serve};
pub(crate) use ending::Failed;
pub(crate) use sealed::{Draft, Sealed};

/// What a process is to do, and within which bounds: its command line.
#[derive(Args, Clone, Debug)]
pub struct Order {
    /// Whose work it is.
    #[arg(long)]
    room: String,
    /// What it is, in the words of that room.
    #[arg(long)]
    work: String,
    /// Bytes of address space.
    #[arg(long)]
    address_space: u64,
    /// Seconds of processor time.
    #[arg(long)]
    seconds: u64,
    /// Bytes of output.
    #[arg(long)]
    output: u64,
}

impl Order {
    /// The work, if it is that of a room.
    #[must_use]
    pub fn of_room<W: DeserializeOwned>(&self, room: &str) -> Option<W> {
        (self.room == room).then(|| serde_json::from_str(&self.work).ok())?
    }
}

/// A piece of work, as a room hands it in.
pub(crate) struct Task<'a, W> {
    /// Whose it is.
    pub room: &'a str,
    /// What it is.
    pub work: &'a W,
    /// What it takes time for, as in "compiling".
    pub doing: &'a str,
    /// The most bytes that it may give.
    pub most: u64,
}

/// How processes are started, and their bounds.
#[derive(Clone, Debug)]
pub(crate) struct Confinement {
    /// None: in this process.
    program: Option<PathBuf>,
    patience: Duration,
    memory: u64,
}

impl Confinement {
    /// In this process, without bounds on memory and time: for tests, and input that is trusted.
    #[must_use]
    pub(crate) fn in_process() -> Self {
        Self {
            program: None,
            patience: PATIENCE,
            memory: MEMORY,
        }
    }

    /// In processes of this very program, also if its file was replaced since it was started.
    #[must_use]
    pub(crate) fn this_program() -> Self {
        let running = Path::new("/proc/self/exe");
        let program = if running.exists() {
            Some(running.to_owned())
        } else {
            std::env::current_exe().ok()
        };
        Self {
            program,
            ..Self::in_process()
        }
    }

    /// In processes of the portreeve program at that path, of the same version as this library.
    #[must_use]
    pub(crate) fn program(path: impl Into<PathBuf>) -> Self {
        Self {
            program: Some(path.into()),
            ..Self::in_process()
        }
    }

    /// How many bytes of address space a process may have, default 4 GiB. Has no effect in this process.
    #[must_use]
    pub(crate) fn holding(self, memory: u64) -> Self {
        Self { memory, ..self }
    }

    /// How much processor time a piece of work may take, default 60 s; on a busy machine that may last four times as long.
    /// Has no effect in this process.
    #[must_use]
    pub(crate) fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Has the work done on that input; this thread waits for it. In this process `here` does it.
    ///
    /// # Errors
    /// What is wrong with the input, or how the process ended.
    pub(crate) fn run<W: Serialize>(
        &self,
        task: &Task<'_, W>,
        input: Sealed,
        here: impl FnOnce(Vec<u8>) -> Result<Vec<u8>, Wrong> + Send + 'static,
    ) -> Result<Sealed, Failed> {
        let broken = |error: io::Error| Failed::Broken(format!("{} cannot start: {error}", task.doing));
        let Some(program) = &self.program else {
            let input = input.to_vec().map_err(broken)?;
            let made = child::on_a_thread(input, here).map_err(|wrong| Failed::of(wrong, task.doing))?;
            return Sealed::of(&made).map_err(broken);
        };
        let output = sealed::file().map_err(broken)?;
        let work = serde_json::to_string(task.work).map_err(|error| broken(error.into()))?;
        let mut command = Command::new(program);
        command
            .arg0("portreeve")
            .arg(SUBCOMMAND)
            .arg(format!("--room={}", task.room))
            .arg(format!("--work={work}"))
            .arg(format!("--address-space={}", self.memory))
            .arg(format!("--seconds={}", self.patience.as_secs().max(1)))
            .arg(format!("--output={}", task.most))
            .env_clear()
            .current_dir("/")
            .stdin(input.into_stdio().map_err(broken)?)
            .stdout(Stdio::from(output.try_clone().map_err(broken)?))
            .stderr(Stdio::piped());
        let child = command.spawn();
        // Keeps no descriptor of the files in this process.
        drop(command);
        let child = child
            .map_err(|error| Failed::Broken(format!("cannot start the compiler ({}): {error}", program.display())))?;
        let mut child = OwnedChild(child);
        let words = collect(child.0.stderr.take());
        // The end of its error output is its own end.
        let words = match words.recv_timeout(self.patience * BUSY) {
            Ok(words) => words.unwrap_or_default(),
            Err(RecvTimeoutError::Timeout) => return Err(Failed::took_longer(task.doing, self.patience * BUSY, false)),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failed::Broken("the compiler wrote too many messages".to_owned()));
            }
        };
        match child.status() {
            Some(status) if status.success() => {
                let output = Sealed::written(output);
                output.map_err(|error| Failed::Broken(format!("cannot read the compiler's output: {error}")))
            }
            status => Err(self.ending(task, status, &String::from_utf8_lossy(&words))),
        }
    }

    fn ending<W>(&self, task: &Task<'_, W>, status: Option<ExitStatus>, words: &str) -> Failed {
        let bounds = ending::Bounds {
            doing: task.doing,
            patience: self.patience,
            memory: limits::address_space(self.memory),
            output: task.most,
        };
        bounds.ending(status, words)
    }
}

/// A process that does not outlive this value.
struct OwnedChild(Child);

impl OwnedChild {
    /// After its output ended there is nothing left for it to do.
    fn status(&mut self) -> Option<ExitStatus> {
        for _ in 0..100 {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        None
    }
}

impl Drop for OwnedChild {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads in a thread of its own, as much as is allowed; more than that ends the channel.
fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<io::Result<Vec<u8>>> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = match pipe {
            Some(pipe) => pipe.take(MAX_WORDS as u64 + 1).read_to_end(&mut bytes),
            None => Ok(0),
        };
        if bytes.len() <= MAX_WORDS {
            let _ = send.send(read.map(|_| bytes));
        }
    });
    receive
}

/// The command of the program that ends in [`serve`].
pub(crate) const SUBCOMMAND: &str = "work-for-parent";

/// A component of 18 MB in Python takes a fifth of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much longer that may take if others come first.
const BUSY: u32 = 4;
/// Address space of the process. A component of 18 MB in Python takes a third of it.
const MEMORY: u64 = 4 << 30;
const MAX_WORDS: usize = 16 << 10;

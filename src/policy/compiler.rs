//! Compiling, away from everything else.
//!
//! A compiler cannot be interrupted, and a component can be made to keep it busy for minutes or to
//! take all memory. So it runs in a process of its own that can be: the gateway starts its own
//! executable, hands it the component through a pipe and takes compiled code back through another.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, setrlimit};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::artifact::Artifact;
use super::engine;

use crate::files::MOST_COMPONENT;
use crate::request::printable;

/// Where components are compiled.
#[derive(Clone, Debug)]
pub struct Compiler {
    /// None: in this process.
    program: Option<PathBuf>,
    patience: Duration,
    memory: u64,
}

impl Compiler {
    /// In this process: for programs that load only what their user brings, and wait for it.
    #[must_use]
    pub fn in_process() -> Self {
        Self {
            program: None,
            patience: PATIENCE,
            memory: MEMORY,
        }
    }

    /// In processes of this very program, also where its file was replaced since it was started.
    #[must_use]
    pub fn this_program() -> Self {
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
    pub fn program(path: impl Into<PathBuf>) -> Self {
        Self {
            program: Some(path.into()),
            ..Self::in_process()
        }
    }

    /// How long a component may take the processor, default 60 s; on a busy machine that may last four
    /// times as long. Has no effect in this process.
    #[must_use]
    pub fn within(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Compiles; this thread waits for it.
    ///
    /// # Errors
    /// What the compiler said, or how it ended.
    pub(super) fn compile(&self, engine: &Engine, memory: u64, component: &[u8]) -> Result<Compiled, String> {
        let Some(program) = &self.program else {
            let made = Component::new(engine, component);
            return made.map(Compiled::Here).map_err(|error| format!("{error:#}"));
        };
        let output = self.run(program, memory, component)?;
        Ok(Compiled::Elsewhere(Artifact::from_pipe(output)))
    }

    fn run(&self, program: &Path, memory: u64, component: &[u8]) -> Result<Vec<u8>, String> {
        let mut command = Command::new(program);
        command
            .arg0("portreeve")
            .arg(SUBCOMMAND)
            .arg(format!("--memory={memory}"))
            .arg(format!("--address-space={}", self.memory))
            .arg(format!("--seconds={}", self.patience.as_secs().max(1)))
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command.spawn();
        let child =
            child.map_err(|error| format!("the compiler cannot be started ({}): {error}", program.display()))?;
        let mut child = Ended(child);
        let mut input = child.0.stdin.take();
        let component = component.to_vec();
        // Ends when the child has read all or is gone.
        thread::spawn(move || input.as_mut().map(|pipe| pipe.write_all(&component)));
        let words = collect(child.0.stderr.take(), MAX_WORDS);
        let code = collect(child.0.stdout.take(), MAX_CODE);
        let code = match code.recv_timeout(self.patience * BUSY) {
            Ok(code) => code,
            Err(RecvTimeoutError::Timeout) => {
                let patience = self.patience * BUSY;
                return Err(format!("compiling took longer than {} s", patience.as_secs_f32()));
            }
            Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("it gave too much")),
        };
        let status = child.status();
        let words = words
            .recv_timeout(LAST_WORDS)
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default();
        match (code, status) {
            (Ok(code), Some(status)) if status.success() => Ok(code),
            (Err(error), _) => Err(format!("the compiler's code cannot be read: {error}")),
            (_, status) => Err(self.ending(status, &String::from_utf8_lossy(&words))),
        }
    }

    fn ending(&self, status: Option<ExitStatus>, words: &str) -> String {
        let last = words.lines().last().unwrap_or_default();
        match status.map(|status| (status.code(), status.signal())) {
            Some((Some(code), _)) if code == i32::from(FAULTY) => printable(words.trim(), MAX_WORDS),
            Some((_, Some(SIGXCPU))) => {
                let patience = self.patience.as_secs_f32();
                format!("compiling took longer than {patience} s of processor time")
            }
            _ if words.contains("memory allocation of") => {
                format!("compiling took more than {} MiB of memory", self.memory >> 20)
            }
            Some((_, Some(signal))) => format!("the compiler was ended by signal {signal}: {}", printable(last, 256)),
            Some((Some(code), _)) => format!("the compiler ended with code {code}: {}", printable(last, 256)),
            _ => "the compiler did not end".to_owned(),
        }
    }
}

/// What a compiler gave.
pub(super) enum Compiled {
    Here(Component),
    Elsewhere(Artifact),
}

/// A process that does not outlive this value.
struct Ended(Child);

impl Ended {
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

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads in a thread of its own, as much as is allowed; more than that ends the channel.
fn collect(pipe: Option<impl Read + Send + 'static>, most: usize) -> Receiver<io::Result<Vec<u8>>> {
    let (send, receive) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = match pipe {
            Some(pipe) => pipe.take(most as u64 + 1).read_to_end(&mut bytes),
            None => Ok(0),
        };
        if bytes.len() <= most {
            let _ = send.send(read.map(|_| bytes));
        }
    });
    receive
}

/// What the process does that [`Compiler`] starts: a component comes in, compiled code goes out.
/// Its exit code tells a faulty component from a fault of its own.
#[must_use]
pub fn compile_for_parent(memory: u64, address_space: u64, seconds: u64) -> u8 {
    match bound(address_space, seconds).and_then(|()| compile_from_stdin(memory)) {
        Ok(()) => 0,
        Err(Fault::Component(words)) => complain(&words, FAULTY),
        Err(Fault::Compiler(words)) => complain(&words, BROKEN),
    }
}

enum Fault {
    Component(String),
    Compiler(String),
}

/// Before a byte of the component is read.
fn bound(address_space: u64, seconds: u64) -> Result<(), Fault> {
    let limit = |resource, most, last| {
        setrlimit(resource, most, last).map_err(|error| Fault::Compiler(format!("no limit can be set: {error}")))
    };
    limit(Resource::RLIMIT_AS, address_space, address_space)?;
    // A little later for the last word, so that it ends by the signal that says why.
    limit(Resource::RLIMIT_CPU, seconds, seconds.saturating_add(2))?;
    limit(Resource::RLIMIT_CORE, 0, 0)?;
    limit(Resource::RLIMIT_FSIZE, 0, 0)?;
    // Whoever waits takes this process along.
    let dies = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    dies.map_err(|error| Fault::Compiler(format!("its parent's end would not end it: {error}")))?;
    // Those who are served come first.
    let _ = rustix::process::nice(10);
    Ok(())
}

fn compile_from_stdin(memory: u64) -> Result<(), Fault> {
    let mut component = Vec::new();
    let read = io::stdin().lock().take(MOST_COMPONENT * 2).read_to_end(&mut component);
    read.map_err(|error| Fault::Compiler(error.to_string()))?;
    let engine = Engine::new(&engine::settings(memory, None));
    let engine = engine.map_err(|error| Fault::Compiler(format!("{error:#}")))?;
    let code = engine.precompile_component(&component);
    let code = code.map_err(|error| Fault::Component(format!("{error:#}")))?;
    let written = io::stdout().lock().write_all(&code);
    written.map_err(|error| Fault::Compiler(error.to_string()))
}

fn complain(words: &str, code: u8) -> u8 {
    let _ = writeln!(io::stderr(), "{words}");
    code
}

/// The command of the program that ends in [`compile_for_parent`].
pub const SUBCOMMAND: &str = "compile-for-parent";

/// A component of 18 MB in Python takes a fifth of it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How much longer that may take where others come first.
const BUSY: u32 = 4;
/// Address space of the compiler. A component of 18 MB in Python takes a third of it.
const MEMORY: u64 = 4 << 30;
const MAX_CODE: usize = 512 << 20;
const MAX_WORDS: usize = 16 << 10;
const LAST_WORDS: Duration = Duration::from_secs(1);
/// As in sysexits.h: the data were wrong, and the program is.
const FAULTY: u8 = 65;
const BROKEN: u8 = 70;
const SIGXCPU: i32 = 24;

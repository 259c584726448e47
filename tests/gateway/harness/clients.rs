//! Real `ssh` clients.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;

use super::{PATIENCE, eventually};

/// An `ssh` command line.
pub struct Ssh {
    pub(super) command: Command,
    pub(super) destination: String,
    pub(super) port: u16,
}

impl Ssh {
    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn option(self, option: &str) -> Self {
        self.args(["-o", option])
    }

    pub fn to(mut self, destination: &str) -> Self {
        destination.clone_into(&mut self.destination);
        self
    }

    /// Connects to this port, and not to that of the gateway.
    pub fn at(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Its arguments, for who starts it otherwise.
    pub fn words(&self) -> Vec<String> {
        let own = self.command.get_args().map(|word| word.to_str().unwrap().to_owned());
        let last = ["-p".to_owned(), self.port.to_string(), self.destination.clone()];
        own.chain(last).collect()
    }

    /// Starts it, with its input open.
    pub fn start(self) -> Client {
        self.start_with(&[])
    }

    pub fn start_with(mut self, program: &[&str]) -> Client {
        self.command
            .args(["-p", &self.port.to_string()])
            .arg(&self.destination)
            .args(program);
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let spawned = self.command.spawn();
        let mut child = spawned.expect("ssh runs: these tests need the OpenSSH client (Debian: openssh-client)");
        let said = Arc::new(Said::default());
        let heard = Arc::clone(&said);
        let mut errors = child.stderr.take().expect("it is piped");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = errors.read(&mut buffer) {
                heard.push(&String::from_utf8_lossy(&buffer[..length]));
            }
            heard.end();
        });
        Client {
            stdin: child.stdin.take(),
            stdout: child.stdout.take(),
            child,
            said,
        }
    }

    /// Runs it to its end with this input.
    pub fn run(self, input: &[u8]) -> Answer {
        self.start().finish(input)
    }
}

/// What a process has said so far on its standard error.
#[derive(Default)]
struct Said {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

impl Said {
    fn push(&self, text: &str) {
        self.text.lock().expect("not poisoned").0.push_str(text);
        self.more.notify_all();
    }

    fn end(&self) {
        self.text.lock().expect("not poisoned").1 = true;
        self.more.notify_all();
    }

    fn so_far(&self) -> String {
        self.text.lock().expect("not poisoned").0.clone()
    }

    fn wait(&self, done: impl Fn(&(String, bool)) -> bool) -> String {
        let text = self.text.lock().expect("not poisoned");
        let waited = self.more.wait_timeout_while(text, PATIENCE, |text| !done(text));
        let (text, _) = waited.expect("not poisoned");
        text.0.clone()
    }
}

/// A running `ssh`; killed when it is dropped.
pub struct Client {
    child: Child,
    pub stdin: Option<ChildStdin>,
    pub stdout: Option<ChildStdout>,
    said: Arc<Said>,
}

impl Client {
    pub fn said(&self, words: &str) -> bool {
        self.said.so_far().contains(words)
    }

    /// How often it has said this.
    pub fn count(&self, words: &str) -> usize {
        self.said.so_far().matches(words).count()
    }

    /// Waits until it has said this, and answers all it said.
    pub fn says(&self, words: &str) -> String {
        let text = self.said.wait(|(text, ended)| *ended || text.contains(words));
        assert!(text.contains(words), "ssh never said {words:?}, but:\n{text}");
        text
    }

    /// It is there and does nothing any more: what it is sent stays in the buffers of the system.
    pub fn pause(&self) {
        let paused = Command::new("kill")
            .args(["-s", "STOP", &self.child.id().to_string()])
            .status();
        assert!(paused.expect("kill runs").success());
    }

    /// As `kill -9` does it.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Gives it its last input and waits for its end.
    pub fn finish(mut self, input: &[u8]) -> Answer {
        if let Some(mut stdin) = self.stdin.take() {
            let _ = stdin.write_all(input);
        }
        let (heard, hearing) = mpsc::channel();
        let out = self.stdout.take();
        thread::spawn(move || {
            let mut stdout = Vec::new();
            if let Some(mut out) = out {
                let _ = out.read_to_end(&mut stdout);
            }
            let _ = heard.send(stdout);
        });
        let stdout = hearing.recv_timeout(PATIENCE).expect("ssh ends its output");
        let errors = self.said.wait(|(_, ended)| *ended);
        let status = eventually("the end of ssh", || self.child.try_wait().expect("its state"));
        Answer {
            code: status.code(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            errors,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What came of a command.
#[derive(Debug)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub errors: String,
}

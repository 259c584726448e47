//! The program in a home of its own.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

pub struct Home(pub TempDir);

impl Home {
    pub fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file and answers its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        fs::write(self.path(name), content).unwrap();
        self.path(name).display().to_string()
    }

    pub fn portreeve(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
        command.env("HOME", self.0.path()).current_dir(self.0.path());
        for name in ["XDG_STATE_HOME", "XDG_RUNTIME_DIR", "RUST_LOG", "NO_COLOR"] {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.portreeve().args(arguments).output().unwrap())
    }

    /// The same of a command that would not end if it were wrong.
    pub fn run_for_a_while(&self, arguments: &[&str]) -> Ran {
        let mut command = Command::new("timeout");
        command.arg("30").arg(env!("CARGO_BIN_EXE_portreeve")).args(arguments);
        command.env("HOME", self.0.path()).current_dir(self.0.path());
        command.env_remove("XDG_RUNTIME_DIR");
        Ran::from(command.output().unwrap())
    }

    /// A configuration that asks this component.
    pub fn asking(&self, component: &[u8], extra: &str) -> String {
        self.file("policy.wasm", component);
        let text = format!(
            "[server]\nlisten = [\"127.0.0.1:0\"]\n[[policy.plugin]]\nname = \"test\"\ncomponent = \"policy.wasm\"\nrewrite = true\n[audit]\nfile = \"audit.jsonl\"\n{extra}"
        );
        self.file("portreeve.toml", text)
    }
}

#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("it ended by itself"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// Waits until there is something to see.
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "it never came: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

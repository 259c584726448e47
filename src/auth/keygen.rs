//! The real `ssh-keygen` in a temporary directory, for tests to compare with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::key::KeyBlob;
use super::line::parse_line;

pub(super) struct Keygen {
    directory: tempfile::TempDir,
}

impl Keygen {
    pub(super) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a written file");
        path
    }

    pub(super) fn run(&self, arguments: &[&str]) {
        let output = self.output(arguments);
        assert!(output.status.success(), "ssh-keygen {arguments:?}: {output:?}");
    }

    pub(super) fn accepts(&self, arguments: &[&str]) -> bool {
        self.output(arguments).status.success()
    }

    pub(super) fn output(&self, arguments: &[&str]) -> Output {
        let command = Command::new("ssh-keygen")
            .args(arguments)
            .current_dir(self.directory.path())
            .output();
        command.expect("ssh-keygen is needed to test this room")
    }

    /// Makes a key pair and returns the line of its public half.
    pub(super) fn key(&self, name: &str, kind: &[&str]) -> String {
        self.run(&[&["-q", "-N", "", "-C", name, "-f", name, "-t"], kind].concat());
        read(&self.path(&format!("{name}.pub")))
    }

    pub(super) fn ed25519(&self, name: &str) -> KeyBlob {
        blob(&self.key(name, &["ed25519"]))
    }
}

pub(super) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("a readable file")
}

pub(super) fn blob(line: &str) -> KeyBlob {
    parse_line(line).expect(line).expect(line).key
}

//! Programs, their keys and their signals.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use portreeve::policy::Compiler;
use tempfile::TempDir;

/// Puts a copy of a program in `program`, at once and executable.
///
/// Another process writes it: a file that this one has open for writing is open for a moment in each process that
/// another test starts just then, and the system runs no program that somebody can write (`ETXTBSY`, execve(2)).
pub fn install(from: &Path, program: &Path) {
    let next = program.with_extension("next");
    let copied = Command::new("install").args(["-m", "755"]).args([from, &next]).status();
    assert!(copied.expect("`install` of coreutils").success());
    fs::rename(next, program).expect("the program's place");
}

/// Puts a shell script in `program`, as [`install`] does.
pub fn install_script(text: &str, program: &Path) {
    let source = program.with_extension("sh");
    fs::write(&source, format!("#!/bin/sh\n{text}\n")).expect("a script");
    install(&source, program);
}

/// The program beside this test.
pub fn compiler() -> Compiler {
    Compiler::program(env!("CARGO_BIN_EXE_portreeve"))
}

/// Keys take a while to make, so each kind is made once for all tests.
pub(super) fn copy_key(name: &str, folder: &Path) {
    static MADE: OnceLock<TempDir> = OnceLock::new();
    let made = MADE.get_or_init(|| {
        let folder = TempDir::new().expect("a folder");
        for name in ["id", "host"] {
            make_key(&folder.path().join(name), "ed25519");
        }
        folder
    });
    for name in [name.to_owned(), format!("{name}.pub")] {
        fs::copy(made.path().join(&name), folder.join(&name)).expect("copy a key");
    }
}

pub fn make_key(path: &Path, kind: &str) {
    let path = path.to_str().expect("a plain path");
    ssh_keygen(&["-q", "-t", kind, "-N", "", "-C", "test", "-f", path]);
}

pub fn ssh_keygen(arguments: &[&str]) {
    let made = Command::new("ssh-keygen").args(arguments).output();
    let made = made.expect("ssh-keygen runs: these tests need the OpenSSH client (Debian: openssh-client)");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Sends a process a signal.
pub fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &process.to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

//! `portreeve plugin sign`: a signature beside a component.

use std::path::PathBuf;

use clap::Args;

use super::loading;
use super::wrong::no_folder;
use crate::files::{self, MOST_COMPONENT};
use crate::say::{self, FAILED, INVALID, plain};
use crate::signature::{self, SignError};

/// Sign a component, as `ssh-keygen -Y sign -n policy@portreeve` does.
#[derive(Args)]
pub(crate) struct Sign {
    /// Component, or project folder (one with a `policy.toml`).
    #[arg(value_name = "FILE|DIR")]
    file: PathBuf,
    /// OpenSSH private key, or a public key or certificate whose private key is in ssh-agent.
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// File to write the signature to, `-` for standard output [default: FILE.sig, where the gateway looks for it].
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// Writes the signature; the exit code is the answer.
pub(super) fn run(command: &Sign) -> u8 {
    if let Err(wrong) = no_folder(&command.key, "key", "id_ed25519") {
        return wrong.report(INVALID, false);
    }
    let component = match loading::file(&command.file) {
        Ok(component) => component,
        Err(unready) => return unready.report(false),
    };
    let bytes = match files::read(&component, MOST_COMPONENT) {
        Ok(bytes) => bytes,
        Err(error) => return say::fail(INVALID, &format!("{}: {error}", component.display())),
    };
    let (signature, fingerprint) = match signature::sign(&bytes, &command.key) {
        Ok(signed) => signed,
        Err(error) => return say::fail(code(&error), &error.to_string()),
    };
    let output = command.output.clone();
    let output = output.unwrap_or_else(|| signature::beside(&component));
    if output.as_os_str() == "-" {
        return say::print(&signature);
    }
    if output.metadata().is_ok_and(|there| !there.is_file()) {
        let words = "it is not a regular file and is not overwritten: name a file, or - for standard output";
        return say::fail(FAILED, &format!("{}: {words}", output.display()));
    }
    match files::replace(&output, &signature, None) {
        Ok(()) => {
            let file = component.display();
            let told = format!("{file}: signed by {fingerprint}, written to {}", output.display());
            say::print(&(plain(&told) + "\n"))
        }
        Err(error) => say::fail(FAILED, &format!("{}: {error}", output.display())),
    }
}

/// A key that cannot be read, or is none, is wrong input; one that does not sign was tried.
fn code(error: &SignError) -> u8 {
    match error {
        SignError::Read { .. } | SignError::NotAKey(_) | SignError::Key { .. } => INVALID,
        _ => FAILED,
    }
}

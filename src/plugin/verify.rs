//! `portreeve plugin verify`: whose signature a component has.

use std::path::PathBuf;

use clap::Args;

use super::loading;
use super::wrong::{Wrong, no_folder};
use crate::files::{self, MOST_COMPONENT};
use crate::say::{self, FAILED, INVALID, plain};
use crate::signature::{self, AllowedSigners, Refused};

/// Verify the signature of a component, as `ssh-keygen -Y verify -n policy@portreeve` does.
#[derive(Args)]
pub(crate) struct Verify {
    /// Component, or project folder (one with a `policy.toml`).
    #[arg(value_name = "FILE|DIR")]
    file: PathBuf,
    /// Trusted signers, in the format that ssh-keygen(1) describes under ALLOWED SIGNERS.
    #[arg(long, value_name = "FILE")]
    allowed_signers: PathBuf,
    /// Signature file [default: FILE.sig].
    #[arg(long, value_name = "FILE")]
    signature: Option<PathBuf>,
    /// Accept only this principal as the signer; repeatable.
    #[arg(long = "signer", value_name = "PRINCIPAL")]
    signers: Vec<String>,
    /// Revoked keys: an OpenSSH KRL or a list of keys.
    #[arg(long, value_name = "FILE")]
    revoked_keys: Option<PathBuf>,
    /// Print the signer as JSON.
    #[arg(long)]
    json: bool,
}

/// Prints who signed; the exit code is the answer.
pub(super) fn run(command: &Verify) -> u8 {
    if let Err(wrong) = command.no_folders() {
        return wrong.report(INVALID, command.json);
    }
    let component = match loading::file(&command.file) {
        Ok(component) => component,
        Err(unready) => return unready.report(command.json),
    };
    let bytes = match files::read(&component, MOST_COMPONENT) {
        Ok(bytes) => bytes,
        Err(error) => return Wrong::file(&component, error).report(INVALID, command.json),
    };
    let allowed = match AllowedSigners::read(&command.allowed_signers) {
        Ok(allowed) => allowed,
        Err(error) => {
            let (file, line) = error.place();
            let wrong = Wrong {
                words: error.to_string(),
                file: Some(file.to_owned()),
                line,
            };
            return wrong.report(INVALID, command.json);
        }
    };
    let signature = command
        .signature
        .clone()
        .unwrap_or_else(|| signature::beside(&component));
    let revoked = command.revoked_keys.as_deref();
    let signer = match signature::checked(&bytes, &signature, &allowed, revoked, &command.signers) {
        Ok(signer) => signer,
        Err(refused) => {
            return Wrong::file(&component, &refused).report(command.code(&refused), command.json);
        }
    };
    if command.json {
        return say::print(&(serde_json::to_string(&signer).unwrap_or_default() + "\n"));
    }
    let by = signer
        .authority
        .map(|key| format!(", certified by {key}"))
        .unwrap_or_default();
    let file = component.display();
    let told = format!("{file}: signed by {} with {}{by}", signer.principal, signer.fingerprint);
    say::print(&(plain(&told) + "\n"))
}

impl Verify {
    fn no_folders(&self) -> Result<(), Wrong> {
        no_folder(&self.allowed_signers, "file", "allowed_signers")?;
        if let Some(signature) = &self.signature {
            no_folder(signature, "signature", "policy.wasm.sig")?;
        }
        match &self.revoked_keys {
            Some(list) => no_folder(list, "list", "revoked_keys"),
            None => Ok(()),
        }
    }

    /// A component without a signature beside it is unsigned; a file that was named and cannot be read is wrong input.
    fn code(&self, refused: &Refused) -> u8 {
        match refused {
            Refused::Revocations(_) | Refused::Unreadable { .. } => INVALID,
            Refused::Missing(_) if self.signature.is_some() => INVALID,
            _ => FAILED,
        }
    }
}

//! The gateway's host keys: read, checked, and created if there is none.

use std::fmt::Display;
use std::fs::{DirBuilder, Metadata};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use thiserror::Error;

use crate::files;

/// The keys by which clients know this gateway.
#[derive(Clone)]
pub struct HostKeys(pub(super) Vec<PrivateKey>);

/// Why a host key cannot be used.
#[derive(Debug, Error)]
pub enum HostKeyError {
    /// Reading or writing failed.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        error: std::io::Error,
    },
    /// Others than its owner, or the group of a key of root, can read it.
    #[error("{path}: its mode is {mode:04o}, so others can read it: run `chmod {fix} {path}`")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
        /// What they should be.
        fix: &'static str,
    },
    /// Not a private key.
    #[error("{path}: it is not an OpenSSH private key: {error}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// A private key, or half of one, in another form.
    #[error("{path}: it is {found}: {fix}")]
    Form {
        /// The file.
        path: PathBuf,
        /// Which.
        found: &'static str,
        /// How to make an OpenSSH private key of it.
        fix: String,
    },
    /// Protected by a passphrase.
    #[error("{0}: it has a passphrase; a host key must have none: run `ssh-keygen -p -N '' -f {0}`")]
    Encrypted(PathBuf),
}

impl HostKeys {
    /// Reads OpenSSH private keys.
    ///
    /// # Errors
    /// Every file that cannot be used.
    pub fn load(paths: &[PathBuf]) -> Result<Self, Vec<HostKeyError>> {
        let mut keys = Vec::new();
        let mut errors = Vec::new();
        for path in paths {
            match load(path) {
                Ok(key) => keys.push(key),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() { Ok(Self(keys)) } else { Err(errors) }
    }

    /// The Ed25519 key at `path`, made there if there is none.
    ///
    /// # Errors
    /// If it can be neither read nor created.
    pub fn keep(path: &Path) -> Result<Self, HostKeyError> {
        if !path.exists() {
            make(path, "portreeve host key")?;
        }
        load(path).map(|key| Self(vec![key]))
    }

    /// SHA-256 fingerprints, as `ssh-keygen -l` prints them.
    pub fn fingerprints(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|key| key.fingerprint(HashAlg::Sha256).to_string())
    }
}

/// Makes a key pair for a user who has none: the private key at `path`, the public one beside it.
///
/// # Errors
/// If the files cannot be written.
pub(crate) fn make_user_key(path: &Path) -> Result<String, HostKeyError> {
    let key = if path.exists() {
        load(path)?
    } else {
        make(path, "portreeve client key")?
    };
    key.public_key().to_openssh().map_err(|error| HostKeyError::Format {
        path: path.to_owned(),
        error: error.to_string(),
    })
}

fn load(path: &Path) -> Result<PrivateKey, HostKeyError> {
    let io = |error| HostKeyError::Io {
        path: path.to_owned(),
        error,
    };
    let file = files::open(path).map_err(io)?;
    check_mode(path, &file.metadata().map_err(io)?)?;
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text).map_err(io)?;
    let key =
        PrivateKey::from_openssh(block(&text).unwrap_or(&text)).map_err(|error| unreadable(path, &text, &error))?;
    if key.is_encrypted() {
        return Err(HostKeyError::Encrypted(path.to_owned()));
    }
    Ok(key)
}

/// A key may be read by its owner alone. A key of root may also be read by its group: that is how a service that does not run
/// as root is given one, by Kubernetes among others.
fn check_mode(path: &Path, metadata: &Metadata) -> Result<(), HostKeyError> {
    let mode = metadata.mode() & 0o7777;
    let (excess, fix) = match metadata.uid() {
        0 => (0o037, "640"),
        _ => (0o077, "600"),
    };
    match mode & excess {
        0 => Ok(()),
        _ => Err(HostKeyError::Mode {
            path: path.to_owned(),
            mode,
            fix,
        }),
    }
}

/// The key itself, without blank lines or comments around it.
fn block(text: &str) -> Option<&str> {
    let from = text.find(BEGIN)?;
    let found = text.get(from..)?;
    let to = found.find(END)?.saturating_add(END.len());
    found.get(..to)
}

/// The kind of file, if it is not what it should be.
fn unreadable(path: &Path, text: &str, error: &dyn Display) -> HostKeyError {
    let form = |found, fix: &str| HostKeyError::Form {
        path: path.to_owned(),
        found,
        fix: fix.replace("{}", &path.display().to_string()),
    };
    let begins = |words: &str| text.lines().any(|line| line.trim_start().starts_with(words));
    let convert = "convert it with `ssh-keygen -p -N '' -f {}`";
    if begins(BEGIN) {
        return HostKeyError::Format {
            path: path.to_owned(),
            error: error.to_string(),
        };
    }
    if begins("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        return form("a key in PKCS 8 form with a passphrase", convert);
    }
    if begins("-----BEGIN PRIVATE KEY-----") {
        let fix = format!("{convert} (an Ed25519 key needs OpenSSH 9.6 or newer for that)");
        return form("a key in PKCS 8 form", &fix);
    }
    if ["RSA", "EC", "DSA"]
        .iter()
        .any(|kind| begins(&format!("-----BEGIN {kind} PRIVATE KEY-----")))
    {
        return form("a key in PEM form", convert);
    }
    if begins("PuTTY-User-Key-File") {
        return form(
            "a key in PuTTY's form",
            "convert it with `puttygen {} -O private-openssh-new -o KEY`",
        );
    }
    if begins("---- BEGIN SSH2") || begins("-----BEGIN PUBLIC KEY-----") || begins("ssh-") || begins("ecdsa-") {
        return form("a public key", "name the file of the private key, which has no `.pub`");
    }
    if text.trim().is_empty() {
        return form("empty", "make a key with `ssh-keygen -t ed25519 -N '' -f {}`");
    }
    HostKeyError::Format {
        path: path.to_owned(),
        error: "it does not begin with `-----BEGIN OPENSSH PRIVATE KEY-----`".to_owned(),
    }
}

fn make(path: &Path, comment: &str) -> Result<PrivateKey, HostKeyError> {
    let io = |error| HostKeyError::Io {
        path: path.to_owned(),
        error,
    };
    let format = |error: russh::keys::ssh_key::Error| HostKeyError::Format {
        path: path.to_owned(),
        error: error.to_string(),
    };
    if let Some(folder) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(io)?;
    }
    let mut key = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).map_err(format)?;
    key.set_comment(comment);
    let private = key.to_openssh(LineEnding::LF).map_err(format)?;
    if !files::create(path, 0o600, private.as_bytes()).map_err(io)? {
        return load(path);
    }
    let public = key.public_key().to_openssh().map_err(format)? + "\n";
    let beside = PathBuf::from(format!("{}.pub", path.display()));
    files::create(&beside, 0o644, public.as_bytes()).map_err(io)?;
    Ok(key)
}

const BEGIN: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
const END: &str = "-----END OPENSSH PRIVATE KEY-----";
/// An RSA key of 16384 bits is a fifth of that.
const LARGEST: u64 = 64 << 10;

#[cfg(test)]
#[path = "host_key_tests.rs"]
mod tests;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::{Algorithm, HashAlg, PrivateKey};
use thiserror::Error;

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
    /// Others than the owner can read it.
    #[error("{path}: its mode is {mode:04o}, so others can read it: run `chmod 600 {path}`")]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not a private key.
    #[error("{path}: it is no OpenSSH private key: {error}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: String,
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
    /// Where it can be neither read nor made.
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
/// Where the files cannot be written.
pub fn make_user_key(path: &Path) -> Result<String, HostKeyError> {
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
    let mode = fs::metadata(path).map_err(io)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HostKeyError::Mode {
            path: path.to_owned(),
            mode,
        });
    }
    let text = fs::read_to_string(path).map_err(io)?;
    let key = PrivateKey::from_openssh(&text).map_err(|error| HostKeyError::Format {
        path: path.to_owned(),
        error: error.to_string(),
    })?;
    if key.is_encrypted() {
        return Err(HostKeyError::Encrypted(path.to_owned()));
    }
    Ok(key)
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
    write_new(path, 0o600, key.to_openssh(LineEnding::LF).map_err(format)?.as_bytes()).map_err(io)?;
    let public = key.public_key().to_openssh().map_err(format)? + "\n";
    let beside = PathBuf::from(format!("{}.pub", path.display()));
    write_new(&beside, 0o644, public.as_bytes()).map_err(io)?;
    Ok(key)
}

fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

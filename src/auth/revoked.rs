//! Keys that no longer admit anyone: OpenSSH's `RevokedKeys`, as a plain list or as a binary KRL.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::decision::Presented;
use super::key::{self, KeyBlob, KeyError};
use super::krl::{self, CertificateRevocations, KrlError};
use super::line::{LineError, parse_key};
use super::options::{BLANKS, Cursor};
use crate::files;

/// Everything a revocation file revokes.
#[derive(Clone, Debug, Default)]
pub struct RevokedKeys {
    pub(super) keys: HashSet<KeyBlob>,
    pub(super) sha1: HashSet<[u8; 20]>,
    pub(super) sha256: HashSet<[u8; 32]>,
    pub(super) certificates: Vec<CertificateRevocations>,
}

/// Why a revocation file cannot be used. Until it can be, every login must be refused.
#[derive(Debug, thiserror::Error)]
pub enum RevokedError {
    #[error("cannot read the revoked keys in {}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the list of revoked keys {} is larger than {LARGEST} bytes", .0.display())]
    TooLarge(PathBuf),
    #[error("{}, line {line}: {problem}", path.display())]
    Line {
        path: PathBuf,
        line: usize,
        problem: LineError,
    },
    #[error("the key revocation list {} cannot be used", path.display())]
    Krl { path: PathBuf, source: KrlError },
}

impl RevokedKeys {
    /// Reads a KRL if the file starts like one, otherwise a list: one public key, certificate or `SHA256:…` fingerprint a
    /// line. A certificate in a list revokes the key in it, with every certificate for that key, as in OpenSSH.
    pub fn read(path: &Path) -> Result<Self, RevokedError> {
        let failed = |source| RevokedError::Io {
            path: path.to_owned(),
            source,
        };
        let bytes = files::read(path, LARGEST).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => RevokedError::TooLarge(path.to_owned()),
            _ => failed(error),
        })?;
        match bytes.strip_prefix(krl::MAGIC) {
            Some(body) => krl::parse(body).map_err(|source| RevokedError::Krl {
                path: path.to_owned(),
                source,
            }),
            None => parse_list(&String::from_utf8_lossy(&bytes)).map_err(|(line, problem)| RevokedError::Line {
                path: path.to_owned(),
                line,
                problem,
            }),
        }
    }

    /// Is this key revoked, as a key or as an authority?
    pub fn key(&self, key: &KeyBlob) -> bool {
        self.keys.contains(key)
            || self.sha256.contains(&key.sha256())
            || (!self.sha1.is_empty() && self.sha1.contains(&key.sha1()))
    }

    /// Is a certificate for `key`, signed by `ca`, revoked: by its serial number or key id, or because either key is?
    pub fn certificate(&self, ca: &KeyBlob, serial: u64, key_id: &str, key: &KeyBlob) -> bool {
        self.key(key)
            || self.key(ca)
            || self
                .certificates
                .iter()
                .any(|section| section.covers(ca, serial, key_id))
    }

    /// Is this certificate revoked?
    pub fn covers(&self, presented: &Presented) -> bool {
        let certificate = &presented.certificate;
        self.certificate(
            &presented.authority,
            certificate.serial,
            &certificate.key_id,
            &presented.key,
        )
    }

    fn revoke_line(&mut self, line: &str) -> Result<(), LineError> {
        let mut cursor = Cursor::new(line.trim());
        if cursor.rest.is_empty() || cursor.rest.starts_with('#') {
            return Ok(());
        }
        if let Some(digest) = key::sha256_fingerprint(cursor.word(&[' ', '\t'])) {
            self.sha256.insert(digest);
            return Ok(());
        }
        let mut cursor = Cursor::new(line.trim());
        match parse_key(&mut cursor) {
            Ok(key) => drop(self.keys.insert(key)),
            Err(LineError::Key {
                column,
                problem: KeyError::Certificate(_),
            }) => {
                let certified = certified(line).map_err(|problem| LineError::Key { column, problem })?;
                self.keys.extend(certified);
            }
            Err(LineError::Key { column, problem }) => {
                unless_never_accepted(Err(problem)).map_err(|problem| LineError::Key { column, problem })?;
            }
            Err(other) => return Err(other),
        }
        Ok(())
    }
}

/// A DSA or short RSA key can never log in, so revoking it is already done.
pub(super) fn unless_never_accepted(key: Result<KeyBlob, KeyError>) -> Result<Option<KeyBlob>, KeyError> {
    match key {
        Err(KeyError::Dsa | KeyError::ShortRsa(_) | KeyError::LongRsa(_)) => Ok(None),
        other => other.map(Some),
    }
}

/// The key in the certificate on this line.
fn certified(line: &str) -> Result<Option<KeyBlob>, KeyError> {
    let mut words = line.trim().split(BLANKS).filter(|word| !word.is_empty());
    let _type = words.next();
    let bytes = key::from_base64(words.next().unwrap_or_default())?;
    unless_never_accepted(KeyBlob::of_certificate(&bytes))
}

fn parse_list(text: &str) -> Result<RevokedKeys, (usize, LineError)> {
    let mut revoked = RevokedKeys::default();
    for (number, line) in (1..).zip(text.split('\n')) {
        revoked.revoke_line(line).map_err(|problem| (number, problem))?;
    }
    Ok(revoked)
}

const LARGEST: u64 = 64 << 20;

#[cfg(test)]
#[path = "revoked_tests.rs"]
mod tests;

//! Signatures as `ssh-keygen -Y sign` makes them (`PROTOCOL.sshsig` of OpenSSH).

use std::io;
use std::path::{Path, PathBuf};

use ssh_key::private::KeypairData;
use ssh_key::{Certificate, HashAlg, PrivateKey, PublicKey, SshSig};

use super::{NAMESPACE, agent, envelope, passphrase};
use crate::files::{self, MOST_TEXT};

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignError {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        source: io::Error,
    },
    /// The file holds no key that is understood.
    #[error(
        "{} is not an OpenSSH key: give a private key made by `ssh-keygen` (`ssh-keygen -p -f KEY` converts an older one), or a public key whose private half ssh-agent has",
        .0.display()
    )]
    NotAKey(PathBuf),
    /// The key cannot be read.
    #[error("{}: {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// In the library's words.
        problem: String,
    },
    /// A security key, which asks to be touched.
    #[error(
        "{} belongs to a security key: sign with `ssh-keygen -Y sign -n {NAMESPACE} -f {} FILE`, or add it to ssh-agent and give its .pub file",
        .0.display(), .0.display()
    )]
    SecurityKey(PathBuf),
    /// It has a passphrase and nobody can be asked.
    #[error("{} has a passphrase and there is no terminal to ask for it: add it to ssh-agent (`ssh-add {}`) and give its .pub file", .0.display(), .0.display())]
    NoTerminal(PathBuf),
    /// The passphrase is wrong, or was not given.
    #[error("{}: {why}", path.display())]
    Passphrase {
        /// The key's file.
        path: PathBuf,
        /// Wrong, or not given.
        why: &'static str,
    },
    /// The agent does not sign, and there is no private key beside the public one.
    #[error("{} is a public key: ssh-agent cannot sign with it ({agent}), and {} does not exist", path.display(), private.display())]
    NoPrivate {
        /// The public key's file.
        path: PathBuf,
        /// Where the private half would be.
        private: PathBuf,
        /// Why the agent does not.
        agent: String,
    },
    /// The library refuses.
    #[error("it cannot be signed: {0}")]
    Failed(String),
}

/// Signs `bytes` with the key in this file: a private key, or a public key or certificate whose private half ssh-agent has
/// or the file beside it without `.pub` or `-cert.pub`. Answers the armoured signature and the fingerprint of the key.
///
/// # Errors
/// If the key cannot be read or used.
pub(crate) fn sign(bytes: &[u8], key: &Path) -> Result<(String, String), SignError> {
    let text = files::read_text(key, MOST_TEXT).map_err(|source| SignError::Read {
        path: key.to_owned(),
        source,
    })?;
    if text.trim_start().starts_with("-----BEGIN") {
        let private = private(key, &text)?;
        let public = blob(private.public_key())?;
        return finish(&public, private.public_key(), &by_key(&private, bytes)?);
    }
    let (public, plain) = public(key, &text)?;
    let data = SshSig::signed_data(NAMESPACE, HashAlg::Sha512, bytes).map_err(failed)?;
    let told = match agent::sign(&blob(&plain)?, &data) {
        Ok(Some(signature)) => return finish(&public, &plain, &signature),
        Ok(None) => "SSH_AUTH_SOCK is not set".to_owned(),
        Err(error) => error.to_string(),
    };
    let name = key.to_string_lossy();
    let name = name.strip_suffix("-cert.pub").or_else(|| name.strip_suffix(".pub"));
    let beside = name.map_or_else(|| key.with_extension(""), PathBuf::from);
    let text = files::read_text(&beside, MOST_TEXT).map_err(|_| SignError::NoPrivate {
        path: key.to_owned(),
        private: beside.clone(),
        agent: told,
    })?;
    let private = private(&beside, &text)?;
    if private.public_key().key_data() != plain.key_data() {
        let problem = format!("it is not the private key of {}", key.display());
        return Err(SignError::Key { path: beside, problem });
    }
    finish(&public, &plain, &by_key(&private, bytes)?)
}

fn finish(public: &[u8], key: &PublicKey, signature: &[u8]) -> Result<(String, String), SignError> {
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    Ok((envelope::armour(public, "sha512", signature), fingerprint))
}

fn by_key(key: &PrivateKey, bytes: &[u8]) -> Result<Vec<u8>, SignError> {
    let signed = key.sign(NAMESPACE, HashAlg::Sha512, bytes).map_err(failed)?;
    Vec::try_from(signed.signature().clone()).map_err(failed)
}

/// The blob that goes into the signature, and the plain key.
fn public(path: &Path, text: &str) -> Result<(Vec<u8>, PublicKey), SignError> {
    if let Ok(certificate) = Certificate::from_openssh(text.trim()) {
        let plain = PublicKey::from(certificate.public_key().clone());
        return Ok((certificate.to_bytes().map_err(failed)?, plain));
    }
    let plain = PublicKey::from_openssh(text.trim()).map_err(|_| SignError::NotAKey(path.to_owned()))?;
    Ok((blob(&plain)?, plain))
}

fn private(path: &Path, text: &str) -> Result<PrivateKey, SignError> {
    if !text.contains("BEGIN OPENSSH PRIVATE KEY") {
        return Err(SignError::NotAKey(path.to_owned()));
    }
    let read = PrivateKey::from_openssh(text).map_err(|error| SignError::Key {
        path: path.to_owned(),
        problem: error.to_string(),
    })?;
    let key = if read.is_encrypted() {
        decrypted(path, &read)?
    } else {
        read
    };
    match key.key_data() {
        KeypairData::SkEd25519(_) | KeypairData::SkEcdsaSha2NistP256(_) => Err(SignError::SecurityKey(path.to_owned())),
        _ => Ok(key),
    }
}

fn decrypted(path: &Path, key: &PrivateKey) -> Result<PrivateKey, SignError> {
    let refused = |why| SignError::Passphrase {
        path: path.to_owned(),
        why,
    };
    let asked = passphrase::ask(&format!("Enter passphrase for {}: ", path.display()));
    match asked.map_err(|_| refused("no passphrase was given"))? {
        Some(typed) => key.decrypt(typed).map_err(|_| refused("the passphrase is wrong")),
        None => Err(SignError::NoTerminal(path.to_owned())),
    }
}

fn blob(key: &PublicKey) -> Result<Vec<u8>, SignError> {
    key.to_bytes().map_err(failed)
}

fn failed(error: ssh_key::Error) -> SignError {
    SignError::Failed(error.to_string())
}

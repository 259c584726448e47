//! Whether a signature is good, and by whom it is (`PROTOCOL.sshsig` of OpenSSH).

use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;
use ssh_key::Certificate;
use ssh_key::certificate::CertType;

use super::envelope::{Envelope, EnvelopeError, SigningKey};
use super::signers::{AllowedSigners, SignerLine, SignersError};
use crate::auth::{KeyBlob, RevokedKeys};

/// Who signed, by a key that is believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Signer {
    /// The principals of the line that lets this key sign; where some were demanded, the one of them.
    pub principal: String,
    /// Of the key, as `ssh-keygen -l` prints it.
    pub fingerprint: String,
    /// The authority that certified the key, if one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// Why there is no signer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no signature.
    #[error("it is not signed: {} is missing; make it with `portreeve plugin sign` or `ssh-keygen -Y sign -n policy@portreeve`", .0.display())]
    Missing(PathBuf),
    /// The signature's file cannot be read.
    #[error("its signature {} cannot be read: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        error: String,
    },
    /// The file is no signature, or none of these bytes.
    #[error("its signature is refused: {0}")]
    Envelope(#[from] EnvelopeError),
    /// The key is in no line.
    #[error("it was signed by {fingerprint}, which {} does not allow to sign", path.display())]
    Stranger {
        /// Of the key.
        fingerprint: String,
        /// The file of allowed signers.
        path: PathBuf,
    },
    /// Lines name the key, and none of them lets it sign this now.
    #[error("it was signed by {fingerprint}: {why}")]
    NotAllowed {
        /// Of the key.
        fingerprint: String,
        /// The line and what it says.
        why: String,
    },
    /// The key was revoked.
    #[error("it was signed by {0}, which is revoked")]
    Revoked(String),
    /// The list of revoked keys cannot be read, so no key is known not to be on it.
    #[error("signatures cannot be verified: {0}")]
    Revocations(String),
    /// The file of allowed signers cannot be used.
    #[error("signatures cannot be verified: {0}")]
    Signers(#[from] SignersError),
}

/// Checks that `signature` is one of `bytes`, made for our purpose by a signer who may sign at this time; if `wanted` names
/// principals, by one of them.
///
/// # Errors
/// The first thing that is not as it must be.
pub(crate) fn verify(
    bytes: &[u8],
    signature: &[u8],
    allowed: &AllowedSigners,
    revoked: Option<&RevokedKeys>,
    wanted: &[String],
    now: Timestamp,
) -> Result<Signer, Refused> {
    let envelope = Envelope::parse(signature)?;
    envelope.check(bytes)?;
    let key = &envelope.key;
    let fingerprint = key.blob().fingerprint();
    if revoked.is_some_and(|list| is_revoked(list, key)) {
        return Err(Refused::Revoked(fingerprint));
    }
    let mut why = None;
    for line in allowed.lines.iter().filter(|line| line.speaks_of(key)) {
        match line.allows(key, wanted, now) {
            Ok(principal) => {
                return Ok(Signer {
                    principal,
                    fingerprint,
                    authority: key.authority().map(KeyBlob::fingerprint),
                });
            }
            Err(words) => {
                why.get_or_insert(format!("{}:{}: {words}", allowed.path.display(), line.number));
            }
        }
    }
    let path = allowed.path.clone();
    Err(match why {
        Some(why) => Refused::NotAllowed { fingerprint, why },
        None => Refused::Stranger { fingerprint, path },
    })
}

fn is_revoked(list: &RevokedKeys, key: &SigningKey) -> bool {
    match key {
        SigningKey::Plain(key) => list.key(key),
        SigningKey::Certified {
            certificate,
            key,
            authority,
        } => list.certificate(authority, certificate.serial(), certificate.key_id(), key),
    }
}

impl SigningKey {
    fn authority(&self) -> Option<&KeyBlob> {
        match self {
            Self::Plain(_) => None,
            Self::Certified { authority, .. } => Some(authority),
        }
    }
}

impl SignerLine {
    /// A key that signs for itself is no authority, and the other way round.
    fn speaks_of(&self, key: &SigningKey) -> bool {
        match (key, self.authority) {
            (SigningKey::Plain(key), false) => *key == self.key,
            (SigningKey::Certified { authority, .. }, true) => *authority == self.key,
            _ => false,
        }
    }

    /// The principal as whom the key may sign.
    fn allows(&self, key: &SigningKey, wanted: &[String], now: Timestamp) -> Result<String, String> {
        if let Some(namespaces) = &self.namespaces
            && !namespaces.matches(super::NAMESPACE)
        {
            let words = format!(
                "this key may sign for `{}`, not for `{}`",
                namespaces.as_str(),
                super::NAMESPACE
            );
            return Err(words);
        }
        if let Some(after) = self.valid_after.filter(|after| now < *after) {
            return Err(format!("this key may not sign before {after}"));
        }
        if let Some(before) = self.valid_before.filter(|before| now > *before) {
            return Err(format!("this key could sign only until {before}"));
        }
        let principals = match key {
            SigningKey::Plain(_) => None,
            SigningKey::Certified { certificate, .. } => Some(self.certified(certificate, now)?),
        };
        let named = |name: &&String| match &principals {
            Some(principals) => principals.contains(name),
            None => self.principals.matches(name),
        };
        match (wanted.iter().find(named), &principals) {
            (Some(wanted), _) => Ok(wanted.clone()),
            (None, Some(principals)) if wanted.is_empty() => Ok(principals.join(",")),
            (None, None) if wanted.is_empty() => Ok(self.principals.as_str().to_owned()),
            (None, _) => {
                let who = principals.map_or_else(|| self.principals.as_str().to_owned(), |names| names.join(","));
                Err(format!(
                    "the key belongs to {who}, but {} must sign",
                    wanted.join(" or ")
                ))
            }
        }
    }

    /// The principals of a certificate that this authority may vouch for.
    fn certified(&self, certificate: &Certificate, now: Timestamp) -> Result<Vec<String>, String> {
        let seconds = u64::try_from(now.as_second()).unwrap_or(0);
        if certificate.cert_type() != CertType::User {
            return Err("the certificate is not a user certificate".to_owned());
        }
        if seconds < certificate.valid_after() || seconds >= certificate.valid_before() {
            return Err("the certificate is not valid at this time".to_owned());
        }
        // A command is about logins; what else is critical must be understood, or the certificate is void.
        if let Some((name, _)) = certificate
            .critical_options()
            .iter()
            .find(|(name, _)| *name != "force-command")
        {
            return Err(format!(
                "the certificate has the critical option `{name}`, which is not supported for signatures"
            ));
        }
        let names = certificate.valid_principals().iter();
        let names: Vec<_> = names.filter(|name| self.principals.matches(name)).cloned().collect();
        match names.is_empty() {
            true => Err(format!(
                "the certificate has no principal that matches `{}`",
                self.principals.as_str()
            )),
            false => Ok(names),
        }
    }
}

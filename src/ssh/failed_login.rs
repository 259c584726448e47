//! Why a login failed: one case for each reason, so that they can be counted, with the words of the audit log.

use crate::accounts::{NotIn, Refused};
use crate::auth::{Refusal, is_sound_signature};

/// Why a login failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum FailedLogin {
    /// The accounts do not let the user in.
    #[error(transparent)]
    NotIn(#[from] NotIn),
    /// Nobody could tell it from another, in a log or in a list.
    #[error("the user name has a character that cannot be seen")]
    UnseenName,
    #[error("the user is locked: {0}")]
    Locked(String),
    #[error("the user has too many sessions (limits.sessions-per-user)")]
    TooManySessions,
    #[error("the gateway cannot reach the state that it shares with others (fleet.when-cut-off)")]
    CutOff,
    #[error("the key's type or length is not accepted")]
    KeyType,
    /// A key may be listed, and its signature prove nothing.
    #[error("the client signs with {0}, which is no longer secure: it must offer rsa-sha2-256 or rsa-sha2-512")]
    WeakSignature(String),
    #[error("it is not a user certificate")]
    NoUserCertificate,
    #[error("the certificate's signature is not valid: {0}")]
    CertificateSignature(String),
    #[error("the certificate's authority has an unknown key type")]
    AuthorityType,
    #[error("the certificate's key has an unknown type")]
    CertificateKeyType,
    /// The look-up failed.
    #[error("{0}")]
    Unasked(String),
}

impl FailedLogin {
    /// The key is simply not there: of several keys that a client offers, the others tell more.
    pub(super) fn is_unlisted_key(&self) -> bool {
        *self == Self::NotIn(NotIn::Refused(Refused::Credential(Refusal::NotListed)))
    }
}

/// Whether a signature of this algorithm proves anything.
pub(super) fn check_algorithm(name: &str) -> Result<(), FailedLogin> {
    match is_sound_signature(name) {
        true => Ok(()),
        false => Err(FailedLogin::WeakSignature(name.to_owned())),
    }
}

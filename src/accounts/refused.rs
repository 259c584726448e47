//! Why a user is not let in: one case for each reason, with the words of the audit log.

use super::MOST_NAME;
use crate::auth;

/// Why a user is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIn {
    /// The accounts say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The accounts cannot say: a file cannot be read. Nobody is let in, and nothing that is open is closed.
    #[error("{0}")]
    Unsure(String),
}

/// What the accounts have against a login.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No user can have such a name.
    #[error("the user name has {bytes} bytes, more than {MOST_NAME}")]
    Name {
        /// Its length.
        bytes: usize,
    },
    /// The lines of authorized keys and authorities do not permit it.
    #[error(transparent)]
    Credential(#[from] auth::Refusal),
    /// The list of what is revoked has the key.
    #[error("the key is revoked")]
    KeyRevoked,
    /// The list of what is revoked has the certificate, its key or its authority.
    #[error("the certificate is revoked")]
    CertificateRevoked,
    /// Which of both it is shall not show.
    #[error("wrong password, or the user has no password")]
    WrongPassword,
    /// It was right at the login.
    #[error("the password has changed")]
    PasswordChanged,
    /// There is no such user any more.
    #[error("the user is not configured")]
    UnknownUser,
    /// A new configuration may add a user only once all of it is in force.
    #[error("the new configuration lets this user in once its policies are in force; until then: {0}")]
    NotYet(Box<Refused>),
}

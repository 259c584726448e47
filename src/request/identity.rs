//! Who asks.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The authenticated user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Principal {
    /// The name that was logged in with.
    pub user: String,
    /// Groups that the administrator configured.
    pub groups: Vec<String>,
    /// How the user proved who they are.
    pub credential: Credential,
    /// Further configured facts about the user.
    pub claims: Vec<(String, Fact)>,
}

/// How the user proved who they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credential {
    /// `publickey`, `certificate` or `password`.
    pub method: String,
    /// SHA-256 fingerprint of the user's key, as `ssh-keygen -l` prints it.
    pub fingerprint: Option<String>,
    /// The verified OpenSSH user certificate, if one was used.
    pub certificate: Option<Certificate>,
}

impl Credential {
    /// All methods that succeeded, in order. A login is complete with the first one, so it is the only one.
    #[must_use]
    pub fn methods(&self) -> Vec<String> {
        vec![self.method.clone()]
    }
}

/// An OpenSSH user certificate that was verified (OpenSSH `PROTOCOL.certkeys`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Certificate {
    /// The certificate's key id.
    pub key_id: String,
    /// The serial that the CA gave it.
    pub serial: u64,
    /// SHA-256 fingerprint of the CA key.
    pub issuer: String,
    /// Names for which it is valid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub principals: Vec<String>,
    /// Unix seconds.
    pub valid_after: u64,
    /// Unix seconds.
    pub valid_before: u64,
    /// Critical options, in the order of the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub critical_options: Vec<(String, String)>,
    /// Extensions, in the order of the certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<(String, String)>,
}

/// The two ends of a connection to the gateway. They are named, so that none is taken for the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Where the client is.
    pub client: SocketAddr,
    /// The gateway's address that the client connected to.
    pub server: SocketAddr,
}

/// The SSH connection that carries a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Unique for the life of the gateway; the audit log's `session`.
    pub id: String,
    /// The client's address.
    pub client: SocketAddr,
    /// The gateway's address that the client connected to.
    pub server: SocketAddr,
    /// The client's SSH version string.
    pub software: String,
    /// When the user was authenticated.
    pub since: Timestamp,
}

/// A value in an open list of facts: the WIT's `value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fact {
    /// One text.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
    /// A whole number.
    Number(i64),
    /// A yes or no.
    Flag(bool),
}

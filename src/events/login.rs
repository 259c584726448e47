//! The events for a login.

use std::net::SocketAddr;

use serde::{Serialize, Serializer};

use crate::request::{Certificate, Connection, Fact, Principal};

/// A login: everything that a policy is told of the user and the connection, so that the decisions of this session can be
/// asked again from the log alone.
#[derive(Debug, Serialize)]
pub struct LoggedIn {
    /// `publickey`, `certificate` or `password`.
    pub method: String,
    /// Of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The groups that the configuration puts the user in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The configured claims, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub claims: Vec<(String, Fact)>,
    /// The certificate, where one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// The gateway's address that the client connected to.
    pub server: SocketAddr,
    /// The client's SSH version string.
    pub software: String,
}

impl LoggedIn {
    /// Of this user, over this connection.
    #[must_use]
    pub fn new(principal: &Principal, connection: &Connection) -> Self {
        let credential = principal.credential.clone();
        Self {
            method: credential.method,
            fingerprint: credential.fingerprint,
            groups: principal.groups.clone(),
            claims: principal.claims.clone(),
            certificate: credential.certificate,
            server: connection.server,
            software: connection.software.clone(),
        }
    }
}

fn as_map<S: Serializer>(claims: &[(String, Fact)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(claims.iter().map(|(name, value)| (name, value)))
}

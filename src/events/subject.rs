//! The subject of an event.

use std::net::SocketAddr;

use serde::Serialize;

use crate::request::ForwardRequest;

/// Whom an event is about.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Subject {
    /// The SSH connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The user, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<SocketAddr>,
    /// The request, tunnel or listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<String>,
}

impl Subject {
    /// Who connects from there.
    #[must_use]
    pub fn from_client(client: SocketAddr) -> Self {
        Self {
            client: Some(client),
            ..Self::default()
        }
    }

    /// Whom this request is about.
    #[must_use]
    pub fn of(request: &ForwardRequest) -> Self {
        Self {
            session: Some(request.connection.id.clone()),
            user: Some(request.principal.user.clone()),
            client: Some(request.connection.client),
            forward: Some(request.id.clone()),
        }
    }

    /// The same connection, and this request of it.
    #[must_use]
    pub fn with_forward(&self, forward: &str) -> Self {
        Self {
            forward: Some(forward.to_owned()),
            ..self.clone()
        }
    }
}

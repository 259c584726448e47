//! The JSON that the administration interface returns: `snake_case` keys, the same as in the audit log. Unknown facts are absent.

use std::net::SocketAddr;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use crate::policy::PolicyRef;
use crate::request::{Action, Endpoint, Requested, Terms};
use crate::sessions::Forward;

/// `GET /v1/status`.
#[derive(Debug, Serialize)]
pub struct Status {
    /// The program's version.
    pub version: &'static str,
    /// When it began to serve.
    #[serde(serialize_with = "shown")]
    pub started: Timestamp,
    /// Where clients connect.
    pub listen: Vec<SocketAddr>,
    /// Whether it is stopping.
    pub draining: bool,
    /// Authenticated sessions.
    pub sessions: usize,
    /// Open tunnels.
    pub tunnels: usize,
    /// Open listeners.
    pub listeners: usize,
    /// Bytes that wait for targets slower than their clients.
    pub buffered_bytes: usize,
    /// The audit log.
    pub audit: AuditView,
    /// What decides, in the order in which it is asked.
    pub policies: Vec<PolicyView>,
}

/// RFC 3339, as in the audit log.
fn shown<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// The state of the audit log.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct AuditView {
    /// False while new forwards are refused because it cannot be written.
    pub writable: bool,
    /// Lines that are not written yet.
    pub pending: usize,
}

/// A policy that decides.
#[derive(Debug, Serialize)]
pub struct PolicyView {
    /// The name under which it is configured.
    pub plugin: String,
    /// Which component.
    #[serde(flatten)]
    pub policy: PolicyRef,
    /// Who signed it, where a signature is demanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
}

/// A tunnel of `GET /v1/tunnels`.
#[derive(Debug, Serialize)]
pub struct TunnelView {
    /// Its id, and the `[ref …]` that users see.
    pub forward: String,
    /// The session that carries it.
    pub session: String,
    /// Whose it is.
    pub user: String,
    /// Connect or accept.
    pub action: Action,
    /// As the client named it.
    pub requested: Requested,
    /// Where it goes.
    pub effective: Endpoint,
    /// The address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialled: Option<SocketAddr>,
    /// Bytes from the client to the target.
    pub bytes_up: u64,
    /// Bytes from the target to the client.
    pub bytes_down: u64,
    /// The terms on which it was allowed.
    pub terms: Terms,
}

/// A listener of `GET /v1/listeners`.
pub type ListenerView = TunnelView;

impl From<&Forward> for TunnelView {
    fn from(forward: &Forward) -> Self {
        let request = &forward.request;
        let (bytes_up, bytes_down) = forward.bytes.both();
        Self {
            forward: request.id.clone(),
            session: request.connection.id.clone(),
            user: request.principal.user.clone(),
            action: request.action,
            requested: request.requested.clone(),
            effective: forward.effective.clone(),
            dialled: forward.dialled,
            bytes_up,
            bytes_down,
            terms: forward.terms.clone(),
        }
    }
}

/// `POST /v1/close`.
#[derive(Debug, Serialize)]
pub struct Closed {
    /// What was closed, or would be in a dry run, by id.
    pub closed: Vec<String>,
}

/// `POST /v1/reload`.
#[derive(Debug, Default, Serialize)]
pub struct Reloaded {
    /// Keys and policies that are in force now.
    pub applied: Vec<&'static str>,
    /// Keys that have changed and take effect after a restart.
    pub needs_restart: Vec<&'static str>,
}

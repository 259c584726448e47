//! The JSON that the administration interface returns: `snake_case` keys, the same as in the audit log. Unknown facts are absent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::openapi::shapes;
use crate::locks::Lock;
use crate::policy::PolicyRef;
use crate::request::{Action, Endpoint, Requested, Terms, printable};
use crate::sessions::{Forward, Session};

/// `GET /v1/status`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Status {
    /// The program's version.
    pub version: &'static str,
    /// The process that serves.
    pub process: u32,
    /// When it began to serve.
    #[serde(serialize_with = "shown")]
    pub started: Timestamp,
    /// Where clients connect.
    #[schema(value_type = Vec<String>)]
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
    /// How far the system confines the process.
    pub hardening: Hardening,
}

/// How far the system confines the process, as the kernel says.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Hardening {
    /// No program that it starts can have more rights than it has itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub no_new_privs: Option<bool>,
    /// Which system calls are left: `off` (all), `filter` or `strict`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub seccomp: Option<&'static str>,
    /// Effective capabilities, a bit mask in hexadecimal (capabilities(7)).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub capabilities: Option<String>,
}

/// RFC 3339, as in the audit log.
pub(super) fn shown<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

pub(super) fn shown_or_none<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => shown(time, serializer),
        None => serializer.serialize_none(),
    }
}

/// The state of the audit log.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Audit)]
pub(crate) struct AuditView {
    /// False while new forwards are refused because it cannot be written.
    pub writable: bool,
    /// Lines that are not written yet.
    pub pending: usize,
}

/// A policy that decides.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Policy)]
pub(crate) struct PolicyView {
    /// The name under which it is configured.
    pub plugin: String,
    /// Which component.
    #[serde(flatten)]
    #[schema(value_type = shapes::PolicyRef)]
    pub policy: PolicyRef,
    /// Who signed it, where a signature is demanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub signer: Option<String>,
    /// Its number among the generations of the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub generation: Option<u64>,
    /// Since when it decides.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_or_none")]
    #[schema(nullable = false)]
    pub since: Option<Timestamp>,
    /// The candidate that is asked beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::PolicyRef>, nullable = false)]
    pub shadow: Option<PolicyRef>,
    /// When it is taken back unless somebody confirms it before.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "shown_or_none")]
    #[schema(nullable = false)]
    pub confirm_by: Option<Timestamp>,
}

/// A tunnel of `GET /v1/tunnels`, or a listener of `GET /v1/listeners`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tunnel)]
pub(crate) struct TunnelView {
    /// Its id, and the `[ref …]` that users see.
    pub forward: String,
    /// The session that carries it.
    pub session: String,
    /// Whose it is.
    pub user: String,
    /// Connect or accept.
    #[schema(value_type = shapes::Action)]
    pub action: Action,
    /// As the client named it.
    #[schema(value_type = String)]
    pub requested: Requested,
    /// Where it goes.
    #[schema(value_type = String)]
    pub effective: Endpoint,
    /// The address that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, nullable = false)]
    pub dialled: Option<SocketAddr>,
    /// Since when it is open.
    #[serde(serialize_with = "shown")]
    pub since: Timestamp,
    /// Bytes from the client to the target.
    pub bytes_up: u64,
    /// Bytes from the target to the client.
    pub bytes_down: u64,
    /// Bytes in a second from the client to the target, since somebody last looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rate_up: Option<u64>,
    /// The same from the target to the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub rate_down: Option<u64>,
    /// The policy that decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<shapes::PolicyRef>, nullable = false)]
    pub policy: Option<PolicyRef>,
    /// The terms on which it was allowed.
    #[schema(value_type = shapes::Terms)]
    pub terms: Terms,
    /// What the policy said of it for those who watch.
    pub tags: BTreeMap<String, String>,
}

/// A session of `GET /v1/sessions`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    /// Its id.
    pub session: String,
    /// Whose it is.
    pub user: String,
    /// The user's groups now.
    pub groups: Vec<String>,
    /// How the user logged in.
    pub method: String,
    /// Of the key or certificate.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub fingerprint: Option<String>,
    /// The client's address.
    #[schema(value_type = String)]
    pub client: SocketAddr,
    /// The client's program, as it says.
    pub software: String,
    /// Since when it is open.
    #[serde(serialize_with = "shown")]
    pub since: Timestamp,
    /// Open tunnels.
    pub tunnels: usize,
    /// Open listeners.
    pub listeners: usize,
    /// Bytes from the client to its targets, also through tunnels that have ended.
    pub bytes_up: u64,
    /// Bytes from its targets to the client.
    pub bytes_down: u64,
}

impl SessionView {
    /// A session with what it has open.
    pub(super) fn new(session: &Session, open: &[Arc<Forward>]) -> Self {
        let principal = session.principal();
        let connection = &session.connection;
        let listeners = open
            .iter()
            .filter(|forward| forward.request.action == Action::Listen)
            .count();
        let mut bytes = session.past();
        for forward in open {
            let (up, down) = forward.bytes.both();
            bytes = (bytes.0 + up, bytes.1 + down);
        }
        Self {
            session: connection.id.clone(),
            user: principal.user.clone(),
            groups: principal.groups.clone(),
            method: principal.credential.method.clone(),
            fingerprint: principal.credential.fingerprint.clone(),
            client: connection.client,
            software: printable(&connection.software, MAX_SOFTWARE),
            since: connection.since,
            tunnels: open.len() - listeners,
            listeners,
            bytes_up: bytes.0,
            bytes_down: bytes.1,
        }
    }
}

/// RFC 4253, section 4.2: a version line has 255 characters at most.
const MAX_SOFTWARE: usize = 255;

impl TunnelView {
    /// A tunnel with its rate at this moment, if that is known.
    pub(super) fn new(forward: &Forward, rate: Option<(u64, u64)>) -> Self {
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
            since: forward.since,
            bytes_up,
            bytes_down,
            rate_up: rate.map(|rate| rate.0),
            rate_down: rate.map(|rate| rate.1),
            policy: forward.policy.clone(),
            tags: forward.tags.clone(),
            terms: forward.terms.clone(),
        }
    }
}

/// `POST /v1/close`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Closed {
    /// The tunnels and listeners that were closed, or would be in a dry run, by id.
    pub closed: Vec<String>,
    /// The sessions that were ended with them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<String>,
}

impl Closed {
    pub(super) fn new(forwards: &[Arc<Forward>], sessions: &[Arc<Session>]) -> Self {
        Self {
            closed: forwards.iter().map(|forward| forward.request.id.clone()).collect(),
            sessions: sessions.iter().map(|session| session.connection.id.clone()).collect(),
        }
    }
}

/// `PUT /v1/locks/{user}`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Locked {
    /// The lock.
    #[serde(flatten)]
    #[schema(value_type = shapes::Lock)]
    pub lock: Lock,
    /// What was closed with it.
    #[serde(flatten)]
    pub closed: Closed,
}

/// `POST /v1/reload`.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Reloaded {
    /// Keys and policies that are in force now.
    pub applied: Vec<&'static str>,
    /// Keys that have changed and take effect after a restart.
    pub needs_restart: Vec<&'static str>,
}

/// `POST /v1/drain`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Draining {
    /// True: it has begun.
    pub(super) draining: bool,
}

/// `DELETE /v1/locks/{user}`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Unlocked {
    /// The user.
    pub(super) unlocked: String,
}

/// `GET` and `PUT /v1/log-level`.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LogLevel {
    /// Which lines the log has, as in `RUST_LOG`; null if this process writes no log.
    pub(super) filter: Option<String>,
}

//! The administration interface: lets permitted users see and steer a running gateway over HTTP.
//!
//! Two listeners, both HTTP/1.1. The control socket is a Unix socket (`socket.rs`); it admits by peer credentials (`peer.rs`) and
//! serves `/v1/…` (`routes.rs`). The monitoring listener is TCP, read-only, and serves `/metrics` (`monitoring.rs`), the status page
//! (`page.rs`), `/healthz` and `/readyz` (`health.rs`). Both are bounded in connections and in time (`serve.rs`), so that a slow or
//! rude client takes nothing from users who forward.
//!
//! The room knows which requests a gateway supports ([`Steered`]), and nothing about how they are done. It must not know SSH or
//! policies. Invariant: a request on the control socket is served only after its peer was admitted, and every change is in the audit
//! log with the user who asked for it.

mod close;
mod events;
mod everywhere;
mod filter;
mod follow;
mod health;
mod lists;
mod locks;
mod log_level;
mod monitoring;
mod openapi;
mod page;
mod peer;
mod policies;
mod publish;
mod relatives;
mod routes;
mod serve;
mod socket;
mod thread;
mod time;
mod token;
mod view;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::events::Events;
use crate::fleet::Fleet;
use crate::history::History;
use crate::locks::Locks;
use crate::sessions::Sessions;
use tokio_util::task::TaskTracker;

pub(crate) use everywhere::obey;
pub(crate) use health::Unready;
pub(crate) use peer::Admins;
pub(crate) use policies::{
    Declined, DiffView, DifferencesView, ExampleView, GateView, GatesView, GenerationView, GroupView, Load, PluginView,
    QuarantinedView, Rollout, UserView, settings_that_differ,
};
pub(crate) use relatives::Relatives;
pub(crate) use serve::{Until, control, monitor};
pub(crate) use socket::{ControlSocket, Ownership, SocketError, remove as remove_socket};
pub(crate) use thread::Thread;
pub(crate) use token::Token;
pub(crate) use view::{AuditView, Hardening, PolicyView, Reloaded, Status};

/// What can be asked of a running gateway.
pub(crate) trait Steered: Rollout {
    /// What `GET /v1/status` answers.
    fn status(&self) -> Status;
    /// Why the gateway should get no new clients; empty while it is ready.
    fn unready(&self) -> Vec<Unready>;
    /// What is not as it should be, in words, although the gateway is ready.
    fn remarks(&self) -> Vec<String>;
    /// What `GET /metrics` answers: all metrics of this moment, of the type [`CONTENT_TYPE`](crate::metrics::CONTENT_TYPE).
    fn metrics(&self) -> String;
    /// What the status page shows of the past.
    fn history(&self) -> &History;
    /// What is open.
    fn sessions(&self) -> &Sessions;
    /// Who is locked out.
    fn locks(&self) -> &Locks;
    /// The fleet, if this gateway belongs to one.
    fn fleet(&self) -> Option<&Fleet>;
    /// Where what goes on without the administrator runs.
    fn tasks(&self) -> &TaskTracker;
    /// Where changes are announced.
    fn events(&self) -> &Events;
    /// Reads configuration, keys and policies again; or says what keeps that from applying.
    fn reload(self: Arc<Self>) -> impl Future<Output = Result<Reloaded, String>> + Send;
    /// Says what that would do, and does nothing of it.
    fn rehearse(self: Arc<Self>) -> impl Future<Output = Result<Reloaded, String>> + Send;
    /// Begins to drain, as SIGTERM does; `patience` replaces `limits.drain-timeout`.
    fn drain(&self, patience: Option<Duration>);
}

//! The user's side of a session, and what all of its requests share.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Semaphore, broadcast};

use crate::audit::{Decided, Subject};
use crate::auth::ForwardLimits;
use crate::config::Limits;
use crate::judgement::{Question, Verdicts};
use crate::names::places_of_one;
use crate::registry::Stop;
use crate::request::{Action, Connection, Principal, Requested, new_id};

/// The user's side of a session, shared by its requests.
pub struct Visit {
    /// Who.
    pub principal: Arc<Principal>,
    /// From where.
    pub connection: Arc<Connection>,
    /// What the key or certificate permits.
    pub limits: Arc<ForwardLimits>,
    /// For the audit log.
    pub subject: Subject,
    /// Ends with the session.
    pub stop: Stop,
    /// What is decided, for the status channel.
    news: OnceLock<broadcast::Sender<Arc<News>>>,
    verdicts: Arc<Verdicts>,
    names: Arc<Semaphore>,
    carried: AtomicUsize,
    pub(super) tunnels: Arc<Semaphore>,
    most_tunnels: usize,
    pub(super) listeners: Arc<Semaphore>,
}

/// One decision, as the status channel shows it.
pub struct News {
    /// What was decided.
    pub decided: Decided,
    /// The sentence for the user, of a refusal.
    pub sentence: Option<String>,
    /// The audit log's `forward`.
    pub forward: String,
}

impl Visit {
    /// A session of this user.
    #[must_use]
    pub fn new(principal: Principal, connection: Connection, limits: ForwardLimits, ceilings: &Limits) -> Self {
        Self {
            subject: Subject {
                session: Some(connection.id.clone()),
                user: Some(principal.user.clone()),
                client: Some(connection.client),
                forward: None,
            },
            principal: Arc::new(principal),
            connection: Arc::new(connection),
            limits: Arc::new(limits),
            stop: Stop::default(),
            news: OnceLock::new(),
            verdicts: Arc::default(),
            names: places_of_one(),
            carried: AtomicUsize::new(0),
            tunnels: Arc::new(Semaphore::new(ceilings.tunnels_per_session)),
            most_tunnels: ceilings.tunnels_per_session,
            listeners: Arc::new(Semaphore::new(ceilings.listeners_per_session)),
        }
    }

    /// What is decided from now on.
    pub fn follow(&self) -> broadcast::Receiver<Arc<News>> {
        self.news.get_or_init(|| broadcast::channel(NEWS).0).subscribe()
    }

    /// Tells those who follow.
    pub(super) fn tell(&self, news: impl FnOnce() -> News) {
        if let Some(followed) = self.news.get().filter(|followed| followed.receiver_count() > 0) {
            let _ = followed.send(Arc::new(news()));
        }
    }

    /// Tunnels that are open or asked for.
    #[must_use]
    pub fn open_tunnels(&self) -> usize {
        self.most_tunnels.saturating_sub(self.tunnels.available_permits())
    }

    /// Whether a tunnel or a status channel is open.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.open_tunnels() > 0 || self.news.get().is_some_and(|news| news.receiver_count() > 0)
    }

    /// How long the next tunnel may wait for the client to close it, once both directions are done.
    ///
    /// russh forgets a channel wholly only where the client's close comes first, and most clients close at once. But
    /// `ssh -W`, and so `-J`, waits for the server: it has one tunnel, so the first few are not kept waiting.
    pub(super) fn close_patience(&self) -> Duration {
        match self.carried.fetch_add(1, Ordering::Relaxed) {
            0..CLOSED_AT_ONCE => Duration::ZERO,
            _ => CLOSE_PATIENCE,
        }
    }

    pub(super) fn question(&self, action: Action, requested: Requested, originator: Option<SocketAddr>) -> Question {
        Question {
            id: new_id("f"),
            action,
            requested,
            listener: None,
            originator,
            principal: Arc::clone(&self.principal),
            connection: Arc::clone(&self.connection),
            limits: Arc::clone(&self.limits),
            dry_run: false,
            again: None,
            verdicts: Some(Arc::clone(&self.verdicts)),
            names: Arc::clone(&self.names),
        }
    }
}

/// Decisions that a slow status channel may fall behind.
const NEWS: usize = 64;
/// Tunnels of a session that do not wait for the client's close.
const CLOSED_AT_ONCE: usize = 4;
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);

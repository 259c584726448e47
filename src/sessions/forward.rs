//! A tunnel or listener that is open.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{Session, Stop};
use crate::auth::ForwardLimits;
use crate::judgement::Allowed;
use crate::request::{Endpoint, ForwardRequest, Terms};

/// A tunnel or listener that is open. It keeps of what was allowed only what it needs: not the policies that were in force.
pub struct Forward {
    /// Whose it is, and what that login gives now.
    pub session: Arc<Session>,
    /// What was asked.
    pub request: Arc<ForwardRequest>,
    /// Where it goes or listens.
    pub effective: Endpoint,
    /// What was dialled, of a tunnel.
    pub dialled: Option<SocketAddr>,
    /// What the key or certificate permitted when it was allowed.
    pub limits: Arc<ForwardLimits>,
    /// The terms it was allowed on.
    pub terms: Terms,
    /// Since when it is open.
    pub since: Timestamp,
    /// How to end it.
    pub stop: Stop,
    /// Tells its task that it could not be decided again, so that the task asks once more after a pause.
    pub doubt: Notify,
    /// Bytes so far.
    pub bytes: Bytes,
}

impl Forward {
    /// What was allowed is open from now on.
    #[must_use]
    pub fn new(session: &Arc<Session>, allowed: &Allowed) -> Self {
        Self {
            session: Arc::clone(session),
            request: Arc::clone(&allowed.request),
            effective: allowed.effective.clone(),
            dialled: None,
            limits: Arc::clone(&allowed.limits),
            terms: allowed.terms.clone(),
            since: Timestamp::now(),
            stop: Stop::default(),
            doubt: Notify::new(),
            bytes: Bytes::default(),
        }
    }
}

/// Bytes that passed.
#[derive(Default)]
pub struct Bytes {
    /// From the client to the target.
    pub up: AtomicU64,
    /// From the target to the client.
    pub down: AtomicU64,
}

impl Bytes {
    /// Both directions.
    #[must_use]
    pub fn total(&self) -> u64 {
        let (up, down) = self.both();
        up + down
    }

    /// Up and down.
    #[must_use]
    pub fn both(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    /// Adds what passed elsewhere.
    pub(super) fn add(&self, (up, down): (u64, u64)) {
        self.up.fetch_add(up, Ordering::Relaxed);
        self.down.fetch_add(down, Ordering::Relaxed);
    }
}

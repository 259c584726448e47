//! A tunnel or listener that is open.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{Session, Stop};
use crate::auth::ForwardLimits;
use crate::judgement::Allowed;
use crate::outbound::Proxy;
use crate::policy::PolicyRef;
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
    /// Through which proxy its target was reached; none where it was connected to directly.
    pub(crate) through: Option<Arc<Proxy>>,
    /// The policy that decided; none where no policy was asked.
    pub policy: Option<PolicyRef>,
    /// What it said of the forward for those who watch.
    pub tags: BTreeMap<String, String>,
    /// Since when it is open.
    pub since: Timestamp,
    /// How to end it.
    pub stop: Stop,
    /// Tells its task that it could not be decided again, so that the task asks once more after a pause.
    pub doubt: Notify,
    /// Bytes so far.
    pub bytes: Bytes,
    /// The last look at its rate.
    pub(super) look: Mutex<Option<Look>>,
}

/// What was seen when somebody asked for the rate.
pub(super) struct Look {
    at: Instant,
    bytes: (u64, u64),
    rate: Option<(u64, u64)>,
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
            through: allowed.through.clone(),
            policy: allowed.policy.clone(),
            tags: allowed.tags.clone(),
            since: Timestamp::now(),
            stop: Stop::default(),
            doubt: Notify::new(),
            bytes: Bytes::default(),
            look: Mutex::default(),
        }
    }

    /// A tunnel to this address.
    #[must_use]
    pub fn dialled(self, dialled: Option<SocketAddr>) -> Self {
        Self { dialled, ..self }
    }

    /// A listener here, which is ended like this.
    #[must_use]
    pub fn listening(self, effective: Endpoint, stop: Stop) -> Self {
        Self {
            effective,
            stop,
            ..self
        }
    }

    /// Bytes in a second, up and down, since this was last asked. None where that was never, too long ago ([`STALE`]) or only
    /// just ([`SHORTEST`]) and nothing was known then: ask again in a moment. Nothing is measured while nobody asks.
    pub fn rate(&self, now: Instant) -> Option<(u64, u64)> {
        let bytes = self.bytes.both();
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        let last = look
            .take()
            .filter(|last| now.saturating_duration_since(last.at) < STALE);
        let Some(last) = last else {
            *look = Some(Look {
                at: now,
                bytes,
                rate: None,
            });
            return None;
        };
        let passed = now.saturating_duration_since(last.at);
        let next = match passed < SHORTEST {
            true => last,
            false => {
                let rate = |new: u64, old: u64| (new.saturating_sub(old) as f64 / passed.as_secs_f64()) as u64;
                let rate = (rate(bytes.0, last.bytes.0), rate(bytes.1, last.bytes.1));
                Look {
                    at: now,
                    bytes,
                    rate: Some(rate),
                }
            }
        };
        look.insert(next).rate
    }
}

/// A rate is of at least so long.
pub(crate) const SHORTEST: Duration = Duration::from_millis(200);
/// A rate of longer than this would not be that of now.
const STALE: Duration = Duration::from_secs(10);

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

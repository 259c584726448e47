//! How long a tunnel may live, and how long it may do nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::request::Cause;
use crate::sessions::Forward;

/// How long a tunnel may do nothing.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// With bytes for a target that takes none.
    pub stall: Option<Duration>,
    /// With both directions done, for the client to close its side.
    pub close: Duration,
}

/// When a tunnel has to end: how old it is, and when something last passed.
pub(super) struct Deadlines {
    began: Instant,
    /// Milliseconds since `began`.
    last: AtomicU64,
    last_up: AtomicU64,
    waiting: AtomicU64,
}

impl Deadlines {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            last_up: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn progress(&self) {
        let now = self.now();
        self.last.store(now, Ordering::Relaxed);
        self.last_up.store(now, Ordering::Relaxed);
    }

    pub(super) fn progress_down(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// The rate limit, not the target, keeps bytes waiting.
    pub(super) fn excuse(&self) {
        self.last_up.store(self.now(), Ordering::Relaxed);
    }

    pub(super) fn waiting(&self, bytes: usize) {
        self.waiting.store(bytes as u64, Ordering::Relaxed);
    }

    /// Waits for the first time limit that is reached.
    pub(super) async fn watch(&self, forward: &Forward, patience: &Patience) -> Cause {
        let seconds = |seconds: Option<u32>| seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
        let expires = seconds(forward.terms.max_seconds).map(|limit| self.began + limit);
        let idle = match (seconds(forward.terms.idle_seconds), patience.idle) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        loop {
            let at = |millis: &AtomicU64| self.began + Duration::from_millis(millis.load(Ordering::Relaxed));
            let idles = idle.map(|idle| at(&self.last) + idle);
            let waits = self.waiting.load(Ordering::Relaxed) > 0;
            let stalls = patience
                .stall
                .map(|stall| if waits { at(&self.last_up) } else { Instant::now() } + stall);
            let next = [expires, idles, stalls].into_iter().flatten().min();
            let Some(next) = next else {
                return std::future::pending().await;
            };
            let now = Instant::now();
            if expires.is_some_and(|when| when <= now) {
                return Cause::Expired;
            }
            if idles.is_some_and(|when| when <= now) {
                return Cause::Idle;
            }
            if waits && stalls.is_some_and(|when| when <= now) {
                return Cause::Stalled;
            }
            sleep_until(next).await;
        }
    }
}

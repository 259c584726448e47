//! The clock for `state`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What `state` takes for the present.
#[derive(Clone, Default)]
pub enum Clock {
    /// The clock of this machine.
    #[default]
    Running,
    /// Stands still until it is set: for decisions of another time.
    Set(SetClock),
}

/// A clock that stands still until it is set; all clones show the same.
#[derive(Clone)]
pub struct SetClock {
    began: Instant,
    past: Arc<AtomicU64>,
}

impl Clock {
    pub(in crate::policy) fn now(&self) -> Instant {
        match self {
            Self::Running => Instant::now(),
            Self::Set(clock) => clock.began + Duration::from_millis(clock.past.load(Ordering::Acquire)),
        }
    }
}

impl SetClock {
    /// Sets it to so many milliseconds after its beginning; it never goes back.
    pub fn set(&self, millis: u64) {
        self.past.fetch_max(millis, Ordering::AcqRel);
    }
}

impl Default for SetClock {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            past: Arc::default(),
        }
    }
}

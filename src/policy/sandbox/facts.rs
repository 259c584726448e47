//! The data behind the host interfaces.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;

use super::recorder::Recorder;
use super::state::{Clock, Remembers, State};
use crate::request::Fact;

/// Answers how many tunnels and listeners a user has open.
pub type OpenForwards = Arc<dyn Fn(&str) -> u32 + Send + Sync>;

/// Counts over several gateways.
pub trait CountsElsewhere: Send + Sync {
    /// How many tunnels and listeners a user has open on all of them. Those of gateways that cannot be asked are left out.
    fn open_forwards<'a>(&'a self, user: &'a str) -> BoxFuture<'a, u32>;
}

/// What the host interfaces answer from.
pub(in crate::policy) struct Facts {
    pub(in crate::policy) state: Arc<dyn Remembers>,
    pub(in crate::policy) configured: Vec<(String, Fact)>,
    pub(in crate::policy) open_forwards: OpenForwards,
    /// Asked in its place where several gateways count together.
    pub(in crate::policy) counted_elsewhere: Option<Arc<dyn CountsElsewhere>>,
    /// Of `state`.
    pub(in crate::policy) clock: Clock,
    /// Only set where nothing serves.
    pub(in crate::policy) recorder: Option<Arc<Recorder>>,
}

impl Facts {
    /// The same, but nothing that is remembered: for a decision that nobody asked for.
    pub(in crate::policy) fn without_state(&self) -> Self {
        Self {
            state: Arc::new(State::default()),
            configured: self.configured.clone(),
            open_forwards: Arc::clone(&self.open_forwards),
            counted_elsewhere: self.counted_elsewhere.clone(),
            clock: self.clock.clone(),
            recorder: self.recorder.clone(),
        }
    }

    /// The same with state and counts that are shared with other gateways.
    pub(in crate::policy) fn sharing(&self, state: Arc<dyn Remembers>, counts: Arc<dyn CountsElsewhere>) -> Self {
        Self {
            state,
            configured: self.configured.clone(),
            open_forwards: Arc::clone(&self.open_forwards),
            counted_elsewhere: Some(counts),
            clock: self.clock.clone(),
            recorder: self.recorder.clone(),
        }
    }

    /// The same for an instance that nobody looks at.
    pub(in crate::policy) fn unrecorded(&self) -> Self {
        Self {
            state: Arc::clone(&self.state),
            configured: self.configured.clone(),
            open_forwards: Arc::clone(&self.open_forwards),
            counted_elsewhere: self.counted_elsewhere.clone(),
            clock: self.clock.clone(),
            recorder: None,
        }
    }

    /// The clock of `state`.
    pub(super) fn now(&self) -> Instant {
        self.recorder
            .as_ref()
            .map_or_else(|| self.clock.now(), |recorder| recorder.now())
    }
}

//! The data behind the host interfaces.

use std::sync::Arc;
use std::time::Instant;

use super::recorder::Recorder;
use super::state::{Clock, State};
use crate::request::Fact;

/// Answers how many tunnels and listeners a user has open.
pub type OpenForwards = Arc<dyn Fn(&str) -> u32 + Send + Sync>;

/// What the host interfaces answer from.
pub(in crate::policy) struct Facts {
    pub(in crate::policy) state: Arc<State>,
    pub(in crate::policy) configured: Vec<(String, Fact)>,
    pub(in crate::policy) open_forwards: OpenForwards,
    /// Of `state`.
    pub(in crate::policy) clock: Clock,
    /// Only set where nothing serves.
    pub(in crate::policy) recorder: Option<Arc<Recorder>>,
}

impl Facts {
    /// The same, but nothing that is remembered: for a decision that nobody asked for.
    pub(in crate::policy) fn without_state(&self) -> Self {
        Self {
            state: Arc::default(),
            configured: self.configured.clone(),
            open_forwards: Arc::clone(&self.open_forwards),
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

//! The host interfaces for tools: they return what the author sets.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::names::Resolver;
use crate::policy::OpenForwards;
use crate::policy::sandbox::{Clock, Facts, Places, Recorder, State, StateError};
use crate::policy::serve::Generation;
use crate::request::Fact;

/// What the host interfaces answer.
#[derive(Clone)]
pub struct HostSide {
    /// Of `names`.
    pub resolver: Resolver,
    /// Of `state`; kept from one request to the next.
    pub state: Remembered,
    /// Of `view.fact`.
    pub facts: Vec<(String, Fact)>,
    /// Of `view.open-forwards`.
    pub open_forwards: OpenForwards,
}

/// What a policy remembers, on a clock of its own that stands still while nobody moves it.
#[derive(Clone)]
pub struct Remembered {
    state: Arc<State>,
    began: Instant,
    now: Duration,
}

impl HostSide {
    pub(super) fn facts(&self, recorder: Option<Arc<Recorder>>) -> Facts {
        Facts {
            state: self.state.state.clone(),
            configured: self.facts.clone(),
            open_forwards: Arc::clone(&self.open_forwards),
            counted_elsewhere: None,
            clock: Clock::Running,
            recorder,
        }
    }

    pub(super) fn facts_with(&self, recorder: &Arc<Recorder>) -> Arc<Facts> {
        Arc::new(self.facts(Some(Arc::clone(recorder))))
    }
}

impl Generation {
    /// The same policies where the host answers this: nothing that they do is seen by those that serve.
    #[must_use]
    pub fn before(&self, host: &HostSide) -> Arc<Self> {
        Arc::new(Self {
            loader: Arc::clone(&self.loader),
            facts: Arc::new(host.facts(None)),
            chain: self.chain.clone(),
            deadline: self.deadline,
            places: Places::new(),
            spare: Arc::clone(&self.spare),
            counts: false,
        })
    }
}

impl Default for HostSide {
    /// No name, nothing remembered, nothing open, no fact.
    fn default() -> Self {
        Self {
            resolver: Resolver::silent(),
            state: Remembered::default(),
            facts: Vec::new(),
            open_forwards: Arc::new(|_| 0),
        }
    }
}

impl Default for Remembered {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            began: Instant::now(),
            now: Duration::ZERO,
        }
    }
}

impl Remembered {
    /// Remembers a value for the policy of that name, for [`Remembered::TERM`].
    ///
    /// # Errors
    /// If a policy could not have stored it: the key or the value is too large, or all is full.
    pub fn value(&self, policy: &str, key: &str, bytes: Vec<u8>) -> Result<(), &'static str> {
        let stored = self.state.put(policy, key.to_owned(), bytes, Self::TERM, self.now());
        stored.map_err(words)
    }

    /// Remembers a counter for the policy of that name, whose window ends after [`Remembered::TERM`].
    ///
    /// # Errors
    /// As [`Remembered::value`].
    pub fn counter(&self, policy: &str, key: &str, sum: i64) -> Result<(), &'static str> {
        let counted = self.state.add(policy, key.to_owned(), sum, Self::TERM, self.now());
        counted.map(|_| ()).map_err(words)
    }

    /// Moves the clock to so much after the beginning.
    pub fn move_to(&mut self, since_the_beginning: Duration) {
        self.now = since_the_beginning;
    }

    /// How long what was told beforehand is remembered: an hour.
    pub const TERM: Duration = Duration::from_secs(3600);

    pub(super) fn now(&self) -> Instant {
        self.began.checked_add(self.now).unwrap_or(self.began)
    }
}

fn words(error: StateError) -> &'static str {
    match error {
        StateError::OverBudget => "more state than a policy may keep",
        StateError::TooLarge => "too large: a key has at most 256 bytes and a value 64 KiB",
        StateError::Unavailable => "not available",
    }
}

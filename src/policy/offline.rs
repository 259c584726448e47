//! The workbench: one component, loaded through the gates and asked on the path that serve, while
//! the host interfaces answer what they are told to answer.
//!
//! Nothing here decides anything: a [`Candidate`] is asked by a [`Generation`] of one, so what is
//! tried is what would serve.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::config::{Plugin, Source};
use crate::names::{Lookups, Resolver};
use crate::policy::load;
use crate::policy::load::Loaded;
use crate::policy::sandbox::{Clock, Facts, Meter, Observed, Places, Recorder, Sandbox, State, StateError};
use crate::policy::serve::{ForwardEnded, Generation, Spare};
use crate::policy::source::Vetted;
use crate::policy::source::component as vetted;
use crate::policy::source::lineage;
use crate::policy::{Anatomy, Compiler, Description, Failure, LoadError, OpenForwards, PolicyRef, Workshop};
use crate::request::{Fact, ForwardRequest, Verdict};

/// An engine with the bounds of one configuration, on which components are loaded.
#[derive(Clone)]
pub struct Workbench {
    sandbox: Arc<Sandbox>,
    places: Places,
    deadline: Duration,
}

/// A component that passed every gate.
pub struct Candidate {
    bench: Workbench,
    loaded: Arc<Loaded>,
    /// What was seen while it was configured and tried.
    pub observed: Observed,
}

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

/// What came of one request.
pub struct Asked {
    /// The verdict, or why there is none.
    pub verdict: Result<Verdict, Failure>,
    /// Lines, calls, fuel and memory.
    pub observed: Observed,
    /// From the request to the verdict.
    pub took: Duration,
}

/// What came of an end that a policy was told of.
pub struct Told {
    /// Whether it took it.
    pub result: Result<(), Failure>,
    /// Lines, calls, fuel and memory.
    pub observed: Observed,
}

impl Workbench {
    /// An engine whose instances may hold `memory` bytes and compute for `deadline`; components are always compiled.
    ///
    /// # Errors
    /// Where the WebAssembly engine cannot be started.
    pub fn new(memory: u64, deadline: Duration, meter: Meter) -> Result<Self, LoadError> {
        Self::with(Workshop::new(Compiler::this_program()), memory, deadline, meter)
    }

    /// As [`Workbench::new`], and components are compiled in that workshop.
    ///
    /// # Errors
    /// Where the WebAssembly engine cannot be started.
    pub fn with(workshop: Workshop, memory: u64, deadline: Duration, meter: Meter) -> Result<Self, LoadError> {
        let workshop = Arc::new(workshop);
        Ok(Self {
            sandbox: Arc::new(Sandbox::with(memory, workshop, meter)?.keeping()),
            places: Places::new(),
            deadline,
        })
    }

    /// The same engine with another deadline.
    #[must_use]
    pub fn within(&self, deadline: Duration) -> Self {
        Self {
            deadline,
            ..self.clone()
        }
    }

    /// Whether all that was loaded here had been compiled before.
    #[must_use]
    pub fn compiled_nothing(&self) -> bool {
        self.sandbox.workshop.compiled() == 0
    }

    /// Every gate that a component passes before it serves.
    ///
    /// # Errors
    /// The first gate that it does not pass.
    pub async fn load(&self, plugin: &Plugin, bytes: Vec<u8>) -> Result<Candidate, LoadError> {
        let recorder = Arc::new(Recorder::new(Instant::now()));
        let facts = HostSide::default().facts_with(&recorder);
        let loaded = load::load(&self.sandbox, &facts, plugin, Vetted::unsigned(bytes), self.deadline).await?;
        Ok(Candidate {
            bench: self.clone(),
            loaded: Arc::new(loaded),
            observed: recorder.take(),
        })
    }
}

impl Workbench {
    /// What the parts of a component are, also of one that would not load.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub async fn anatomy(&self, bytes: &Bytes) -> Result<Anatomy, LoadError> {
        self.sandbox.workshop.anatomy(bytes.clone()).await
    }

    /// What a component says of itself, before any settings.
    ///
    /// # Errors
    /// The first gate before `configure` that it does not pass.
    pub async fn describe(&self, plugin: &Plugin, bytes: Vec<u8>) -> Result<Description, LoadError> {
        let facts = Arc::new(HostSide::default().facts(None));
        load::describe(&self.sandbox, &facts, plugin, Vetted::unsigned(bytes), self.deadline).await
    }
}

impl Candidate {
    /// Its name in the configuration, version and digest.
    #[must_use]
    pub fn reference(&self) -> &PolicyRef {
        &self.loaded.reference
    }

    /// Whether it is the policy that a signed component must be to serve as this plugin.
    ///
    /// # Errors
    /// Where it calls itself otherwise.
    pub fn is_meant(&self, plugin: &Plugin) -> Result<(), LoadError> {
        lineage::check(plugin, &self.loaded.lineage, None)
    }

    /// Where it came from.
    #[must_use]
    pub fn source(&self) -> &Source {
        &self.loaded.config.component
    }

    /// The settings that it was configured with.
    #[must_use]
    pub fn settings(&self) -> &serde_json::Value {
        &self.loaded.config.settings
    }

    /// The JSON Schema of its settings.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.loaded.schema.as_deref()
    }

    /// What it says of itself in a sentence.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.loaded.summary
    }

    /// Whether decisions start from a snapshot that was taken after `configure`; otherwise each
    /// decision configures its instance first.
    #[must_use]
    pub fn is_snapshot(&self) -> bool {
        !self.loaded.configures
    }

    /// Whether it is told of ends.
    #[must_use]
    pub fn observes(&self) -> bool {
        self.loaded.observer.is_some()
    }

    /// Asks for one verdict.
    pub async fn ask(&self, request: Arc<ForwardRequest>, host: &HostSide) -> Asked {
        let recorder = Arc::new(Recorder::new(host.state.now()));
        let generation = Arc::new(self.generation(host.facts_with(&recorder)));
        let opinion = generation.decide(request, Lookups::new(host.resolver.clone())).await;
        Asked {
            verdict: opinion.verdict,
            observed: recorder.take(),
            took: opinion.took,
        }
    }

    /// Tells it of an end, as the gateway does; only where it [observes](Self::observes) anything comes of it.
    pub async fn tell(&self, ended: &ForwardEnded, host: &HostSide) -> Told {
        let recorder = Arc::new(Recorder::new(host.state.now()));
        let generation = self.generation(host.facts_with(&recorder));
        let _running = generation.sandbox.running();
        let result = generation.told(&self.loaded, ended).await;
        Told {
            result,
            observed: recorder.take(),
        }
    }

    /// A chain of this one component, exactly as it would serve; nothing is recorded.
    #[must_use]
    pub fn serving(&self, host: &HostSide) -> Arc<Generation> {
        Arc::new(self.generation(Arc::new(host.facts(None))))
    }

    fn generation(&self, facts: Arc<Facts>) -> Generation {
        Generation {
            sandbox: Arc::clone(&self.bench.sandbox),
            facts,
            chain: vec![Arc::clone(&self.loaded)],
            deadline: self.bench.deadline,
            places: self.bench.places.clone(),
            spare: Arc::new(Spare::here()),
        }
    }
}

impl HostSide {
    fn facts(&self, recorder: Option<Arc<Recorder>>) -> Facts {
        Facts {
            state: Arc::clone(&self.state.state),
            configured: self.facts.clone(),
            open_forwards: Arc::clone(&self.open_forwards),
            clock: Clock::Running,
            recorder,
        }
    }

    fn facts_with(&self, recorder: &Arc<Recorder>) -> Arc<Facts> {
        Arc::new(self.facts(Some(Arc::clone(recorder))))
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
    /// Where a policy could not have stored it: the key or the value is too large, or all is full.
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

    fn now(&self) -> Instant {
        self.began.checked_add(self.now).unwrap_or(self.began)
    }
}

fn words(error: StateError) -> &'static str {
    match error {
        StateError::OverBudget => "more than a policy may remember",
        StateError::TooLarge => "too large: a key has at most 256 bytes and a value 64 KiB",
    }
}

/// The bytes of a component, as they would be loaded.
///
/// # Errors
/// Where the file cannot be read.
pub fn component(source: &Source) -> Result<Vec<u8>, LoadError> {
    vetted::read(source)
}

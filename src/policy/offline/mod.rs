//! One component for a tool: loaded with the checks of a swap and asked as the gateway asks, while the host interfaces return
//! what the author sets.
//!
//! Nothing here decides anything: a [`Generation`] of one asks the [`Candidate`], so the test runs
//! exactly what would serve.

mod gates;
mod host;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::host::{HostSide, Remembered};

use crate::config::{Plugin, Source};
use crate::names::Lookups;
use crate::policy::load::{self, Loaded, Loader};
use crate::policy::sandbox::{Facts, Meter, Observed, Places, Recorder};
use crate::policy::serve::{ForwardEnded, Generation, Spare};
use crate::policy::source::{Component, Vetted};
use crate::policy::{Compiler, Description, Failure, LoadError, Parts, PolicyRef, Workshop};
use crate::request::{ForwardRequest, Verdict};

/// An engine with the bounds of one configuration, on which components are loaded.
#[derive(Clone)]
pub struct Offline {
    loader: Arc<Loader>,
    places: Places,
    deadline: Duration,
}

/// A component that passed every gate.
pub struct Candidate {
    offline: Offline,
    loaded: Arc<Loaded>,
    /// What was seen while it was configured and tried.
    pub observed: Observed,
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

impl Offline {
    /// An engine whose instances may hold `memory` bytes and compute for `deadline`; components are always compiled.
    ///
    /// # Errors
    /// If the WebAssembly engine cannot be started.
    pub fn new(memory: u64, deadline: Duration, meter: Meter) -> Result<Self, LoadError> {
        Self::with(Workshop::new(Compiler::this_program()), memory, deadline, meter)
    }

    /// As [`Offline::new`], and components are compiled in that workshop.
    ///
    /// # Errors
    /// If the WebAssembly engine cannot be started.
    pub fn with(workshop: Workshop, memory: u64, deadline: Duration, meter: Meter) -> Result<Self, LoadError> {
        let workshop = Arc::new(workshop);
        Ok(Self {
            loader: Arc::new(Loader::new(memory, workshop, meter)?.remembering()),
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
        self.loader.workshop.compiled() == 0
    }

    /// Every gate that a component passes before it serves, but that of its signature.
    ///
    /// # Errors
    /// The first gate that it does not pass.
    pub async fn load(&self, plugin: &Plugin, component: Component) -> Result<Candidate, LoadError> {
        self.load_vetted(plugin, Vetted::unsigned(component)).await
    }

    async fn load_vetted(&self, plugin: &Plugin, vetted: Vetted) -> Result<Candidate, LoadError> {
        let recorder = Arc::new(Recorder::new(Instant::now()));
        let facts = HostSide::default().facts_with(&recorder);
        let loaded = load::load(&self.loader, &facts, plugin, vetted, self.deadline).await?;
        Ok(Candidate {
            offline: self.clone(),
            loaded: Arc::new(loaded),
            observed: recorder.take(),
        })
    }
}

impl Offline {
    /// What the parts of a component are, also of one that would not load.
    ///
    /// # Errors
    /// Why that cannot be said.
    pub async fn inspect(&self, component: &Component) -> Result<Parts, LoadError> {
        self.loader.workshop.inspect(component.clone()).await
    }

    /// What a component says of itself, before any settings.
    ///
    /// # Errors
    /// The first gate before `configure` that it does not pass.
    pub async fn describe(&self, plugin: &Plugin, component: Component) -> Result<Description, LoadError> {
        let facts = Arc::new(HostSide::default().facts(None));
        load::describe(&self.loader, &facts, plugin, Vetted::unsigned(component), self.deadline).await
    }
}

impl Candidate {
    /// Its name in the configuration, version and digest.
    #[must_use]
    pub fn reference(&self) -> &PolicyRef {
        &self.loaded.reference
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
        let _running = generation.loader.sandbox.running();
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
            loader: Arc::clone(&self.offline.loader),
            facts,
            chain: vec![Arc::clone(&self.loaded)],
            deadline: self.offline.deadline,
            places: self.offline.places.clone(),
            spare: Arc::new(Spare::here()),
            counts: false,
        }
    }
}

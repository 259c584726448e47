//! The policies in force at one moment, and a view of them.

use std::sync::Arc;
use std::time::Duration;

use super::spare::Spare;
use crate::policy::load::{Counts, Loaded, Loader, Step};
use crate::policy::pool::Pooled;
use crate::policy::sandbox::{Facts, Places};
use crate::policy::{CountsElsewhere, Identity, Installed, PolicyRef, Remembers};

/// The policies in force at one moment; never changed, only replaced.
pub struct Generation {
    pub(in crate::policy) loader: Arc<Loader>,
    pub(in crate::policy) facts: Arc<Facts>,
    pub(in crate::policy) chain: Vec<Arc<Loaded>>,
    pub(in crate::policy) deadline: Duration,
    pub(in crate::policy) places: Places,
    pub(in crate::policy) spare: Arc<Spare>,
    /// Whether its decisions are counted, because somebody waits for them.
    pub(in crate::policy) counts: bool,
}

impl Generation {
    /// Whether the thread runs that interrupts its guests at their deadlines.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.loader.sandbox.interrupts()
    }

    /// Whether the thread runs that makes instances ahead.
    #[must_use]
    pub fn is_refilled(&self) -> bool {
        self.loader.refill.runs()
    }

    /// The same policies, with state and counts that are shared with other gateways. So do all that follow it; what decides
    /// nothing, such as shadows, trials and replays, has a state of its own as before.
    #[must_use]
    pub fn sharing(&self, state: Arc<dyn Remembers>, counts: Arc<dyn CountsElsewhere>) -> Self {
        Self {
            facts: Arc::new(self.facts.sharing(state, counts)),
            ..self.of(self.chain.clone())
        }
    }

    /// Whether a call of `state` may have to wait for another machine.
    pub(super) fn remembers_elsewhere(&self) -> bool {
        self.facts.state.is_elsewhere()
    }

    /// The policies of this generation, in order.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyRef> {
        self.chain.iter().map(|loaded| &loaded.reference)
    }

    /// The same policies for requests that nobody waits for: with places and threads of their own, and nothing that is remembered
    /// so far, so that what they do is not seen by those that serve.
    pub(super) fn apart(&self, spare: &Arc<Spare>) -> Arc<Self> {
        Arc::new(Self {
            loader: Arc::clone(&self.loader),
            facts: Arc::new(self.facts.without_state()),
            chain: self.chain.clone(),
            deadline: self.deadline,
            places: Places::new(),
            spare: Arc::clone(spare),
            counts: false,
        })
    }

    /// The same, with this plugin as it is in `other`; none where they do not run on the same engine.
    #[must_use]
    pub fn with(&self, other: &Self, plugin: &str) -> Option<Arc<Self>> {
        let replacement = other
            .loaded(plugin)
            .filter(|_| Arc::ptr_eq(&self.loader, &other.loader))?;
        let mut chain = self.chain.clone();
        let place = chain.iter_mut().find(|loaded| loaded.reference.name == plugin)?;
        *place = Arc::clone(replacement);
        Some(Arc::new(self.of(chain)))
    }

    /// The same with another chain.
    pub(super) fn of(&self, chain: Vec<Arc<Loaded>>) -> Self {
        Self {
            loader: Arc::clone(&self.loader),
            facts: Arc::clone(&self.facts),
            chain,
            deadline: self.deadline,
            places: self.places.clone(),
            spare: Arc::clone(&self.spare),
            counts: self.counts,
        }
    }

    /// What was loaded under this name.
    pub(in crate::policy) fn loaded(&self, plugin: &str) -> Option<&Arc<Loaded>> {
        self.chain.iter().find(|loaded| loaded.reference.name == plugin)
    }

    /// Its component and settings.
    #[must_use]
    pub fn identity_of(&self, plugin: &str) -> Option<Identity> {
        self.loaded(plugin).map(|loaded| loaded.identity())
    }

    /// SHA-256 of its component, hexadecimal.
    #[must_use]
    pub fn sha256_of(&self, plugin: &str) -> Option<String> {
        self.loaded(plugin).map(|loaded| loaded.reference.sha256.clone())
    }

    /// What it has decided so far.
    pub(crate) fn counts_of(&self, plugin: &str) -> Option<Arc<Counts>> {
        self.loaded(plugin).map(|loaded| Arc::clone(&loaded.counts))
    }

    /// How long each step of loading it took.
    #[must_use]
    pub fn steps_of(&self, plugin: &str) -> Vec<(Step, Duration)> {
        self.loaded(plugin)
            .map(|loaded| loaded.steps.clone())
            .unwrap_or_default()
    }

    /// What it imports.
    #[must_use]
    pub fn imports_of(&self, plugin: &str) -> &[String] {
        self.loaded(plugin)
            .map(|loaded| loaded.imports.as_slice())
            .unwrap_or_default()
    }

    /// The settings of a policy, as JSON.
    #[must_use]
    pub fn settings_of(&self, plugin: &str) -> Option<&str> {
        self.loaded(plugin).map(|loaded| loaded.settings.as_str())
    }

    /// The policies of this generation, in order, with who signed them.
    pub fn installed(&self) -> impl Iterator<Item = Installed> {
        self.chain.iter().map(|loaded| loaded.installed())
    }

    /// What each policy says of itself: its summary and the JSON Schema of its settings.
    pub fn descriptions(&self) -> impl Iterator<Item = (&PolicyRef, &str, Option<&str>)> {
        self.chain
            .iter()
            .map(|loaded| (&loaded.reference, loaded.summary.as_str(), loaded.schema.as_deref()))
    }

    /// The policies of this generation, in order, with the name that each component states of itself.
    pub fn components(&self) -> impl Iterator<Item = (&PolicyRef, &str)> {
        self.chain
            .iter()
            .map(|loaded| (&loaded.reference, loaded.lineage.component.as_str()))
    }

    /// What is ready of each policy, in order.
    #[must_use]
    pub fn pooled(&self) -> Vec<Pooled> {
        let pools = self.chain.iter().filter_map(|loaded| loaded.pool.as_ref());
        pools.map(|pool| pool.pooled()).collect()
    }
}

//! Tries a component: instantiates it, asks for its description, and gives it its settings.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use wasmtime::component::{Component, Instance};

use super::loader::Loader;
use crate::config::Plugin;
use crate::names::{Lookups, Resolver};
use crate::policy::contract::{Policy, PolicyPre, observer};
use crate::policy::inspect::check_bytes;
use crate::policy::sandbox::{Facts, Guest, Label, Phase, classify, configure, store};
use crate::policy::source::{self, Vetted};
use crate::policy::{Failure, LoadError};
use crate::request::printable;
use crate::signature::Signer;

/// A component on its way through the gates.
pub(super) struct Trial<'a> {
    pub(super) loader: &'a Arc<Loader>,
    pub(super) facts: &'a Arc<Facts>,
    pub(super) config: &'a Plugin,
    pub(super) settings: String,
    pub(super) label: (Arc<str>, Arc<str>),
    pub(super) deadline: Duration,
    pub(super) signer: Option<Signer>,
    steps: Mutex<Steps>,
}

/// What loading takes its time for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// It is read, and digest and signature are as demanded.
    Read,
    /// Exports and imports are as they must be, and it compiles.
    Check,
    /// `configure` accepts the settings.
    Configure,
    /// It answers a request.
    Trial,
}

/// The steps so far, and when the last one ended.
struct Steps {
    took: BTreeMap<Step, Duration>,
    last: Instant,
}

/// What a component says of itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// Its name, which need not be the configured one.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it does, in a sentence.
    pub summary: String,
    /// The JSON Schema of its settings.
    pub schema: Option<String>,
}

/// An instance that has described itself.
pub(super) struct Instantiated {
    pub(super) described: Description,
    store: wasmtime::Store<Guest>,
    instance: Instance,
    policy: Policy,
}

impl<'a> Trial<'a> {
    /// Begins with what the bytes tell before anything is made of them, and gives the component back.
    pub(super) fn begin(
        loader: &'a Arc<Loader>,
        facts: &'a Arc<Facts>,
        config: &'a Plugin,
        vetted: Vetted,
        deadline: Duration,
    ) -> Result<(Self, source::Component), LoadError> {
        let (component, signer) = vetted.into_parts();
        check_bytes(&component, config.sha256.as_ref())?;
        let trial = Self {
            loader,
            facts,
            config,
            settings: config.settings.to_string(),
            label: (config.name.as_str().into(), component.sha256().into()),
            deadline,
            signer,
            steps: Mutex::new(Steps {
                took: BTreeMap::new(),
                last: Instant::now(),
            }),
        };
        Ok((trial, component))
    }

    /// What was done since the last time belongs to this step.
    pub(super) fn done(&self, step: Step) {
        let mut steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let took = now.duration_since(steps.last);
        *steps.took.entry(step).or_default() += took;
        steps.last = now;
    }

    /// How long each step took.
    pub(super) fn steps(&self) -> Vec<(Step, Duration)> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.took.iter().map(|(step, took)| (*step, *took)).collect()
    }

    /// A guest can wait without computing, which its own deadline does not count.
    pub(super) async fn configured_in_time(
        &self,
        component: &Component,
        pre: &PolicyPre<Guest>,
    ) -> Result<(Description, Duration, wasmtime::Store<Guest>, Instance), LoadError> {
        let configured = timeout(self.patience(), self.configured(component, pre)).await;
        configured.unwrap_or(Err(LoadError::Trial(Failure::Deadline)))
    }

    pub(super) fn patience(&self) -> Duration {
        self.deadline * CONFIGURE_FACTOR * 4 + SLACK
    }

    /// Instantiates, describes and configures once.
    async fn configured(
        &self,
        component: &Component,
        pre: &PolicyPre<Guest>,
    ) -> Result<(Description, Duration, wasmtime::Store<Guest>, Instance), LoadError> {
        let made = self.described(component, pre).await?;
        let Instantiated {
            described,
            mut store,
            instance,
            policy,
        } = made;
        let _running = self.loader.sandbox.running();
        let began = Instant::now();
        let accepted = configure(&policy, &mut store, &self.settings).await;
        let configuring = began.elapsed();
        self.done(Step::Configure);
        accepted.map_err(LoadError::Trial)?.map_err(LoadError::Settings)?;
        Ok((described, configuring, store, instance))
    }

    /// Instantiates and describes.
    pub(super) async fn described(
        &self,
        component: &Component,
        pre: &PolicyPre<Guest>,
    ) -> Result<Instantiated, LoadError> {
        let mut store = self.store(self.facts, self.deadline * CONFIGURE_FACTOR);
        self.done(Step::Check);
        let _running = self.loader.sandbox.running();
        let made = pre.instance_pre().instantiate_async(&mut store).await;
        let instance = made.map_err(|error| LoadError::Trial(classify(&error, store.data())))?;
        let policy = pre.of(&mut store, &instance).map_err(|error| LoadError::Types {
            error: format!("{error:#}"),
        })?;
        if let Some(export) = observer::find(component) {
            let fits = observer::check(&mut store, &instance, &export);
            fits.map_err(|error| LoadError::Types {
                error: format!("{error:#}"),
            })?;
        }
        let called = policy.describe(&mut store).await;
        let described = called.map_err(|error| LoadError::Trial(classify(&error, store.data())))?;
        let described = Description {
            name: printable(&described.name, 128),
            version: printable(&described.version, 64),
            summary: printable(&described.summary, 256),
            schema: described.settings_schema,
        };
        Ok(Instantiated {
            described,
            store,
            instance,
            policy,
        })
    }

    pub(super) fn store(&self, facts: &Arc<Facts>, deadline: Duration) -> wasmtime::Store<Guest> {
        let lookups = Lookups::new(Resolver::silent());
        let (facts, phase, memory) = (Arc::clone(facts), Phase::Configure, self.loader.sandbox.memory);
        let guest = Guest::new(self.label_of("configure"), phase, facts, lookups, memory, deadline);
        store(&self.loader.sandbox, guest)
    }

    pub(super) fn label_of(&self, forward: &str) -> Label {
        let (policy, digest) = self.label.clone();
        Label {
            policy,
            digest,
            forward: forward.to_owned(),
        }
    }
}

/// `configure` runs once, so it may take longer than a decision.
const CONFIGURE_FACTOR: u32 = 40;
pub(super) const SLACK: Duration = Duration::from_secs(1);

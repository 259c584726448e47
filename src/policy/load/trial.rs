//! A component on trial: it is instantiated, says what it is, and takes its settings.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;
use wasmtime::component::{Component, Instance};

use super::decide::{classify, configure, store};
use crate::config::Plugin;
use crate::names::{Lookups, Resolver};
use crate::policy::contract::{Policy, PolicyPre};
use crate::policy::sandbox::{Facts, Guest, Label, Phase, Sandbox};
use crate::policy::serve::observe;
use crate::policy::source::{Vetted, check_bytes, digest};
use crate::policy::{Failure, LoadError};
use crate::request::printable;
use crate::signature::Signer;

/// A component on its way through the gates.
pub(in crate::policy) struct Trial<'a> {
    pub(in crate::policy) sandbox: &'a Arc<Sandbox>,
    pub(in crate::policy) facts: &'a Arc<Facts>,
    pub(in crate::policy) config: &'a Plugin,
    pub(in crate::policy) settings: String,
    pub(in crate::policy) label: (Arc<str>, Arc<str>),
    pub(in crate::policy) deadline: Duration,
    pub(in crate::policy) signer: Option<Signer>,
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
pub(in crate::policy) struct Instantiated {
    pub(in crate::policy) described: Description,
    store: wasmtime::Store<Guest>,
    instance: Instance,
    policy: Policy,
}

impl<'a> Trial<'a> {
    /// Begins with what the bytes tell before anything is made of them, and gives them back.
    pub(in crate::policy) fn begin(
        sandbox: &'a Arc<Sandbox>,
        facts: &'a Arc<Facts>,
        config: &'a Plugin,
        vetted: Vetted,
        deadline: Duration,
    ) -> Result<(Self, Vec<u8>), LoadError> {
        let Vetted { bytes, signer } = vetted;
        let sha256 = digest(&bytes);
        check_bytes(&bytes, &sha256, config.sha256.as_ref())?;
        let trial = Self {
            sandbox,
            facts,
            config,
            settings: config.settings.to_string(),
            label: (config.name.as_str().into(), sha256.as_str().into()),
            deadline,
            signer,
        };
        Ok((trial, bytes))
    }

    /// A guest can wait without computing, which its own deadline does not count.
    pub(in crate::policy) async fn configured_in_time(
        &self,
        component: &Component,
        pre: &PolicyPre,
    ) -> Result<(Description, Duration, wasmtime::Store<Guest>, Instance), LoadError> {
        let configured = timeout(self.patience(), self.configured(component, pre)).await;
        configured.unwrap_or(Err(LoadError::Trial(Failure::Deadline)))
    }

    pub(in crate::policy) fn patience(&self) -> Duration {
        self.deadline * CONFIGURE_FACTOR * 4 + SLACK
    }

    /// Instantiates, describes and configures once.
    async fn configured(
        &self,
        component: &Component,
        pre: &PolicyPre,
    ) -> Result<(Description, Duration, wasmtime::Store<Guest>, Instance), LoadError> {
        let made = self.described(component, pre).await?;
        let Instantiated {
            described,
            mut store,
            instance,
            policy,
        } = made;
        let _running = self.sandbox.running();
        let began = Instant::now();
        let accepted = configure(&policy, &mut store, &self.settings).await;
        let configuring = began.elapsed();
        accepted.map_err(LoadError::Trial)?.map_err(LoadError::Settings)?;
        Ok((described, configuring, store, instance))
    }

    /// Instantiates and describes.
    pub(in crate::policy) async fn described(
        &self,
        component: &Component,
        pre: &PolicyPre,
    ) -> Result<Instantiated, LoadError> {
        let mut store = self.store(self.facts, self.deadline * CONFIGURE_FACTOR);
        let _running = self.sandbox.running();
        let made = pre.instance_pre().instantiate_async(&mut store).await;
        let instance = made.map_err(|error| LoadError::Trial(classify(&error, store.data())))?;
        let policy = pre.of(&mut store, &instance).map_err(|error| LoadError::Types {
            error: format!("{error:#}"),
        })?;
        if let Some(export) = observe::find(component) {
            let fits = observe::check(&mut store, &instance, &export);
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

    pub(in crate::policy) fn store(&self, facts: &Arc<Facts>, deadline: Duration) -> wasmtime::Store<Guest> {
        let lookups = Lookups::new(Resolver::silent());
        let (facts, phase, memory) = (Arc::clone(facts), Phase::Configure, self.sandbox.memory);
        let guest = Guest::new(self.label_of("configure"), phase, facts, lookups, memory, deadline);
        store(self.sandbox, guest)
    }

    pub(in crate::policy) fn label_of(&self, forward: &str) -> Label {
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
pub(in crate::policy) const SLACK: Duration = Duration::from_secs(1);

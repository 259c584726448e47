use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Semaphore};

use super::decide::Loaded;
use super::engine::{DECISIONS, Sandbox};
use super::failure::LoadError;
use super::generation::Generation;
use super::host::Facts;
use super::load;
use super::state::Clock;
use super::{Installed, OpenForwards, PolicyRef, Vetted};
use crate::config;

/// The slot that holds the generation in force.
pub struct Policies {
    current: ArcSwap<Generation>,
    /// One swap at a time; those who ask do not wait for it.
    swapping: Mutex<()>,
    spare: Spare,
}

/// A swap that took place.
pub struct Swapped {
    /// What serves now.
    pub now: Installed,
    /// What served before.
    pub before: Option<PolicyRef>,
}

impl Policies {
    /// Loads every plugin of the chain.
    ///
    /// # Errors
    /// Each plugin that does not load, by its name.
    pub async fn load(config: &config::Policy, open_forwards: OpenForwards) -> Result<Self, Vec<(String, LoadError)>> {
        Self::load_by(config, open_forwards, Clock::Running).await
    }

    /// Loads every plugin of the chain; `state` goes by this clock.
    ///
    /// # Errors
    /// Each plugin that does not load, by its name.
    pub async fn load_by(
        config: &config::Policy,
        open_forwards: OpenForwards,
        clock: Clock,
    ) -> Result<Self, Vec<(String, LoadError)>> {
        let engine = |error| vec![("policy".to_owned(), error)];
        let spare = Spare::start().map_err(engine)?;
        let sandbox = Sandbox::new(config.memory).map_err(engine)?;
        let facts = Facts {
            state: Arc::default(),
            configured: facts(config),
            open_forwards,
            clock,
            recorder: None,
        };
        let generation = Generation {
            sandbox: Arc::new(sandbox),
            facts: Arc::new(facts),
            chain: Vec::new(),
            deadline: config.deadline,
            places: Arc::new(Semaphore::new(DECISIONS)),
            spare: spare.handle(),
        };
        let generation = build(generation, config, &[]).await?;
        Ok(Self {
            current: ArcSwap::from_pointee(generation),
            swapping: Mutex::new(()),
            spare,
        })
    }

    /// The generation in force. A decision that began with it ends with it.
    #[must_use]
    pub fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }

    /// Builds the whole chain anew, and switches to it if every plugin loads.
    ///
    /// # Errors
    /// Each plugin that does not load, by its name; what serves goes on serving.
    pub async fn replace(&self, config: &config::Policy) -> Result<Vec<Swapped>, Vec<(String, LoadError)>> {
        let _turn = self.swapping.lock().await;
        let old = self.current();
        let sandbox = if old.sandbox.memory == config.memory {
            Arc::clone(&old.sandbox)
        } else {
            let made = Sandbox::new(config.memory);
            Arc::new(made.map_err(|error| vec![("policy".to_owned(), error)])?)
        };
        let facts = Facts {
            state: Arc::clone(&old.facts.state),
            configured: facts(config),
            open_forwards: Arc::clone(&old.facts.open_forwards),
            clock: old.facts.clock.clone(),
            recorder: None,
        };
        let generation = Generation {
            sandbox,
            facts: Arc::new(facts),
            chain: Vec::new(),
            deadline: config.deadline,
            places: Arc::clone(&old.places),
            spare: self.spare.handle(),
        };
        let same = Arc::ptr_eq(&generation.sandbox, &old.sandbox) && generation.deadline == old.deadline;
        let kept: &[_] = if same { &old.chain } else { &[] };
        let generation = build(generation, config, kept).await?;
        let swapped = differences(&old, &generation);
        self.current.store(Arc::new(generation));
        Ok(swapped)
    }

    /// Whether exactly these bytes serve with exactly these settings.
    #[must_use]
    pub fn serves(&self, config: &config::Plugin, vetted: &Vetted) -> bool {
        let digest = vetted.digest();
        let settings = config.settings.to_string();
        let serves = |loaded: &Arc<Loaded>| {
            loaded.reference.name == config.name && loaded.reference.sha256 == digest && loaded.settings == settings
        };
        self.current().chain.iter().any(serves)
    }

    /// Replaces the plugin of that name with one made of `vetted`, if it loads.
    ///
    /// # Errors
    /// Why it does not load; what serves goes on serving.
    pub async fn replace_one(&self, config: &config::Plugin, vetted: Vetted) -> Result<Swapped, LoadError> {
        let _turn = self.swapping.lock().await;
        let old = self.current();
        let loaded = load::load(&old.sandbox, &old.facts, config, vetted, old.deadline).await?;
        let loaded = Arc::new(loaded);
        let now = loaded.installed();
        let mut chain = old.chain.clone();
        let mut before = None;
        for place in &mut chain {
            if place.reference.name == config.name {
                before = Some(place.reference.clone());
                *place = Arc::clone(&loaded);
            }
        }
        self.current.store(Arc::new(Generation {
            sandbox: Arc::clone(&old.sandbox),
            facts: Arc::clone(&old.facts),
            chain,
            deadline: old.deadline,
            places: Arc::clone(&old.places),
            spare: self.spare.handle(),
        }));
        Ok(Swapped { now, before })
    }
}

/// What is in `kept` unchanged, byte for byte and setting for setting, is not loaded again.
async fn build(
    mut generation: Generation,
    config: &config::Policy,
    kept: &[Arc<Loaded>],
) -> Result<Generation, Vec<(String, LoadError)>> {
    let mut faults = Vec::new();
    for plugin in &config.plugins {
        let loaded = match Vetted::read(plugin, config.signatures.as_ref()) {
            Ok(vetted) => {
                let digest = vetted.digest();
                let same = |one: &&Arc<Loaded>| {
                    one.config == *plugin && one.reference.sha256 == digest && one.signer == vetted.signer
                };
                if let Some(unchanged) = kept.iter().find(same) {
                    generation.chain.push(Arc::clone(unchanged));
                    continue;
                }
                load::load(
                    &generation.sandbox,
                    &generation.facts,
                    plugin,
                    vetted,
                    generation.deadline,
                )
                .await
            }
            Err(error) => Err(error),
        };
        match loaded {
            Ok(loaded) => generation.chain.push(Arc::new(loaded)),
            Err(error) => faults.push((plugin.name.clone(), error)),
        }
    }
    if faults.is_empty() { Ok(generation) } else { Err(faults) }
}

fn differences(old: &Generation, new: &Generation) -> Vec<Swapped> {
    let replaced = new
        .chain
        .iter()
        .filter(|now| !old.chain.iter().any(|before| Arc::ptr_eq(before, now)));
    replaced
        .map(|now| Swapped {
            now: now.installed(),
            before: old.policies().find(|before| before.name == now.reference.name).cloned(),
        })
        .collect()
}

fn facts(config: &config::Policy) -> Vec<(String, crate::request::Fact)> {
    config.facts.clone()
}

/// Where decisions go on that take longer than one turn.
struct Spare(Option<Runtime>);

impl Spare {
    fn start() -> Result<Self, LoadError> {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("policy")
            .thread_keep_alive(Duration::from_secs(10))
            .enable_all()
            .build();
        let runtime = runtime.map_err(|error| LoadError::Engine(format!("no threads for policies: {error}")))?;
        Ok(Self(Some(runtime)))
    }

    fn handle(&self) -> tokio::runtime::Handle {
        let runtime = self.0.as_ref().expect("it is taken only when it is dropped");
        runtime.handle().clone()
    }
}

impl Drop for Spare {
    /// A runtime must not be dropped where another one runs; this does not wait.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

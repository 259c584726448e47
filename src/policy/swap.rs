use std::sync::Arc;
use std::thread;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{Mutex, Semaphore};

use super::decide::Loaded;
use super::engine::{DECISIONS, Sandbox};
use super::failure::LoadError;
use super::generation::Generation;
use super::host::Facts;
use super::state::Clock;
use super::{Compiler, Installed, OpenForwards, PolicyRef, Vetted, Workshop, digest, load};
use crate::config;
use crate::files::{self, MOST_COMPONENT};

/// The slot that holds the generation in force.
pub struct Policies {
    current: ArcSwap<Generation>,
    /// One swap at a time; those who ask do not wait for it.
    swapping: Mutex<()>,
    spare: Spare,
    workshop: Arc<Workshop>,
}

/// A swap that took place.
pub struct Swapped {
    /// What serves now.
    pub now: Installed,
    /// What served before.
    pub before: Option<PolicyRef>,
}

impl Policies {
    /// Loads every plugin of the chain, compiled in this process.
    ///
    /// # Errors
    /// Each plugin that does not load, by its name.
    pub async fn load(config: &config::Policy, open_forwards: OpenForwards) -> Result<Self, Vec<(String, LoadError)>> {
        Self::load_in(Workshop::new(Compiler::in_process()), config, open_forwards).await
    }

    /// Loads every plugin of the chain, compiled in that workshop; `state` goes by this clock.
    ///
    /// # Errors
    /// Each plugin that does not load, by its name.
    pub async fn load_by(
        workshop: Workshop,
        config: &config::Policy,
        open_forwards: OpenForwards,
        clock: Clock,
    ) -> Result<Self, Vec<(String, LoadError)>> {
        Self::make(workshop, config, open_forwards, clock).await
    }

    /// Loads every plugin of the chain, compiled in that workshop, as all that come after them.
    ///
    /// # Errors
    /// Each plugin that does not load, by its name; where a copy of what served before was kept,
    /// with its place.
    pub async fn load_in(
        workshop: Workshop,
        config: &config::Policy,
        open_forwards: OpenForwards,
    ) -> Result<Self, Vec<(String, LoadError)>> {
        Self::make(workshop, config, open_forwards, Clock::Running).await
    }

    async fn make(
        workshop: Workshop,
        config: &config::Policy,
        open_forwards: OpenForwards,
        clock: Clock,
    ) -> Result<Self, Vec<(String, LoadError)>> {
        let workshop = Arc::new(workshop);
        let engine = |error| vec![("policy".to_owned(), error)];
        let spare = Spare::start().map_err(engine)?;
        let sandbox = Sandbox::new(config.memory, Arc::clone(&workshop)).map_err(engine)?;
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
        let generation = build(generation, config, &[]).await;
        let generation = generation.map_err(|errors| with_last_good(&workshop, errors))?;
        Ok(Self {
            current: ArcSwap::from_pointee(generation),
            swapping: Mutex::new(()),
            spare,
            workshop,
        })
    }

    /// Keeps copies of the components that serve, for an administrator who has lost one. A file
    /// that was changed since it was loaded is left to the swap that follows.
    pub async fn keep_last_good(&self) {
        for loaded in &self.current().chain {
            self.keep(loaded).await;
        }
    }

    async fn keep(&self, loaded: &Loaded) {
        let config::Source::File(path) = &loaded.config.component else {
            return;
        };
        let path = path.clone();
        let read = tokio::task::spawn_blocking(move || files::read(&path, MOST_COMPONENT)).await;
        match read {
            Ok(Ok(bytes)) if digest(&bytes) == loaded.reference.sha256 => {
                let (name, settings) = (loaded.reference.name.clone(), loaded.settings.clone());
                self.workshop.keep_last_good(name, bytes, settings).await;
            }
            _ => {}
        }
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
            let made = Sandbox::new(config.memory, Arc::clone(&self.workshop));
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
        self.put_in_force(&old, generation);
        self.keep_last_good().await;
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
        let generation = Generation {
            sandbox: Arc::clone(&old.sandbox),
            facts: Arc::clone(&old.facts),
            chain,
            deadline: old.deadline,
            places: Arc::clone(&old.places),
            spare: self.spare.handle(),
        };
        self.put_in_force(&old, generation);
        self.keep(&loaded).await;
        Ok(Swapped { now, before })
    }

    /// Instances that were made ahead for what no longer serves go at once.
    fn put_in_force(&self, old: &Generation, new: Generation) {
        let new = Arc::new(new);
        self.current.store(Arc::clone(&new));
        let stays = |one: &&Arc<Loaded>| new.chain.iter().any(|other| Arc::ptr_eq(one, other));
        for gone in old.chain.iter().filter(|one| !stays(one)) {
            if let Some(stock) = &gone.stock {
                stock.close();
            }
        }
    }
}

/// Whether another file would help. For its settings, grants and signature a component is not to blame.
fn is_of_the_file(error: &LoadError) -> bool {
    !matches!(
        error,
        LoadError::Settings(_)
            | LoadError::Signature { .. }
            | LoadError::NotGranted { .. }
            | LoadError::WasiRefused(_)
            | LoadError::Engine(_)
    )
}

fn with_last_good(workshop: &Workshop, errors: Vec<(String, LoadError)>) -> Vec<(String, LoadError)> {
    let add = |(name, error): (String, LoadError)| match workshop.last_good(&name) {
        Some(kept) if is_of_the_file(&error) => {
            let (error, kept) = (Box::new(error), kept.display().to_string());
            (name, LoadError::ServedBefore { error, kept })
        }
        _ => (name, error),
    };
    errors.into_iter().map(add).collect()
}

/// What is in `kept` unchanged, byte for byte and setting for setting, is not loaded again. The
/// others are loaded side by side: most of that is compiling, for which the workshop has its bounds.
async fn build(
    mut generation: Generation,
    config: &config::Policy,
    kept: &[Arc<Loaded>],
) -> Result<Generation, Vec<(String, LoadError)>> {
    let made = &generation;
    let loads = config.plugins.iter().map(async |plugin| {
        let vetted = Vetted::read(plugin, config.signatures.as_ref())?;
        let digest = vetted.digest();
        let same =
            |one: &&Arc<Loaded>| one.config == *plugin && one.reference.sha256 == digest && one.signer == vetted.signer;
        if let Some(unchanged) = kept.iter().find(same) {
            return Ok(Arc::clone(unchanged));
        }
        let loaded = load::load(&made.sandbox, &made.facts, plugin, vetted, made.deadline).await?;
        Ok(Arc::new(loaded))
    });
    let mut chain = Vec::new();
    let mut faults = Vec::new();
    for (plugin, loaded) in config.plugins.iter().zip(join_all(loads).await) {
        match loaded {
            Ok(loaded) => chain.push(loaded),
            Err(error) => faults.push((plugin.name.clone(), error)),
        }
    }
    generation.chain = chain;
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

//! From a configuration to the generation that it means, and from there to the next one.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use super::generation::Generation;
use crate::config;
use crate::files::{self, MOST_COMPONENT};
use crate::policy::load;
use crate::policy::load::Loaded;
use crate::policy::sandbox::{Clock, Facts, Places, Sandbox};
use crate::policy::source::Fresh;
use crate::policy::{Compiler, Installed, LoadError, OpenForwards, PolicyRef, Workshop, digest};

/// Makes generations. Which one is in force is not its business: it hands over the next one, complete and tried, or says
/// why there is none.
pub struct Policies {
    spare: Arc<Spare>,
    workshop: Arc<Workshop>,
}

/// Each plugin that does not load, by its name.
pub type LoadErrors = Vec<(String, LoadError)>;

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
    pub async fn load(
        config: &config::Policy,
        open_forwards: OpenForwards,
    ) -> Result<(Self, Arc<Generation>), LoadErrors> {
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
    ) -> Result<(Self, Arc<Generation>), LoadErrors> {
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
    ) -> Result<(Self, Arc<Generation>), LoadErrors> {
        Self::make(workshop, config, open_forwards, Clock::Running).await
    }

    async fn make(
        workshop: Workshop,
        config: &config::Policy,
        open_forwards: OpenForwards,
        clock: Clock,
    ) -> Result<(Self, Arc<Generation>), LoadErrors> {
        let workshop = Arc::new(workshop);
        let engine = |error| vec![("policy".to_owned(), error)];
        let spare = Arc::new(Spare::start().map_err(engine)?);
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
            places: Places::new(),
            spare: Arc::clone(&spare),
        };
        let generation = build(generation, config, &[]).await;
        let generation = generation.map_err(|errors| with_last_good(&workshop, errors))?;
        workshop.now_serve(generation.chain.iter().map(|loaded| &**loaded));
        Ok((Self { spare, workshop }, Arc::new(generation)))
    }

    /// Keeps copies of the components that serve, for an administrator who has lost one. A file
    /// that was changed since it was loaded is left to the swap that follows.
    pub async fn keep_last_good(&self, generation: &Generation) {
        for loaded in &generation.chain {
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

    /// What this configuration means, after `old`. What has not changed is taken over; if nothing has, it is `old` itself.
    ///
    /// # Errors
    /// Each plugin that does not load, by its name.
    pub async fn prepare(&self, old: &Arc<Generation>, config: &config::Policy) -> Result<Arc<Generation>, LoadErrors> {
        let sandbox = if old.sandbox.memory == config.memory {
            Arc::clone(&old.sandbox)
        } else {
            let made = Sandbox::new(config.memory, Arc::clone(&self.workshop));
            Arc::new(made.map_err(|error| vec![("policy".to_owned(), error)])?)
        };
        let configured = facts(config);
        let facts = if old.facts.configured == configured {
            Arc::clone(&old.facts)
        } else {
            Arc::new(Facts {
                state: Arc::clone(&old.facts.state),
                configured,
                open_forwards: Arc::clone(&old.facts.open_forwards),
                clock: old.facts.clock.clone(),
                recorder: None,
            })
        };
        let next = Generation {
            sandbox,
            facts,
            chain: Vec::new(),
            deadline: config.deadline,
            places: old.places.clone(),
            spare: Arc::clone(&self.spare),
        };
        let same = Arc::ptr_eq(&next.sandbox, &old.sandbox) && next.deadline == old.deadline;
        let kept: &[_] = if same { &old.chain } else { &[] };
        let next = build(next, config, kept).await?;
        Ok(if next.is_same_as(old) {
            Arc::clone(old)
        } else {
            Arc::new(next)
        })
    }

    /// `old` with these plugins in the places of their namesakes: all of them, or none.
    ///
    /// # Errors
    /// Each plugin that could not be read or does not load, by its name.
    pub async fn prepare_some(
        &self,
        old: &Arc<Generation>,
        fresh: Vec<(String, Result<Fresh, LoadError>)>,
    ) -> Result<Arc<Generation>, LoadErrors> {
        let loads = fresh.into_iter().map(async |(name, fresh)| {
            let loaded = async {
                let Fresh { plugin, vetted } = fresh?;
                load::load(&old.sandbox, &old.facts, &plugin, vetted, old.deadline).await
            };
            (name, loaded.await)
        });
        let loaded = all(join_all(loads).await)?;
        let mut chain = old.chain.clone();
        for one in loaded.into_iter().map(Arc::new) {
            for place in chain
                .iter_mut()
                .filter(|place| place.reference.name == one.reference.name)
            {
                *place = Arc::clone(&one);
            }
        }
        Ok(Arc::new(Generation {
            sandbox: Arc::clone(&old.sandbox),
            facts: Arc::clone(&old.facts),
            chain,
            deadline: old.deadline,
            places: old.places.clone(),
            spare: Arc::clone(&self.spare),
        }))
    }
}

impl Generation {
    /// Whether exactly this component, signed by the same, serves with exactly these settings.
    #[must_use]
    pub fn serves(&self, fresh: &Fresh) -> bool {
        let digest = fresh.digest();
        let settings = fresh.plugin.settings.to_string();
        let serves = |loaded: &Arc<Loaded>| {
            loaded.reference.name == fresh.plugin.name
                && loaded.reference.sha256 == digest
                && loaded.settings == settings
                && loaded.signer == fresh.vetted.signer
        };
        self.chain.iter().any(serves)
    }

    /// The policies of this generation that are not those of `old`.
    #[must_use]
    pub fn swapped_since(&self, old: &Self) -> Vec<Swapped> {
        let replaced = self
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

    /// Another one serves from now on. Instances that were made ahead for what it does not have go at once.
    pub fn give_way_to(&self, new: &Self) {
        new.sandbox.workshop.now_serve(new.chain.iter().map(|loaded| &**loaded));
        let stays = |one: &&Arc<Loaded>| new.chain.iter().any(|other| Arc::ptr_eq(one, other));
        for gone in self.chain.iter().filter(|one| !stays(one)) {
            if let Some(stock) = &gone.stock {
                stock.close();
            }
        }
    }

    fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.sandbox, &other.sandbox)
            && Arc::ptr_eq(&self.facts, &other.facts)
            && self.deadline == other.deadline
            && self.chain.len() == other.chain.len()
            && self
                .chain
                .iter()
                .zip(&other.chain)
                .all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

/// Whether another file would help. For its settings, grants and signature a component is not to blame.
fn is_of_the_file(error: &LoadError) -> bool {
    !matches!(
        error,
        LoadError::Settings(_)
            | LoadError::SettingsFile(_)
            | LoadError::Moving
            | LoadError::Signature { .. }
            | LoadError::NotGranted { .. }
            | LoadError::WasiRefused(_)
            | LoadError::Engine(_)
    )
}

fn with_last_good(workshop: &Workshop, errors: LoadErrors) -> LoadErrors {
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
) -> Result<Generation, LoadErrors> {
    let made = &generation;
    let fresh = Fresh::read(config.plugins.clone(), config.signatures.clone()).await;
    let loads = fresh.into_iter().map(async |(name, fresh)| {
        let loaded = async {
            let Fresh { plugin, vetted } = fresh?;
            let digest = vetted.digest();
            let same = |one: &&Arc<Loaded>| {
                one.config == plugin && one.reference.sha256 == digest && one.signer == vetted.signer
            };
            if let Some(unchanged) = kept.iter().find(same) {
                return Ok(Arc::clone(unchanged));
            }
            let loaded = load::load(&made.sandbox, &made.facts, &plugin, vetted, made.deadline).await?;
            Ok(Arc::new(loaded))
        };
        (name, loaded.await)
    });
    let chain = all(join_all(loads).await)?;
    generation.chain = chain;
    Ok(generation)
}

/// All of them, or every error.
fn all<T>(loaded: Vec<(String, Result<T, LoadError>)>) -> Result<Vec<T>, LoadErrors> {
    let mut whole = Vec::new();
    let mut faults = Vec::new();
    for (name, loaded) in loaded {
        match loaded {
            Ok(loaded) => whole.push(loaded),
            Err(error) => faults.push((name, error)),
        }
    }
    if faults.is_empty() { Ok(whole) } else { Err(faults) }
}

fn facts(config: &config::Policy) -> Vec<(String, crate::request::Fact)> {
    config.facts.clone()
}

/// Where decisions go on that take longer than one turn. It lasts as long as a generation needs it.
pub(in crate::policy) enum Spare {
    /// Threads of its own; none once it is dropped.
    Own(Option<Runtime>),
    /// Where the tools run.
    Here(Handle),
}

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
        Ok(Self::Own(Some(runtime)))
    }

    /// On the threads of the caller, who has a runtime.
    pub(in crate::policy) fn here() -> Self {
        Self::Here(Handle::current())
    }

    pub(in crate::policy) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        match self {
            Self::Own(runtime) => runtime
                .as_ref()
                .expect("it is taken only when it is dropped")
                .spawn(task),
            Self::Here(handle) => handle.spawn(task),
        }
    }
}

impl Drop for Spare {
    /// A runtime must not be dropped where another one runs; this does not wait.
    fn drop(&mut self) {
        if let Self::Own(runtime) = self
            && let Some(runtime) = runtime.take()
        {
            runtime.shutdown_background();
        }
    }
}

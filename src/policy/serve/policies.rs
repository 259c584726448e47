//! Builds the generation that a configuration describes, and swaps it for the next one.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::task::JoinHandle;

use super::generation::Generation;
use super::spare::Spare;
use crate::config;
use crate::policy::history::History;
use crate::policy::load::{self, Loaded, Loader};
use crate::policy::sandbox::{Clock, Facts, Meter, Places, State};
use crate::policy::source::{Fresh, ReadPlugins};
use crate::policy::{Compiler, Identity, LoadError, OpenForwards, PassedOver, Workshop};

/// Makes generations. Which one is in force is not its business: it hands over the next one, complete and tried, or says
/// why there is none.
pub struct Policies {
    spare: Arc<Spare>,
    /// For what nobody waits for.
    aside: Arc<Spare>,
    pub(super) workshop: Arc<Workshop>,
    pub(super) history: History,
    /// What the configuration named at the start and does not serve.
    passed_over: Vec<PassedOver>,
}

/// A chain that a configuration means, and what of its files does not serve.
pub struct Prepared {
    /// The chain.
    pub generation: Arc<Generation>,
    /// What was put in force since the configuration named something else.
    pub passed_over: Vec<PassedOver>,
    /// What the configuration names for each plugin.
    pub named: Named,
}

/// What the configuration names, by the names of the plugins.
pub type Named = HashMap<String, Identity>;

/// Each plugin that does not load, by its name.
pub type LoadErrors = Vec<(String, LoadError)>;

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
        let loader = Loader::new(config.memory, Arc::clone(&workshop), Meter::Off).map_err(engine)?;
        let facts = Facts {
            state: Arc::new(State::default()),
            configured: facts(config),
            open_forwards,
            counted_elsewhere: None,
            clock,
            recorder: None,
        };
        let generation = Generation {
            loader: Arc::new(loader),
            facts: Arc::new(facts),
            chain: Vec::new(),
            deadline: config.deadline,
            places: Places::new(),
            spare: Arc::clone(&spare),
            counts: true,
        };
        let history = History::new(&workshop);
        let (generation, named, passed_over) = first(generation, &history, config).await?;
        let generation = Arc::new(generation);
        workshop.now_serve(generation.signed());
        history.begin(&generation.chain, &named, "start", config.generations);
        let policies = Self {
            spare,
            aside: Arc::new(Spare::aside().map_err(engine)?),
            workshop,
            history,
            passed_over,
        };
        Ok((policies, generation))
    }

    /// What the configuration named at the start and does not serve.
    #[must_use]
    pub fn passed_over(&self) -> &[PassedOver] {
        &self.passed_over
    }

    /// These policies for requests that nobody waits for.
    #[must_use]
    pub fn apart(&self, generation: &Generation) -> Arc<Generation> {
        generation.apart(&self.aside)
    }

    /// Runs a task on the thread for what nobody waits for.
    pub fn spawn_aside<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.aside.spawn(task)
    }

    /// What this configuration means, after `old`. What has not changed is taken over; if nothing has, it is `old` itself.
    ///
    /// # Errors
    /// Each plugin that does not load, by its name.
    pub async fn prepare(&self, old: &Arc<Generation>, config: &config::Policy) -> Result<Prepared, LoadErrors> {
        let loader = if old.loader.sandbox.memory == config.memory {
            Arc::clone(&old.loader)
        } else {
            let made = Loader::new(config.memory, Arc::clone(&self.workshop), Meter::Off);
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
                counted_elsewhere: old.facts.counted_elsewhere.clone(),
                clock: old.facts.clock.clone(),
                recorder: None,
            })
        };
        let next = Generation {
            loader,
            facts,
            chain: Vec::new(),
            deadline: config.deadline,
            places: old.places.clone(),
            spare: Arc::clone(&self.spare),
            counts: true,
        };
        let same = Arc::ptr_eq(&next.loader, &old.loader) && next.deadline == old.deadline;
        let kept: &[_] = if same { &old.chain } else { &[] };
        let (fresh, passed_over) = read(&self.history, config, None).await;
        let named = named(&fresh);
        let next = build(&next, fresh, kept).await?;
        let generation = match next.is_same_as(old) {
            true => Arc::clone(old),
            false => Arc::new(next),
        };
        Ok(Prepared {
            generation,
            passed_over,
            named,
        })
    }

    /// `old` with these plugins in the places of their namesakes: all of them, or none.
    ///
    /// # Errors
    /// Each plugin that could not be read or does not load, by its name.
    pub async fn prepare_some(&self, old: &Arc<Generation>, fresh: ReadPlugins) -> Result<Arc<Generation>, LoadErrors> {
        let loads = fresh.into_iter().map(async |(name, fresh)| {
            let loaded = async {
                let Fresh {
                    plugin, vetted, took, ..
                } = fresh?;
                let loaded = load::load(&old.loader, &old.facts, &plugin, vetted, old.deadline).await?;
                Ok(loaded.read_in(took))
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
        Ok(Arc::new(old.of(chain)))
    }
}

/// The first chain. A component that is at fault is replaced by what served last in its place, where something did.
async fn first(
    generation: Generation,
    history: &History,
    config: &config::Policy,
) -> Result<(Generation, Named, Vec<PassedOver>), LoadErrors> {
    let mut faulty = LoadErrors::new();
    loop {
        let (fresh, passed_over) = read(history, config, Some(&faulty)).await;
        let named = named(&fresh);
        match build(&generation, fresh, &[]).await {
            Ok(built) => return Ok((built, named, passed_over)),
            Err(errors) => {
                let is_known = |name: &String| faulty.iter().any(|(known, _)| known == name);
                let is_at_fault = |name: &String, error: &LoadError| {
                    let mut plugins = config.plugins.iter();
                    plugins.any(|plugin| plugin.name == *name && error.is_of_what_is_at(&plugin.component))
                };
                let can_be = |(name, error): &(String, LoadError)| {
                    is_at_fault(name, error) && !is_known(name) && history.has_served(name)
                };
                if !errors.iter().all(can_be) {
                    return Err(errors);
                }
                faulty.extend(errors);
            }
        }
    }
}

/// The plugins as their files are now, or what serves in their places; at a start without those that are known to be faulty.
async fn read(
    history: &History,
    config: &config::Policy,
    at_start: Option<&LoadErrors>,
) -> (ReadPlugins, Vec<PassedOver>) {
    let mut fresh = Fresh::read(config.plugins.clone(), config.signatures.clone()).await;
    for (name, error) in at_start.into_iter().flatten() {
        let known = fresh.iter_mut().filter(|(one, _)| one == name);
        known.for_each(|(_, fresh)| *fresh = Err(error.clone()));
    }
    history.settle(fresh, config, at_start.is_some())
}

fn named(fresh: &ReadPlugins) -> Named {
    let read = fresh
        .iter()
        .filter_map(|(name, fresh)| Some((name, fresh.as_ref().ok()?)));
    read.map(|(name, fresh)| (name.clone(), fresh.named())).collect()
}

/// What is in `kept` unchanged, byte for byte and setting for setting, is not loaded again. The
/// others are loaded side by side: most of that is compiling, for which the workshop has its bounds.
async fn build(made: &Generation, fresh: ReadPlugins, kept: &[Arc<Loaded>]) -> Result<Generation, LoadErrors> {
    let loads = fresh.into_iter().map(async |(name, fresh)| {
        let loaded = async {
            let fresh = fresh?;
            let generation = fresh.generation();
            let Fresh {
                plugin, vetted, took, ..
            } = fresh;
            let same = |one: &&Arc<Loaded>| {
                one.config.decides_as(&plugin)
                    && one.reference.sha256 == vetted.component().sha256()
                    && one.signer.as_ref() == vetted.signer()
            };
            if let Some(unchanged) = kept.iter().find(same) {
                return Ok(Arc::clone(unchanged));
            }
            let loaded = load::load(&made.loader, &made.facts, &plugin, vetted, made.deadline).await;
            match (loaded, generation) {
                (Ok(loaded), _) => Ok(Arc::new(loaded.read_in(took))),
                (Err(error), Some(generation)) => Err(LoadError::Kept {
                    generation,
                    error: Box::new(error),
                }),
                (Err(error), None) => Err(error),
            }
        };
        (name, loaded.await)
    });
    let chain = all(join_all(loads).await)?;
    Ok(made.of(chain))
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

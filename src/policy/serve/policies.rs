//! Builds the generation that a configuration describes, and swaps it for the next one.

use std::sync::Arc;

use futures_util::future::join_all;

use super::generation::Generation;
use super::spare::Spare;
use crate::config;
use crate::files::{self, MOST_COMPONENT};
use crate::policy::load::{self, Loaded, Loader};
use crate::policy::sandbox::{Clock, Facts, Meter, Places};
use crate::policy::source::Fresh;
use crate::policy::{Compiler, LoadError, OpenForwards, Workshop, digest};

/// Makes generations. Which one is in force is not its business: it hands over the next one, complete and tried, or says
/// why there is none.
pub struct Policies {
    spare: Arc<Spare>,
    workshop: Arc<Workshop>,
}

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
            state: Arc::default(),
            configured: facts(config),
            open_forwards,
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
        };
        let generation = build(generation, config, &[]).await;
        let generation = generation.map_err(|errors| with_last_good(&workshop, errors))?;
        workshop.now_serve(generation.signed());
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
        };
        let same = Arc::ptr_eq(&next.loader, &old.loader) && next.deadline == old.deadline;
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
                load::load(&old.loader, &old.facts, &plugin, vetted, old.deadline).await
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
            loader: Arc::clone(&old.loader),
            facts: Arc::clone(&old.facts),
            chain,
            deadline: old.deadline,
            places: old.places.clone(),
            spare: Arc::clone(&self.spare),
        }))
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
            let same = |one: &&Arc<Loaded>| {
                one.config == plugin
                    && one.reference.sha256 == vetted.component().sha256()
                    && one.signer.as_ref() == vetted.signer()
            };
            if let Some(unchanged) = kept.iter().find(same) {
                return Ok(Arc::clone(unchanged));
            }
            let loaded = load::load(&made.loader, &made.facts, &plugin, vetted, made.deadline).await?;
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

//! Turns the bytes of a component into a policy that can decide.
//!
//! It must not know which policies are in force. Invariant: a result of [`load`] has passed every gate.

mod aliases;
mod counts;
mod decide;
mod link;
mod loaded;
mod loader;
mod snapshot;
mod trial;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;
use wasmtime::Engine;
use wasmtime::component::{Component, ComponentExportIndex};

pub use self::counts::Counted;
pub(crate) use self::counts::Counts;
pub(in crate::policy) use self::loaded::Loaded;
pub(in crate::policy) use self::loader::Loader;
pub use self::trial::{Description, Step};

use self::aliases::aliases;
use self::link::typed;
use self::snapshot::state_of;
use self::trial::{SLACK, Trial};
use crate::config::{Grant, Plugin, Source, Wasi};
use crate::names::{Lookups, Resolver};
use crate::policy::contract::{PolicyPre, observer};
use crate::policy::inspect::grants;
use crate::policy::pool::{Pool, Recipe};
use crate::policy::sandbox::{Facts, Guest, configured};
use crate::policy::source::{self, Lineage, Vetted, digest};
use crate::policy::{Failure, LoadError, PolicyRef};
use crate::request::{Action, Endpoint, ForwardRequest, Host};
use crate::vital::caught;

/// Checks, compiles, configures and tries a component. Nothing of it serves before all of that
/// has passed.
///
/// # Errors
/// The first gate that it does not pass.
pub(in crate::policy) async fn load(
    loader: &Arc<Loader>,
    facts: &Arc<Facts>,
    config: &Plugin,
    vetted: Vetted,
    deadline: Duration,
) -> Result<Loaded, LoadError> {
    let loaded = caught(try_load(loader, facts, config, vetted, deadline)).await;
    loaded.unwrap_or_else(|panic| Err(LoadError::Panicked(panic)))
}

async fn try_load(
    loader: &Arc<Loader>,
    facts: &Arc<Facts>,
    config: &Plugin,
    vetted: Vetted,
    deadline: Duration,
) -> Result<Loaded, LoadError> {
    let (trial, component) = Trial::begin(loader, facts, config, vetted, deadline)?;
    let mut loaded = trial.component(&component).await?;
    if loaded.signer.is_some() {
        loader.workshop.admit(config, &loaded.lineage)?;
    }
    let request = probe();
    let lookups = Lookups::new(Resolver::silent());
    let _running = loader.sandbox.running();
    // A trial must not count as a request with policies that count.
    let facts = Arc::new(facts.without_state());
    let asked = loaded.decide(&loader.sandbox, &facts, &request, (lookups, None), deadline);
    match timeout(deadline * 4 + SLACK, asked).await {
        Ok((Ok(_), ..)) => {}
        Ok((Err(failure), ..)) => return Err(on_the_test_request(&request, failure)),
        Err(_) => return Err(on_the_test_request(&request, Failure::Deadline)),
    }
    trial.done(Step::Trial);
    loaded.pool = trial.pool(&loaded).await;
    loaded.steps = trial.steps();
    *loaded.component.get_mut().unwrap_or_else(PoisonError::into_inner) = Some(component);
    if matches!(config.component, Source::Builtin(_)) {
        for (path, real) in aliases(&config.settings) {
            let real = real.display().to_string();
            tracing::warn!(
                policy = config.name,
                path,
                real,
                "this path in a rule contains a link, so the rule never matches there: write the path without links"
            );
        }
    }
    Ok(loaded)
}

/// What a component says of itself, whatever settings it would want.
///
/// # Errors
/// The first gate before `configure` that it does not pass.
pub(in crate::policy) async fn describe(
    loader: &Arc<Loader>,
    facts: &Arc<Facts>,
    config: &Plugin,
    vetted: Vetted,
    deadline: Duration,
) -> Result<Description, LoadError> {
    let (trial, component) = Trial::begin(loader, facts, config, vetted, deadline)?;
    let compiled = loader.plain(&component).await?;
    let (_, pre) = trial.link(&compiled)?;
    let described = timeout(trial.patience(), trial.described(&compiled, &pre)).await;
    let made = described.unwrap_or(Err(LoadError::Trial(Failure::Deadline)))?;
    Ok(made.described)
}

impl Trial<'_> {
    async fn component(&self, component: &source::Component) -> Result<Loaded, LoadError> {
        // A guest with WASI may keep handles of the host in its memory; those would not outlive a copy.
        let mut plain = None;
        if self.config.wasi == Wasi::Inert || component.bytes().len() > LARGE {
            let (loaded, configuring) = self.plain(component).await?;
            if self.config.wasi == Wasi::Inert || configuring < QUICK {
                return Ok(loaded);
            }
            plain = Some(loaded);
        }
        match (self.loader.instrumented(component).await?, plain) {
            (Some(instrumented), _) => self.freeze(component, &instrumented).await,
            (None, Some(loaded)) => Ok(loaded),
            (None, None) => Ok(self.plain(component).await?.0),
        }
    }

    /// The usual way: the component is configured once, and what serves is a snapshot of that.
    async fn freeze(&self, component: &source::Component, instrumented: &Component) -> Result<Loaded, LoadError> {
        let (linker, pre) = self.link(instrumented)?;
        let (described, _, mut store, instance) = self.configured_in_time(instrumented, &pre).await?;
        let state = state_of(component.bytes(), instrumented, &mut store, instance).await;
        drop(store);
        let state = match state {
            Ok(state) => state,
            // To show its state, a memory has to grow by a page, and may be as large already as it may become.
            Err(error) => {
                tracing::debug!(error = format!("{error:#}"), "no snapshot: each instance is configured");
                return Ok(self.plain(component).await?.0);
            }
        };
        let frozen = self.loader.frozen(state).await?;
        let pre = typed(linker.instantiate_pre(&frozen))?;
        Ok(self.loaded(described, pre, observer::find(&frozen), false))
    }

    /// Where no snapshot can be taken, or is not worth it, each instance is configured anew. Says how
    /// long that takes.
    async fn plain(&self, component: &source::Component) -> Result<(Loaded, Duration), LoadError> {
        let compiled = self.loader.plain(component).await?;
        let (_, pre) = self.link(&compiled)?;
        let (described, configuring, _, _) = self.configured_in_time(&compiled, &pre).await?;
        let loaded = self.loaded(described, pre, observer::find(&compiled), true);
        Ok((loaded, configuring))
    }

    fn loaded(
        &self,
        described: Description,
        pre: PolicyPre<Guest>,
        observer: Option<ComponentExportIndex>,
        configures: bool,
    ) -> Loaded {
        let (name, sha256) = &self.label;
        Loaded {
            config: self.config.clone(),
            reference: PolicyRef {
                name: name.to_string(),
                version: described.version.clone(),
                sha256: sha256.to_string(),
                settings_sha256: digest(self.settings.as_bytes()),
            },
            signer: self.signer.clone(),
            lineage: Lineage {
                component: described.name,
                version: described.version,
            },
            imports: imports(&self.loader.sandbox.engine, &pre),
            pre,
            observer,
            configures,
            settings: self.settings.clone(),
            rewrite: self.config.rewrite,
            names_refused: !grants(self.config, Grant::Names),
            inert: self.config.wasi == Wasi::Inert,
            summary: described.summary,
            schema: described.schema,
            label: self.label.clone(),
            pool: None,
            component: Mutex::default(),
            counts: Arc::default(),
            steps: Vec::new(),
        }
    }

    /// Finds out what it takes to make an instance, and lets some be kept ready.
    async fn pool(&self, loaded: &Loaded) -> Option<Arc<Pool>> {
        let _running = self.loader.sandbox.running();
        let facts = Arc::new(self.facts.unrecorded());
        let mut least = Duration::MAX;
        let mut bytes = 0;
        for _ in 0..3 {
            let began = Instant::now();
            let mut store = self.store(&facts, self.deadline);
            let made = configured(&loaded.pre, loaded.settings_for_each(), &mut store);
            let _policy = timeout(self.deadline * 4, made).await.ok()?.ok()?;
            bytes = store.data().ceiling.taken();
            drop(store);
            least = least.min(began.elapsed());
        }
        tracing::debug!(
            policy = loaded.reference.name,
            micros = least.as_micros(),
            bytes,
            "an instance was made"
        );
        let recipe = Recipe {
            pre: loaded.pre.clone(),
            settings: loaded.settings_for_each().map(str::to_owned),
            label: self.label_of("prepare"),
            facts,
            deadline: self.deadline,
            bytes,
            takes: least,
        };
        Some(Pool::new(recipe, &self.loader.sandbox, &self.loader.refill))
    }
}

/// The interfaces that it wants of the host.
fn imports(engine: &Engine, pre: &PolicyPre<Guest>) -> Vec<String> {
    let kind = pre.instance_pre().component().component_type();
    kind.imports(engine).map(|(name, _)| name.to_owned()).collect()
}

/// A request that nobody made, to see that the policy answers at all.
fn probe() -> ForwardRequest {
    let host = Host::parse("probe.portreeve.invalid").unwrap_or(Host::Any);
    let target = Endpoint::Tcp { host, port: 1 };
    ForwardRequest::dry("probe", Action::Connect, target)
}

fn on_the_test_request(request: &ForwardRequest, failure: Failure) -> LoadError {
    LoadError::TestRequest {
        asked: format!(
            "{} {} by user {}",
            request.action.as_str(),
            request.target,
            request.principal.user
        ),
        failure,
    }
}

/// Bytes of a component that takes longer to compile a second time than a snapshot of it wins back:
/// the interpreters that come with one of their own. Unless it is slow to configure.
const LARGE: usize = 8 << 20;
const QUICK: Duration = Duration::from_millis(2);

//! From the bytes of a component to a policy that can be asked.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tokio::time::timeout;
use wasmparser::Parser;
use wasmtime::component::{Component, ComponentExportIndex, HasSelf, Instance, InstancePre, Linker};

use super::bindings::portreeve::policy as world;
use super::bindings::{Policy, PolicyIndices, PolicyPre};
use super::decide::{Loaded, classify, configure, configured, store};
use super::engine::Sandbox;
use super::failure::{Failure, LoadError};
use super::host::{Facts, Guest, Label, Phase};
use super::snapshot::{Instrumented, instrument};
use super::stock::{Recipe, Stock};
use super::track::{Track, ours};
use super::vetted::Vetted;
use super::{PolicyRef, observe, wasi};
use crate::config::{Grant, Plugin, Source, Wasi};
use crate::files::MOST_COMPONENT;
use crate::names::{Lookups, Resolver};
use crate::request::printable;
use crate::request::{Action, Endpoint, ForwardRequest, Host};
use crate::signature::Signer;

/// The component that is embedded in the program; its sources are in `plugins/rules`.
pub(super) const RULES: &[u8] = include_bytes!("../../plugins/rules/rules.wasm");

/// The SHA-256 of a component, hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Checks, compiles, configures and tries a component. Nothing of it serves before all of that
/// has passed.
///
/// # Errors
/// The first gate that it does not pass.
pub(super) async fn load(
    sandbox: &Arc<Sandbox>,
    facts: &Arc<Facts>,
    config: &Plugin,
    vetted: Vetted,
    deadline: Duration,
) -> Result<Loaded, LoadError> {
    let Vetted { bytes, signer } = vetted;
    let sha256 = digest(&bytes);
    check_bytes(&bytes, &sha256, config.sha256.as_ref())?;
    let trial = Trial {
        sandbox,
        facts,
        config,
        settings: config.settings.to_string(),
        label: (config.name.as_str().into(), sha256.as_str().into()),
        deadline,
        signer,
    };
    let mut loaded = trial.component(bytes).await?;
    let request = probe();
    let lookups = Lookups::new(Resolver::silent());
    let _running = sandbox.running();
    // A trial must not count as a request with policies that count.
    let facts = Arc::new(facts.without_state());
    let asked = loaded.decide(sandbox, &facts, &request, lookups, deadline);
    match timeout(deadline * 4 + SLACK, asked).await {
        Ok((Ok(_), _)) => {}
        Ok((Err(failure), _)) => return Err(LoadError::Trial(failure)),
        Err(_) => return Err(LoadError::Trial(Failure::Deadline)),
    }
    loaded.stock = trial.stock(&loaded).await;
    Ok(loaded)
}

pub(super) fn check_bytes(bytes: &[u8], sha256: &str, pin: Option<&[u8; 32]>) -> Result<(), LoadError> {
    if let Some(pin) = pin {
        let pinned = hex(pin);
        if pinned != sha256 {
            let found = sha256.to_owned();
            return Err(LoadError::Pin { found, pinned });
        }
    }
    if bytes.len() as u64 > MOST_COMPONENT {
        return Err(LoadError::TooLarge(bytes.len()));
    }
    if Parser::is_component(bytes) {
        Ok(())
    } else if Parser::is_core_wasm(bytes) {
        Err(LoadError::CoreModule)
    } else {
        Err(LoadError::NotWasm)
    }
}

/// The one place where untrusted code meets the compiler.
async fn compile(sandbox: &Sandbox, bytes: Vec<u8>) -> Result<Component, LoadError> {
    sandbox.workshop.component(sandbox, bytes).await
}

/// Compiles what does not depend on settings: once for all settings where the sandbox keeps it.
async fn compile_kept(sandbox: &Sandbox, bytes: Vec<u8>) -> Result<Component, LoadError> {
    let Some(kept) = &sandbox.kept else {
        return compile(sandbox, bytes).await;
    };
    let place = {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(kept.entry(digest(&bytes)).or_default())
    };
    let component = place.get_or_try_init(|| compile(sandbox, bytes)).await?;
    Ok(component.clone())
}

/// A component on its way through the gates.
struct Trial<'a> {
    sandbox: &'a Arc<Sandbox>,
    facts: &'a Arc<Facts>,
    config: &'a Plugin,
    settings: String,
    label: (Arc<str>, Arc<str>),
    deadline: Duration,
    signer: Option<Signer>,
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
struct Instantiated {
    described: Description,
    store: wasmtime::Store<Guest>,
    instance: Instance,
    policy: Policy,
}

/// What a component says of itself, whatever settings it would want.
///
/// # Errors
/// The first gate before `configure` that it does not pass.
pub(super) async fn describe(
    sandbox: &Arc<Sandbox>,
    facts: &Arc<Facts>,
    config: &Plugin,
    bytes: Vec<u8>,
    deadline: Duration,
) -> Result<Description, LoadError> {
    let sha256 = digest(&bytes);
    check_bytes(&bytes, &sha256, config.sha256.as_ref())?;
    let trial = Trial {
        sandbox,
        facts,
        config,
        settings: String::new(),
        label: (config.name.as_str().into(), sha256.as_str().into()),
        deadline,
        signer: None,
    };
    let component = compile(sandbox, bytes).await?;
    let (_, pre) = trial.link(&component)?;
    let described = timeout(trial.patience(), trial.described(&component, &pre)).await;
    let made = described.unwrap_or(Err(LoadError::Trial(Failure::Deadline)))?;
    Ok(made.described)
}

impl Trial<'_> {
    async fn component(&self, bytes: Vec<u8>) -> Result<Loaded, LoadError> {
        // A guest with WASI may keep handles of the host in its memory; those would not outlive a copy.
        let mut plain = None;
        if self.config.wasi == Wasi::Inert || bytes.len() > LARGE {
            let (loaded, configuring) = self.plain(bytes.clone()).await?;
            if self.config.wasi == Wasi::Inert || configuring < QUICK {
                return Ok(loaded);
            }
            plain = Some(loaded);
        }
        match (instrument(&bytes), plain) {
            (Some(instrumented), _) => self.freeze(&instrumented).await,
            (None, Some(loaded)) => Ok(loaded),
            (None, None) => Ok(self.plain(bytes).await?.0),
        }
    }

    /// The usual way: the component is configured once, and what serves is a snapshot of that.
    async fn freeze(&self, instrumented: &Instrumented<'_>) -> Result<Loaded, LoadError> {
        let component = compile_kept(self.sandbox, instrumented.bytes.clone()).await?;
        let (linker, pre) = self.link(&component)?;
        let (described, _, mut store, instance) = self.configured_in_time(&component, &pre).await?;
        let frozen = instrumented.freeze(&mut store, instance).await;
        drop(store);
        let frozen = frozen.map_err(|error| LoadError::Compile(format!("{error:#}")))?;
        let component = compile(self.sandbox, frozen).await?;
        let pre = typed(linker.instantiate_pre(&component))?;
        Ok(self.loaded(described, pre, observe::find(&component), false))
    }

    /// Finds out what it takes to make an instance, and lets some be kept ready.
    async fn stock(&self, loaded: &Loaded) -> Option<Arc<Stock>> {
        let _running = self.sandbox.running();
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
        Some(Stock::new(recipe, self.sandbox))
    }

    fn store(&self, facts: &Arc<Facts>, deadline: Duration) -> wasmtime::Store<Guest> {
        let lookups = Lookups::new(Resolver::silent());
        let (facts, phase, memory) = (Arc::clone(facts), Phase::Configure, self.sandbox.memory);
        let guest = Guest::new(self.label_of("configure"), phase, facts, lookups, memory, deadline);
        store(self.sandbox, guest)
    }

    fn label_of(&self, forward: &str) -> Label {
        let (policy, digest) = self.label.clone();
        Label {
            policy,
            digest,
            forward: forward.to_owned(),
        }
    }

    /// Where no snapshot can be taken, or is not worth it, each instance is configured anew. Says how
    /// long that takes.
    async fn plain(&self, bytes: Vec<u8>) -> Result<(Loaded, Duration), LoadError> {
        let component = compile_kept(self.sandbox, bytes).await?;
        let (_, pre) = self.link(&component)?;
        let (described, configuring, _, _) = self.configured_in_time(&component, &pre).await?;
        let loaded = self.loaded(described, pre, observe::find(&component), true);
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
                version: described.version,
                sha256: sha256.to_string(),
            },
            signer: self.signer.clone(),
            pre,
            observer,
            configures,
            settings: self.settings.clone(),
            rewrite: self.config.rewrite,
            names_refused: !self.grants(Grant::Names),
            inert: self.config.wasi == Wasi::Inert,
            summary: described.summary,
            schema: described.schema,
            label: self.label.clone(),
            stock: None,
        }
    }

    /// Links what is granted and nothing else, and checks all types in both directions.
    fn link(&self, component: &Component) -> Result<(Linker<Guest>, PolicyPre<Guest>), LoadError> {
        let engine = &self.sandbox.engine;
        let kind = component.component_type();
        let exports: Vec<_> = kind.exports(engine).map(|(name, _)| name).collect();
        let track = Track::of(&exports)?;
        for (name, _) in kind.imports(engine) {
            check_import(self.config, Some(track), name)?;
        }
        let mut linker = Linker::new(engine);
        let linked = self.add_granted(&mut linker);
        linked.map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        let pre = typed(linker.instantiate_pre(component))?;
        Ok((linker, pre))
    }

    fn grants(&self, grant: Grant) -> bool {
        grants(self.config, grant)
    }

    fn links_anyway(&self, grant: Grant) -> bool {
        links_anyway(self.config, grant)
    }

    fn add_granted(&self, linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
        world::log::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
        if self.grants(Grant::Names) || self.links_anyway(Grant::Names) {
            world::names::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
        }
        if self.grants(Grant::State) {
            world::state::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
        }
        if self.grants(Grant::View) {
            world::view::add_to_linker::<_, HasSelf<_>>(linker, |guest| guest)?;
        }
        if self.config.wasi == Wasi::Inert {
            wasi::add_to_linker(linker)?;
        }
        Ok(())
    }

    /// A guest can wait without computing, which its own deadline does not count.
    async fn configured_in_time(
        &self,
        component: &Component,
        pre: &PolicyPre<Guest>,
    ) -> Result<(Description, Duration, wasmtime::Store<Guest>, Instance), LoadError> {
        let configured = timeout(self.patience(), self.configured(component, pre)).await;
        configured.unwrap_or(Err(LoadError::Trial(Failure::Deadline)))
    }

    fn patience(&self) -> Duration {
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
        let _running = self.sandbox.running();
        let began = Instant::now();
        let accepted = configure(&policy, &mut store, &self.settings).await;
        let configuring = began.elapsed();
        accepted.map_err(LoadError::Trial)?.map_err(LoadError::Settings)?;
        Ok((described, configuring, store, instance))
    }

    /// Instantiates and describes.
    async fn described(&self, component: &Component, pre: &PolicyPre<Guest>) -> Result<Instantiated, LoadError> {
        let mut store = self.store(self.facts, self.deadline * CONFIGURE_FACTOR);
        let _running = self.sandbox.running();
        let made = pre.instance_pre().instantiate_async(&mut store).await;
        let instance = made.map_err(|error| LoadError::Trial(classify(&error, store.data())))?;
        let policy = PolicyIndices::new(pre.instance_pre())
            .and_then(|indices| indices.load(&mut store, &instance))
            .map_err(|error| LoadError::Types {
                error: format!("{error:#}"),
            })?;
        if let Some(export) = observe::find(component) {
            let fits = observe::check(&mut store, &instance, &export);
            fits.map_err(|error| LoadError::Types {
                error: format!("{error:#}"),
            })?;
        }
        let called = policy.portreeve_policy_lifecycle().call_describe(&mut store).await;
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
}

fn typed(pre: wasmtime::Result<InstancePre<Guest>>) -> Result<PolicyPre<Guest>, LoadError> {
    pre.and_then(PolicyPre::new).map_err(|error| LoadError::Types {
        error: format!("{error:#}"),
    })
}

/// Whether a plugin that is configured like this may have an import. Without a track its version is not looked at.
pub(super) fn check_import(config: &Plugin, track: Option<&Track>, name: &str) -> Result<(), LoadError> {
    if name.starts_with("wasi:") {
        return match config.wasi {
            Wasi::Inert => Ok(()),
            Wasi::Refuse => Err(LoadError::WasiRefused(name.to_owned())),
        };
    }
    let Some((interface, version)) = ours(name) else {
        return Err(LoadError::UnknownImport(name.to_owned()));
    };
    if let Some(track) = track {
        track.admits(version)?;
    }
    if interface == "types" {
        return Ok(());
    }
    let grant = grant(interface).ok_or_else(|| LoadError::UnknownImport(name.to_owned()))?;
    if grants(config, grant) || links_anyway(config, grant) {
        return Ok(());
    }
    Err(LoadError::NotGranted {
        interface: name.to_owned(),
        grant: interface.to_owned(),
    })
}

/// The grant that an interface of the world needs.
pub(super) fn grant(interface: &str) -> Option<Grant> {
    let all = [Grant::Log, Grant::Names, Grant::State, Grant::View];
    all.into_iter().find(|grant| grant.as_str() == interface)
}

fn grants(config: &Plugin, grant: Grant) -> bool {
    grant == Grant::Log || config.grants.contains(&grant)
}

/// The embedded policy serves with any grants: without `names` its rules on addresses are told
/// that it is not granted, and then fail closed.
fn links_anyway(config: &Plugin, grant: Grant) -> bool {
    grant == Grant::Names && matches!(config.component, Source::Builtin(_))
}

/// A request that nobody made, to see that the policy answers at all.
fn probe() -> ForwardRequest {
    let target = Endpoint::Tcp {
        host: Host::Name("probe.portreeve.invalid".to_owned()),
        port: 1,
    };
    ForwardRequest::dry("probe", Action::Connect, target)
}

/// `configure` runs once, so it may take longer than a decision.
const CONFIGURE_FACTOR: u32 = 40;
/// Bytes of a component that takes longer to compile a second time than a snapshot of it wins back:
/// the interpreters that come with one of their own. Unless it is slow to configure.
const LARGE: usize = 8 << 20;
const QUICK: Duration = Duration::from_millis(2);
const SLACK: Duration = Duration::from_secs(1);

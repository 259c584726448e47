//! Where components become code that runs: a compiler, and what it made before.

use std::collections::HashMap;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use nix::unistd::geteuid;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::artifact::{Artifact, Label};
use super::compiler::{Compiled, Compiler};
use super::decide::Loaded;
use super::directory::{Directory, DirectoryError};
use super::engine::Sandbox;
use super::failure::LoadError;
use super::lineage::{self, Lineage};
use super::vetted::digest;
use crate::config::Plugin;

/// Compiles components, or finds that it has done so before.
pub struct Workshop {
    tools: Arc<Tools>,
    /// Compilers at once.
    places: Semaphore,
}

struct Tools {
    compiler: Compiler,
    directory: Option<Directory>,
    /// Whether what is made here serves, so that a copy of it is worth having.
    serves: bool,
    compiled: AtomicUsize,
    /// What serves, or served last, of the signed components, by the name of the plugin.
    serving: Mutex<HashMap<String, Lineage>>,
}

impl Workshop {
    /// A workshop that keeps nothing: each start compiles anew.
    #[must_use]
    pub fn new(compiler: Compiler) -> Self {
        Self::with(compiler, None, true)
    }

    /// A workshop of somebody who waits: it compiles in this process, and shares what is compiled with the gateway of the
    /// same user, under the same seal, where its folder can be had. Nothing is made in a folder of somebody else's, which
    /// would then refuse its owner.
    #[must_use]
    pub fn at_hand(path: Option<&Path>) -> Self {
        let directory = path.filter(|path| is_ours(path)).map(Directory::open);
        if let Some(Err(error)) = &directory {
            tracing::debug!(%error, "compiled code is not kept");
        }
        Self::with(Compiler::in_process(), directory.and_then(Result::ok), false)
    }

    /// A workshop that keeps compiled code, and copies of what served, in the folder `path`.
    ///
    /// # Errors
    /// Where the folder cannot be made or used, or somebody else could put code there.
    pub fn keeping(compiler: Compiler, path: &Path) -> Result<Self, DirectoryError> {
        Ok(Self::with(compiler, Some(Directory::open(path)?), true))
    }

    fn with(compiler: Compiler, directory: Option<Directory>, serves: bool) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            tools: Arc::new(Tools {
                compiler,
                directory,
                serves,
                compiled: AtomicUsize::new(0),
                serving: Mutex::default(),
            }),
            places: Semaphore::new(cores.min(MAX_COMPILERS)),
        }
    }

    /// The component of these bytes, ready to be instantiated; no thread that serves waits for it.
    async fn component(&self, sandbox: &Sandbox, bytes: Vec<u8>) -> Result<Component, LoadError> {
        let _place = self.places.acquire().await;
        let (tools, engine, memory) = (Arc::clone(&self.tools), sandbox.engine.clone(), sandbox.memory);
        let made = tokio::task::spawn_blocking(move || tools.component(&engine, memory, &bytes)).await;
        made.unwrap_or_else(|error| Err(error.to_string()))
            .map_err(LoadError::Compile)
    }

    /// Keeps a copy of what serves now, for the administrator.
    pub(super) async fn keep_last_good(&self, name: String, component: Vec<u8>, settings: String) {
        let tools = Arc::clone(&self.tools);
        let kept = tokio::task::spawn_blocking(move || {
            if let Some(directory) = &tools.directory {
                directory.keep_last_good(&name, &component, &settings);
            }
        });
        let _ = kept.await;
    }

    /// The copy of what served last under that name, if there is one.
    pub(super) fn last_good(&self, name: &str) -> Option<PathBuf> {
        let serving = self.tools.directory.as_ref().filter(|_| self.tools.serves);
        serving?.last_good(name)
    }

    /// Whether a signed component may take the place of this plugin.
    ///
    /// # Errors
    /// Where it is another policy, or an older one, and that is not meant.
    pub(super) fn admit(&self, plugin: &Plugin, found: &Lineage) -> Result<(), LoadError> {
        let known = self.tools.serving().get(&plugin.name).cloned();
        let kept = || self.tools.directory.as_ref().and_then(|kept| kept.served(&plugin.name));
        lineage::check(plugin, found, known.or_else(kept).as_ref())
    }

    /// Remembers what serves now of the signed components, also for the next start.
    pub(super) fn now_serve<'a>(&self, chain: impl Iterator<Item = &'a Loaded>) {
        for loaded in chain.filter(|loaded| loaded.signer.is_some()) {
            let (name, lineage) = (loaded.reference.name.clone(), loaded.lineage.clone());
            let before = self.tools.serving().insert(name.clone(), lineage.clone());
            if before.as_ref() == Some(&lineage) || !self.tools.serves {
                continue;
            }
            let tools = Arc::clone(&self.tools);
            tokio::task::spawn_blocking(move || {
                if let Some(directory) = &tools.directory {
                    directory.keep_served(&name, &lineage);
                }
            });
        }
    }

    /// How often something was compiled here, and not found.
    pub(super) fn compiled(&self) -> usize {
        self.tools.compiled.load(Ordering::Relaxed)
    }
}

impl Sandbox {
    /// The one place where untrusted code meets the compiler.
    pub(super) async fn compile(&self, bytes: Vec<u8>) -> Result<Component, LoadError> {
        self.workshop.component(self, bytes).await
    }

    /// Compiles what does not depend on settings: once for all settings where the sandbox keeps it.
    pub(super) async fn compile_kept(&self, bytes: Vec<u8>) -> Result<Component, LoadError> {
        let Some(kept) = &self.kept else {
            return self.compile(bytes).await;
        };
        let place = {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(kept.entry(digest(&bytes)).or_default())
        };
        let component = place.get_or_try_init(|| self.compile(bytes)).await?;
        Ok(component.clone())
    }
}

impl Tools {
    fn serving(&self) -> MutexGuard<'_, HashMap<String, Lineage>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn component(&self, engine: &Engine, memory: u64, bytes: &[u8]) -> Result<Component, String> {
        let began = Instant::now();
        let label = label(engine, bytes);
        if let Some(component) = self.kept(engine, &label) {
            tracing::debug!(bytes = bytes.len(), millis = millis(began), "compiled code was kept");
            return Ok(component);
        }
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let (component, artifact) = match self.compiler.compile(engine, memory, bytes)? {
            Compiled::Elsewhere(artifact) => {
                let component = artifact.load(engine).map_err(|error| format!("{error:#}"))?;
                (component, Some(artifact))
            }
            Compiled::Here(component) => {
                let artifact = self.directory.as_ref().and_then(|_| Artifact::of(&component).ok());
                (component, artifact)
            }
        };
        if let (Some(directory), Some(artifact)) = (&self.directory, artifact) {
            directory.keep_compiled(&label, &artifact);
        }
        tracing::debug!(bytes = bytes.len(), millis = millis(began), "compiled");
        Ok(component)
    }

    fn kept(&self, engine: &Engine, label: &Label) -> Option<Component> {
        let directory = self.directory.as_ref()?;
        match directory.compiled(label)?.load(engine) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "compiled code does not fit: it is compiled anew"
                );
                directory.forget_compiled(label);
                None
            }
        }
    }
}

/// Whether a folder is this user's, or would be made in one that is.
fn is_ours(path: &Path) -> bool {
    let found = path.ancestors().find_map(|path| fs::metadata(path).ok());
    found.is_some_and(|found| found.uid() == geteuid().as_raw())
}

/// What code depends on: the bytes that are compiled (a snapshot, which holds the settings), the
/// engine with its settings and the processor, and this version, whose limits decide what compiles.
fn label(engine: &Engine, bytes: &[u8]) -> Label {
    let mut hash = Hashing(Sha256::new());
    hash.write(concat!("portreeve ", env!("CARGO_PKG_VERSION"), "\0").as_bytes());
    engine.precompile_compatibility_hash().hash(&mut hash);
    hash.write(&Sha256::digest(bytes));
    hash.0.finalize().into()
}

/// A hash that nobody can make collide, in the clothes of the standard library's.
struct Hashing(Sha256);

impl Hasher for Hashing {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        0
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Each may take gigabytes.
const MAX_COMPILERS: usize = 4;

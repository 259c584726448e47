//! Turns components into code that runs: a compiler, and a store of compiled code.

use std::collections::HashMap;
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use nix::unistd::geteuid;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::compiler::{Compiler, Target};
use super::directory::{Directory, DirectoryError};
use super::forbidden;
use super::sealed::{Code, Label};
use super::state_image::StateImage;
use crate::config::Plugin;
use crate::confined::Failed;
use crate::policy::LoadError;
use crate::policy::inspect::Parts;
use crate::policy::sandbox::Sandbox;
use crate::policy::source::{self, Lineage, lineage};
use crate::vital;

/// Compiles components, or finds that it has done so before.
pub struct Workshop {
    tools: Arc<Tools>,
    /// Compilers at once.
    places: Semaphore,
}

struct Tools {
    compiler: Compiler,
    directory: Option<Directory>,
    /// The configuration whose policies are made.
    origin: PathBuf,
    /// Whether what is made here serves, so that a copy of it is worth having.
    serves: AtomicBool,
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

    /// A workshop for a command that a person waits for: it shares compiled code with the gateway of the same user, under the
    /// same seal, if its folder can be used. Nothing is made in a folder of another user, which would then refuse its owner.
    #[must_use]
    pub fn at_hand(path: Option<&Path>) -> Self {
        let directory = path.filter(|path| is_ours(path)).map(Directory::open);
        if let Some(Err(error)) = &directory {
            tracing::debug!(%error, "compiled code is not stored");
        }
        Self::with(Compiler::this_program(), directory.and_then(Result::ok), false)
    }

    /// A workshop that keeps compiled code, and what served by the configuration `origin`, in the folder `path`.
    ///
    /// # Errors
    /// If the folder cannot be made or used, or another user could put code there.
    pub fn keeping(compiler: Compiler, path: &Path, origin: &Path) -> Result<Self, DirectoryError> {
        let origin = std::path::absolute(origin).unwrap_or_else(|_| origin.to_owned());
        Ok(Self::of(compiler, Some(Directory::open(path)?), origin, true))
    }

    /// The same, for who only looks: it uses compiled code, and changes nothing of what is kept of what serves.
    #[must_use]
    pub fn looking(self) -> Self {
        self.look_only();
        self
    }

    /// From now on nothing is changed of what is kept of what serves: another process does that.
    pub(in crate::policy) fn look_only(&self) {
        self.tools.serves.store(false, Ordering::Relaxed);
    }

    fn with(compiler: Compiler, directory: Option<Directory>, serves: bool) -> Self {
        Self::of(compiler, directory, PathBuf::new(), serves)
    }

    fn of(compiler: Compiler, directory: Option<Directory>, origin: PathBuf, serves: bool) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self {
            tools: Arc::new(Tools {
                compiler,
                directory,
                origin,
                serves: AtomicBool::new(serves),
                compiled: AtomicUsize::new(0),
                serving: Mutex::default(),
            }),
            places: Semaphore::new(cores.min(MAX_COMPILERS)),
        }
    }

    /// What is made of a component, ready to be instantiated; no thread that serves waits for it.
    pub(in crate::policy) async fn made(
        &self,
        sandbox: &Sandbox,
        order: Order,
    ) -> Result<Option<Component>, LoadError> {
        let _place = self.places.acquire().await;
        let (tools, engine, target) = (Arc::clone(&self.tools), sandbox.engine.clone(), Target::of(sandbox));
        let made = tokio::task::spawn_blocking(move || tools.made(&engine, target, order)).await;
        made.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => Err(LoadError::Panicked(vital::words(&*panic))),
            Err(error) => Err(LoadError::Engine(error.to_string())),
        })
    }

    /// What the parts of a component are.
    pub(in crate::policy) async fn inspect(&self, component: source::Component) -> Result<Parts, LoadError> {
        let _place = self.places.acquire().await;
        let tools = Arc::clone(&self.tools);
        let read = tokio::task::spawn_blocking(move || tools.compiler.inspect(component.bytes())).await;
        let read = read.map_err(|error| LoadError::Engine(error.to_string()))?;
        read.map_err(LoadError::Unreadable)
    }

    /// Keeps a component that serves, on disk; false where that cannot be done.
    pub(in crate::policy) fn keep_component(&self, component: &source::Component) -> bool {
        let Some(directory) = self.kept() else { return false };
        let kept = directory.keep_component(component);
        if let Err(error) = &kept {
            tracing::warn!(%error, "cannot store the policy in force: a restart cannot bring it back");
        }
        kept.is_ok()
    }

    /// Where a component is that was kept.
    pub(in crate::policy) fn kept_component(&self, sha256: &str) -> Option<PathBuf> {
        self.kept()?.kept_component(sha256)
    }

    /// Removes what is kept and not needed any more.
    pub(in crate::policy) fn sweep(&self) {
        if let Some(directory) = self.kept() {
            directory.sweep();
        }
    }

    /// What was recorded of a plugin's generations.
    pub(in crate::policy) fn record(&self, plugin: &str) -> Option<Vec<u8>> {
        self.kept()?.record(plugin, &self.tools.origin)
    }

    /// Records the generations of a plugin.
    pub(in crate::policy) fn keep_record(&self, plugin: &str, record: &[u8]) {
        let Some(directory) = self.kept() else { return };
        if let Err(error) = directory.keep_record(plugin, &self.tools.origin, record) {
            tracing::warn!(plugin, %error, "cannot record which policy serves: a restart may bring back another");
        }
    }

    /// The folder, where what is made here serves.
    fn kept(&self) -> Option<&Directory> {
        self.tools.directory.as_ref().filter(|_| self.tools.serves())
    }

    /// Whether a signed component may take the place of this plugin.
    ///
    /// # Errors
    /// If it is another policy, or an older one, and that is not meant.
    pub(in crate::policy) fn admit(&self, plugin: &Plugin, found: &Lineage) -> Result<(), LoadError> {
        let known = self.tools.serving().get(&plugin.name).cloned();
        let kept = || self.tools.directory.as_ref().and_then(|kept| kept.served(&plugin.name));
        lineage::check(plugin, found, known.or_else(kept).as_ref())
    }

    /// Remembers what serves now of the signed components, by the names of their plugins, also for the next start.
    pub(in crate::policy) fn now_serve<'a>(&self, signed: impl Iterator<Item = (&'a str, &'a Lineage)>) {
        for (name, lineage) in signed {
            let (name, lineage) = (name.to_owned(), lineage.clone());
            let before = self.tools.serving().insert(name.clone(), lineage.clone());
            if before.as_ref() == Some(&lineage) || !self.tools.serves() {
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
    pub(in crate::policy) fn compiled(&self) -> usize {
        self.tools.compiled.load(Ordering::Relaxed)
    }
}

/// What is to be made of a component.
pub(in crate::policy) enum Order {
    /// What it is.
    Plain(source::Component),
    /// One whose instances show their state.
    Instrumented(source::Component),
    /// One whose instances begin with that state.
    Frozen(StateImage),
}

impl Order {
    /// Bytes that are compiled.
    fn size(&self) -> u64 {
        match self {
            Self::Plain(component) | Self::Instrumented(component) => component.bytes().len() as u64,
            Self::Frozen(image) => image.size(),
        }
    }
}

impl Tools {
    fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }

    fn serving(&self) -> MutexGuard<'_, HashMap<String, Lineage>> {
        self.serving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn made(&self, engine: &Engine, target: Target, order: Order) -> Result<Option<Component>, LoadError> {
        let began = Instant::now();
        let (label, bytes) = (label(engine, &order), order.size());
        if let Some(kept) = self.kept(engine, &label) {
            tracing::debug!(bytes, millis = millis(began), "compiled code was kept");
            return Ok(kept);
        }
        self.compiled.fetch_add(1, Ordering::Relaxed);
        let made = match order {
            Order::Plain(component) => self.compiler.compile(target, component.bytes()),
            Order::Instrumented(component) => self.compiler.instrument(target, component.bytes()),
            Order::Frozen(image) => self.compiler.freeze(target, image),
        };
        let code = match made {
            Ok(code) => code,
            Err(Failed::Unsuited(why)) => {
                tracing::debug!(why, "no snapshot: each instance is configured");
                Code::none().map_err(|error| LoadError::Engine(error.to_string()))?
            }
            Err(failed) => return Err(LoadError::Compile(failed.words())),
        };
        let component = loaded(engine, &code).map_err(|error| forbidden::fault(&error))?;
        if let Some(directory) = &self.directory {
            directory.keep_compiled(&label, &code);
        }
        tracing::debug!(bytes, millis = millis(began), "compiled");
        Ok(component)
    }

    fn kept(&self, engine: &Engine, label: &Label) -> Option<Option<Component>> {
        let directory = self.directory.as_ref()?;
        match loaded(engine, &directory.compiled(label)?) {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "compiled code does not match this program: it will be recompiled"
                );
                directory.forget_compiled(label);
                None
            }
        }
    }
}

/// None of a mark that there is none.
fn loaded(engine: &Engine, code: &Code) -> wasmtime::Result<Option<Component>> {
    if code.is_none() {
        return Ok(None);
    }
    code.load(engine).map(Some)
}

/// Whether a folder is this user's, or would be made in one that is.
fn is_ours(path: &Path) -> bool {
    let found = path.ancestors().find_map(|path| fs::metadata(path).ok());
    found.is_some_and(|found| found.uid() == geteuid().as_raw())
}

/// What code depends on: the component and what is made of it (a snapshot with its state, which holds the settings), the
/// engine with its settings and the processor, and this version, whose limits decide what compiles.
fn label(engine: &Engine, order: &Order) -> Label {
    let mut hash = Hashing(Sha256::new());
    hash.write(concat!("portreeve ", env!("CARGO_PKG_VERSION"), "\0").as_bytes());
    engine.precompile_compatibility_hash().hash(&mut hash);
    match order {
        Order::Plain(component) => {
            hash.write(b"plain\0");
            hash.write(component.digest());
        }
        Order::Instrumented(component) => {
            hash.write(b"instrumented\0");
            hash.write(component.digest());
        }
        Order::Frozen(image) => {
            hash.write(b"frozen\0");
            hash.write(&image.digest());
        }
    }
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

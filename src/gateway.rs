//! The gateway as a whole: bind, accept, limit, swap, reload and drain.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accounts::Accounts;
use crate::audit::{Audit, Cause, Event, Subject};
use crate::config::{Config, Fault, Faults, OnSwap, Plugin};
use crate::forwarder::Desk;
use crate::judgement::{House, Judge, OwnListeners};
use crate::names::Resolver;
use crate::open_files;
use crate::policy::{Compiler, DirectoryError, LoadError, OpenForwards, Policies, PolicyRef, Vetted, Watch, Workshop};
use crate::proxy_header;
use crate::registry::Registry;
use crate::relay::is_ours;
use crate::request::Action;
use crate::signature::{AllowedSigners, Refused};
use crate::ssh::{HostKeys, Service, Settings};
use crate::workers::Workers;

/// Where a configuration comes from, to read it again.
pub trait Origin: Send + Sync + 'static {
    /// The file that faults name.
    fn file(&self) -> &Path;
    /// Reads the configuration.
    ///
    /// # Errors
    /// All faults at once.
    fn load(&self) -> Result<Config, Faults>;
    /// Where components are compiled.
    fn compiler(&self) -> Compiler {
        Compiler::this_program()
    }
}

impl Origin for Box<dyn Origin> {
    fn file(&self) -> &Path {
        (**self).file()
    }

    fn load(&self) -> Result<Config, Faults> {
        (**self).load()
    }

    fn compiler(&self) -> Compiler {
        (**self).compiler()
    }
}

/// Why the gateway does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration, a key or a policy is faulty.
    #[error(transparent)]
    Invalid(#[from] Faults),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The operating system's words.
        error: io::Error,
    },
    /// The audit log cannot be opened.
    #[error("cannot write the audit log: {0}")]
    Audit(io::Error),
    /// The system gives no threads.
    #[error("cannot start a thread: {0}")]
    Threads(io::Error),
}

/// Everything that a configuration needs to serve, loaded and checked, with no socket open.
pub struct Prepared {
    /// As meant.
    pub config: Config,
    /// Who may log in.
    pub accounts: Accounts,
    /// The gateway's keys.
    pub host_keys: HostKeys,
    /// The policies.
    pub policies: Policies,
    /// What is open.
    pub registry: Registry,
}

impl Prepared {
    /// Loads keys and policies.
    ///
    /// # Errors
    /// Every fault that there is.
    pub async fn new(config: Config, file: &Path) -> Result<Self, Faults> {
        Self::compiled_by(Compiler::this_program(), config, file).await
    }

    async fn compiled_by(compiler: Compiler, config: Config, file: &Path) -> Result<Self, Faults> {
        let mut faults: Vec<_> = signers_fault(&config, file).into_iter().collect();
        let registry = Registry::default();
        let counted = registry.clone();
        let open_forwards: OpenForwards = Arc::new(move |user| counted.open_forwards(user));
        let accounts = Accounts::new(&config, file).map_err(|found| faults.extend(found)).ok();
        let host_keys = host_keys(&config, file).map_err(|found| faults.extend(found)).ok();
        let policies = match workshop(&config, file, compiler) {
            Ok(workshop) => {
                let loaded = Policies::load_in(workshop, &config.policy, open_forwards).await;
                loaded
                    .map_err(|found| {
                        let found = policy_faults(&config, file, &found);
                        faults.extend(found.into_iter().filter(|one| one.key != SIGNERS_KEY));
                    })
                    .ok()
            }
            Err(fault) => {
                faults.push(fault);
                None
            }
        };
        match (accounts, host_keys, policies) {
            (Some(accounts), Some(host_keys), Some(policies)) if faults.is_empty() => Ok(Self {
                config,
                accounts,
                host_keys,
                policies,
                registry,
            }),
            _ => Err(Faults {
                file: file.to_owned(),
                faults,
            }),
        }
    }

    /// A judge by this configuration.
    #[must_use]
    pub fn into_judge(self) -> (Judge, Accounts) {
        let own = OwnListeners::default();
        for address in &self.config.server.listen {
            own.add(*address);
        }
        let house = House::new(self.config.forwarding, self.config.floors, own);
        (
            Judge::new(house, Arc::new(self.policies), Resolver::system()),
            self.accounts,
        )
    }
}

fn host_keys(config: &Config, file: &Path) -> Result<HostKeys, Vec<Fault>> {
    if !config.server.host_keys.is_empty() {
        let loaded = HostKeys::load(&config.server.host_keys);
        return loaded.map_err(|errors| {
            let faults = errors
                .iter()
                .map(|error| fault(file, "server.host-keys", error.to_string()));
            faults.collect()
        });
    }
    let Some(path) = state_directory().map(|folder| folder.join("ssh_host_ed25519_key")) else {
        let words = "no host key is configured and there is no home to keep one in: set it, or HOME";
        return Err(vec![fault(file, "server.host-keys", words.to_owned())]);
    };
    HostKeys::keep(&path).map_err(|error| vec![fault(file, "server.host-keys", error.to_string())])
}

/// What is configured must be usable. Where nothing is, a state directory that cannot be had costs
/// no more than time; one that somebody else could put code into is a fault all the same.
fn workshop(config: &Config, file: &Path, compiler: Compiler) -> Result<Workshop, Fault> {
    let named = config.policy.directory.as_deref();
    let Some(path) = named
        .map(Path::to_owned)
        .or_else(|| state_directory().map(|folder| folder.join("policies")))
    else {
        return Ok(Workshop::new(compiler));
    };
    match Workshop::keeping(compiler.clone(), &path) {
        Ok(workshop) => Ok(workshop),
        Err(error @ DirectoryError::Unusable { .. }) if named.is_none() => {
            tracing::warn!(%error, "compiled policies cannot be kept, so each start compiles them anew: set policy.directory");
            Ok(Workshop::new(compiler))
        }
        Err(error) => Err(fault(file, "policy.directory", error.to_string())),
    }
}

/// Where the gateway keeps what it makes itself: the XDG state directory of its user.
#[must_use]
pub fn state_directory() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = || std::env::home_dir().filter(|path| path.is_absolute());
    let state = named.or_else(|| home().map(|home| home.join(".local/state")))?;
    Some(state.join("portreeve"))
}

fn fault(file: &Path, key: &str, message: String) -> Fault {
    Fault {
        file: file.to_owned(),
        line: 0,
        column: 0,
        key: key.to_owned(),
        message,
    }
}

/// Whoever is to sign must be known, even where nothing that is loaded needs a signature yet.
fn signers_fault(config: &Config, file: &Path) -> Option<Fault> {
    let signatures = config.policy.signatures.as_ref()?;
    let read = AllowedSigners::read(&signatures.allowed_signers);
    read.err().map(|error| fault(file, SIGNERS_KEY, error.to_string()))
}

fn policy_faults(config: &Config, file: &Path, errors: &[(String, LoadError)]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (name, error) in errors {
        let index = config.policy.plugins.iter().position(|plugin| plugin.name == *name);
        let key = index.map_or("policy".to_owned(), |index| format!("policy.plugin[{index}]"));
        match error {
            LoadError::Settings(problems) => faults.extend(problems.iter().map(|problem| {
                let key = format!("{key}.settings{}", problem.at);
                fault(file, &key, format!("{name}: {}", problem.message))
            })),
            // One file for all plugins, and one fault.
            LoadError::Signature { refused, .. } if let Refused::Signers(error) = &**refused => {
                let found = fault(file, SIGNERS_KEY, error.to_string());
                if !faults.contains(&found) {
                    faults.push(found);
                }
            }
            error => faults.push(fault(file, &format!("{key}.component"), format!("{name}: {error}"))),
        }
    }
    faults
}

/// A gateway that serves.
pub struct Gateway {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    swapped: watch::Receiver<u64>,
}

struct Shared {
    origin: Box<dyn Origin>,
    service: Arc<Service>,
    config: ArcSwap<Config>,
    own: OwnListeners,
    workers: Workers,
    sessions: Arc<Semaphore>,
    unauthenticated: Arc<AtomicUsize>,
    /// Stops accepting and watching.
    closing: CancellationToken,
    /// Ends every session.
    ending: CancellationToken,
    swaps: watch::Sender<u64>,
    reloading: tokio::sync::Mutex<()>,
    finished: Mutex<bool>,
}

impl Gateway {
    /// Loads, binds and serves.
    ///
    /// # Errors
    /// What is wrong, before anything is served.
    pub async fn start(origin: impl Origin) -> Result<Self, StartError> {
        let config = origin.load()?;
        let prepared = Prepared::compiled_by(origin.compiler(), config, origin.file()).await?;
        let Prepared {
            config,
            accounts,
            host_keys,
            policies,
            registry,
        } = prepared;
        open_files::provide(config.limits.sessions);
        let audit = Audit::open(&config.audit).map_err(StartError::Audit)?;
        let own = OwnListeners::default();
        let mut listeners = Vec::new();
        for address in &config.server.listen {
            let bound = bind(*address).map_err(|error| StartError::Bind {
                address: *address,
                error,
            })?;
            own.add(bound.local_addr().unwrap_or(*address));
            listeners.push(bound);
        }
        let addresses: Vec<_> = listeners.iter().filter_map(|one| one.local_addr().ok()).collect();
        let house = House::new(config.forwarding, config.floors.clone(), own.clone());
        let desk = Arc::new(Desk {
            judge: Judge::new(house, Arc::new(policies), Resolver::system()),
            audit,
            registry,
            limits: ArcSwap::from_pointee(config.limits.clone()),
            reevaluates: AtomicBool::new(config.policy.on_swap == OnSwap::Reevaluate),
            draining: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        });
        let settings = settings(&config, accounts, host_keys);
        let started = Event::GatewayStarted {
            listen: addresses.clone(),
            policies: desk.judge.policies().current().installed().collect(),
        };
        if !desk
            .audit
            .record_surely(&Subject::default(), &started)
            .confirmed()
            .await
        {
            tracing::error!("the audit log cannot be written: every forward will be refused");
        }
        let (swaps, swapped) = watch::channel(0);
        let shared = Arc::new(Shared {
            origin: Box::new(origin),
            service: Arc::new(Service::new(desk, settings)),
            sessions: Arc::new(Semaphore::new(config.limits.sessions)),
            config: ArcSwap::from_pointee(config),
            own,
            workers: Workers::start().map_err(StartError::Threads)?,
            unauthenticated: Arc::default(),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
            swaps,
            reloading: tokio::sync::Mutex::new(()),
            finished: Mutex::new(false),
        });
        for listener in listeners {
            let shared = Arc::clone(&shared);
            shared.tasks().spawn(shared.clone().accept(listener));
        }
        shared.tasks().spawn(Arc::clone(&shared).watch());
        let policies = Arc::clone(shared.desk().judge.policies());
        shared.tasks().spawn(async move { policies.keep_last_good().await });
        Ok(Self {
            shared,
            addresses,
            swapped,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// What is open.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.shared.desk().registry
    }

    /// Counts every swap, and every candidate that was rejected.
    #[must_use]
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.swapped.clone()
    }

    /// How many connections, tunnels, listeners and other tasks there are.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.shared.tasks().len()
    }

    /// Reads configuration, keys and policies again, and opens the audit log again.
    ///
    /// # Errors
    /// What is wrong; everything goes on as it was.
    pub async fn reload(&self) -> Result<(), Faults> {
        self.shared.reload().await
    }

    /// Reloads without anybody waiting for it; what came of it is in the log and the audit log.
    pub fn reload_in_background(&self) {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks().spawn(async move {
            let _ = shared.reload().await;
        });
    }

    /// Stops at once: what is open is cut and recorded, and the audit log is finished.
    pub async fn abandon(&self) {
        self.shared.closing.cancel();
        self.shared.cut().await;
        self.shared.finish();
    }

    /// Stops accepting, lets tunnels end for the configured time, then closes what is left.
    pub async fn drain(&self) {
        self.shared.drain().await;
    }
}

impl Shared {
    fn desk(&self) -> &Arc<Desk> {
        &self.service.desk
    }

    fn tasks(&self) -> &TaskTracker {
        &self.desk().tasks
    }

    async fn accept(self: Arc<Self>, listener: TcpListener) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.greet(stream, peer),
                Err(error) if is_ours(&error) => {
                    tracing::warn!(%error, "cannot accept: raise the limit of open files (ulimit -n, LimitNOFILE)");
                    sleep(Duration::from_secs(1)).await;
                }
                Err(error) => tracing::debug!(%error, "a client was gone before it was accepted"),
            }
        }
    }

    /// Lets a client in, or closes its connection where there are too many.
    fn greet(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(place) = self.admit(peer) else {
            return;
        };
        let server = stream.local_addr().unwrap_or(peer);
        let server = SocketAddr::new(server.ip().to_canonical(), server.port());
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a client was gone before it was greeted");
            return;
        }
        let Place { session, login } = place;
        let shared = Arc::clone(self);
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "a client was gone before it was greeted"),
        };
        let connection = self.tasks().track_future(async move {
            let _session = session;
            let ending = shared.ending.clone();
            let stream = match TcpStream::from_std(stream) {
                Ok(stream) => stream,
                Err(error) => return tracing::warn!(%error, "a connection cannot be served"),
            };
            match shared.ends(stream, peer, server).await {
                Ok((stream, peer, server)) => shared.service.serve(stream, peer, server, login, ending).await,
                Err(error) => {
                    tracing::info!(%peer, %error, "no PROXY protocol header from a source that must send one")
                }
            }
        });
        self.workers.spawn(connection);
    }

    /// The two ends of a connection: what a trusted balancer says of them, or what they are.
    async fn ends(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        server: SocketAddr,
    ) -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
        let config = self.config.load();
        if !config.server.proxy_protocol.iter().any(|net| net.contains(&peer.ip())) {
            return Ok((stream, peer, server));
        }
        let patience = config.auth.login_grace;
        let read = timeout(patience, proxy_header::read(&mut stream)).await;
        let (peer, server) = read
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?
            .unwrap_or((peer, server));
        Ok((stream, peer, server))
    }

    fn admit(&self, peer: SocketAddr) -> Option<Place> {
        let limits = self.desk().limits.load();
        let login = Unauthenticated::enter(&self.unauthenticated);
        // OpenSSH's MaxStartups: at random past the limit, ever more likely towards twice of it.
        let past = login.count.saturating_sub(limits.unauthenticated);
        if past > 0 && past >= chance(limits.unauthenticated) {
            tracing::warn!(%peer, "too many clients that have not logged in (limits.unauthenticated)");
            return None;
        }
        let Ok(session) = Arc::clone(&self.sessions).try_acquire_owned() else {
            tracing::warn!(%peer, "too many sessions (limits.sessions)");
            return None;
        };
        Some(Place { session, login })
    }

    /// Swaps a plugin when its file changes.
    async fn watch(self: Arc<Self>) {
        loop {
            let config = self.config.load_full();
            let mut watch = Watch::new(&config.policy);
            // What changed after the files were read and before they were watched.
            for plugin in config.policy.plugins.iter().filter(|plugin| plugin.watch) {
                self.swap(&config, plugin).await;
            }
            while Arc::ptr_eq(&config, &self.config.load_full()) {
                let changed = tokio::select! {
                    changed = watch.changed() => changed,
                    () = self.closing.cancelled() => return,
                    () = sleep(RECHECK_CONFIG) => continue,
                };
                for name in changed {
                    let plugin = config.policy.plugins.iter().find(|plugin| plugin.name == name);
                    if let Some(plugin) = plugin {
                        self.swap(&config, plugin).await;
                    }
                }
            }
        }
    }

    async fn swap(self: &Arc<Self>, config: &Arc<Config>, plugin: &Plugin) {
        let _turn = self.reloading.lock().await;
        if !Arc::ptr_eq(config, &self.config.load_full()) {
            return;
        }
        let began = Instant::now();
        let policies = Arc::clone(self.desk().judge.policies());
        let mut sha256 = None;
        let swapped = match plugin.settings_again() {
            Ok(plugin) => match Vetted::read_aside(plugin.clone(), config.policy.signatures.clone()).await {
                Ok(vetted) if policies.serves(&plugin, &vetted) => return,
                Ok(vetted) => {
                    sha256 = Some(vetted.digest());
                    let replaced = policies.replace_one(&plugin, vetted).await;
                    replaced.map_err(|error| error.to_string())
                }
                Err(error) => {
                    sha256 = error.sha256();
                    Err(error.to_string())
                }
            },
            Err(faults) => Err(faults.to_string()),
        };
        match swapped {
            Ok(swapped) => {
                let PolicyRef { name, sha256, .. } = &swapped.now.policy;
                tracing::info!(policy = name, sha256, "policy swapped");
                let event = Event::PolicySwapped {
                    policy: swapped.now,
                    previous: swapped.before,
                    millis: millis(began),
                };
                self.desk().audit.record(&Subject::default(), &event);
                self.after_swap();
            }
            Err(reason) => self.rejected(&plugin.name, sha256, reason),
        }
        self.swaps.send_modify(|count| *count += 1);
    }

    fn rejected(&self, name: &str, sha256: Option<String>, reason: String) {
        tracing::error!(policy = name, reason, "policy rejected; the one in force goes on");
        let event = Event::PolicyRejected {
            name: name.to_owned(),
            sha256,
            reason,
        };
        self.desk().audit.record(&Subject::default(), &event);
    }

    fn after_swap(&self) {
        if self.desk().reevaluates.load(Ordering::Relaxed) {
            let desk = Arc::clone(self.desk());
            self.tasks().spawn(async move { desk.reconsider_all().await });
        }
    }

    async fn reload(self: &Arc<Self>) -> Result<(), Faults> {
        let _turn = self.reloading.lock().await;
        self.desk().audit.reopen();
        let reloaded = self.try_reload().await;
        let event = Event::ConfigReloaded {
            ok: reloaded.is_ok(),
            reason: reloaded.as_ref().err().map(ToString::to_string),
        };
        self.desk().audit.record(&Subject::default(), &event);
        match &reloaded {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(faults) => tracing::error!("configuration not reloaded, the one in force goes on:\n{faults}"),
        }
        self.swaps.send_modify(|count| *count += 1);
        reloaded
    }

    async fn try_reload(self: &Arc<Self>) -> Result<(), Faults> {
        let file = self.origin.file();
        let config = self.origin.load()?;
        let invalid = |faults| Faults {
            file: file.to_owned(),
            faults,
        };
        if let Some(fault) = signers_fault(&config, file) {
            return Err(invalid(vec![fault]));
        }
        let accounts = Accounts::new(&config, file).map_err(invalid)?;
        let host_keys = host_keys(&config, file).map_err(invalid)?;
        let began = Instant::now();
        let desk = self.desk();
        let replaced = desk.judge.policies().replace(&config.policy).await;
        let swapped = replaced.map_err(|errors| {
            for (name, error) in &errors {
                self.rejected(name, error.sha256(), error.to_string());
            }
            invalid(policy_faults(&config, file, &errors))
        })?;
        if config.server.listen != self.config.load().server.listen {
            tracing::warn!("server.listen has changed: that takes a restart");
        }
        if config.policy.directory != self.config.load().policy.directory {
            tracing::warn!("policy.directory has changed: that takes a restart");
        }
        let house = House::new(config.forwarding, config.floors.clone(), self.own.clone());
        desk.judge.replace_house(house);
        desk.limits.store(Arc::new(config.limits.clone()));
        let reevaluates = config.policy.on_swap == OnSwap::Reevaluate;
        desk.reevaluates.store(reevaluates, Ordering::Relaxed);
        self.service.replace(settings(&config, accounts, host_keys));
        self.config.store(Arc::new(config));
        for swapped in swapped {
            let event = Event::PolicySwapped {
                policy: swapped.now,
                previous: swapped.before,
                millis: millis(began),
            };
            desk.audit.record(&Subject::default(), &event);
        }
        self.after_swap();
        Ok(())
    }

    async fn drain(self: &Arc<Self>) {
        let desk = self.desk();
        self.closing.cancel();
        desk.draining.store(true, Ordering::Relaxed);
        let patience = desk.limits.load().drain_timeout;
        tracing::info!(?patience, open = desk.registry.forwards().len(), "draining");
        let listens = |action| action == Action::Listen;
        for forward in desk
            .registry
            .forwards()
            .iter()
            .filter(|forward| listens(forward.request.action))
        {
            forward.stop.end(Cause::Drained);
        }
        let _ = timeout(patience, async {
            while !desk.registry.forwards().is_empty() {
                sleep(DRAIN_LOOK).await;
            }
        })
        .await;
        self.cut().await;
        self.ending.cancel();
        desk.tasks.close();
        let _ = timeout(DRAIN_END, desk.tasks.wait()).await;
        self.finish();
    }

    /// Ends everything that is open, and waits until it is recorded.
    async fn cut(&self) {
        let registry = &self.desk().registry;
        for forward in registry.forwards() {
            forward.stop.end(Cause::Drained);
        }
        let _ = timeout(DRAIN_END, async {
            while !registry.forwards().is_empty() {
                sleep(DRAIN_LOOK).await;
            }
        })
        .await;
    }

    fn finish(&self) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *finished, true) {
            self.desk().audit.record(&Subject::default(), &Event::GatewayStopped);
            self.desk().audit.finish();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        self.shared.ending.cancel();
    }
}

struct Place {
    session: OwnedSemaphorePermit,
    login: Unauthenticated,
}

/// Counts a client that has not logged in.
struct Unauthenticated {
    all: Arc<AtomicUsize>,
    count: usize,
}

impl Unauthenticated {
    fn enter(all: &Arc<AtomicUsize>) -> Self {
        Self {
            count: all.fetch_add(1, Ordering::Relaxed) + 1,
            all: Arc::clone(all),
        }
    }
}

impl Drop for Unauthenticated {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A number from 1 to `limit`, from the randomness of a new hash seed.
fn chance(limit: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0);
    1 + usize::try_from(random % (limit as u64).max(1)).unwrap_or(0)
}

fn settings(config: &Config, accounts: Accounts, host_keys: HostKeys) -> Settings {
    Settings {
        host_keys,
        accounts,
        banner: config.server.banner.clone(),
        login_grace: config.auth.login_grace,
        max_attempts: config.auth.max_attempts,
        limits: config.limits.clone(),
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

const SIGNERS_KEY: &str = "policy.allowed-signers";
const BACKLOG: i32 = 1024;
const RECHECK_CONFIG: Duration = Duration::from_secs(1);
const DRAIN_LOOK: Duration = Duration::from_millis(20);
const DRAIN_END: Duration = Duration::from_secs(2);

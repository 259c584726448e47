//! The gateway as a whole: bind, accept, limit, swap, reload and drain.

mod accept;
mod blocking;
mod canary;
mod candidates;
mod changes;
mod current;
mod doorway;
mod drain;
mod fleet;
mod gates;
mod hardening;
mod keys;
mod observers;
mod orders;
mod policies;
mod prepare;
mod pulls;
mod rehearse;
mod reload;
mod rollout;
mod start;
mod steer;
mod surroundings;
mod swap;
mod upgrade;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin;
use crate::config::{AuditFile, Config, Draft, Faults};
use crate::events::Events;
use crate::fleet::Fleet;
use crate::forwarder::{Forwarder, Review};
use crate::handover::{Predecessor, Program};
use crate::history::History;
use crate::judgement::Judge;
use crate::locks::Locks;
use crate::metrics::Metrics;
use crate::policy::{Compiler, Generation};
use crate::sessions::Sessions;
use crate::ssh::Service;
use crate::vital::{Vital, Vitals};
use crate::workers::Workers;

use candidates::Rollouts;
use current::InForce;
use doorway::{Doorway, Sparing};
use upgrade::Succession;

pub(crate) use changes::{Applies, changes};
pub use prepare::{Prepared, state_directory};
pub use start::StartError;
pub use steer::{Interfaces, control_socket};
pub use surroundings::missing;

/// A gateway that serves.
pub struct Gateway {
    shared: Arc<Parts>,
    addresses: Vec<SocketAddr>,
    audit_file: AuditFile,
    swapped: watch::Receiver<u64>,
    admin: Interfaces,
}

struct Parts {
    origin: Box<dyn Origin>,
    service: Arc<Service>,
    forwarder: Arc<Forwarder>,
    judge: Arc<Judge>,
    events: Events,
    metrics: Metrics,
    /// What the status page shows of the past.
    history: History,
    /// What is open.
    sessions: Sessions,
    /// Who is locked out.
    locks: Locks,
    /// Every task.
    tasks: TaskTracker,
    in_force: InForce,
    workers: Workers,
    /// Where administrators and monitors are answered.
    desk: admin::Thread,
    /// Connections, also of those who have not logged in.
    clients: Arc<AtomicUsize>,
    /// Those who have not logged in.
    doorway: Arc<Doorway>,
    refusals: Mutex<Sparing>,
    /// Stops accepting.
    closing: CancellationToken,
    /// Ends every session, and watching.
    ending: CancellationToken,
    swaps: watch::Sender<u64>,
    /// One at a time reads the configuration, which takes a moment.
    reading: tokio::sync::Mutex<()>,
    /// How many configurations have been read.
    read_so_far: AtomicU64,
    /// One at a time prepares policies, which may take a minute.
    reloading: tokio::sync::Mutex<()>,
    finished: Mutex<bool>,
    vitals: Vitals,
    started: Timestamp,
    listen: Vec<SocketAddr>,
    /// An administrator asked for the end.
    leave: CancellationToken,
    /// How long tunnels may go on then, where the administrator said so.
    patience: Mutex<Option<Duration>>,
    /// What is learned of policies, and which of them wait for something.
    rollouts: Rollouts,
    succession: Succession,
    /// The fleet, if this gateway belongs to one.
    fleet: Option<Fleet>,
}

impl Gateway {
    /// Where it listens.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where its audit log is.
    #[must_use]
    pub fn audit_file(&self) -> &AuditFile {
        &self.audit_file
    }

    /// Where administrators and monitoring reach it.
    #[must_use]
    pub fn admin(&self) -> &Interfaces {
        &self.admin
    }

    /// Waits until an administrator asks for the end. Cancel-safe.
    pub async fn asked_to_drain(&self) {
        self.shared.leave.cancelled().await;
    }

    /// Starts the program that takes the place of this one, in the background. If it does not serve, this one goes on, and the
    /// reason is in the log and the audit log.
    pub(crate) fn upgrade_in_background(&self, program: &Program) {
        let upgrade = Arc::clone(&self.shared).upgrade(program.clone());
        self.shared.tasks.spawn(upgrade);
    }

    /// Tells the process that this one replaces that it serves.
    pub(crate) fn take_over(&self, predecessor: Predecessor) {
        self.shared.tasks.spawn(Arc::clone(&self.shared).take_over(predecessor));
    }

    /// Waits until another process has taken the place of this one; returns its number. Cancel-safe.
    pub(crate) async fn replaced(&self) -> u32 {
        self.shared.succession.replaced().await
    }

    /// Serves what is open to its end, after another process has taken the place of this one.
    pub(crate) async fn retire(&self) {
        self.shared.retire().await;
    }

    /// What is open.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.shared.sessions
    }

    /// Counts every swap, and every candidate that was rejected.
    #[must_use]
    pub fn swaps(&self) -> watch::Receiver<u64> {
        self.swapped.clone()
    }

    /// How many connections, tunnels, listeners and other tasks there are.
    #[must_use]
    pub fn tasks(&self) -> usize {
        self.shared.tasks.len()
    }

    /// How many bytes wait for targets that are slower than their clients.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.shared.service.buffered()
    }

    /// The essential tasks that are not running now; a gateway is ready only if there are none.
    #[must_use]
    pub fn absent(&self) -> Vec<Vital> {
        self.shared.vitals.absent()
    }

    /// Reads configuration, keys and policies again, and opens the audit log again.
    ///
    /// # Errors
    /// The faults. If a policy or its settings are at fault, the restrictions in the new configuration still apply; otherwise
    /// nothing changes.
    pub async fn reload(&self) -> Result<(), Faults> {
        self.shared.reload().await.faults.map_or(Ok(()), Err)
    }

    /// Reloads in the background; the result is in the log and the audit log.
    pub fn reload_in_background(&self) {
        let shared = Arc::clone(&self.shared);
        self.shared.tasks.spawn(async move {
            shared.reload().await;
        });
    }

    /// Stops at once: what is open is cut and recorded, and the audit log is finished.
    pub async fn abandon(&self) {
        self.shared.closing.cancel();
        self.shared.succession.close();
        self.shared.cut().await;
        self.shared.finish();
    }

    /// Stops accepting, lets tunnels end for the configured time, then closes what is left.
    pub async fn drain(&self) {
        self.shared.drain().await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.shared.closing.cancel();
        self.shared.ending.cancel();
    }
}

impl Parts {
    fn review(&self) -> Review {
        self.forwarder.review().clone()
    }
}

/// Where a configuration comes from, to read it again.
pub trait Origin: Send + Sync + 'static {
    /// The file that faults name.
    fn file(&self) -> &Path;
    /// Reads the configuration.
    ///
    /// # Errors
    /// All faults at once.
    fn load(&self) -> Result<Config, Faults>;
    /// Reads the configuration, and tells faults of its settings files from its own. What reads no file of its own has none.
    ///
    /// # Errors
    /// All faults at once.
    fn draft(&self) -> Result<Draft, Faults> {
        self.load().map(|config| Draft {
            config,
            settings_files: Vec::new(),
        })
    }
    /// Where components are compiled.
    fn compiler(&self) -> Compiler {
        Compiler::this_program()
    }
    /// The control socket of a gateway whose configuration names none.
    fn control_socket(&self) -> Option<PathBuf> {
        None
    }
    /// Who knows whether a chain keeps to the cases of `policy.gates`.
    fn invariants(&self) -> &'static dyn Invariants {
        &NoCases
    }
}

/// Asks chains the cases that an administrator wrote down.
pub trait Invariants: Send + Sync {
    /// Whether the chain answers every case below these paths as it says: how many there are, or in words what is wrong.
    ///
    /// # Errors
    /// The first cases that it breaks, or what keeps them from being read.
    fn check<'a>(&self, paths: &'a [PathBuf], chain: &'a Generation) -> BoxFuture<'a, Result<usize, String>>;
}

/// Where nobody can read cases, there must be none.
struct NoCases;

impl Invariants for NoCases {
    fn check<'a>(&self, paths: &'a [PathBuf], _: &'a Generation) -> BoxFuture<'a, Result<usize, String>> {
        let result = match paths {
            [] => Ok(0),
            _ => Err("cases cannot be read here".to_owned()),
        };
        Box::pin(async { result })
    }
}

impl Origin for Box<dyn Origin> {
    fn file(&self) -> &Path {
        (**self).file()
    }

    fn load(&self) -> Result<Config, Faults> {
        (**self).load()
    }

    fn draft(&self) -> Result<Draft, Faults> {
        (**self).draft()
    }

    fn compiler(&self) -> Compiler {
        (**self).compiler()
    }

    fn control_socket(&self) -> Option<PathBuf> {
        (**self).control_socket()
    }

    fn invariants(&self) -> &'static dyn Invariants {
        (**self).invariants()
    }
}

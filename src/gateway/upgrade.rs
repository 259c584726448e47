//! Upgrade of the program while it serves: another process takes the listening sockets, and this one serves what it has to its end.
//!
//! Both accept until the new one has said that it serves, so no connection is refused in between. Sessions stay what they are: they
//! may open further forwards, and keep their listeners, until their clients leave or `limits.drain-timeout` is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Parts;
use crate::admin::{Ownership, Relatives};
use crate::events::{Event, Subject};
use crate::handover::{Predecessor, Program, Sockets, Successor, Unserved};
use crate::request::Cause;
use crate::sessions::{end_all, lock_sentence};

/// What a successor gets, and whether there is one.
pub(super) struct Succession {
    /// Empty once this gateway accepts nothing more.
    sockets: Mutex<Sockets>,
    control: Option<Ownership>,
    relatives: Relatives,
    under_way: AtomicBool,
    /// Another process accepts, or this gateway has ended.
    pub(super) leaving: CancellationToken,
    successor: OnceLock<u32>,
    /// Connections of administrators and monitoring.
    pub(super) callers: TaskTracker,
}

impl Succession {
    pub(super) fn new(
        sockets: Sockets,
        control: Option<Ownership>,
        relatives: Relatives,
        leaving: CancellationToken,
    ) -> Self {
        Self {
            sockets: Mutex::new(sockets),
            control,
            relatives,
            under_way: AtomicBool::new(false),
            leaving,
            successor: OnceLock::new(),
            callers: TaskTracker::new(),
        }
    }

    /// This gateway accepts nothing more.
    pub(super) fn close(&self) {
        drop(std::mem::take(&mut *self.lock()));
    }

    /// The process that has taken its place, once one has.
    pub(super) async fn replaced(&self) -> u32 {
        self.leaving.cancelled().await;
        match self.successor.get() {
            Some(process) => *process,
            // This one has ended by itself.
            None => std::future::pending().await,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sockets> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parts {
    /// Starts a successor, and leaves the listeners to it once it serves; otherwise nothing changes.
    pub(super) async fn upgrade(self: Arc<Self>, program: Program) {
        let succession = &self.succession;
        if self.closing.is_cancelled() {
            return tracing::warn!("upgrade refused: this gateway is stopping");
        }
        if succession.under_way.swap(true, Ordering::AcqRel) {
            return tracing::warn!("upgrade refused: one is already under way");
        }
        if let Some(plugin) = self.unconfirmed() {
            let reason = format!(
                "`{plugin}` waits for a confirmation, and a start would roll it back: confirm it, or roll back"
            );
            self.announce_upgrade(None, Some(reason));
            succession.under_way.store(false, Ordering::Release);
            return;
        }
        tracing::info!(program = %program.path().display(), "upgrading: starting the new program");
        match self.succeed(program).await {
            Ok(successor) => self.leave_to(&successor),
            Err(error) => {
                let reason = Some(error.to_string());
                self.announce_upgrade(None, reason);
            }
        }
        succession.under_way.store(false, Ordering::Release);
    }

    async fn succeed(self: &Arc<Self>, program: Program) -> Result<Successor, Unserved> {
        let sockets = self.succession.lock().again().map_err(Unserved::Unpassed)?;
        let patience = self.judge.current().limits.upgrade_timeout;
        let shared = Arc::clone(self);
        let (done, succeeded) = oneshot::channel();
        // A thread of its own: the end of this process does not wait for it.
        let starting = std::thread::Builder::new().name("upgrade".to_owned()).spawn(move || {
            let relatives = &shared.succession.relatives;
            let began = |process| relatives.add(process);
            let stopped = || shared.closing.is_cancelled();
            let _ = done.send(program.succeed(&sockets, relatives.all(), patience, began, stopped));
        });
        starting.map_err(Unserved::Unpassed)?;
        succeeded.await.unwrap_or(Err(Unserved::Stopped))
    }

    fn leave_to(&self, successor: &Successor) {
        let succession = &self.succession;
        let process = successor.process();
        let _ = succession.successor.set(process);
        self.judge.policies().record_no_more();
        if let Some(control) = &succession.control {
            control.give_up();
        }
        self.announce_upgrade(Some(process), None);
        succession.leaving.cancel();
        self.closing.cancel();
        succession.close();
        successor.release();
    }

    fn announce_upgrade(&self, process: Option<u32>, reason: Option<String>) {
        let event = Event::GatewayUpgraded {
            ok: process.is_some(),
            process,
            reason,
        };
        self.events.emit(&Subject::default(), &event);
    }

    /// After another process has taken over: serves what is open to its end, but no longer than `limits.drain-timeout`.
    pub(super) async fn retire(self: &Arc<Self>) {
        let began = Instant::now();
        let mut looked = Instant::now();
        while self.has_clients() && began.elapsed() < self.patience() {
            sleep(LOOK).await;
            if looked.elapsed() >= EACH {
                looked = Instant::now();
                // Whoever moves the log away tells the new process only, and so do administrators who lock a user out.
                self.events.audit().reopen();
                self.read_locks_again().await;
            }
        }
        self.succession.callers.close();
        let _ = timeout(LAST_ANSWERS, self.succession.callers.wait()).await;
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = Some(Duration::ZERO);
        self.drain().await;
    }

    fn has_clients(&self) -> bool {
        self.clients.load(Ordering::Relaxed) > 0 || !self.sessions.forwards().is_empty()
    }

    /// Says that this process serves, and notices once the other accepts nothing more who was locked out there meanwhile.
    pub(super) async fn take_over(self: Arc<Self>, predecessor: Predecessor) {
        predecessor.serving();
        let _ = spawn_blocking(move || predecessor.wait()).await;
        self.read_locks_again().await;
    }

    /// Reads who is locked out by another process, and ends what they have here.
    async fn read_locks_again(&self) {
        let locks = self.locks.clone();
        let read = match spawn_blocking(move || locks.read_again()).await {
            Ok(Ok(locked)) => locked,
            Ok(Err(error)) => return tracing::warn!(%error, "cannot read who is locked out"),
            Err(_) => return,
        };
        for lock in read {
            let mut ending = self.sessions.all();
            ending.retain(|session| session.user == lock.user);
            let open = self.sessions.forwards_of(&lock.user);
            end_all(&ending, &lock_sentence(&lock.reason), &open, Cause::Killed);
        }
    }
}

const LOOK: Duration = Duration::from_millis(50);
const EACH: Duration = Duration::from_secs(1);
/// How long the end waits for answers to administrators who asked before another process accepted.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

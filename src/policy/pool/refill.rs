//! The thread that prepares instances and drops the used ones.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::Store;

use super::instances::{PAGE, Pool};
use super::prefault::Prefault;
use crate::policy::LoadError;
use crate::policy::sandbox::{CLEARING, Guest, PREPARED};
use crate::vital::{Pulse, Vital, keep_thread};

/// The thread that makes instances and clears them away, and the bounds of what is kept.
#[derive(Clone)]
pub(in crate::policy) struct Refill {
    pub(super) work: Sender<Work>,
    pub(super) places: Arc<Semaphore>,
    pub(super) pages: Arc<Semaphore>,
    pub(super) clearing: Arc<Semaphore>,
    pulse: Pulse,
}

pub(super) struct Work {
    pub(super) used: Option<(Store<Guest>, OwnedSemaphorePermit)>,
    pub(super) pool: Arc<Pool>,
}

impl Refill {
    /// Starts the thread; it ends with the last copy of this value.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(in crate::policy) fn start() -> Result<Self, LoadError> {
        Self::start_with(IDLE)
    }

    /// Whether the thread runs.
    pub(in crate::policy) fn runs(&self) -> bool {
        self.pulse.is_there()
    }

    pub(super) fn start_with(idle: Duration) -> Result<Self, LoadError> {
        let failed = |error| LoadError::Engine(format!("cannot start a thread for instances: {error}"));
        let (work, orders) = channel();
        let runtime = Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let mut refiller = Refiller {
            runtime,
            orders,
            hungry: VecDeque::new(),
            kept: Vec::new(),
            prefault: Prefault::new(),
            idle,
        };
        let pulse = Pulse::default();
        keep_thread("policy-pool", Vital::Preparing, pulse.clone(), move || refiller.run()).map_err(failed)?;
        let pages = usize::try_from(MOST_BYTES / PAGE).unwrap_or(Semaphore::MAX_PERMITS);
        Ok(Self {
            work,
            places: Arc::new(Semaphore::new(PREPARED)),
            pages: Arc::new(Semaphore::new(pages)),
            clearing: Arc::new(Semaphore::new(CLEARING)),
            pulse,
        })
    }
}

/// What the thread has before it.
struct Refiller {
    runtime: Runtime,
    orders: Receiver<Work>,
    /// Pools that lack instances, one after the other.
    hungry: VecDeque<Arc<Pool>>,
    /// Pools to look at from time to time.
    kept: Vec<Weak<Pool>>,
    prefault: Prefault,
    idle: Duration,
}

impl Refiller {
    fn run(&mut self) {
        // Decisions come first.
        let _ = rustix::process::nice(5);
        loop {
            let order = if !self.hungry.is_empty() {
                self.orders.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else if self.kept.is_empty() {
                self.orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.orders.recv_timeout(LOOK.min(self.idle))
            };
            match order {
                Ok(work) => self.take_up(work),
                Err(RecvTimeoutError::Timeout) => match self.hungry.pop_front() {
                    Some(pool) => self.feed(pool),
                    None => self.look(),
                },
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// What is used goes first: its place in the pool is warm for the next.
    fn take_up(&mut self, Work { used, pool }: Work) {
        let known = |one: &Weak<Pool>| one.as_ptr() == Arc::as_ptr(&pool);
        if !self.kept.iter().any(known) {
            self.kept.push(Arc::downgrade(&pool));
            self.prefault.look_again();
        }
        if let Some(used) = used {
            self.prefault.look();
            drop(used);
            self.prefault.warm();
        }
        drop(pool.surplus(self.idle));
        if pool.lacks() && !self.hungry.iter().any(|one| Arc::ptr_eq(one, &pool)) {
            self.hungry.push_back(pool);
        }
    }

    fn feed(&mut self, pool: Arc<Pool>) {
        let Some(sandbox) = pool.sandbox.upgrade() else {
            return;
        };
        if !pool.lacks() {
            return;
        }
        match self.runtime.block_on(pool.make(&sandbox)) {
            Ok(prepared) => {
                drop(pool.put(prepared));
                self.hungry.push_back(pool);
            }
            // No room, or the guest fails: then decisions make their own, and say why.
            Err(failure) => tracing::debug!(%failure, "no instance is kept ready"),
        }
    }

    fn look(&mut self) {
        let idle = self.idle;
        self.kept.retain(|pool| {
            let Some(pool) = pool.upgrade() else {
                return false;
            };
            drop(pool.surplus(idle));
            pool.pooled().ready > 0
        });
    }
}

/// Memories and tables of all that are kept, as their size is and not as far as they are in memory.
pub(super) const MOST_BYTES: u64 = 512 << 20;
/// A policy that was not asked for so long has none.
const IDLE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(1);

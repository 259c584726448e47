//! Instances that are made ahead of the decisions that will use them, each for exactly one.
//!
//! Where making an instance takes long (the interpreters), a decision would wait for it. So for
//! policies that are asked, a few instances are kept that are instantiated and configured, and
//! nothing more: they were made before the request came, without any knowledge of it. A decision
//! takes one away for good; where there is none it makes its own. Deadline and budgets begin with
//! the decision either way, and a guest cannot tell which of the two it is.
//!
//! One thread of low priority makes them and clears away what decisions have used. What is kept is
//! bounded: see [`MOST`], [`MOST_BYTES`] and [`PREPARED`](crate::policy::sandbox::PREPARED). How many a
//! policy gets follows from how often a decision found none.
//!
//! Where an instance is made in a few microseconds (Rust, C), that pays only while decisions are
//! rare: then the caches have forgotten all about it, and half of the time of a decision is spent on
//! that. In a crowd it is the other way round, and two threads would only be in each other's way.

mod prefault;

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use wasmtime::Store;

use self::prefault::Warmer;
use crate::names::{Lookups, Resolver};
use crate::policy::contract::{Policy, PolicyPre};
use crate::policy::load::{configured, store};
use crate::policy::sandbox::{CLEARING, Facts, Guest, Label, PREPARED, Phase, Sandbox};
use crate::policy::{Failure, LoadError};
use crate::vital::{Pulse, Vital, keep_thread};

/// The instances that are kept for one policy.
pub(in crate::policy) struct Stock {
    recipe: Recipe,
    shelf: Mutex<Shelf>,
    room: Stockroom,
    sandbox: Weak<Sandbox>,
}

/// All that goes into an instance before a request is known.
pub(in crate::policy) struct Recipe {
    pub(in crate::policy) pre: PolicyPre,
    /// What it is configured with, where it is not a snapshot.
    pub(in crate::policy) settings: Option<String>,
    pub(in crate::policy) label: Label,
    pub(in crate::policy) facts: Arc<Facts>,
    pub(in crate::policy) deadline: Duration,
    /// Of its memories and tables.
    pub(in crate::policy) bytes: u64,
    /// How long it takes to make one and to clear it away.
    pub(in crate::policy) takes: Duration,
}

struct Shelf {
    ready: Vec<Prepared>,
    /// How many there should be.
    wanted: usize,
    /// The fewest that there were since the last look.
    fewest: usize,
    /// When a decision last came for one.
    asked: Option<Instant>,
    /// It came long after the one before.
    rare: bool,
    looked: Instant,
    closed: bool,
    taken: u64,
}

/// What is kept ready of one policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Instances that wait for a decision.
    pub ready: usize,
    /// Decisions so far that found one.
    pub taken: u64,
    /// Bytes of the memories and tables of one instance, whether it is kept or not.
    pub bytes: u64,
}

/// An instance that nothing has used.
pub(in crate::policy) struct Prepared {
    pub(in crate::policy) store: Store<Guest>,
    pub(in crate::policy) policy: Policy,
    /// Of all that are kept: given back when a decision takes this one.
    _place: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Stock {
    pub(in crate::policy) fn new(recipe: Recipe, sandbox: &Arc<Sandbox>) -> Arc<Self> {
        Arc::new(Self {
            recipe,
            shelf: Mutex::new(Shelf {
                ready: Vec::new(),
                wanted: 0,
                fewest: 0,
                asked: None,
                rare: true,
                looked: Instant::now(),
                closed: false,
                taken: 0,
            }),
            room: sandbox.stockroom.clone(),
            sandbox: Arc::downgrade(sandbox),
        })
    }

    /// An instance for one decision, if one is ready.
    pub(in crate::policy) fn take(&self) -> Option<Prepared> {
        let mut shelf = self.lock();
        let before = shelf.asked.replace(Instant::now());
        shelf.rare = before.is_none_or(|before| before.elapsed() >= RARE);
        if self.recipe.takes < ALWAYS_WORTH && !shelf.rare {
            return None;
        }
        let found = shelf.ready.pop();
        match &found {
            Some(_) => shelf.taken += 1,
            None if shelf.closed => {}
            None => shelf.wanted = (shelf.wanted * 2).clamp(1, MOST),
        }
        shelf.fewest = shelf.fewest.min(shelf.ready.len());
        found
    }

    /// Hands over what a decision has used, to be cleared away, and orders what is missing.
    pub(in crate::policy) fn used(self: &Arc<Self>, store: Store<Guest>) {
        if self.recipe.takes < ALWAYS_WORTH && !self.lacks() {
            return drop(store);
        }
        let place = Arc::clone(&self.room.clearing).try_acquire_owned();
        // Where too much waits to be cleared away, it is done here and now.
        let used = place.ok().map(|place| (store, place));
        let work = Work {
            used,
            stock: Arc::clone(self),
        };
        let sender = self.room.work.clone();
        if self.lock().rare {
            // The thread sleeps, and to wake it takes as long as a decision: a task does it after the answer.
            tokio::spawn(async move { sender.send(work) });
        } else {
            let _ = sender.send(work);
        }
    }

    /// No more are kept, and those that are there go.
    pub(in crate::policy) fn close(self: &Arc<Self>) {
        self.lock().closed = true;
        let _ = self.room.work.send(Work {
            used: None,
            stock: Arc::clone(self),
        });
    }

    pub(in crate::policy) fn kept(&self) -> Kept {
        let shelf = self.lock();
        Kept {
            ready: shelf.ready.len(),
            taken: shelf.taken,
            bytes: self.recipe.bytes,
        }
    }

    /// What is too much now, to be dropped where nobody waits.
    fn surplus(&self, idle: Duration) -> Vec<Prepared> {
        let mut shelf = self.lock();
        if shelf.closed || shelf.asked.is_none_or(|asked| asked.elapsed() >= idle) {
            shelf.wanted = 0;
        } else if shelf.looked.elapsed() >= REVIEW {
            // Those that were never needed: half of them, so that a calm moment costs little.
            shelf.wanted -= shelf.fewest.div_ceil(2).min(shelf.wanted.saturating_sub(1));
            shelf.looked = Instant::now();
            shelf.fewest = shelf.ready.len();
        }
        let wanted = shelf.wanted;
        let keep = shelf.ready.len().min(wanted);
        shelf.ready.split_off(keep)
    }

    fn lacks(&self) -> bool {
        let shelf = self.lock();
        !shelf.closed && shelf.ready.len() < shelf.wanted
    }

    fn put(&self, prepared: Prepared) -> Option<Prepared> {
        let mut shelf = self.lock();
        if shelf.closed {
            return Some(prepared);
        }
        shelf.ready.push(prepared);
        None
    }

    /// Makes one, within the bounds of all.
    async fn make(&self, sandbox: &Sandbox) -> Result<Prepared, Failure> {
        let Recipe {
            pre,
            settings,
            label,
            facts,
            deadline,
            bytes,
            ..
        } = &self.recipe;
        let full = |_| Failure::QueueFull;
        let place = Arc::clone(&self.room.places).try_acquire_owned().map_err(full)?;
        let pages = u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX);
        let bytes = Arc::clone(&self.room.pages)
            .try_acquire_many_owned(pages)
            .map_err(full)?;
        let guest = Guest::new(
            label.clone(),
            Phase::Configure,
            Arc::clone(facts),
            Lookups::new(Resolver::silent()),
            sandbox.memory,
            *deadline,
        );
        let mut store = store(sandbox, guest);
        let _running = sandbox.running();
        let made = AssertUnwindSafe(configured(pre, settings.as_deref(), &mut store)).catch_unwind();
        let made = timeout(*deadline * 4, made).await.map_err(|_| Failure::Deadline)?;
        let policy = made.unwrap_or_else(|_| Err(Failure::Host("a panic in the host".to_owned())))?;
        Ok(Prepared {
            store,
            policy,
            _place: place,
            _bytes: bytes,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that makes instances and clears them away, and the bounds of what is kept.
#[derive(Clone)]
pub(in crate::policy) struct Stockroom {
    work: Sender<Work>,
    places: Arc<Semaphore>,
    pages: Arc<Semaphore>,
    clearing: Arc<Semaphore>,
    pulse: Pulse,
}

struct Work {
    used: Option<(Store<Guest>, OwnedSemaphorePermit)>,
    stock: Arc<Stock>,
}

impl Stockroom {
    /// Starts the thread; it ends with the last value of this room.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(in crate::policy) fn open() -> Result<Self, LoadError> {
        Self::open_for(IDLE)
    }

    /// Whether the thread runs.
    pub(in crate::policy) fn is_kept(&self) -> bool {
        self.pulse.is_there()
    }

    fn open_for(idle: Duration) -> Result<Self, LoadError> {
        let failed = |error| LoadError::Engine(format!("no thread for instances: {error}"));
        let (work, orders) = channel();
        let runtime = Builder::new_current_thread().enable_time().build().map_err(failed)?;
        let mut keeper = Keeper {
            runtime,
            orders,
            hungry: VecDeque::new(),
            kept: Vec::new(),
            warmer: Warmer::new(),
            idle,
        };
        let pulse = Pulse::default();
        keep_thread("policy-stock", Vital::Preparing, pulse.clone(), move || keeper.run()).map_err(failed)?;
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
struct Keeper {
    runtime: Runtime,
    orders: Receiver<Work>,
    /// Stocks that lack instances, one after the other.
    hungry: VecDeque<Arc<Stock>>,
    /// Stocks to look at from time to time.
    kept: Vec<Weak<Stock>>,
    warmer: Warmer,
    idle: Duration,
}

impl Keeper {
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
                    Some(stock) => self.feed(stock),
                    None => self.look(),
                },
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// What is used goes first: its place in the pool is warm for the next.
    fn take_up(&mut self, Work { used, stock }: Work) {
        let known = |one: &Weak<Stock>| one.as_ptr() == Arc::as_ptr(&stock);
        if !self.kept.iter().any(known) {
            self.kept.push(Arc::downgrade(&stock));
            self.warmer.look_again();
        }
        if let Some(used) = used {
            self.warmer.look();
            drop(used);
            self.warmer.warm();
        }
        drop(stock.surplus(self.idle));
        if stock.lacks() && !self.hungry.iter().any(|one| Arc::ptr_eq(one, &stock)) {
            self.hungry.push_back(stock);
        }
    }

    fn feed(&mut self, stock: Arc<Stock>) {
        let Some(sandbox) = stock.sandbox.upgrade() else {
            return;
        };
        if !stock.lacks() {
            return;
        }
        match self.runtime.block_on(stock.make(&sandbox)) {
            Ok(prepared) => {
                drop(stock.put(prepared));
                self.hungry.push_back(stock);
            }
            // No room, or the guest fails: then decisions make their own, and say why.
            Err(failure) => tracing::debug!(%failure, "no instance is kept ready"),
        }
    }

    fn look(&mut self) {
        let idle = self.idle;
        self.kept.retain(|stock| {
            let Some(stock) = stock.upgrade() else {
                return false;
            };
            drop(stock.surplus(idle));
            stock.kept().ready > 0
        });
    }
}

/// Instances of one policy.
const MOST: usize = 16;
/// Memories and tables of all that are kept, as their size is and not as far as they are in memory.
const MOST_BYTES: u64 = 512 << 20;
const PAGE: u64 = 64 << 10;
/// A policy that was not asked for so long has none.
const IDLE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_secs(1);
/// How often those that nobody needs become fewer.
const REVIEW: Duration = Duration::from_secs(10);
/// From here on an instance is always worth keeping.
const ALWAYS_WORTH: Duration = Duration::from_micros(60);
/// Below that, where the last decision was so long ago.
const RARE: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests;

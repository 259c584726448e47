//! The instances that are ready for one policy, and how many there should be.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use wasmtime::Store;

use super::refill::{Refill, Work};
use crate::names::{Lookups, Resolver};
use crate::policy::Failure;
use crate::policy::contract::{Policy, PolicyPre};
use crate::policy::sandbox::{Facts, Guest, Label, Phase, Sandbox, configured, store};

/// The instances that are kept for one policy.
pub(in crate::policy) struct Pool {
    recipe: Recipe,
    shelf: Mutex<Shelf>,
    refill: Refill,
    pub(super) sandbox: Weak<Sandbox>,
}

/// All that goes into an instance before a request is known.
pub(in crate::policy) struct Recipe {
    pub(in crate::policy) pre: PolicyPre<Guest>,
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
pub struct Pooled {
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

impl Pool {
    pub(in crate::policy) fn new(recipe: Recipe, sandbox: &Arc<Sandbox>, refill: &Refill) -> Arc<Self> {
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
            refill: refill.clone(),
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
        let place = Arc::clone(&self.refill.clearing).try_acquire_owned();
        // Where too much waits to be cleared away, it is done here and now.
        let used = place.ok().map(|place| (store, place));
        let work = Work {
            used,
            pool: Arc::clone(self),
        };
        let sender = self.refill.work.clone();
        if self.lock().rare {
            // The thread sleeps, and to wake it takes as long as a decision: a task does it after the answer.
            #[expect(
                clippy::disallowed_methods,
                reason = "it ends with its first poll, so nothing need wait for it"
            )]
            tokio::spawn(async move { sender.send(work) });
        } else {
            let _ = sender.send(work);
        }
    }

    /// No more are kept, and those that are there go.
    pub(in crate::policy) fn close(self: &Arc<Self>) {
        self.lock().closed = true;
        let _ = self.refill.work.send(Work {
            used: None,
            pool: Arc::clone(self),
        });
    }

    pub(in crate::policy) fn pooled(&self) -> Pooled {
        let shelf = self.lock();
        Pooled {
            ready: shelf.ready.len(),
            taken: shelf.taken,
            bytes: self.recipe.bytes,
        }
    }

    /// What is too much now, to be dropped where nobody waits.
    pub(super) fn surplus(&self, idle: Duration) -> Vec<Prepared> {
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

    pub(super) fn lacks(&self) -> bool {
        let shelf = self.lock();
        !shelf.closed && shelf.ready.len() < shelf.wanted
    }

    pub(super) fn put(&self, prepared: Prepared) -> Option<Prepared> {
        let mut shelf = self.lock();
        if shelf.closed {
            return Some(prepared);
        }
        shelf.ready.push(prepared);
        None
    }

    /// Makes one, within the bounds of all.
    pub(super) async fn make(&self, sandbox: &Sandbox) -> Result<Prepared, Failure> {
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
        let place = Arc::clone(&self.refill.places).try_acquire_owned().map_err(full)?;
        let pages = u32::try_from(bytes.div_ceil(PAGE)).unwrap_or(u32::MAX);
        let bytes = Arc::clone(&self.refill.pages)
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

/// Instances of one policy.
const MOST: usize = 16;
pub(super) const PAGE: u64 = 64 << 10;
/// How often those that nobody needs become fewer.
const REVIEW: Duration = Duration::from_secs(10);
/// From here on an instance is always worth keeping.
const ALWAYS_WORTH: Duration = Duration::from_micros(60);
/// Below that, where the last decision was so long ago.
const RARE: Duration = Duration::from_millis(1);

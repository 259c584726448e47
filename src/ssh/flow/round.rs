//! The round in which the least windows are granted.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;

use futures_util::task::AtomicWaker;

/// The round of the least grants: they are written together, so that the answers come together and in a steady order.
#[derive(Default)]
pub(in crate::ssh) struct Round {
    number: AtomicU64,
    /// Granted since this was last asked.
    granted: AtomicUsize,
    /// Granted and not written.
    held: AtomicUsize,
    /// Written last time and not answered.
    flying: AtomicUsize,
    /// Somebody depends on it, and it is to go on as soon as all have answered.
    hurries: AtomicBool,
    /// The writer.
    writer: AtomicWaker,
}

impl Round {
    /// How many were granted since this was last asked.
    #[must_use]
    pub(in crate::ssh) fn granted(&self) -> usize {
        self.granted.swap(0, Ordering::Relaxed)
    }

    /// Whether the next round is to begin now, and not after a pause.
    #[must_use]
    pub(in crate::ssh) fn is_due(&self) -> bool {
        self.hurries.load(Ordering::Relaxed) && self.flying.load(Ordering::Relaxed) == 0
    }

    /// The task to wake if the next round need not wait for its pause any more.
    pub(in crate::ssh) fn wakes(&self, waker: &Waker) {
        self.writer.register(waker);
    }

    /// All that were held are written.
    pub(in crate::ssh) fn begin(&self) {
        self.flying
            .store(self.held.swap(0, Ordering::Relaxed), Ordering::Relaxed);
        self.number.fetch_add(1, Ordering::Relaxed);
    }

    /// A channel that answers the grant of this round is granted the least again; answers of which round that is.
    pub(in crate::ssh) fn grant(&self, answered: Option<u64>) -> u64 {
        let number = self.number.load(Ordering::Relaxed);
        self.answer(answered);
        self.granted.fetch_add(1, Ordering::Relaxed);
        self.held.fetch_add(1, Ordering::Relaxed);
        number
    }

    /// The grant of this round was answered.
    pub(in crate::ssh) fn answer(&self, answered: Option<u64>) {
        let number = self.number.load(Ordering::Relaxed);
        if answered.is_some_and(|answered| answered + 1 == number) {
            let flying = self.flying.load(Ordering::Relaxed);
            self.flying.store(flying.saturating_sub(1), Ordering::Relaxed);
        }
    }

    /// A target has taken what it had kept waiting.
    pub(super) fn resume(&self) {
        self.flying.store(0, Ordering::Relaxed);
        self.hurry(true);
        self.writer.wake();
    }

    pub(in crate::ssh) fn hurry(&self, hurries: bool) {
        self.hurries.store(hurries, Ordering::Relaxed);
    }
}

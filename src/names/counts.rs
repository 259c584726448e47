//! Counts look-ups by what became of them.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use super::NameError;

/// Since the start, over all configurations.
#[derive(Default)]
pub(super) struct Counts {
    kept: AtomicU64,
    found: AtomicU64,
    absent: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
}

impl Counts {
    /// Each outcome in a word, and how often it came.
    pub(super) fn by_outcome(&self) -> Vec<(&'static str, u64)> {
        let counts = [
            ("kept", &self.kept),
            ("found", &self.found),
            ("no-such-name", &self.absent),
            ("failed", &self.failed),
            ("timed-out", &self.timed_out),
        ];
        counts.map(|(word, count)| (word, count.load(Ordering::Relaxed))).into()
    }

    /// An earlier answer was used again.
    pub(super) fn kept(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    /// A look-up begins. Without an answer it counts as one that timed out.
    pub(super) fn begin(&self) -> Counting<'_> {
        Counting {
            counts: self,
            became: &self.timed_out,
        }
    }
}

/// Counts when it is dropped.
pub(super) struct Counting<'a> {
    counts: &'a Counts,
    became: &'a AtomicU64,
}

impl Counting<'_> {
    /// This came of it.
    pub(super) fn end(mut self, answer: &Result<Vec<IpAddr>, NameError>) {
        self.became = match answer {
            Ok(_) => &self.counts.found,
            Err(NameError::NoSuchName) => &self.counts.absent,
            Err(NameError::TimedOut) => &self.counts.timed_out,
            Err(NameError::Failed(_) | NameError::OverBudget) => &self.counts.failed,
        };
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        self.became.fetch_add(1, Ordering::Relaxed);
    }
}

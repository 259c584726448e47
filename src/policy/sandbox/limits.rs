//! The limits on a guest's memory and computing time.

use std::time::{Duration, Instant};

use wasmtime::{ResourceLimiter, Result};

use super::engine::TICK;

/// Counts every byte of every memory and table of an instance.
pub(in crate::policy) struct Ceiling {
    bytes: u64,
    left: u64,
    /// The guest asked for more than it may have.
    pub(in crate::policy) reached: bool,
}

impl Ceiling {
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            left: bytes,
            reached: false,
        }
    }

    /// The most that the instance has held: nothing is ever given back.
    pub(in crate::policy) fn taken(&self) -> u64 {
        self.bytes - self.left
    }

    fn take(&mut self, bytes: usize) -> bool {
        match self.left.checked_sub(bytes as u64) {
            Some(left) => self.left = left,
            None => self.reached = true,
        }
        !self.reached
    }
}

impl ResourceLimiter for Ceiling {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        Ok(self.take(desired.saturating_sub(current)))
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Result<bool> {
        let elements = desired.saturating_sub(current);
        Ok(self.take(elements.saturating_mul(size_of::<usize>())))
    }

    fn instances(&self) -> usize {
        64
    }

    fn memories(&self) -> usize {
        8
    }

    fn tables(&self) -> usize {
        16
    }
}

/// The time of a guest: what it computed, without what it waited for the host.
///
/// Guests that compute for long take turns, so wall time alone would punish one for its neighbours:
/// the turns are counted, each as long as an epoch, and wall time is only the outer bound.
pub(in crate::policy) struct GuestClock {
    began: Instant,
    /// For the host.
    pub(super) waited: Duration,
    turns: u32,
    deadline: Duration,
    /// The deadline has passed.
    pub(in crate::policy) overdue: bool,
}

impl GuestClock {
    pub(super) fn new(deadline: Duration) -> Self {
        Self {
            began: Instant::now(),
            waited: Duration::ZERO,
            turns: 0,
            deadline,
            overdue: false,
        }
    }

    /// Called at every epoch while the guest runs.
    pub(in crate::policy) fn is_overdue(&mut self) -> bool {
        self.turns += 1;
        let wall = self.began.elapsed().saturating_sub(self.waited);
        self.overdue = TICK * self.turns > self.deadline || wall >= self.deadline * 4;
        self.overdue
    }
}

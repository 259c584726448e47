//! One step of the history: what was counted in it, and what was open at its end.

use std::time::Duration;

use super::times::Times;
use crate::sessions::Totals;

/// What happened in one step. Its size is fixed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// How long it counted: longer than a step if a sample came late.
    pub(super) lasted: Duration,
    pub(super) allowed: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    pub(super) differences: u64,
    pub(super) up: u64,
    pub(super) down: u64,
    pub(super) open: Open,
    pub(super) times: Times,
}

/// What was open at the end of a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Open {
    sessions: usize,
    tunnels: usize,
    listeners: usize,
}

/// A step, as it is shown.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    /// Where it is: 0 at the beginning of the span, 1 now.
    pub at: f64,
    /// In a second: forwards that were allowed, refused, and not decided.
    pub allowed: f64,
    /// Forwards that were refused, in a second.
    pub refused: f64,
    /// Forwards for which no decision was made, in a second.
    pub failed: f64,
    /// Shadow policies that would have decided otherwise, in a second.
    pub differences: f64,
    /// Bytes from clients to targets, in a second.
    pub up: f64,
    /// Bytes from targets to clients, in a second.
    pub down: f64,
    /// Sessions whose user is logged in.
    pub sessions: usize,
    /// Open tunnels.
    pub tunnels: usize,
    /// Open listeners.
    pub listeners: usize,
    /// Half of the decisions took no longer.
    pub median: Option<Duration>,
    /// 99 of 100 decisions took no longer.
    pub slowest: Option<Duration>,
}

impl From<&Totals> for Open {
    fn from(totals: &Totals) -> Self {
        Self {
            sessions: totals.sessions,
            tunnels: totals.connects + totals.accepts,
            listeners: totals.listeners,
        }
    }
}

impl Cell {
    /// Adds a later one.
    pub(super) fn add(&mut self, later: &Self) {
        self.lasted += later.lasted;
        self.allowed += later.allowed;
        self.refused += later.refused;
        self.failed += later.failed;
        self.differences += later.differences;
        self.up += later.up;
        self.down += later.down;
        self.open = later.open;
        self.times.add(&later.times);
    }

    /// As it is shown at this place.
    pub(super) fn point(&self, at: f64) -> Point {
        let seconds = self.lasted.as_secs_f64();
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        Point {
            at,
            allowed: rate(self.allowed),
            refused: rate(self.refused),
            failed: rate(self.failed),
            differences: rate(self.differences),
            up: rate(self.up),
            down: rate(self.down),
            sessions: self.open.sessions,
            tunnels: self.open.tunnels,
            listeners: self.open.listeners,
            median: self.times.quantile(0.5),
            slowest: self.times.quantile(0.99),
        }
    }
}

//! The data of one guest instance: its identity, its remaining budgets, and the data behind the host interfaces.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::ResourceTable;

use super::facts::Facts;
use super::limits::{Ceiling, GuestClock};
use super::turns::Turn;
use super::wasi::Inert;
use crate::names::Lookups;
use crate::policy::contract::newest::log::Level;
use crate::request::printable;

/// The store data of one guest instance.
pub(in crate::policy) struct Guest {
    pub(in crate::policy) ceiling: Ceiling,
    pub(in crate::policy) clock: GuestClock,
    pub(in crate::policy) table: ResourceTable,
    pub(in crate::policy) wasi: Option<Inert>,
    pub(in crate::policy) lookups: Lookups,
    /// The places of the decision; none where nothing is decided.
    pub(in crate::policy) turn: Option<Turn>,
    /// `names` is linked and answers that it is not granted.
    pub(in crate::policy) names_refused: bool,
    pub(super) label: Label,
    pub(super) phase: Phase,
    pub(super) facts: Arc<Facts>,
    logged: Budget,
    pub(super) asked: Budget,
    pub(super) dated: Budget,
    /// How long calls of the host may still wait for another machine, besides look-ups.
    pub(super) patience_elsewhere: Duration,
    /// Its last line of the level `error`.
    complaint: Option<String>,
}

/// Who speaks, for the log.
#[derive(Clone)]
pub(in crate::policy) struct Label {
    pub(in crate::policy) policy: Arc<str>,
    pub(in crate::policy) digest: Arc<str>,
    pub(in crate::policy) forward: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::policy) enum Phase {
    /// Only `log` and `calendar` may be called.
    Configure,
    Decide,
}

pub(super) struct Budget(u32);

impl Budget {
    pub(super) fn take(&mut self) -> bool {
        let left = self.0 > 0;
        self.0 = self.0.saturating_sub(1);
        left
    }
}

impl Guest {
    pub(in crate::policy) fn new(
        label: Label,
        phase: Phase,
        facts: Arc<Facts>,
        lookups: Lookups,
        memory: u64,
        deadline: Duration,
    ) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            ceiling: Ceiling::new(memory),
            clock: GuestClock::new(deadline),
            table,
            wasi: None,
            lookups,
            turn: None,
            names_refused: false,
            label,
            phase,
            facts,
            logged: Budget(MAX_LINES),
            asked: Budget(MAX_STATE_CALLS),
            dated: Budget(MAX_DATES),
            patience_elsewhere: deadline,
            complaint: None,
        }
    }

    /// A line of the guest; past the budget it is dropped, and said once.
    pub(in crate::policy) fn say(&mut self, level: Level, message: &str) {
        let last = self.logged.0 == 1;
        if !self.logged.take() {
            return;
        }
        let message = if last {
            "further log lines of this decision are dropped".to_owned()
        } else {
            printable(message, MAX_LINE)
        };
        if level == Level::Error {
            self.complaint = Some(message.clone());
        }
        if let Some(recorder) = &self.facts.recorder {
            return recorder.line(level, message);
        }
        let Label {
            policy,
            digest,
            forward,
        } = &self.label;
        let digest = digest.get(..12).unwrap_or_default();
        match level {
            Level::Debug => tracing::debug!(target: "policy", %policy, digest, forward, "{message}"),
            Level::Info => tracing::info!(target: "policy", %policy, digest, forward, "{message}"),
            Level::Warn => tracing::warn!(target: "policy", %policy, digest, forward, "{message}"),
            Level::Error => tracing::error!(target: "policy", %policy, digest, forward, "{message}"),
        }
    }

    /// What it said last of what went wrong, for the one who reads of its trap; empty if it said nothing.
    pub(in crate::policy) fn last_words(&self) -> String {
        let complaint = self.complaint.as_ref();
        complaint.map_or_else(String::new, |words| format!("; its last line in the log: {words}"))
    }

    /// What it printed, as lines of its log.
    pub(in crate::policy) fn say_printed(&mut self) {
        if let Some(wasi) = self.wasi.take() {
            for line in String::from_utf8_lossy(&wasi.printed()).lines() {
                self.say(Level::Info, line);
            }
        }
    }

    pub(in crate::policy) fn enter(&mut self, phase: Phase) {
        self.phase = phase;
    }

    /// From here on it is the guest of one decision: all that it may use up is whole again.
    pub(in crate::policy) fn begin(&mut self, label: Label, facts: Arc<Facts>, lookups: Lookups, deadline: Duration) {
        self.clock = GuestClock::new(deadline);
        self.logged = Budget(MAX_LINES);
        self.asked = Budget(MAX_STATE_CALLS);
        self.dated = Budget(MAX_DATES);
        self.patience_elsewhere = deadline;
        self.complaint = None;
        self.label = label;
        self.facts = facts;
        self.lookups = lookups;
    }
}

const MAX_LINES: u32 = 64;
const MAX_LINE: usize = 1024;
const MAX_STATE_CALLS: u32 = 64;
const MAX_DATES: u32 = 256;
const MAX_RESOURCES: usize = 256;

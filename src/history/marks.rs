//! Changes of policies and of the configuration: when they were, and since when each policy is in force.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::Moment;
use crate::events::Event;
use crate::policy::PolicyRef;
use crate::request::printable;

/// A change, where it is in the span, and when it was.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mark {
    /// 0 at the beginning of the span, 1 now; less than 0 for what was before it.
    pub at: f64,
    /// For people.
    pub time: Timestamp,
    /// What changed.
    pub change: Change,
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The gateway began to serve.
    Started,
    /// A policy took the place of another.
    Swapped {
        /// The name under which it is configured.
        plugin: String,
        /// What the component states.
        version: String,
        /// Of the component.
        sha256: String,
        /// Of its settings.
        settings_sha256: String,
    },
    /// A candidate was rejected, and the old policy stays.
    Rejected {
        /// The name under which it is configured.
        plugin: String,
    },
    /// The configuration was read again, with or without a fault.
    Reloaded {
        /// Whether there was no fault.
        ok: bool,
    },
}

/// How a configured policy came to be in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    /// Since when the present one decides.
    pub since: Timestamp,
    /// Swaps since the start.
    pub swaps: u64,
    /// Candidates that were rejected since the start.
    pub rejected: u64,
}

/// The last changes.
#[derive(Default)]
pub(super) struct Marks {
    marks: VecDeque<(Duration, Timestamp, Change)>,
    pub(super) policies: BTreeMap<String, InForce>,
}

impl Marks {
    pub(super) fn hear(&mut self, now: Moment, event: &Event) {
        let change = match event {
            Event::GatewayStarted { policies, .. } => {
                for installed in policies {
                    self.policy(now, &installed.policy.name);
                }
                Change::Started
            }
            Event::PolicySwapped(swap) => self.swapped(now, &swap.policy.policy),
            Event::PolicyRejected { name, .. } => {
                if let Some(policy) = self.policy(now, name) {
                    policy.rejected += 1;
                }
                Change::Rejected { plugin: short(name) }
            }
            Event::ConfigReloaded { ok, .. } => Change::Reloaded { ok: *ok },
            _ => return,
        };
        self.marks.push_back((now.since, now.time, change));
        if self.marks.len() > MOST {
            self.marks.pop_front();
        }
    }

    fn swapped(&mut self, now: Moment, policy: &PolicyRef) -> Change {
        if let Some(there) = self.policy(now, &policy.name) {
            there.swaps += 1;
            there.since = now.time;
        }
        Change::Swapped {
            plugin: short(&policy.name),
            version: short(&policy.version),
            sha256: short(&policy.sha256),
            settings_sha256: short(&policy.settings_sha256),
        }
    }

    fn policy(&mut self, now: Moment, name: &str) -> Option<&mut InForce> {
        if self.policies.len() >= MOST && !self.policies.contains_key(name) {
            return None;
        }
        let first = InForce {
            since: now.time,
            swaps: 0,
            rejected: 0,
        };
        Some(self.policies.entry(name.to_owned()).or_insert(first))
    }

    /// The last changes, the newest first.
    pub(super) fn all(&self, place: impl Fn(Duration) -> f64) -> Vec<Mark> {
        let newest_first = self.marks.iter().rev();
        let mark = |(since, time, change): &(Duration, Timestamp, Change)| Mark {
            at: place(*since),
            time: *time,
            change: change.clone(),
        };
        newest_first.map(mark).collect()
    }
}

fn short(text: &str) -> String {
    printable(text, LONGEST)
}

/// Changes that are kept, and policies whose swaps are counted.
pub(super) const MOST: usize = 64;
const LONGEST: usize = 128;

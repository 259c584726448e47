//! What is learned of candidates before they decide, and which of them wait for something.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::judgement::Witness;
use crate::policy::Opinion;
use crate::replay::Heard;
use crate::request::ForwardRequest;
use crate::rollout::{CANARY, Report, Ring, Row, Shadows, Verdict};

/// What is learned of policies, and which of them wait for something.
pub(super) struct Rollouts {
    pub(super) ring: Arc<Ring>,
    pub(super) shadows: Shadows,
    /// The last candidate of each plugin.
    reports: Mutex<BTreeMap<String, Report>>,
    /// Plugins whose last change may still be taken back by itself.
    waiting: Mutex<HashMap<(String, &'static str), CancellationToken>>,
}

impl Rollouts {
    pub(super) fn new(decisions: usize) -> Self {
        Self {
            ring: Arc::new(Ring::new(decisions)),
            shadows: Shadows::default(),
            reports: Mutex::default(),
            waiting: Mutex::default(),
        }
    }

    /// Hears every answer of a policy to a client.
    pub(super) fn witness(&self) -> Box<dyn Witness> {
        Box::new(Memory {
            ring: Arc::clone(&self.ring),
            shadows: self.shadows.clone(),
        })
    }

    /// What became of a candidate.
    pub(super) fn note(&self, plugin: &str, report: Report) {
        self.reports().insert(plugin.to_owned(), report);
    }

    /// What became of the last candidate of a plugin.
    pub(super) fn report(&self, plugin: &str) -> Option<Report> {
        self.reports().get(plugin).cloned()
    }

    /// Whether the last change of this plugin may still be taken back by itself.
    pub(super) fn may_go_back(&self, plugin: &str) -> bool {
        let waiting = self.waiting();
        [BURN_IN, CONFIRM]
            .iter()
            .any(|gate| waiting.contains_key(&(plugin.to_owned(), *gate)))
    }

    /// A reload waits from now on, until this is cancelled: by the next one.
    pub(super) fn wait_for_another_reload(&self) -> CancellationToken {
        self.another_reload();
        self.wait_for(RELOAD, CANARY)
    }

    /// A reload that waits is replaced by another one.
    pub(super) fn another_reload(&self) {
        self.wait_no_more(RELOAD, CANARY);
    }

    /// A gate where a candidate waits was opened, or closed, or says something else.
    pub(super) fn note_gate(&self, plugin: &str, row: Row) {
        if let Some(report) = self.reports().get_mut(plugin) {
            report.rows.retain(|one| one.gate != row.gate);
            report.rows.push(row);
        }
    }

    /// A gate of this plugin waits from now on, until this is cancelled.
    pub(super) fn wait_for(&self, plugin: &str, gate: &'static str) -> CancellationToken {
        let token = CancellationToken::new();
        self.waiting().insert((plugin.to_owned(), gate), token.clone());
        token
    }

    /// This gate of this plugin waits no more.
    pub(super) fn wait_no_more(&self, plugin: &str, gate: &'static str) {
        let mut waiting = self.waiting();
        if let Some(token) = waiting.remove(&(plugin.to_owned(), gate)) {
            token.cancel();
        }
    }

    /// What this waited for is known. Nothing happens if another change has taken its place.
    pub(super) fn waited(&self, plugin: &str, gate: &'static str, token: &CancellationToken) {
        let mut waiting = self.waiting();
        // Whoever takes it out of the map cancels it under the same lock.
        if !token.is_cancelled() {
            waiting.remove(&(plugin.to_owned(), gate));
        }
    }

    fn reports(&self) -> MutexGuard<'_, BTreeMap<String, Report>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<(String, &'static str), CancellationToken>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The wait for a confirmation is over; a burn-in goes on.
    pub(super) fn confirmed(&self, plugin: &str) {
        self.wait_no_more(plugin, CONFIRM);
        let row = Row::of(CONFIRM, Verdict::Passed, "it was confirmed", None);
        self.note_gate(plugin, row);
    }
}

/// Keeps what was decided, and asks the shadows.
struct Memory {
    ring: Arc<Ring>,
    shadows: Shadows,
}

impl Witness for Memory {
    fn hear(&self, request: &Arc<ForwardRequest>, opinion: &Opinion) {
        let (keeps, asks) = (self.ring.keeps_any(), self.shadows.any());
        if !keeps && !asks {
            return;
        }
        let heard = Heard::new(request, &opinion.lookups);
        if asks {
            let resolver = opinion.lookups.resolver();
            self.shadows.ask(&heard, &heard.outcome(opinion.counted()), &resolver);
        }
        if keeps {
            self.ring.push(heard);
        }
    }
}

/// Not the name of a plugin.
const RELOAD: &str = "";
pub(super) const BURN_IN: &str = "burn-in";
pub(super) const CONFIRM: &str = "confirm";

//! What became of requests: how often, in all and in the last minutes, by code.

use std::collections::BTreeMap;

use super::codes::OTHER;

/// How often each outcome was.
#[derive(Default)]
pub(super) struct Outcomes {
    counts: BTreeMap<Key, Count>,
}

/// An outcome: a word each, and the code of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    what: &'static str,
    by: &'static str,
    code: String,
}

#[derive(Clone, Debug, Default)]
struct Count {
    total: u64,
    /// Of each step, and the step's number.
    recent: [(u64, u64); STEPS as usize],
}

/// An outcome, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// `allowed`, `rewritten`, `denied`, `failed` or `unreached`.
    pub what: &'static str,
    /// Which part of the gateway decided.
    pub by: &'static str,
    /// The code of a refusal, or `other`; empty for what was allowed.
    pub code: String,
    /// In the last five minutes.
    pub recent: u64,
    /// Since the start.
    pub total: u64,
}

impl Outcomes {
    /// Counts some. After [`MOST`] different ones, a new code is counted as `other`.
    pub(super) fn count(&mut self, second: u64, what: &'static str, by: &'static str, code: &str, some: u64) {
        let key = |code: &str| Key {
            what,
            by,
            code: code.to_owned(),
        };
        let mut key_of_it = key(code);
        if self.counts.len() >= MOST && !self.counts.contains_key(&key_of_it) {
            key_of_it = key(OTHER);
        }
        let count = self.counts.entry(key_of_it).or_default();
        count.total += some;
        let number = second / STEP;
        if let Some((step, recent)) = count.recent.get_mut((number % STEPS) as usize) {
            *recent = if *step == number { *recent } else { 0 } + some;
            *step = number;
        }
    }

    /// All of them, the most frequent first.
    pub(super) fn all(&self, second: u64) -> Vec<Outcome> {
        let now = second / STEP;
        let shown = self.counts.iter().map(|(key, count)| Outcome {
            what: key.what,
            by: key.by,
            code: key.code.clone(),
            recent: count.since(now),
            total: count.total,
        });
        let mut all: Vec<_> = shown.collect();
        all.sort_by_key(|one| std::cmp::Reverse(one.total));
        all
    }
}

impl Count {
    fn since(&self, now: u64) -> u64 {
        let recent = self.recent.iter().filter(|(step, _)| step + STEPS > now);
        recent.map(|(_, some)| some).sum()
    }
}

/// Different outcomes. Those counted as `other` come on top: one for each `what` and `by`.
pub(super) const MOST: usize = 48;
/// Thirty steps of ten seconds.
const STEPS: u64 = 30;
const STEP: u64 = 10;

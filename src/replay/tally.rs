//! Counts differences.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::outcome::{Change, Outcome};
use crate::request::{ForwardRequest, VerdictWord};

/// The differences that were found.
#[derive(Clone)]
pub(crate) struct Tally {
    pub(crate) asked: u64,
    pub(crate) different: u64,
    /// What the second of the two refused, and what it did not decide.
    pub(crate) denied: u64,
    pub(crate) failed: u64,
    groups: BTreeMap<Group, Count>,
    users: BTreeMap<String, BTreeMap<Change, u64>>,
    /// The first of the log, in its order.
    pub(crate) examples: Vec<Example>,
    pub(crate) most: usize,
}

/// Differences of one kind, by the rules that decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Group {
    pub(crate) change: Change,
    pub(crate) before: Option<String>,
    pub(crate) after: Option<String>,
}

/// How often that was, and where first: the number of the decision, and the id of its forward.
#[derive(Clone)]
pub(crate) struct Count {
    pub(crate) count: u64,
    pub(crate) first: (u64, String),
}

/// One difference.
#[derive(Clone)]
pub(crate) struct Example {
    pub(crate) number: u64,
    pub(crate) forward: String,
    pub(crate) time: Timestamp,
    pub(crate) user: String,
    pub(crate) asked: String,
    pub(crate) before: Outcome,
    pub(crate) after: Outcome,
}

impl Tally {
    /// Nothing yet; at most so many differences are kept one by one.
    pub(crate) fn new(most: usize) -> Self {
        Self {
            asked: 0,
            different: 0,
            denied: 0,
            failed: 0,
            groups: BTreeMap::new(),
            users: BTreeMap::new(),
            examples: Vec::new(),
            most,
        }
    }

    pub(crate) fn count(&mut self, number: u64, request: &ForwardRequest, before: Outcome, after: Outcome) {
        self.asked += 1;
        match after.verdict() {
            VerdictWord::Deny => self.denied += 1,
            VerdictWord::Failed => self.failed += 1,
            VerdictWord::Allow | VerdictWord::Rewrite => {}
        }
        let Some(change) = before.change(&after) else {
            return;
        };
        self.different += 1;
        let rule = |outcome: &Outcome| outcome.rule().map(str::to_owned);
        let mut group = Group {
            change,
            before: rule(&before),
            after: rule(&after),
        };
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&group) {
            (group.before, group.after) = (None, None);
        }
        let first = (number, request.id.clone());
        self.groups.entry(group).or_insert(Count { count: 0, first }).count += 1;
        let user = &request.principal.user;
        if self.users.len() < MAX_USERS || self.users.contains_key(user) {
            *self.users.entry(user.clone()).or_default().entry(change).or_default() += 1;
        }
        // Batches come in the order of the log, but not to one thread: the earliest are kept.
        if self.most > 0
            && (self.examples.len() < self.most || self.examples.last().is_some_and(|last| number < last.number))
        {
            self.examples.push(Example {
                number,
                forward: request.id.clone(),
                time: request.now,
                user: user.clone(),
                asked: format!("{} {}", request.action.as_str(), request.target),
                before,
                after,
            });
            self.sort();
        }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.different += other.different;
        self.denied += other.denied;
        self.failed += other.failed;
        for (group, Count { count, first }) in other.groups {
            let entry = self.groups.entry(group).or_insert(Count {
                count: 0,
                first: first.clone(),
            });
            entry.count += count;
            if first < entry.first {
                entry.first = first;
            }
        }
        for (user, changes) in other.users {
            let all = self.users.entry(user).or_default();
            for (change, count) in changes {
                *all.entry(change).or_default() += count;
            }
        }
        self.examples.extend(other.examples);
        self.sort();
    }

    fn sort(&mut self) {
        self.examples.sort_by_key(|example| example.number);
        self.examples.truncate(self.most);
    }

    /// The groups, the largest first.
    pub(crate) fn by_count(&self) -> Vec<(&Group, &Count)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, count)| (std::cmp::Reverse(count.count), count.first.0));
        groups
    }

    /// The users, the most concerned first.
    pub(crate) fn by_user(&self) -> Vec<(&str, u64, &BTreeMap<Change, u64>)> {
        let mut users: Vec<_> = self
            .users
            .iter()
            .map(|(user, changes)| (user.as_str(), changes.values().sum::<u64>(), changes))
            .collect();
        users.sort_by_key(|(user, count, _)| (std::cmp::Reverse(*count), *user));
        users
    }
}

/// A policy can make up a code for each decision; further ones are counted by their change alone.
const MAX_GROUPS: usize = 10_000;
const MAX_USERS: usize = 100_000;

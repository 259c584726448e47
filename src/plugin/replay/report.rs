//! Counting differences, and telling them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde::Serialize;

use super::outcome::{Change, Outcome};
use crate::cli::plain;
use crate::request::ForwardRequest;

/// The differences that were found.
pub(super) struct Tally {
    pub(super) asked: u64,
    pub(super) different: u64,
    groups: BTreeMap<Group, Count>,
    users: BTreeMap<String, BTreeMap<Change, u64>>,
    /// The first of the log, in its order.
    examples: Vec<Example>,
    most: usize,
}

/// Differences of one kind, by the rules that decided.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    change: Change,
    before: Option<String>,
    after: Option<String>,
}

struct Count {
    count: u64,
    first: (u64, String),
}

/// One difference.
struct Example {
    number: u64,
    forward: String,
    time: Timestamp,
    user: String,
    asked: String,
    before: Outcome,
    after: Outcome,
}

impl Tally {
    /// Nothing yet; at most so many differences are kept one by one.
    pub(super) fn new(most: usize) -> Self {
        Self {
            asked: 0,
            different: 0,
            groups: BTreeMap::new(),
            users: BTreeMap::new(),
            examples: Vec::new(),
            most,
        }
    }

    pub(super) fn count(&mut self, number: u64, request: &ForwardRequest, before: Outcome, after: Outcome) {
        self.asked += 1;
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

    pub(super) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.different += other.different;
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
    fn by_count(&self) -> Vec<(&Group, &Count)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, count)| (std::cmp::Reverse(count.count), count.first.0));
        groups
    }

    /// The users, the most concerned first.
    fn by_user(&self) -> Vec<(&str, u64, &BTreeMap<Change, u64>)> {
        let mut users: Vec<_> = self
            .users
            .iter()
            .map(|(user, changes)| (user.as_str(), changes.values().sum::<u64>(), changes))
            .collect();
        users.sort_by_key(|(user, count, _)| (std::cmp::Reverse(*count), *user));
        users
    }

    /// For a terminal; the longest lists are cut after so many lines as differences are shown.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        if self.different == 0 {
            return text;
        }
        let _ = writeln!(
            text,
            "\n{:>10}  {:<24}  {:<44}  first",
            "count", "change", "rule before → after"
        );
        for (Group { change, before, after }, Count { count, first }) in self.by_count() {
            let rule = |rule: &Option<String>| rule.as_deref().map_or_else(|| "-".to_owned(), plain);
            let rules = format!("{} → {}", rule(before), rule(after));
            let _ = writeln!(
                text,
                "{count:>10}  {:<24}  {rules:<44}  {}",
                change.to_string(),
                plain(&first.1)
            );
        }
        let _ = writeln!(text, "\n{:>10}  user", "count");
        let users = self.by_user();
        for (user, count, changes) in users.iter().take(self.most.max(1)) {
            let changes: Vec<_> = changes
                .iter()
                .map(|(change, count)| format!("{change}: {count}"))
                .collect();
            let _ = writeln!(text, "{count:>10}  {}  ({})", plain(user), changes.join(", "));
        }
        if users.len() > self.most.max(1) {
            let _ = writeln!(text, "            and {} more users", users.len() - self.most.max(1));
        }
        for example in &self.examples {
            let Example {
                forward,
                time,
                user,
                asked,
                before,
                after,
                ..
            } = example;
            let _ = writeln!(
                text,
                "\n{}  {time:.3}  {}  {}\n  before  {}\n  after   {}",
                plain(forward),
                plain(user),
                plain(asked),
                plain(&before.to_string()),
                plain(&after.to_string())
            );
        }
        text
    }

    pub(super) fn json(&self) -> Differences {
        Differences {
            groups: self
                .by_count()
                .into_iter()
                .map(|(group, count)| GroupLine {
                    change: group.change.to_string(),
                    before: group.before.clone(),
                    after: group.after.clone(),
                    count: count.count,
                    first: count.first.1.clone(),
                })
                .collect(),
            users: self
                .by_user()
                .into_iter()
                .map(|(user, count, changes)| UserLine {
                    user: user.to_owned(),
                    count,
                    changes: changes
                        .iter()
                        .map(|(change, count)| (change.to_string(), *count))
                        .collect(),
                })
                .collect(),
            differences: self
                .examples
                .iter()
                .map(|example| DifferenceLine {
                    forward: example.forward.clone(),
                    time: example.time.to_string(),
                    user: example.user.clone(),
                    request: example.asked.clone(),
                    before: example.before.to_string(),
                    after: example.after.to_string(),
                })
                .collect(),
        }
    }
}

/// The same for programs.
#[derive(Serialize)]
pub(super) struct Differences {
    groups: Vec<GroupLine>,
    users: Vec<UserLine>,
    differences: Vec<DifferenceLine>,
}

#[derive(Serialize)]
struct GroupLine {
    change: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    count: u64,
    first: String,
}

#[derive(Serialize)]
struct UserLine {
    user: String,
    count: u64,
    changes: BTreeMap<String, u64>,
}

#[derive(Serialize)]
struct DifferenceLine {
    forward: String,
    time: String,
    user: String,
    request: String,
    before: String,
    after: String,
}

/// A policy can make up a code for each decision; further ones are counted by their change alone.
const MAX_GROUPS: usize = 10_000;
const MAX_USERS: usize = 100_000;

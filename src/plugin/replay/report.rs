//! What was found, told: as text for a terminal, and as JSON for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Serialize;

use crate::replay::{Count, Example, Group, Tally};
use crate::say::plain;

/// For a terminal; the longest lists are cut after so many lines as differences are shown.
pub(super) fn text(tally: &Tally) -> String {
    let mut text = String::new();
    if tally.different == 0 {
        return text;
    }
    let _ = writeln!(
        text,
        "\n{:>10}  {:<24}  {:<44}  first",
        "count", "change", "rule before → after"
    );
    for (Group { change, before, after }, Count { count, first }) in tally.by_count() {
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
    let users = tally.by_user();
    for (user, count, changes) in users.iter().take(tally.most.max(1)) {
        let changes: Vec<_> = changes
            .iter()
            .map(|(change, count)| format!("{change}: {count}"))
            .collect();
        let _ = writeln!(text, "{count:>10}  {}  ({})", plain(user), changes.join(", "));
    }
    if users.len() > tally.most.max(1) {
        let _ = writeln!(text, "            and {} more users", users.len() - tally.most.max(1));
    }
    for example in &tally.examples {
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

/// For programs.
pub(super) fn json(tally: &Tally) -> Differences {
    Differences {
        groups: tally
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
        users: tally
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
        differences: tally
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

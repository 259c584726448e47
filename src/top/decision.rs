//! A decision, as one line of `GET /v1/events` tells it.

use serde_json::Value;

use super::facts::{number, word};

/// One decision, or how many lines of the stream were missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    Decision(Decision),
    Missed(u64),
}

/// What was decided, for whom, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Decision {
    /// The time of day, in UTC.
    pub(super) time: String,
    pub(super) verdict: String,
    pub(super) user: String,
    pub(super) session: String,
    pub(super) target: String,
    /// Code, reason, and how many equal refusals it stands for.
    pub(super) why: String,
}

impl Line {
    /// None for an event that is no decision.
    pub(super) fn read(event: &str, body: &Value) -> Option<Self> {
        match event {
            "missed" => Some(Self::Missed(number(body, "missed"))),
            "forward-decided" => Some(Self::Decision(Decision::read(body))),
            _ => None,
        }
    }

    pub(super) fn matches(&self, filter: &str) -> bool {
        match self {
            Self::Missed(_) => true,
            Self::Decision(decision) => [&decision.user, &decision.session, &decision.target]
                .iter()
                .any(|words| words.to_lowercase().contains(filter)),
        }
    }
}

impl Decision {
    fn read(body: &Value) -> Self {
        let word = |key: &str| word(body, key);
        let time = word("time").unwrap_or_default();
        let reason = word("reason").map(|reason| format!("({reason})"));
        let repeated = word("repeated").map(|times| format!("{times} times"));
        let why: Vec<_> = [word("code"), reason, repeated].into_iter().flatten().collect();
        Self {
            time: time.get(11..19).unwrap_or_default().to_owned(),
            verdict: word("verdict").unwrap_or_default(),
            user: word("user").unwrap_or_default(),
            session: word("session").unwrap_or_default(),
            target: target(word("requested"), word("target"), word("effective")),
            why: why.join(" "),
        }
    }
}

/// What was asked for and, if it is another place, where it goes.
pub(super) fn target(requested: Option<String>, canonical: Option<String>, effective: Option<String>) -> String {
    let is_elsewhere = effective.is_some() && effective != canonical;
    let asked = requested.or(canonical).unwrap_or_default();
    match effective {
        Some(effective) if is_elsewhere && effective != asked => format!("{asked} → {effective}"),
        _ => asked,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_says_what_for_whom_and_why() {
        let body = json!({
            "time": "2026-11-28T10:20:30.123456Z", "verdict": "deny", "user": "alice", "session": "s-1",
            "requested": "db:22", "code": "no-rule", "reason": "only databases", "repeated": 3,
        });
        let Some(Line::Decision(decision)) = Line::read("forward-decided", &body) else {
            panic!("a decision");
        };
        assert_eq!(
            [
                &decision.time,
                &decision.verdict,
                &decision.user,
                &decision.target,
                &decision.why
            ],
            ["10:20:30", "deny", "alice", "db:22", "no-rule (only databases) 3 times"]
        );
        for (filter, found) in [("ali", true), ("db:2", true), ("s-1", true), ("no-rule", false)] {
            assert_eq!(Line::Decision(decision.clone()).matches(filter), found, "{filter}");
        }
    }

    #[test]
    fn other_events_are_left_out_and_a_gap_is_told() {
        assert_eq!(Line::read("tunnel-opened", &json!({})), None);
        assert_eq!(Line::read("missed", &json!({ "missed": 7 })), Some(Line::Missed(7)));
    }

    #[test]
    fn a_target_names_another_place_only_if_there_is_one() {
        let some = |text: &str| Some(text.to_owned());
        #[rustfmt::skip]
        let table = [
            (some("DB:22"), some("db:22"), some("db:22"),     "DB:22"),
            (some("db:22"), some("db:22"), some("replica:22"), "db:22 → replica:22"),
            (some("db:22"), None,          some("db:22"),     "db:22"),
            (some("db:22"), None,          None,              "db:22"),
            (None,          some("db:22"), None,              "db:22"),
        ];
        for (requested, canonical, effective, shown) in table {
            assert_eq!(target(requested, canonical, effective), shown);
        }
    }
}

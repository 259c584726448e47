//! The rows of both tables: what is shown of a session or tunnel, and how it compares.

use jiff::Timestamp;
use serde_json::Value;

use super::decision::target;
use super::facts::{number, time, word};
use super::list::Kind;
use crate::{ctl, rates};

/// One session or tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// Of the tunnel, or of the session.
    pub(super) id: String,
    pub(super) user: String,
    /// What it is about: a target, or a client.
    pub(super) place: String,
    /// One for each column.
    pub(super) cells: Vec<Cell>,
    /// What the columns have no room for, in two lines.
    pub(super) detail: [String; 2],
    /// What a filter looks at, in lower case.
    words: String,
}

/// A value that is shown in one way and sorted in another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Text(String),
    Count(u64),
    Size(u64),
    /// Bytes in a second; none if it is not known yet.
    Rate(Option<u64>),
    /// Shown as an age: what is older comes first.
    Since(Option<Timestamp>),
}

impl Cell {
    pub(super) fn shown(&self, now: Timestamp) -> String {
        match self {
            Self::Text(words) => words.clone(),
            Self::Count(count) => count.to_string(),
            Self::Size(bytes) => rates::size(*bytes),
            Self::Rate(rate) => rate.map_or_else(|| "-".to_owned(), rates::size),
            Self::Since(since) => since.map_or_else(|| "-".to_owned(), |since| age(since, now)),
        }
    }

    /// Numbers stand on the right.
    pub(super) fn is_number(&self) -> bool {
        !matches!(self, Self::Text(_))
    }
}

/// How long ago something began.
pub(super) fn age(since: Timestamp, now: Timestamp) -> String {
    ctl::time(now.duration_since(since).as_secs())
}

impl Row {
    /// A tunnel of `GET /v1/tunnels`. None if it has no id, so that it could not be named.
    pub(super) fn tunnel(body: &Value) -> Option<Self> {
        let word = |key: &str| word(body, key).unwrap_or_default();
        let rate = |key: &str| Cell::Rate(body.get(key).and_then(Value::as_u64));
        let (id, session, user) = (named(body, "forward")?, word("session"), word("user"));
        let place = target(Some(word("requested")), None, Some(word("effective")));
        let (up, down) = (number(body, "bytes_up"), number(body, "bytes_down"));
        let cells = vec![
            Cell::Text(user.clone()),
            Cell::Text(place.clone()),
            Cell::Text(word("action")),
            Cell::Since(time(body, "since")),
            rate("rate_up"),
            rate("rate_down"),
            Cell::Size(up),
            Cell::Size(down),
        ];
        let dialled = body.get("dialled").map(|_| format!(", dialled {}", word("dialled")));
        let detail = [
            format!("{id} of session {session}"),
            format!(
                "{}{}, {}",
                word("action"),
                dialled.unwrap_or_default(),
                carried(up, down)
            ),
        ];
        let words = format!("{user} {place} {session} {id}").to_lowercase();
        Some(Self {
            id,
            user,
            place,
            cells,
            detail,
            words,
        })
    }

    /// A session of `GET /v1/sessions`, with its rate up and down.
    pub(super) fn session(body: &Value, rate: Option<(u64, u64)>) -> Option<Self> {
        let word = |key: &str| word(body, key).unwrap_or_default();
        let (id, user, place) = (named(body, "session")?, word("user"), word("client"));
        let (up, down) = (number(body, "bytes_up"), number(body, "bytes_down"));
        let cells = vec![
            Cell::Text(user.clone()),
            Cell::Text(place.clone()),
            Cell::Text(word("method")),
            Cell::Since(time(body, "since")),
            Cell::Count(number(body, "tunnels")),
            Cell::Count(number(body, "listeners")),
            Cell::Rate(rate.map(|rate| rate.0)),
            Cell::Rate(rate.map(|rate| rate.1)),
            Cell::Size(up),
            Cell::Size(down),
        ];
        let detail = [
            format!("{id}, {}", carried(up, down)),
            format!("{} {} {}", word("method"), word("fingerprint"), word("software")),
        ];
        let words = format!("{user} {place} {id}").to_lowercase();
        Some(Self {
            id,
            user,
            place,
            cells,
            detail,
            words,
        })
    }

    /// Whether one of its names contains the text, which is in lower case.
    pub(super) fn matches(&self, filter: &str) -> bool {
        self.words.contains(filter)
    }

    /// In the words of a question to the user.
    pub(super) fn named(&self, kind: Kind) -> String {
        match kind {
            Kind::Tunnels => format!("the tunnel of {} to {}", self.user, self.place),
            Kind::Sessions => format!("the session of {} from {}", self.user, self.place),
        }
    }
}

fn carried(up: u64, down: u64) -> String {
    format!("up {}, down {}", rates::size(up), rates::size(down))
}

/// An id is sent back as it came, so one that is changed when it is shown is none.
fn named(body: &Value, key: &str) -> Option<String> {
    let id = body.get(key)?.as_str()?;
    word(body, key).filter(|shown| shown == id)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_finds_user_target_and_session() {
        let tunnel = Row::tunnel(&json!({
            "forward": "f-1", "session": "s-9", "user": "Alice", "requested": "DB:5432", "effective": "db:5432", "action": "connect",
        }))
        .unwrap();
        let session = Row::session(
            &json!({ "session": "s-9", "user": "Alice", "client": "192.0.2.1:7" }),
            None,
        )
        .unwrap();
        for (filter, in_tunnel, in_session) in [
            ("", true, true),
            ("alice", true, true),
            ("db:5", true, false),
            ("192.0", false, true),
            ("s-9", true, true),
            ("f-1", true, false),
            ("connect", false, false),
        ] {
            assert_eq!(
                (tunnel.matches(filter), session.matches(filter)),
                (in_tunnel, in_session),
                "{filter}"
            );
        }
    }

    #[test]
    fn a_row_that_cannot_be_named_is_left_out() {
        assert_eq!(Row::tunnel(&json!({ "user": "alice" })), None);
        assert_eq!(Row::session(&json!({ "session": "s\u{1b}1" }), None), None);
    }

    #[test]
    fn cells_are_shown_for_people_and_sorted_by_value() {
        let now: Timestamp = "2026-11-28T10:00:00Z".parse().unwrap();
        let ago = |text: &str| Cell::Since(Some(text.parse().unwrap()));
        #[rustfmt::skip]
        let table = [
            (Cell::Size(900),          "900 B",   Cell::Size(2048),            "2.0 KiB"),
            (Cell::Rate(None),         "-",       Cell::Rate(Some(0)),         "0 B"),
            (Cell::Count(9),           "9",       Cell::Count(10),             "10"),
            (ago("2026-11-28T09:00:00Z"), "1h00m", ago("2026-11-28T09:59:50Z"), "10s"),
        ];
        for (less, less_shown, more, more_shown) in table {
            assert!(less < more, "{less:?} {more:?}");
            assert_eq!(
                (less.shown(now), more.shown(now)),
                (less_shown.to_owned(), more_shown.to_owned())
            );
        }
    }
}

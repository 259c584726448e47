//! Answers as people read them: aligned columns, sizes with units.

use jiff::Timestamp;
use serde_json::Value;

use super::Command;
use crate::rates::size;
use crate::request::printable;

pub(super) fn shown(command: &Command, body: &Value) -> String {
    match command {
        Command::Status => status(body),
        Command::Sessions { .. } => list(body, &SESSIONS),
        Command::Tunnels { .. } => list(body, &TUNNELS),
        Command::Listeners { .. } => list(body, &LISTENERS),
        Command::Locks => list(body, &LOCKS),
        Command::Lock { user, .. } => locked(user, body),
        Command::Unlock { user } => format!("{} is unlocked\n", printable(user, MAX_CELL)),
        Command::Events { .. } => String::new(),
        Command::Close { dry_run, .. } => closed(body, *dry_run),
        Command::Policy(policy) => policy.shown(body),
        Command::Reload { dry_run } => reloaded(body, *dry_run),
        Command::LogLevel { .. } => format!("{}\n", text(body, "filter")),
        Command::Drain { .. } => "draining\n".to_owned(),
    }
}

/// The same of all gateways: each row begins with the name of its gateway.
pub(super) fn of_fleet(command: &Command, body: &Value) -> String {
    let all = |key: &str, columns: &[Column]| {
        let columns: Vec<_> = [GATEWAY].iter().chain(columns).copied().collect();
        list(body.get(key).unwrap_or(&Value::Null), &columns)
    };
    match command {
        Command::Status => all("status", &GATEWAYS),
        Command::Sessions { .. } => all("sessions", &SESSIONS),
        Command::Tunnels { .. } => all("tunnels", &TUNNELS),
        Command::Listeners { .. } => all("listeners", &LISTENERS),
        Command::Lock { user, .. } => format!("{}and on all other gateways\n", locked(user, body)),
        Command::Unlock { user } => format!("{} is unlocked on all gateways\n", printable(user, MAX_CELL)),
        command => shown(command, body),
    }
}

fn status(body: &Value) -> String {
    let policies = body.get("policies").and_then(Value::as_array).map(Vec::as_slice);
    let policies = policies.unwrap_or_default().iter().map(|policy| {
        let digest = text(policy, "sha256");
        let digest = digest.get(..12).unwrap_or_default();
        let (plugin, version) = (text(policy, "plugin"), text(policy, "version"));
        let generation = policy
            .get("generation")
            .map(|number| format!(", generation {}", word(number)));
        let since = policy.get("since").map(|_| format!(", since {}", age(policy, "since")));
        let shadow = policy
            .get("shadow")
            .map(|shadow| format!(", shadow {}", text(shadow, "version")));
        let confirm = policy
            .get("confirm_by")
            .map(|_| format!(", rolls back in {} unless it is confirmed", left(policy, "confirm_by")));
        let more: String = [generation, since, shadow, confirm].into_iter().flatten().collect();
        format!("{plugin} {version} (sha256 {digest}…){more}")
    });
    let audit = body.get("audit").cloned().unwrap_or_default();
    let audit = match audit.get("writable").and_then(Value::as_bool) {
        Some(true) => format!("writable, {} lines waiting", text(&audit, "pending")),
        _ => "CANNOT BE WRITTEN".to_owned(),
    };
    let listen = body.get("listen").and_then(Value::as_array).map(Vec::as_slice);
    let listen: Vec<_> = listen.unwrap_or_default().iter().map(word).collect();
    let mut rows = vec![
        row("version", text(body, "version")),
        row("process", text(body, "process")),
        row("started", text(body, "started")),
        row("listens on", listen.join(", ")),
        row(
            "draining",
            if body.get("draining") == Some(&Value::Bool(true)) {
                "yes"
            } else {
                "no"
            },
        ),
        row("sessions", text(body, "sessions")),
        row("tunnels", text(body, "tunnels")),
        row("listeners", text(body, "listeners")),
        row("buffered", size_of(body, "buffered_bytes")),
        row("audit log", audit),
        row("confined by", confined(body.get("hardening").unwrap_or(&Value::Null))),
    ];
    rows.extend(policies.map(|policy| row("policy", policy)));
    columns(&rows)
}

/// How far the system confines the gateway, in a few words.
fn confined(hardening: &Value) -> String {
    let seccomp = match hardening.get("seccomp").and_then(Value::as_str) {
        Some("off") | None => None,
        Some(mode) => Some(format!("seccomp {}", printable(mode, MAX_CELL))),
    };
    let privileges = hardening.get("no_new_privs") == Some(&Value::Bool(true));
    let found: Vec<_> = [seccomp, privileges.then(|| "no new privileges".to_owned())]
        .into_iter()
        .flatten()
        .collect();
    match found.as_slice() {
        [] => "nothing".to_owned(),
        found => found.join(", "),
    }
}

fn row(name: &str, value: impl Into<String>) -> Vec<String> {
    vec![name.to_owned(), value.into()]
}

/// How a value is shown.
#[derive(Clone, Copy)]
pub(super) enum Shown {
    Word,
    /// A sentence, however long.
    Long,
    /// The beginning of a digest.
    Digest,
    Size,
    /// A size in a second.
    Rate,
    /// How long ago.
    Age,
    /// How long from now.
    Left,
}

use Shown::{Age, Digest, Left, Long, Rate, Size, Word};

/// The head of a column, the key of its values, and how they are shown.
pub(super) type Column = (&'static str, &'static str, Shown);

const GATEWAY: Column = ("GATEWAY", "gateway", Word);

const GATEWAYS: [Column; 7] = [
    ("VERSION", "version", Word),
    ("STARTED", "started", Age),
    ("DRAINING", "draining", Word),
    ("SESSIONS", "sessions", Word),
    ("TUNNELS", "tunnels", Word),
    ("LISTENERS", "listeners", Word),
    ("BUFFERED", "buffered_bytes", Size),
];

const SESSIONS: [Column; 10] = [
    ("SESSION", "session", Word),
    ("USER", "user", Word),
    ("METHOD", "method", Word),
    ("CLIENT", "client", Word),
    ("SOFTWARE", "software", Word),
    ("AGE", "since", Age),
    ("TUNNELS", "tunnels", Word),
    ("LISTENERS", "listeners", Word),
    ("UP", "bytes_up", Size),
    ("DOWN", "bytes_down", Size),
];

const TUNNELS: [Column; 11] = [
    ("FORWARD", "forward", Word),
    ("USER", "user", Word),
    ("ACTION", "action", Word),
    ("REQUESTED", "requested", Word),
    ("EFFECTIVE", "effective", Word),
    ("DIALLED", "dialled", Word),
    ("AGE", "since", Age),
    ("UP", "bytes_up", Size),
    ("DOWN", "bytes_down", Size),
    ("UP/S", "rate_up", Rate),
    ("DOWN/S", "rate_down", Rate),
];

const LISTENERS: [Column; 5] = [
    ("FORWARD", "forward", Word),
    ("USER", "user", Word),
    ("REQUESTED", "requested", Word),
    ("LISTENS ON", "effective", Word),
    ("AGE", "since", Age),
];

const LOCKS: [Column; 5] = [
    ("USER", "user", Word),
    ("AGE", "since", Age),
    ("ENDS IN", "until", Left),
    ("BY", "admin", Word),
    ("REASON", "reason", Word),
];

pub(super) fn list(body: &Value, shown: &[Column]) -> String {
    let now = Timestamp::now();
    let values = body.as_array().map(Vec::as_slice).unwrap_or_default();
    let head = shown.iter().map(|(head, ..)| (*head).to_owned()).collect();
    let row = |value: &Value| {
        shown
            .iter()
            .map(|(_, key, shown)| cell(value, key, *shown, now))
            .collect()
    };
    let rows: Vec<_> = [head].into_iter().chain(values.iter().map(row)).collect();
    columns(&rows)
}

fn cell(value: &Value, key: &str, shown: Shown, now: Timestamp) -> String {
    let from_now = || from(value, key, now);
    match shown {
        Word => text(value, key),
        Long => value
            .get(key)
            .and_then(Value::as_str)
            .map_or_else(String::new, |text| printable(text, MAX_SENTENCE)),
        Digest => text(value, key).chars().take(12).collect(),
        Size => size_of(value, key),
        Rate => size_of(value, key),
        Age => from_now().map_or("-".to_owned(), |seconds| time(-seconds)),
        Left => from_now().map_or("-".to_owned(), time),
    }
}

/// Seconds from now.
fn from(value: &Value, key: &str, now: Timestamp) -> Option<i64> {
    let time: Timestamp = value.get(key)?.as_str()?.parse().ok()?;
    Some(time.duration_since(now).as_secs())
}

/// How long ago.
pub(super) fn age(value: &Value, key: &str) -> String {
    cell(value, key, Age, Timestamp::now())
}

/// How long from now.
pub(super) fn left(value: &Value, key: &str) -> String {
    cell(value, key, Left, Timestamp::now())
}

/// A number; 0 where it is absent.
pub(super) fn number(value: &Value, key: &str) -> u64 {
    value.get(key).and_then(Value::as_u64).unwrap_or(0)
}

/// The two largest units.
pub(crate) fn time(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
        (0, hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        (days, hours, ..) => format!("{days}d{hours:02}h"),
    }
}

fn locked(user: &str, body: &Value) -> String {
    let count = |key: &str| body.get(key).and_then(Value::as_array).map_or(0, Vec::len);
    format!(
        "{} is locked: {} sessions ended, {} tunnels and listeners closed\n",
        printable(user, MAX_CELL),
        count("sessions"),
        count("closed")
    )
}

/// One line: when, what, whose, of which place, and what was said of it.
pub(super) fn event(name: &str, body: &Value) -> String {
    let of = body
        .get("gateway")
        .map(|gateway| format!("{}: ", word(gateway)))
        .unwrap_or_default();
    if let Some(missed) = body.get("missed").and_then(Value::as_u64) {
        return format!("({of}missed {missed} events: they came faster than they were read)\n");
    }
    if let Some(why) = body.get("interrupted") {
        return format!("(events may be missing: {})\n", word(why));
    }
    if name == "following" {
        return following(body);
    }
    let time = text(body, "time");
    let time = time.get(11..19).unwrap_or(&time);
    let said = |key: &str| body.get(key).map(word);
    let mut words = vec![time.to_owned(), name.to_owned()];
    words.extend(
        ["gateway", "user", "verdict", "action", "requested"]
            .into_iter()
            .filter_map(said),
    );
    let requested = body.get("requested").or_else(|| body.get("target"));
    if let Some(effective) = body.get("effective").filter(|effective| Some(*effective) != requested) {
        words.push(format!("-> {}", word(effective)));
    }
    words.extend(["code", "cause", "name", "admin"].into_iter().filter_map(said));
    for (key, sign) in [("bytes_up", "up"), ("bytes_down", "down")] {
        if body.get(key).is_some() {
            words.push(format!("{sign} {}", size_of(body, key)));
        }
    }
    words.extend(said("reason").map(|reason| format!("({reason})")));
    words.extend(said("repeated").map(|times| format!("{times} times")));
    words.extend(said("forward").map(|forward| format!("[{forward}]")));
    words.join(" ") + "\n"
}

/// Which gateways of a fleet publish their events.
fn following(body: &Value) -> String {
    let names = |key: &str| {
        let names = body.get(key).and_then(Value::as_array).into_iter().flatten();
        names.map(word).collect::<Vec<_>>().join(", ")
    };
    match names("missing") {
        missing if missing.is_empty() => format!("(following {})\n", names("following")),
        missing => format!("(following {}; no answer from {missing})\n", names("following")),
    }
}

fn reloaded(body: &Value, dry_run: bool) -> String {
    if dry_run {
        return rehearsed(body);
    }
    let keys = |key: &str| {
        let keys = body.get(key).and_then(Value::as_array).map(Vec::as_slice);
        keys.unwrap_or_default().iter().map(word).collect::<Vec<_>>().join(", ")
    };
    let mut text = match keys("applied") {
        applied if applied.is_empty() => "reloaded: no changes\n".to_owned(),
        applied => format!("reloaded: {applied}\n"),
    };
    let waiting = keys("needs_restart");
    if !waiting.is_empty() {
        text.push_str(&format!("needs a restart: {waiting}\n"));
    }
    text
}

/// A line for each key.
fn rehearsed(body: &Value) -> String {
    let keys = |key: &str, words: &str| {
        let keys = body.get(key).and_then(Value::as_array).map(Vec::as_slice);
        let lines = keys
            .unwrap_or_default()
            .iter()
            .map(|key| format!("{words}: {}\n", word(key)));
        lines.collect::<String>()
    };
    let lines = keys("applied", "would apply") + &keys("needs_restart", "would need a restart");
    match lines.as_str() {
        "" => "a reload would change nothing\n".to_owned(),
        _ => lines,
    }
}

fn closed(body: &Value, dry_run: bool) -> String {
    let closed = body
        .get("closed")
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let mut lines: String = closed.iter().map(|id| format!("{}\n", word(id))).collect();
    let word = if dry_run { "would be closed" } else { "closed" };
    lines.push_str(&format!("{} {word}\n", closed.len()));
    let sessions = body.get("sessions").and_then(Value::as_array).map_or(0, Vec::len);
    if closed.is_empty() && sessions == 0 {
        lines.push_str("nothing that is open here matches all that was named\n");
    }
    if sessions > 0 {
        let word = if dry_run { "would end" } else { "ended" };
        lines.push_str(&format!("{sessions} session {word}\n"));
    }
    lines
}

/// A value as a word; `-` where it is absent.
pub(super) fn text(object: &Value, key: &str) -> String {
    object.get(key).map_or_else(|| "-".to_owned(), word)
}

pub(super) fn word(value: &Value) -> String {
    match value {
        Value::String(text) => printable(text, MAX_CELL),
        other => other.to_string(),
    }
}

fn size_of(object: &Value, key: &str) -> String {
    let bytes = object.get(key).and_then(Value::as_u64);
    bytes.map_or_else(|| "-".to_owned(), size)
}

/// Two spaces between columns, none at the end of a line.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let most = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widths: Vec<_> = (0..most)
        .map(|column| {
            rows.iter()
                .filter_map(|row| row.get(column))
                .map(|cell| cell.chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let line: String = cells.map(|(cell, &width)| format!("{cell:width$}  ")).collect();
        format!("{}\n", line.trim_end())
    };
    rows.iter().map(line).collect()
}

const MAX_CELL: usize = 120;
const MAX_SENTENCE: usize = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (3_u64 << 30, "3.0 GiB"),
        ];
        for (bytes, shown) in table {
            assert_eq!(size_of(&json!({ "n": bytes }), "n"), shown);
        }
        assert_eq!(size_of(&json!({}), "n"), "-");
    }

    #[test]
    fn columns_are_aligned_and_lines_end_at_their_last_word() {
        let rows = [row("a", "b"), row("long", "")];
        assert_eq!(columns(&rows), "a     b\nlong\n");
    }

    #[test]
    fn events_of_a_fleet_name_their_gateway_and_what_is_missing() {
        for (name, body, line) in [
            (
                "following",
                json!({ "following": ["a", "b"], "missing": [] }),
                "(following a, b)\n",
            ),
            (
                "following",
                json!({ "following": ["a"], "missing": ["b"] }),
                "(following a; no answer from b)\n",
            ),
            (
                "missed",
                json!({ "gateway": "b", "missed": 3 }),
                "(b: missed 3 events: they came faster than they were read)\n",
            ),
            (
                "interrupted",
                json!({ "interrupted": "why" }),
                "(events may be missing: why)\n",
            ),
            (
                "auth-succeeded",
                json!({ "time": "2026-11-22T09:11:25.346909Z", "user": "alice", "gateway": "a" }),
                "09:11:25 auth-succeeded a alice\n",
            ),
        ] {
            assert_eq!(event(name, &body), line);
        }
    }

    #[test]
    fn what_a_user_named_reaches_the_terminal_as_text() {
        let shown = list(&json!([{ "user": "\u{1b}[2Jmallory", "bytes_up": 1 }]), &TUNNELS);
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
    }

    #[test]
    fn a_time_has_its_two_largest_units() {
        #[rustfmt::skip]
        let table = [
            (-5, "0s"), (0, "0s"), (59, "59s"), (60, "1m00s"), (3599, "59m59s"), (3600, "1h00m"),
            (86399, "23h59m"), (86400, "1d00h"), (90061, "1d01h"),
        ];
        for (seconds, shown) in table {
            assert_eq!(time(seconds), shown);
        }
    }
}

//! Side effects of one decision in a tool: its log lines, its calls to the host, and what it used.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::{Serialize, Serializer};

use super::calendar;
use crate::policy::contract::newest::calendar::{CalendarError, LocalTime};
use crate::policy::contract::newest::log::Level;
use crate::policy::contract::newest::names::LookupError;
use crate::policy::contract::newest::state::StateError;
use crate::policy::contract::newest::types as wit;
use crate::request::{Fact, printable};

/// What was seen of a component while it was loaded or asked.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Observed {
    /// Its lines for the operator, bounded as they are where it serves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<Line>,
    /// Its calls of `calendar`, `names`, `state` and `view`, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<Call>,
    /// Fuel that it used, where the engine counts it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// Bytes of all its memories and tables, at most.
    pub memory: u64,
    /// The obligations of its verdict, as it gave them.
    #[serde(skip)]
    pub obligations: Vec<(String, Fact)>,
    /// The hints of its verdict, which the gateway ignores.
    #[serde(skip)]
    pub hints: Vec<(String, Fact)>,
}

/// A line for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How urgent.
    pub level: LogLevel,
    /// In words.
    pub message: String,
}

impl std::fmt::Display for Line {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}: {}", self.level.as_str(), self.message)
    }
}

impl Serialize for Line {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// How urgent a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// For the author.
    Debug,
    /// Worth a note.
    Info,
    /// Something is odd.
    Warn,
    /// Something is broken.
    Error,
}

impl LogLevel {
    /// The word of the WIT.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One call of a host interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Call {
    /// As in `names.resolve("db.internal")`.
    pub call: String,
    /// What the host answered, as in `["10.0.0.5"]` or `no-such-name`.
    pub answer: String,
}

/// Shared by the store of an instance and whoever asked it.
pub(in crate::policy) struct Recorder {
    observed: Mutex<Observed>,
    now: Instant,
}

impl Recorder {
    /// Nothing yet; `now` is where the clock of `state` stands.
    pub(in crate::policy) fn new(now: Instant) -> Self {
        Self {
            observed: Mutex::default(),
            now,
        }
    }

    pub(in crate::policy) fn now(&self) -> Instant {
        self.now
    }

    /// What was recorded so far.
    pub(in crate::policy) fn take(&self) -> Observed {
        std::mem::take(&mut self.lock())
    }

    pub(in crate::policy) fn line(&self, level: Level, message: String) {
        let level = match level {
            Level::Debug => LogLevel::Debug,
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.lock().log.push(Line { level, message });
    }

    pub(in crate::policy) fn spent(&self, fuel_left: Option<u64>, memory: u64) {
        let mut observed = self.lock();
        observed.fuel = fuel_left.map(|left| u64::MAX - left);
        observed.memory = memory;
    }

    pub(in crate::policy) fn answered(&self, verdict: &wit::Verdict) {
        let terms = match verdict {
            wit::Verdict::AllowWith(terms) => Some(terms),
            wit::Verdict::Rewrite(redirect) => redirect.terms.as_ref(),
            wit::Verdict::Allow | wit::Verdict::Deny(_) => None,
        };
        let Some(terms) = terms else { return };
        let mut observed = self.lock();
        observed.obligations = facts(&terms.obligations);
        observed.hints = facts(&terms.hints);
    }

    pub(in crate::policy) fn told_time(&self, unix_ms: u64, zone: &str, answer: &Result<LocalTime, CalendarError>) {
        let answer = match answer {
            Ok(time) => calendar::text(time),
            Err(CalendarError::UnknownZone) => "unknown-zone".to_owned(),
            Err(CalendarError::OutOfRange) => "out-of-range".to_owned(),
            Err(CalendarError::OverBudget) => "over-budget".to_owned(),
        };
        self.call(format!("calendar.local({unix_ms}, {})", quoted(zone)), answer);
    }

    pub(in crate::policy) fn resolved(&self, host: &str, answer: &Result<Vec<String>, LookupError>) {
        let answer = match answer {
            Ok(addresses) => format!("{addresses:?}"),
            Err(LookupError::NotGranted) => "not-granted".to_owned(),
            Err(LookupError::NoSuchName) => "no-such-name".to_owned(),
            Err(LookupError::TimedOut) => "timed-out".to_owned(),
            Err(LookupError::OverBudget) => "over-budget".to_owned(),
            Err(LookupError::Failed(words)) => format!("failed: {words}"),
        };
        self.call(format!("names.resolve({})", quoted(host)), answer);
    }

    pub(in crate::policy) fn got(&self, key: &str, answer: &Result<Option<Vec<u8>>, StateError>) {
        let answer = match answer {
            Ok(None) => "none".to_owned(),
            Ok(Some(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => quoted(text),
                Err(_) => format!("{} bytes", bytes.len()),
            },
            Err(error) => word(*error).to_owned(),
        };
        self.call(format!("state.get({})", quoted(key)), answer);
    }

    pub(in crate::policy) fn stored(&self, key: &str, bytes: usize, seconds: u32, answer: &Result<(), StateError>) {
        let answer = answer.map_or_else(word, |()| "done").to_owned();
        self.call(format!("state.put({}, {bytes} bytes, {seconds})", quoted(key)), answer);
    }

    pub(in crate::policy) fn added(&self, key: &str, delta: i64, seconds: u32, answer: &Result<i64, StateError>) {
        let answer = answer.map_or_else(|error| word(error).to_owned(), |sum| sum.to_string());
        self.call(format!("state.add({}, {delta}, {seconds})", quoted(key)), answer);
    }

    pub(in crate::policy) fn counted(&self, user: &str, count: u32) {
        self.call(format!("view.open-forwards({})", quoted(user)), count.to_string());
    }

    pub(in crate::policy) fn viewed(&self, name: &str, fact: Option<&Fact>) {
        let answer = fact.map_or_else(
            || "none".to_owned(),
            |fact| match fact {
                Fact::Text(text) => quoted(text),
                Fact::Texts(texts) => format!("{texts:?}"),
                Fact::Number(number) => number.to_string(),
                Fact::Flag(flag) => flag.to_string(),
            },
        );
        self.call(format!("view.fact({})", quoted(name)), answer);
    }

    /// A guest that calls without end is stopped by its deadline, and not listened to for so long.
    fn call(&self, call: String, answer: String) {
        let mut observed = self.lock();
        if observed.calls.len() < MAX_CALLS {
            observed.calls.push(Call { call, answer });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Observed> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", printable(text, 256).replace('"', "\\\""))
}

fn word(error: StateError) -> &'static str {
    match error {
        StateError::NotGranted => "not-granted",
        StateError::OverBudget => "over-budget",
        StateError::TooLarge => "too-large",
        StateError::Unavailable => "unavailable",
    }
}

fn facts(values: &[(String, wit::Value)]) -> Vec<(String, Fact)> {
    values
        .iter()
        .take(MAX_CALLS)
        .map(|(name, value)| {
            let fact = match value {
                wit::Value::Text(text) => Fact::Text(text.clone()),
                wit::Value::Texts(texts) => Fact::Texts(texts.clone()),
                wit::Value::Number(number) => Fact::Number(*number),
                wit::Value::Flag(flag) => Fact::Flag(*flag),
            };
            (name.clone(), fact)
        })
        .collect()
}

const MAX_CALLS: usize = 1000;

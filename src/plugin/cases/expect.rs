//! An expected answer, and the differences of an actual answer from it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use super::super::answer::{Answer, Word, address_rule, facts};
use super::super::request::{Target, parsed};
use crate::config::{Table, Value, auth};
use crate::request::{AddressRule, Effect, loose_network};

/// What is expected; what is absent is not compared.
#[derive(Clone, Debug, Default)]
pub(super) struct Expected {
    verdict: Option<Word>,
    code: Option<String>,
    reason: Option<String>,
    tell_user: Option<String>,
    to: Option<String>,
    terms: Option<Map<String, Json>>,
    tags: Option<BTreeMap<String, String>>,
    log: Option<Vec<String>>,
    calls: Option<Vec<String>>,
    problems: Option<Vec<Trouble>>,
}

#[derive(Clone, Debug)]
struct Trouble {
    at: String,
    message: Option<String>,
}

/// One way in which an answer is not what was expected.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Difference {
    /// 0 for the first request of a case, then those of `then`.
    pub(super) step: usize,
    /// The key that was compared.
    pub(super) what: &'static str,
    pub(super) expected: String,
    pub(super) found: String,
}

/// Reads the `expect` table of a request.
pub(super) fn read(table: &mut Table<'_>) -> Expected {
    read_with(table, &Word::ASKED)
}

/// Reads the `expect` table of an end, which is taken where it does not say otherwise.
pub(super) fn read_of_end(table: &mut Table<'_>) -> Expected {
    for name in ["tell-user", "to", "terms", "tags"] {
        table.refuse(
            name,
            "an end has no verdict: remove this key, and compare `log` or `calls`",
        );
    }
    let expected = read_with(table, &Word::ENDED);
    Expected {
        verdict: expected.verdict.or(Some(Word::Told)),
        ..expected
    }
}

fn read_with(table: &mut Table<'_>, words: &[(&str, Word)]) -> Expected {
    let text = |value: &Value<'_>| value.text().map(str::to_owned);
    let texts = |value: &Value<'_>| value.list(|item| item.text().map(str::to_owned));
    Expected {
        verdict: table.read("verdict", |value| value.one_of(words)),
        code: table.read("code", text),
        reason: table.read("reason", text),
        tell_user: table.read("tell-user", text),
        to: table.read("to", |value| {
            parsed::<Target>(value).map(|target| target.endpoint.to_string())
        }),
        terms: table.read("terms", |value| value.table(terms)),
        tags: table.read("tags", tags),
        log: table.read("log", texts),
        calls: table.read("calls", texts),
        problems: table.read("problems", |value| {
            value.tables(|table| {
                let at = table.required("at", "a JSON pointer into the settings", text);
                let message = table.read("message", text);
                Some(Trouble { at: at?, message })
            })
        }),
    }
}

impl Expected {
    /// An end is taken.
    pub(super) fn told() -> Self {
        Self {
            verdict: Some(Word::Told),
            ..Self::default()
        }
    }

    /// How the answer to the request of that number differs.
    pub(super) fn differences(&self, step: usize, answer: &Answer) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |what, expected: Option<String>, actual: String| {
            if let Some(expected) = expected.filter(|expected| *expected != actual) {
                found.push(Difference {
                    step,
                    what,
                    expected,
                    found: actual,
                });
            }
        };
        let words = |text: &Option<String>| text.as_ref().map(|text| quoted(text));
        let or_nothing = |text: &Option<String>| text.as_ref().map_or_else(nothing, |text| quoted(text));
        if let Some(verdict) = self.verdict
            && verdict != answer.verdict
        {
            // What else differs follows from this; why it came to be is what helps.
            let why = [&answer.code, &answer.to, &answer.reason];
            let why: Vec<_> = why.into_iter().flatten().map(String::as_str).collect();
            let why = if why.is_empty() {
                String::new()
            } else {
                format!(" ({})", why.join(": "))
            };
            compare(
                "verdict",
                Some(verdict.as_str().to_owned()),
                format!("{}{why}", answer.verdict.as_str()),
            );
            return found;
        }
        compare("code", words(&self.code), or_nothing(&answer.code));
        compare("reason", words(&self.reason), or_nothing(&answer.reason));
        let told = self
            .tell_user
            .as_ref()
            .map(|text| if text.is_empty() { nothing() } else { quoted(text) });
        compare("tell-user", told, or_nothing(&answer.tell_user));
        compare("to", words(&self.to), or_nothing(&answer.to));
        let object = |map: &Map<String, Json>| Json::Object(map.clone()).to_string();
        compare("terms", self.terms.as_ref().map(object), object(&answer.terms));
        if let Some(tags) = &self.tags {
            let those = answer.tags.iter().filter(|(name, _)| tags.contains_key(*name));
            let those: BTreeMap<_, _> = those.collect();
            compare("tags", Some(json!(tags).to_string()), json!(those).to_string());
        }
        let log = answer.log.iter().map(ToString::to_string);
        compare("log", self.log.as_deref().map(lines), lines(&log.collect::<Vec<_>>()));
        let calls = answer.calls.iter().map(|call| call.call.clone());
        compare(
            "calls",
            self.calls.as_deref().map(lines),
            lines(&calls.collect::<Vec<_>>()),
        );
        if let Some(problems) = &self.problems {
            let expected = problems.iter().map(|problem| match &problem.message {
                Some(message) => format!("{}: {message}", problem.at),
                None => problem.at.clone(),
            });
            let actual = answer
                .problems
                .iter()
                .enumerate()
                .map(|(index, problem)| match problems.get(index) {
                    Some(Trouble { message: None, .. }) => problem.at.clone(),
                    _ => format!("{}: {}", problem.at, problem.message),
                });
            let (expected, actual): (Vec<_>, Vec<_>) = (expected.collect(), actual.collect());
            compare("problems", Some(lines(&expected)), lines(&actual));
        }
        found
    }
}

fn terms(table: &mut Table<'_>) -> Map<String, Json> {
    let mut out = Map::new();
    let mut put = |name: &str, value: Option<Json>| {
        let empty =
            |value: &Json| value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
        if let Some(value) = value.filter(|value| !empty(value)) {
            out.insert(name.to_owned(), value);
        }
    };
    for name in ["max-seconds", "idle-seconds", "recheck-seconds", "reuse-seconds"] {
        put(
            name,
            table.read(name, |value| value.number(0..=u32::MAX)).map(Json::from),
        );
    }
    for name in ["max-bytes", "bytes-per-second"] {
        let number = table.read(name, |value| value.number(0..=i64::MAX.unsigned_abs()));
        put(name, number.map(Json::from));
    }
    let rules = table.read("address-rules", |value| value.tables(rule));
    put("address-rules", rules.map(Json::Array));
    put("tags", table.read("tags", tags).map(|tags| json!(tags)));
    for name in ["obligations", "hints"] {
        put(name, table.read(name, auth::claims).map(|values| facts(&values)));
    }
    out
}

fn rule(table: &mut Table<'_>) -> Option<Json> {
    let cidr = table.required("cidr", "a network", |value| {
        let text = value.text()?;
        loose_network(text)
            .ok()
            .or_else(|| value.wrong("a network, as in \"10.0.0.0/8\""))
    });
    let effect = table.required("effect", "permit or refuse", |value| {
        value.one_of(&[("permit", Effect::Permit), ("refuse", Effect::Refuse)])
    });
    Some(address_rule(&AddressRule {
        cidr: cidr?,
        effect: effect?,
    }))
}

fn tags(value: &Value<'_>) -> Option<BTreeMap<String, String>> {
    value.table(|table| {
        let all = table.all();
        let tags = all.iter();
        tags.filter_map(|(name, value)| Some(((*name).to_owned(), value.text()?.to_owned())))
            .collect()
    })
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

fn nothing() -> String {
    "nothing".to_owned()
}

fn lines(lines: &[String]) -> String {
    if lines.is_empty() { nothing() } else { lines.join("\n") }
}

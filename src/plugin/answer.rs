//! A policy's answer, with the keys of case files.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::policy::{Asked, Call, Failure, Line, LoadError, Observed, Problem, Told};
use crate::request::{AddressRule, Fact, Terms, Verdict};

/// The word for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Word {
    Allow,
    Deny,
    Rewrite,
    /// No verdict.
    Failed,
    /// `configure` refused the settings.
    Rejected,
    /// It was told of an end, to which there is no verdict.
    Told,
}

impl Word {
    /// What may come of a request.
    pub(super) const ASKED: [(&str, Self); 5] = [
        ("allow", Self::Allow),
        ("deny", Self::Deny),
        ("rewrite", Self::Rewrite),
        ("failed", Self::Failed),
        ("rejected", Self::Rejected),
    ];

    /// What may come of an end.
    pub(super) const ENDED: [(&str, Self); 3] = [
        ("told", Self::Told),
        ("failed", Self::Failed),
        ("rejected", Self::Rejected),
    ];

    pub(super) fn as_str(self) -> &'static str {
        let mut all = Self::ASKED.iter().chain(&Self::ENDED);
        let found = all.find(|(_, word)| *word == self);
        found.map_or("failed", |(text, _)| text)
    }
}

/// An answer with everything that can be compared.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Answer {
    pub(super) verdict: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tell_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub(super) terms: Map<String, Json>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) problems: Vec<Problem>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) log: Vec<Line>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) calls: Vec<Call>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fuel: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<u64>,
    #[serde(skip)]
    pub(super) tags: BTreeMap<String, String>,
}

impl Answer {
    /// What came of a request.
    pub(super) fn of(asked: &Asked) -> Self {
        let observed = &asked.observed;
        let mut answer = Self::seen(Word::Failed, observed);
        match &asked.verdict {
            Ok(Verdict::Allow(given)) => {
                answer.verdict = Word::Allow;
                answer.set_terms(given, observed);
            }
            Ok(Verdict::Deny(denial)) => {
                answer.verdict = Word::Deny;
                answer.code = Some(denial.code.clone());
                answer.reason = Some(denial.reason.clone());
                answer.tell_user.clone_from(&denial.tell_user);
            }
            Ok(Verdict::Rewrite(redirect)) => {
                answer.verdict = Word::Rewrite;
                answer.to = Some(redirect.to.to_string());
                answer.reason = Some(redirect.reason.clone());
                answer.set_terms(&redirect.terms, observed);
            }
            Err(failure) => answer.fail(failure),
        }
        answer
    }

    /// What came of an end.
    pub(super) fn told(told: &Told) -> Self {
        match &told.result {
            Ok(()) => Self::seen(Word::Told, &told.observed),
            Err(failure) => {
                let mut answer = Self::seen(Word::Failed, &told.observed);
                answer.fail(failure);
                answer
            }
        }
    }

    /// A word, and what was seen.
    fn seen(verdict: Word, observed: &Observed) -> Self {
        let mut answer = Self::blank(verdict);
        answer.log.clone_from(&observed.log);
        answer.calls.clone_from(&observed.calls);
        answer.fuel = observed.fuel;
        answer.memory = Some(observed.memory);
        answer
    }

    fn fail(&mut self, failure: &Failure) {
        self.code = Some(failure.code().to_owned());
        self.reason = Some(failure.to_string());
    }

    /// The answer of a component whose settings were refused.
    pub(super) fn rejected(problems: &[Problem]) -> Self {
        let mut answer = Self::blank(Word::Rejected);
        answer.reason = Some(LoadError::Settings(problems.to_vec()).to_string());
        answer.problems = problems.to_vec();
        answer
    }

    /// A word and nothing else.
    pub(super) fn blank(verdict: Word) -> Self {
        Self {
            verdict,
            code: None,
            reason: None,
            tell_user: None,
            to: None,
            terms: Map::new(),
            problems: Vec::new(),
            log: Vec::new(),
            calls: Vec::new(),
            fuel: None,
            memory: None,
            tags: BTreeMap::new(),
        }
    }

    fn set_terms(&mut self, given: &Terms, observed: &Observed) {
        self.terms = terms(given, observed);
        self.tags.clone_from(&given.tags);
    }
}

/// Terms as they are written in a case file; what is absent or empty is left out.
fn terms(given: &Terms, observed: &Observed) -> Map<String, Json> {
    let mut out = Map::new();
    let mut number = |name: &str, number: Option<u64>| {
        if let Some(number) = number {
            out.insert(name.to_owned(), json!(number));
        }
    };
    number("max-seconds", given.max_seconds.map(u64::from));
    number("idle-seconds", given.idle_seconds.map(u64::from));
    number("max-bytes", given.max_bytes);
    number("bytes-per-second", given.bytes_per_second);
    number("recheck-seconds", given.recheck_seconds.map(u64::from));
    number("reuse-seconds", given.reuse_seconds.map(u64::from));
    let rules: Vec<_> = given.address_rules.iter().map(address_rule).collect();
    let mut list = |name: &str, value: Json| {
        let empty = value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
        if !empty {
            out.insert(name.to_owned(), value);
        }
    };
    list("address-rules", Json::Array(rules));
    list("tags", json!(given.tags));
    list("obligations", facts(&observed.obligations));
    list("hints", facts(&observed.hints));
    out
}

/// One address rule as it is written in a case file.
pub(super) fn address_rule(rule: &AddressRule) -> Json {
    json!({ "cidr": rule.cidr, "effect": rule.effect })
}

/// Facts as they are written in a case file.
pub(super) fn facts(facts: &[(String, Fact)]) -> Json {
    let values = facts.iter().map(|(name, fact)| {
        let value = match fact {
            Fact::Text(text) => json!(text),
            Fact::Texts(texts) => json!(texts),
            Fact::Number(number) => json!(number),
            Fact::Flag(flag) => json!(flag),
        };
        (name.clone(), value)
    });
    Json::Object(values.collect())
}

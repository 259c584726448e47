//! The rules of a policy that decided at least one case.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value as Json;

use super::super::answer::{Answer, Word};
use crate::config::Source;
use crate::policy::Candidate;

/// The rules of one policy with one set of settings.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Coverage {
    pub(super) policy: String,
    /// The first case file that has these settings.
    pub(super) file: String,
    pub(super) rules: usize,
    pub(super) decided: usize,
    /// Names of rules that decided nothing.
    pub(super) never: Vec<String>,
}

/// A rule by the names that a decision of it may carry.
struct Rule {
    name: String,
    code: Option<String>,
}

impl Coverage {
    /// None where the component does not say where its rules are.
    pub(super) fn of<'a>(candidate: &Candidate, file: &str, answers: impl Iterator<Item = &'a Answer>) -> Option<Self> {
        let pattern = pattern(candidate)?;
        let rules = rules(candidate.settings(), &pattern);
        if rules.is_empty() {
            return None;
        }
        let mut seen = BTreeSet::new();
        for answer in answers {
            match answer.verdict {
                Word::Deny => seen.extend(answer.code.clone()),
                Word::Allow | Word::Rewrite => seen.extend(answer.tags.get("rule").cloned()),
                Word::Failed | Word::Rejected | Word::Told => {}
            }
        }
        let decided =
            |rule: &&Rule| seen.contains(&rule.name) || rule.code.as_ref().is_some_and(|code| seen.contains(code));
        let never: Vec<_> = rules
            .iter()
            .filter(|rule| !decided(rule))
            .map(|rule| rule.name.clone())
            .collect();
        Some(Self {
            policy: candidate.reference().name.clone(),
            file: file.to_owned(),
            rules: rules.len(),
            decided: rules.len() - never.len(),
            never,
        })
    }
}

/// Where the names of the rules are, in the component's own words.
fn pattern(candidate: &Candidate) -> Option<String> {
    let schema = candidate
        .schema()
        .and_then(|schema| serde_json::from_str::<Json>(schema).ok());
    let stated = schema
        .as_ref()
        .and_then(|schema| schema.get(KEY)?.as_str().map(str::to_owned));
    let builtin = matches!(candidate.source(), Source::Builtin(_));
    stated.or_else(|| builtin.then(|| BUILTIN.to_owned()))
}

/// The rules at a pattern like `/rules/*/name`.
fn rules(settings: &Json, pattern: &str) -> Vec<Rule> {
    let Some((items, name)) = pattern.rsplit_once("/*/") else {
        return Vec::new();
    };
    let list = settings.pointer(items).and_then(Json::as_array);
    let rules = list.into_iter().flatten().enumerate();
    let text = |item: &Json, key: &str| item.get(key).and_then(Json::as_str).map(str::to_owned);
    rules
        .map(|(index, item)| Rule {
            name: text(item, name).unwrap_or_else(|| format!("rule-{}", index + 1)),
            code: text(item, "code"),
        })
        .collect()
}

/// The key of a settings schema that says where the names of the rules are.
const KEY: &str = "x-portreeve-rules";
const BUILTIN: &str = "/rules/*/name";

//! The outcome of a decision, in the form in which two outcomes are compared.

use std::fmt;

use crate::request::{Endpoint, Terms, VerdictWord};

/// What came of a decision, as far as the policies made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Allowed or rewritten.
    Open {
        verdict: VerdictWord,
        effective: Endpoint,
        /// Absent where the log does not say.
        terms: Option<Terms>,
    },
    /// Denied under this code.
    Denied(String),
    /// Not decided, for this cause.
    Failed(String),
}

/// In what two outcomes differ; the first that applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Change {
    Verdict(VerdictWord, VerdictWord),
    Target,
    Code(VerdictWord),
    Terms,
}

impl Outcome {
    pub(crate) fn verdict(&self) -> VerdictWord {
        match self {
            Self::Open { verdict, .. } => *verdict,
            Self::Denied(_) => VerdictWord::Deny,
            Self::Failed(_) => VerdictWord::Failed,
        }
    }

    /// The rule that decided: the code of a refusal, or the tag `rule`, by which the rules policy and others name theirs.
    pub(crate) fn rule(&self) -> Option<&str> {
        match self {
            Self::Open { terms, .. } => terms.as_ref()?.tags.get("rule").map(String::as_str),
            Self::Denied(code) | Self::Failed(code) => Some(code),
        }
    }

    /// What has changed from this one to `after`.
    pub(crate) fn change(&self, after: &Self) -> Option<Change> {
        if self.verdict() != after.verdict() {
            return Some(Change::Verdict(self.verdict(), after.verdict()));
        }
        match (self, after) {
            (
                Self::Open { effective, terms, .. },
                Self::Open {
                    effective: effective_after,
                    terms: terms_after,
                    ..
                },
            ) => {
                if effective != effective_after {
                    return Some(Change::Target);
                }
                let known = terms.as_ref().zip(terms_after.as_ref());
                known.is_some_and(|(one, other)| one != other).then_some(Change::Terms)
            }
            _ if self == after => None,
            _ => Some(Change::Code(self.verdict())),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open {
                verdict: VerdictWord::Rewrite,
                effective,
                ..
            } => write!(out, "rewrite to {effective}"),
            Self::Open { .. } => out.write_str("allow"),
            Self::Denied(code) => write!(out, "deny {code}"),
            Self::Failed(code) => write!(out, "failed {code}"),
        }?;
        let Self::Open { terms: Some(terms), .. } = self else {
            return Ok(());
        };
        if let Some(rule) = self.rule() {
            write!(out, " by {rule}")?;
        }
        match serde_json::to_string(terms).unwrap_or_default().as_str() {
            "{}" => Ok(()),
            terms => write!(out, " {terms}"),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Verdict(before, after) => write!(out, "{} → {}", before.as_str(), after.as_str()),
            Self::Target => out.write_str("another target"),
            Self::Code(verdict) => write!(out, "{} with another code", verdict.as_str()),
            Self::Terms => out.write_str("other terms"),
        }
    }
}

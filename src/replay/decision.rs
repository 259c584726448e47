//! A recorded decision that can be asked again.

use std::sync::Arc;

use super::outcome::Outcome;
use super::recorded::{Line, Session};
use crate::names::Names;
use crate::request::{By, Endpoint, ForwardRequest, Terms, VerdictWord};

/// A decision that can be asked again.
pub(crate) struct Decision {
    /// Its place among all decisions of the log.
    pub(crate) number: u64,
    pub(crate) request: Arc<ForwardRequest>,
    /// What the log says was decided.
    pub(crate) recorded: Outcome,
    /// What the policies were told of names.
    pub(crate) names: Arc<Names>,
}

/// Why a recorded decision is not asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Skipped {
    /// No policy was asked: a switch, the key, a floor or a limit decided before.
    By(By),
    /// The line does not say what the request was in canonical form.
    NoTarget,
}

impl Skipped {
    /// Whether and why the policies need not be asked.
    pub(crate) fn of(line: &Line) -> Option<Self> {
        match line.by {
            Some(By::Policy) => {}
            // What a floor refused after a policy had allowed it.
            Some(By::Floor) if line.policy.is_some() => {}
            Some(by) => return Some(Self::By(by)),
            None => return Some(Self::NoTarget),
        }
        line.target.is_none().then_some(Self::NoTarget)
    }

    /// A word for it.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::By(By::Switch) => "switch",
            Self::By(By::Key) => "key",
            Self::By(By::Policy) => "policy",
            Self::By(By::Floor) => "floor",
            Self::By(By::Limit) => "limit",
            Self::NoTarget => "no-target",
        }
    }
}

impl Decision {
    /// The request as the policies saw it, and what was decided.
    ///
    /// # Errors
    /// The field that is missing or cannot be read.
    pub(crate) fn of(mut line: Line, number: u64, session: Session) -> Result<Self, String> {
        let names = Arc::new(line.names());
        let request = line.request(session)?;
        let recorded = recorded(line, request.target.clone())?;
        Ok(Self {
            number,
            request: Arc::new(request),
            recorded,
            names,
        })
    }
}

fn recorded(line: Line, target: Endpoint) -> Result<Outcome, String> {
    let verdict = line.verdict.ok_or("a decision without `verdict`")?;
    // A floor refused what the policies had allowed, and that is what is compared: the terms are not in the line.
    let verdict = match (line.by, &line.effective) {
        (Some(By::Floor), Some(_)) => VerdictWord::Rewrite,
        (Some(By::Floor), None) => VerdictWord::Allow,
        _ => verdict,
    };
    Ok(match verdict {
        VerdictWord::Allow | VerdictWord::Rewrite => Outcome::Open {
            verdict,
            effective: match line.effective {
                Some(to) => to.parse().map_err(|error| format!("{error}"))?,
                None => target,
            },
            terms: line.terms.map(|terms| Terms {
                tags: line.tags,
                ..terms
            }),
        },
        VerdictWord::Deny => Outcome::Denied(line.code.unwrap_or_default()),
        VerdictWord::Failed => Outcome::Failed(line.code.unwrap_or_default()),
    })
}

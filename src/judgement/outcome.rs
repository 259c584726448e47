//! What came of a question: a judgement, which becomes a permit by being recorded, or an explanation, which never does.

use std::net::SocketAddr;

use super::findings::Findings;
use super::permit::{Allowed, Permit};
use super::{Direction, Question};
use crate::events::{Decided, Event, Events, Subject};
use crate::request::Refusal;

/// What came of a client's question. It permits nothing yet.
///
/// Its parts are in a box, because it is moved a dozen times on its way to the record.
#[must_use = "nothing is decided before it is recorded"]
pub struct Judgement<D: Direction>(Box<Parts<D>>);

struct Parts<D: Direction> {
    subject: Subject,
    findings: Findings,
    outcome: Result<(Allowed, D::Way), Refusal>,
}

/// What would come of a question, or what holds of something open now.
pub struct Explanation {
    findings: Findings,
    outcome: Result<Allowed, Refusal>,
    addresses: Vec<SocketAddr>,
}

impl<D: Direction> Judgement<D> {
    pub(super) fn new(subject: Subject, findings: Findings, outcome: Result<(Allowed, D::Way), Refusal>) -> Self {
        Self(Box::new(Parts {
            subject,
            findings,
            outcome,
        }))
    }

    /// A refusal of a question that no policy has answered.
    pub(super) fn unasked(question: &Question<D>, refusal: Refusal) -> Self {
        Self::new(question.subject(), Findings::of(&question.asked, None), Err(refusal))
    }

    pub(super) fn with_target(mut self, target: Option<crate::request::Endpoint>) -> Self {
        self.0.findings.target = target;
        self
    }

    /// Refuses what was allowed, for a reason that came up after it was judged; what was refused stays so.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.0.outcome.is_ok() {
            self.0.outcome = Err(refusal);
        }
    }

    /// Why it is refused, if it is.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.0.outcome.as_ref().err()
    }

    /// Whom it is about.
    #[must_use]
    pub fn subject(&self) -> &Subject {
        &self.0.subject
    }

    /// The line of the audit log.
    #[must_use]
    pub fn line(&self) -> Decided {
        self.0.findings.line(self.refusal())
    }

    /// Writes the line. What was allowed is permitted once its line is in the log: there is no other way to a permit.
    ///
    /// # Errors
    /// The refusal, or that the log cannot be written.
    pub async fn record(self, events: &Events) -> Result<Permit<D>, Refusal> {
        let event = Event::ForwardDecided(Box::new(self.line()));
        let Parts { subject, outcome, .. } = *self.0;
        let (allowed, way) = match outcome {
            Ok(allowed) => allowed,
            Err(refusal) => {
                events.emit(&subject, &event);
                return Err(refusal);
            }
        };
        match events.emit_surely(&subject, &event).confirmed().await {
            true => Ok(Permit::new(allowed, way)),
            false => Err(unrecorded()),
        }
    }

    pub(super) fn explained(self) -> Explanation {
        let Parts { findings, outcome, .. } = *self.0;
        let (outcome, addresses) = match outcome {
            Ok((allowed, way)) => (Ok(allowed), D::addresses(&way)),
            Err(refusal) => (Err(refusal), Vec::new()),
        };
        Explanation {
            findings,
            outcome,
            addresses,
        }
    }
}

impl Explanation {
    /// What would be allowed, or why nothing would be.
    ///
    /// # Errors
    /// The refusal.
    pub fn outcome(&self) -> Result<&Allowed, &Refusal> {
        self.outcome.as_ref()
    }

    /// The addresses that would be used.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Whether a policy asked for a name and got no answer.
    #[must_use]
    pub fn lacks_a_name(&self) -> bool {
        self.findings.lack_a_name()
    }

    /// The line of the audit log.
    #[must_use]
    pub fn line(&self) -> Decided {
        self.findings.line(self.outcome.as_ref().err())
    }
}

/// Nothing is allowed that cannot be recorded.
#[must_use]
pub(crate) fn unrecorded() -> Refusal {
    Refusal::Exhausted {
        code: "audit",
        reason: "the gateway cannot write its audit log".to_owned(),
    }
}

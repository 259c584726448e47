//! Every request is judged, and every judgement recorded before it has an effect.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::visit::Full;
use super::{Desk, News, Visit};
use crate::audit::{Decided, Event};
use crate::judgement::{Judgement, Permit, Question};
use crate::request::{Action, Refusal};

impl Desk {
    /// Judges and records; an allow counts only once it is in the log. Users, policies, floors and limits are those of one
    /// moment.
    pub(super) async fn judge(&self, visit: &Visit, mut question: Question) -> Result<Permit, Refusal> {
        let id = question.id.clone();
        if !self.audit.takes_lines() {
            return Err(unrecorded());
        }
        if self.draining.load(Ordering::Relaxed) {
            let stopping = Judgement::exhausted(&question, "draining", "the gateway is stopping".to_owned());
            return self.publish(visit, &id, stopping).await;
        }
        let current = self.judge.current();
        match self.rights(visit, &current.accounts).await {
            Ok(rights) => question.asked_by(&rights),
            Err(refusal) => return self.publish(visit, &id, question.refused(refusal)).await,
        }
        let judgement = match question.action {
            // The session waits for this one.
            Action::Listen => self.judge.judge_within(&current, question, LISTEN_PATIENCE).await,
            _ => self.judge.judge_by(&current, question).await,
        };
        self.publish(visit, &id, judgement).await
    }

    pub(super) async fn exhausted(&self, visit: &Visit, question: &Question, full: Full) -> Result<Permit, Refusal> {
        let judgement = Judgement::exhausted(question, full.code(), full.to_string());
        self.publish(visit, &question.id, judgement).await
    }

    async fn publish(&self, visit: &Visit, id: &str, judgement: Judgement) -> Result<Permit, Refusal> {
        let Judgement { decided, outcome } = judgement;
        if let Err(refusal) = &outcome {
            log_refusal(id, &visit.user, &decided, refusal);
        }
        let subject = visit.subject.with_forward(id);
        visit.tell(|| News {
            decided: decided.clone(),
            sentence: outcome.as_ref().err().map(Refusal::sentence),
            forward: id.to_owned(),
        });
        let event = Event::ForwardDecided(Box::new(decided));
        if outcome.is_err() {
            self.audit.record(&subject, &event);
        } else if !self.audit.record_surely(&subject, &event).confirmed().await {
            return Err(unrecorded());
        }
        outcome
    }
}

fn log_refusal(forward: &str, user: &str, decided: &Decided, refusal: &Refusal) {
    let requested = decided.requested.to_string();
    let action = decided.action.as_str();
    let code = decided.code.as_deref().unwrap_or_default();
    match refusal {
        Refusal::Undecided { reason, .. } => {
            tracing::warn!(
                forward,
                user,
                action,
                requested,
                code,
                reason,
                "the policy failed to decide"
            );
        }
        _ => {
            let reason = decided.reason.as_deref().unwrap_or_default();
            tracing::info!(forward, user, action, requested, code, reason, "refused");
        }
    }
}

/// Nothing is allowed that cannot be recorded.
fn unrecorded() -> Refusal {
    Refusal::Exhausted {
        code: "audit",
        reason: "the gateway cannot write its audit log".to_owned(),
    }
}

/// A decision on a remote forward that takes longer is a refusal.
const LISTEN_PATIENCE: Duration = Duration::from_secs(2);

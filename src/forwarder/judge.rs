//! Every request is judged, and every judgement recorded before it has an effect.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::sleep;

use super::place::Full;
use super::quota::Counted;
use super::{Desk, News, Visit};
use crate::audit::{Decided, Event};
use crate::judgement::{Judgement, Permit, Question};
use crate::request::{Action, Refusal};

impl Desk {
    /// Judges and records; an allow counts only once it is in the log. Users, policies, floors and limits are those of one
    /// moment.
    pub(super) async fn judge(&self, visit: &Visit, question: Question) -> Result<Permit, Refusal> {
        let id = question.id.clone();
        let judgement = self.ask(visit, question).await?;
        self.publish(visit, &id, judgement).await
    }

    /// As [`Desk::judge`], for a connection that is to be made: with the permit comes a place among those that are made.
    pub(super) async fn judge_to_dial(&self, visit: &Visit, question: Question) -> Result<(Permit, Counted), Refusal> {
        let id = question.id.clone();
        let mut judgement = self.ask(visit, question).await?;
        let place = self.dial_place(visit);
        if let Err(full) = &place {
            judgement.refuse(full.refusal());
        }
        let permit = self.publish(visit, &id, judgement).await?;
        Ok((permit, place.map_err(Full::refusal)?))
    }

    async fn ask(&self, visit: &Visit, mut question: Question) -> Result<Judgement, Refusal> {
        if !self.audit.takes_lines() {
            return Err(unrecorded());
        }
        if self.draining.load(Ordering::Relaxed) {
            let reason = "the gateway is stopping".to_owned();
            return Ok(Judgement::exhausted(&question, "draining", reason));
        }
        let most = self.judge.current().limits.decisions_per_user_per_second;
        match visit.quota.next_decision(most) {
            None => {
                let full = Full::Decisions;
                return Ok(Judgement::exhausted(&question, full.code(), full.to_string()));
            }
            Some(Duration::ZERO) => {}
            Some(wait) => sleep(wait).await,
        }
        let current = self.judge.current();
        match self.rights(visit, &current.accounts).await {
            Ok(rights) => question.asked_by(&rights),
            Err(refusal) => return Ok(question.refused(refusal)),
        }
        Ok(match question.action {
            // The session waits for this one.
            Action::Listen => self.judge.judge_within(&current, question, LISTEN_PATIENCE).await,
            _ => self.judge.judge_by(&current, question).await,
        })
    }

    /// Refuses because of a limit that is reached before anything is asked, and records it.
    pub(super) async fn exhausted(&self, visit: &Visit, question: &Question, full: Full) -> Refusal {
        let judgement = Judgement::exhausted(question, full.code(), full.to_string());
        let refused = self.publish(visit, &question.id, judgement).await;
        refused.err().unwrap_or_else(|| full.refusal())
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
        Refusal::Undecided { reason, .. } | Refusal::Unanswered { reason, .. } => {
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

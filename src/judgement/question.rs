use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Permit, Verdicts};
use crate::accounts::Rights;
use crate::auth::ForwardLimits;
use crate::events::{Decided, NameAnswer};
use crate::policy::PolicyRef;
use crate::request::{
    Action, By, Connection, Endpoint, ForwardRequest, Principal, Refusal, Requested, SocketPath, VerdictWord,
};

/// What is asked, as it came from the client.
#[derive(Clone)]
pub struct Question {
    /// The audit log's `forward`.
    pub id: String,
    /// Connect, listen or accept.
    pub action: Action,
    /// As the client sent it.
    pub requested: Requested,
    /// For `accept`: the endpoint that listens.
    pub listener: Option<Endpoint>,
    /// The Unix socket that is connected to already, of a tunnel that is judged once more: its path may lead elsewhere by now.
    pub connected: Option<SocketPath>,
    /// The peer of an accepted connection, or what the client claims.
    pub originator: Option<SocketAddr>,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Over which connection.
    pub connection: Arc<Connection>,
    /// What the key or certificate permits.
    pub limits: Arc<ForwardLimits>,
    /// The verdict will not be acted on.
    pub dry_run: bool,
    /// `swap` or `recheck` where something open is judged once more.
    pub again: Option<&'static str>,
    /// Verdicts of the connection that may be used again.
    pub verdicts: Option<Arc<Verdicts>>,
}

/// What came of it.
pub struct Judgement {
    /// For the audit log.
    pub decided: Decided,
    /// The permit, or why there is none.
    pub outcome: Result<Permit, Refusal>,
}

impl Question {
    /// The same question about something that is open, of a user whose login gives `rights` now.
    pub(super) fn again(request: &ForwardRequest, rights: &Rights, why: &'static str) -> Self {
        let accepts = request.action == Action::Accept;
        Self {
            id: request.id.clone(),
            action: request.action,
            requested: request.requested.clone(),
            listener: accepts.then(|| request.target.clone()),
            connected: match (request.action, &request.target) {
                (Action::Connect, Endpoint::Socket(path)) => Some(path.clone()),
                _ => None,
            },
            originator: request.originator,
            principal: Arc::clone(&rights.principal),
            connection: Arc::clone(&request.connection),
            limits: Arc::clone(&rights.limits),
            dry_run: false,
            again: Some(why),
            verdicts: None,
        }
    }

    /// Of a user whose login gives `rights` now.
    pub fn asked_by(&mut self, rights: &Rights) {
        self.principal = Arc::clone(&rights.principal);
        self.limits = Arc::clone(&rights.limits);
    }

    /// A refusal because of what the user's login gives now, before anything else is judged.
    #[must_use]
    pub fn refused(&self, refusal: Refusal) -> Judgement {
        self.unanswered(refusal)
    }

    /// A refusal of a question that no policy has answered.
    pub(super) fn unanswered(&self, refusal: Refusal) -> Judgement {
        let outcome = Err(refusal);
        let mut decided = self.blank();
        note(&mut decided, &outcome);
        Judgement { decided, outcome }
    }

    /// The record of a question that nobody has answered.
    pub(super) fn blank(&self) -> Decided {
        Decided {
            action: self.action,
            requested: self.requested.clone(),
            target: None,
            effective: None,
            resolved: Vec::new(),
            names: BTreeMap::new(),
            originator: self.originator,
            asked: None,
            verdict: VerdictWord::Deny,
            code: None,
            reason: None,
            by: By::Policy,
            policy: None,
            micros: 0,
            terms: None,
            tags: BTreeMap::new(),
            again: self.again,
            repeated: None,
            told: None,
        }
    }
}

impl Judgement {
    /// A refusal that a limit of the gateway decided before anybody was asked.
    #[must_use]
    pub fn exhausted(question: &Question, code: &'static str, reason: String) -> Self {
        question.unanswered(Refusal::Exhausted { code, reason })
    }

    /// Refuses what was permitted, for a reason that came up after it was judged; what was refused stays so.
    pub fn refuse(&mut self, refusal: Refusal) {
        if self.outcome.is_ok() {
            self.outcome = Err(refusal);
            note(&mut self.decided, &self.outcome);
        }
    }

    /// Whether a policy asked for a name and got no answer.
    #[must_use]
    pub fn lacks_a_name(&self) -> bool {
        self.decided.names.values().any(NameAnswer::is_doubt)
    }

    /// The policy that decided, if it came to one.
    #[must_use]
    pub fn policy(&self) -> Option<&PolicyRef> {
        self.decided.policy.as_ref()
    }
}

/// Completes the record with how it came out.
pub(super) fn note(decided: &mut Decided, outcome: &Result<Permit, Refusal>) {
    match outcome {
        Ok(_) | Err(Refusal::Unreachable { .. }) => {}
        Err(Refusal::Denied { by, code, reason, .. }) => {
            decided.verdict = VerdictWord::Deny;
            decided.by = *by;
            decided.code = Some(code.clone());
            decided.reason = Some(reason.clone());
        }
        Err(Refusal::Undecided { code, reason }) => {
            decided.verdict = VerdictWord::Failed;
            decided.code = Some((*code).to_owned());
            decided.reason = Some(reason.clone());
        }
        Err(Refusal::Unanswered { reason, .. }) => {
            decided.verdict = VerdictWord::Failed;
            decided.code = Some("name-unanswered".to_owned());
            decided.reason = Some(reason.clone());
        }
        Err(Refusal::Exhausted { code, reason }) => {
            decided.verdict = VerdictWord::Deny;
            decided.by = By::Limit;
            decided.code = Some((*code).to_owned());
            decided.reason = Some(reason.clone());
        }
    }
    if outcome.is_err() && !matches!(outcome, Err(Refusal::Unreachable { .. })) {
        decided.terms = None;
    }
}

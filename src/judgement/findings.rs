//! What a judgement found out, step by step, and the line of the audit log that is made from it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::Direction;
use crate::events::{Decided, NameAnswer};
use crate::names::Lookups;
use crate::policy::PolicyRef;
use crate::request::{Action, By, Endpoint, Host, Outbound, Refusal, Requested, Terms, VerdictWord};

/// What was asked, and what was found out about it. What was not found out is absent.
pub(super) struct Findings {
    pub(super) action: Action,
    pub(super) requested: Requested,
    pub(super) originator: Option<SocketAddr>,
    /// `swap` or `recheck` where something open is judged again.
    pub(super) again: Option<&'static str>,
    /// The target that was judged.
    pub(super) target: Option<Endpoint>,
    /// What the policies said, once they were asked.
    pub(super) heard: Option<Heard>,
    /// The addresses that were judged.
    pub(super) resolved: Vec<IpAddr>,
    /// How the target is connected to, with the configured defaults.
    pub(super) outbound: Option<Outbound>,
}

/// What the policies said.
pub(super) struct Heard {
    /// What they took for the present.
    pub(super) asked: Timestamp,
    /// Which of them decided.
    pub(super) policy: Option<PolicyRef>,
    pub(super) took: Duration,
    /// What each of them took.
    pub(super) times: Vec<(Arc<str>, Duration)>,
    /// What they were told of names.
    pub(super) names: BTreeMap<String, NameAnswer>,
    /// What they allowed, if they did.
    pub(super) yes: Option<Yes>,
}

/// What the policies allowed.
pub(super) struct Yes {
    pub(super) terms: Terms,
    pub(super) tags: BTreeMap<String, String>,
    /// Where it is to go instead, and why.
    pub(super) rewritten: Option<(Endpoint, String)>,
}

impl Heard {
    /// Heard in so long a time, of which each policy took its part.
    pub(super) fn new(
        asked: Timestamp,
        policy: Option<PolicyRef>,
        (took, times): (Duration, Vec<(Arc<str>, Duration)>),
        lookups: &Lookups,
    ) -> Self {
        let answered = lookups.answered();
        Self {
            asked,
            policy,
            took,
            times,
            names: answered
                .map(|(name, answer)| (name.to_owned(), NameAnswer::from(answer.clone())))
                .collect(),
            yes: None,
        }
    }
}

impl Findings {
    /// Nothing is found out yet.
    pub(super) fn of<D: Direction>(asked: &D, again: Option<&'static str>) -> Self {
        Self {
            action: D::ACTION,
            requested: asked.requested().clone(),
            originator: asked.originator(),
            again,
            target: None,
            heard: None,
            resolved: Vec::new(),
            outbound: None,
        }
    }

    /// The host has these addresses, which are judged now.
    pub(super) fn resolve(&mut self, host: &Host, addresses: &[IpAddr]) {
        self.resolved = addresses.to_vec();
        // That answer is in the line once.
        if let (Host::Name(name), Some(heard)) = (host, &mut self.heard) {
            heard.names.remove(name.as_str());
        }
    }

    /// Where a rewritten path leads.
    pub(super) fn lead_to(&mut self, place: &Endpoint) {
        let yes = self.heard.as_mut().and_then(|heard| heard.yes.as_mut());
        if let Some((effective, _)) = yes.and_then(|yes| yes.rewritten.as_mut()) {
            effective.clone_from(place);
        }
    }

    /// Whether a policy asked for a name and got no answer.
    pub(super) fn lack_a_name(&self) -> bool {
        let heard = self.heard.as_ref();
        heard.is_some_and(|heard| heard.names.values().any(NameAnswer::is_doubt))
    }

    /// The line of the audit log, for this outcome.
    pub(super) fn line(&self, refusal: Option<&Refusal>) -> Decided {
        let heard = self.heard.as_ref();
        let yes = heard.and_then(|heard| heard.yes.as_ref());
        let rewritten = yes.and_then(|yes| yes.rewritten.as_ref());
        let word = match (yes, rewritten) {
            (_, Some(_)) => VerdictWord::Rewrite,
            (Some(_), None) => VerdictWord::Allow,
            (None, None) => VerdictWord::Deny,
        };
        let outcome = Outcome::of(refusal);
        let reason = outcome.reason.map(str::to_owned);
        Decided {
            action: self.action,
            requested: self.requested.clone(),
            target: self.target.clone(),
            effective: rewritten.map(|(to, _)| to.clone()),
            resolved: self.resolved.clone(),
            names: heard.map(|heard| heard.names.clone()).unwrap_or_default(),
            originator: self.originator,
            asked: heard.map(|heard| heard.asked),
            verdict: outcome.word.unwrap_or(word),
            code: outcome.code.map(str::to_owned),
            reason: reason.or_else(|| rewritten.map(|(_, reason)| reason.clone())),
            by: outcome.by,
            policy: heard.and_then(|heard| heard.policy.clone()),
            micros: heard.map_or(0, |heard| u64::try_from(heard.took.as_micros()).unwrap_or(u64::MAX)),
            // What is refused has no terms.
            terms: yes.filter(|_| outcome.word.is_none()).map(|yes| yes.terms.clone()),
            outbound: self
                .outbound
                .clone()
                .filter(|outbound| outcome.word.is_none() && !outbound.is_empty()),
            tags: yes.map(|yes| yes.tags.clone()).unwrap_or_default(),
            again: self.again,
            repeated: None,
            told: refusal.map(Refusal::sentence),
            times: heard.map(|heard| heard.times.clone()).unwrap_or_default(),
        }
    }
}

/// What a refusal says in the line, instead of the policies.
struct Outcome<'a> {
    /// None where it does not change what was decided.
    word: Option<VerdictWord>,
    by: By,
    code: Option<&'a str>,
    reason: Option<&'a str>,
}

impl<'a> Outcome<'a> {
    fn of(refusal: Option<&'a Refusal>) -> Self {
        let (word, by, code, reason) = match refusal {
            None | Some(Refusal::Unreachable { .. }) => {
                return Self {
                    word: None,
                    by: By::Policy,
                    code: None,
                    reason: None,
                };
            }
            Some(Refusal::Denied { by, code, reason, .. }) => (VerdictWord::Deny, *by, code.as_str(), reason),
            Some(Refusal::Undecided { code, reason }) => (VerdictWord::Failed, By::Policy, *code, reason),
            Some(Refusal::Unanswered { reason, .. }) => (VerdictWord::Failed, By::Policy, "name-unanswered", reason),
            Some(Refusal::Exhausted { code, reason }) => (VerdictWord::Deny, By::Limit, *code, reason),
        };
        Self {
            word: Some(word),
            by,
            code: Some(code),
            reason: Some(reason),
        }
    }
}

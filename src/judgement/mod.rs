//! The judgement on one request, from the switches to the addresses that may be dialled.
//!
//! The order, first refusal wins: `[forwarding]` switches, limits of the key or certificate, the policy
//! chain, then, after any rewrite, the floors, and for a connection every resolved address against the
//! verdict's address rules and the floors. Invariant: nothing is dialled, bound or delivered without a [`Permit`]
//! for that, and only this room makes one: of a question that a client asked ([`Question`]), and once the audit log has the line
//! ([`Judgement::record`]). What nobody asked is explained ([`Explanation`]), which permits nothing.

mod aside;
mod connect;
mod current;
mod deliver;
mod direction;
mod findings;
mod floors;
mod listen;
mod outcome;
mod permit;
mod question;
mod reuse;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;

pub(crate) use connect::{Connect, Dial, Through};
pub(crate) use current::{Concerns, Current};
pub(crate) use deliver::{Deliver, Listener};
pub(crate) use direction::Direction;
pub(crate) use floors::{House, OwnListeners};
pub(crate) use listen::{Bind, Listen};
pub(crate) use outcome::{Explanation, Judgement, unrecorded};
pub(crate) use permit::{Allowed, Permit};
pub(crate) use question::{Asked, Question, Supposed};
pub(crate) use reuse::Verdicts;

use aside::System;
use direction::Weighing;
use findings::{Findings, Heard, Yes};
use question::{Occasion, Sorted};
use reuse::PolicyAnswer;

use crate::accounts::Rights;
use crate::names::Lookups;
use crate::policy::{Opinion, Policies};
use crate::request::{By, Denial, Endpoint, ForwardRequest, Refusal, Unreached, Verdict};

/// Judges requests by the configuration and the policies in force.
pub struct Judge {
    current: ArcSwap<Current>,
    /// Where generations are made, and what they run on.
    policies: Arc<Policies>,
    system: System,
    witness: OnceLock<Box<dyn Witness>>,
}

/// Hears what policies answered to clients. It must not wait.
pub(crate) trait Witness: Send + Sync {
    /// This was asked, and that was the answer.
    fn hear(&self, request: &Arc<ForwardRequest>, opinion: &Opinion);
}

impl Judge {
    /// A judge by what is in force now.
    #[must_use]
    pub fn new(current: Current, policies: Arc<Policies>) -> Self {
        Self {
            current: ArcSwap::from_pointee(current),
            policies,
            system: System::new(),
            witness: OnceLock::new(),
        }
    }

    /// Whoever is to hear what policies answer; the first stays.
    pub(crate) fn heard_by(&self, witness: Box<dyn Witness>) {
        let _ = self.witness.set(witness);
    }

    /// Where its policies are made.
    #[must_use]
    pub fn policies(&self) -> &Arc<Policies> {
        &self.policies
    }

    /// What requests are judged by. A decision that began with it ends with it.
    #[must_use]
    pub fn current(&self) -> Arc<Current> {
        self.current.load_full()
    }

    /// Judges by this from now on, and returns what was in force before.
    pub fn put_in_force(&self, next: Current) -> Arc<Current> {
        let next = Arc::new(next);
        let before = self.current.swap(Arc::clone(&next));
        before.generation.give_way_to(&next.generation);
        before
    }

    /// Judges a request by what was in force when it came.
    pub async fn judge<D: Direction>(&self, current: &Arc<Current>, question: Question<D>) -> Judgement<D> {
        pin!(self.judged(current, question, Occasion::Asked)).await
    }

    /// Judges a request, and gives up after `patience`: that is a failure to decide.
    pub async fn judge_within<D: Direction>(
        &self,
        current: &Arc<Current>,
        question: Question<D>,
        patience: Duration,
    ) -> Judgement<D> {
        let late = question.clone();
        let judged = tokio::time::timeout(patience, self.judge(current, question)).await;
        judged.unwrap_or_else(|_| {
            let refusal = Refusal::Undecided {
                code: "deadline",
                reason: format!("no decision within {} ms", patience.as_millis()),
            };
            late.refused(&current.house, refusal)
        })
    }

    /// What would be decided now, if somebody asked.
    pub async fn explain(&self, supposed: Supposed) -> Explanation {
        let now = supposed.now;
        self.explained(&self.current(), supposed.into(), Occasion::Supposed(now))
            .await
    }

    /// Judges something that is open once more, as what its login gives now, and says why, to the policies and in the
    /// audit log. It stays as it is or ends, so this permits nothing.
    pub async fn judge_again(
        &self,
        current: &Arc<Current>,
        request: &ForwardRequest,
        rights: &Rights,
        why: &'static str,
    ) -> Explanation {
        let question = Question::again(request, rights);
        self.explained(current, question, Occasion::Again(why)).await
    }

    /// Whether the floors let this address be dialled.
    ///
    /// # Errors
    /// Why not.
    pub async fn may_dial(&self, house: &House, user: &str, target: SocketAddr) -> Result<(), Refusal> {
        connect::may_dial(house, target, self.system.aside(user)).await
    }

    async fn explained(&self, current: &Arc<Current>, question: Question<Asked>, occasion: Occasion) -> Explanation {
        match question.sorted() {
            Sorted::Connect(question) => self.judged(current, question, occasion).await.explained(),
            Sorted::Listen(question) => self.judged(current, question, occasion).await.explained(),
            Sorted::Deliver(question) => self.judged(current, question, occasion).await.explained(),
        }
    }

    async fn judged<D: Direction>(
        &self,
        current: &Arc<Current>,
        question: Question<D>,
        occasion: Occasion,
    ) -> Judgement<D> {
        let mut findings = Findings::of(&question.asked, occasion.again());
        let outcome = pin!(self.weigh(current, &question, occasion, &mut findings)).await;
        Judgement::new(question.subject(), findings, outcome)
    }

    /// The order of the judgement.
    async fn weigh<D: Direction>(
        &self,
        current: &Arc<Current>,
        question: &Question<D>,
        occasion: Occasion,
        findings: &mut Findings,
    ) -> Result<(Allowed, D::Way), Refusal> {
        let asked = &question.asked;
        let aside = self.system.aside(question.user());
        let endpoint = before_policy(question, &current.house).inspect_err(|_| {
            findings.target = question.target(&current.house);
        })?;
        let mut target = asked.target(endpoint, aside).await?;
        let endpoint = D::endpoint_of(&target);
        findings.target = Some(endpoint.clone());
        let request = Arc::new(question.request(endpoint, occasion));
        let opinion = pin!(self.opinion(current, &request, question.verdicts.as_deref())).await;
        if let (Occasion::Asked, Some(witness), false) = (occasion, self.witness.get(), opinion.times.is_empty()) {
            witness.hear(&request, &opinion);
        }
        let Opinion {
            verdict,
            policy,
            mut lookups,
            took,
            times,
        } = opinion;
        let heard = findings
            .heard
            .insert(Heard::new(request.now, policy, (took, times), &lookups));
        let (mut terms, rewritten) = match verdict {
            Ok(Verdict::Allow(terms)) => (terms, None),
            Ok(Verdict::Rewrite(redirect)) => (redirect.terms, Some((redirect.to, redirect.reason))),
            Ok(Verdict::Deny(denial)) => return Err(refused(denial, &lookups)),
            Err(failure) => {
                return Err(Refusal::Undecided {
                    code: failure.code(),
                    reason: failure.to_string(),
                });
            }
        };
        let tags = std::mem::take(&mut terms.tags);
        heard.yes = Some(Yes {
            tags: tags.clone(),
            terms: terms.clone(),
            rewritten: rewritten.clone(),
        });
        if let Some((to, _)) = rewritten {
            let followed = D::follow(to, aside).await;
            target = followed.map_err(|refusal| match occasion {
                // What a path leads to now says nothing about a connection that stands.
                Occasion::Again(_) => Refusal::Unreachable {
                    why: Unreached::Other,
                    reason: refusal.sentence(),
                },
                Occasion::Asked | Occasion::Supposed(_) => refusal,
            })?;
            let effective = D::endpoint_of(&target);
            findings.lead_to(&effective);
            current.house.switches_to(D::ACTION, &effective)?;
        }
        let effective = D::endpoint_of(&target);
        let weighing = Weighing {
            house: &current.house,
            routes: &current.routes,
            terms: &terms,
            lookups: &mut lookups,
            findings,
            aside,
        };
        let way = pin!(asked.way(target, weighing)).await?;
        let through = D::route(&way).map(|route| {
            terms.outbound.clone_from(&route.outbound);
            findings.outbound = Some(route.outbound.clone());
            route.through.as_ref().map(|through| Arc::clone(&through.proxy))
        });
        let allowed = Allowed {
            request,
            effective,
            terms,
            through: through.flatten(),
            judged_by: Arc::clone(current),
            limits: Arc::clone(&question.limits),
            policy: findings.heard.as_ref().and_then(|heard| heard.policy.clone()),
            tags,
        };
        Ok((allowed, way))
    }

    /// Asks the policies, or uses what they said of an equal request.
    async fn opinion(&self, current: &Current, request: &Arc<ForwardRequest>, verdicts: Option<&Verdicts>) -> Opinion {
        let generation = &current.generation;
        let user = &request.principal.user;
        let mut lookups = Lookups::of(current.names.clone(), user, current.limits.lookup_timeout);
        lookups.concern(&request.target);
        if let Some(kept) = verdicts.and_then(|verdicts| verdicts.find(request, generation)) {
            lookups.pin(kept.names);
            return Opinion {
                verdict: Ok(kept.verdict),
                policy: kept.policy,
                lookups,
                took: Duration::ZERO,
                times: Vec::new(),
            };
        }
        let opinion = generation.decide(Arc::clone(request), lookups).await;
        let reuse = match &opinion.verdict {
            Ok(Verdict::Allow(terms)) => terms.reuse_seconds,
            Ok(Verdict::Rewrite(redirect)) => redirect.terms.reuse_seconds,
            _ => None,
        };
        if let (Some(seconds), Some(verdicts), Ok(verdict)) = (reuse, verdicts, &opinion.verdict) {
            let answer = PolicyAnswer {
                verdict: verdict.clone(),
                policy: opinion.policy.clone(),
                names: opinion.lookups.pinned(),
            };
            verdicts.keep(request, generation, answer, seconds);
        }
        opinion
    }
}

/// A denial is one only if every name that it may rest on was answered.
fn refused(denial: Denial, lookups: &Lookups) -> Refusal {
    let Denial {
        code,
        reason,
        tell_user,
    } = denial;
    match lookups.unanswered() {
        None => Refusal::Denied {
            by: By::Policy,
            code,
            reason,
            tell_user,
        },
        Some((name, error)) => Refusal::Unanswered {
            name: format!("{name}: {error}"),
            reason: format!("refused ({code}: {reason}) without an answer for {name}: {error}"),
            tell_user,
        },
    }
}

/// Switches, key limits and the canonical form.
fn before_policy<D: Direction>(question: &Question<D>, house: &House) -> Result<Endpoint, Refusal> {
    let asked = &question.asked;
    house.switches(D::ACTION, asked.requested())?;
    asked.endpoint(&question.limits, house)
}

#[cfg(test)]
mod tests;

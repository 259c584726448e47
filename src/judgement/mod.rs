//! The judgement on one request, from the switches to the addresses that may be dialled.
//!
//! The order, first refusal wins: `[forwarding]` switches, limits of the key or certificate, the policy
//! chain, then, after any rewrite, the floors, and for a connection every resolved address against the
//! verdict's address rules and the floors. Invariant: nothing is dialled or bound without a [`Permit`],
//! and only this room makes one; it names the very addresses that were judged.

mod bind;
mod current;
mod floors;
mod permit;
mod question;
mod reuse;
mod socket;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;

pub use current::{Concerns, Current};
pub use floors::{House, OwnListeners};
pub use permit::{Permit, Way};
pub use question::{Judgement, Question};
pub use reuse::Verdicts;

use question::note;
use reuse::Answer;
use socket::{Follower, Led};

use crate::accounts::Rights;
use crate::events::{Decided, NameAnswer};
use crate::names::{Lookups, Resolver};
use crate::paths::Socket;
use crate::policy::{Opinion, Policies};
use crate::request::{
    self, Action, By, Denial, Endpoint, ForwardRequest, Host, Refusal, Requested, Terms, Verdict, VerdictWord,
};

/// Judges requests by the configuration and the policies in force.
pub struct Judge {
    current: ArcSwap<Current>,
    /// Where generations are made, and what they run on.
    policies: Arc<Policies>,
    resolver: Resolver,
    follower: Follower,
}

impl Judge {
    /// A judge by what is in force now.
    #[must_use]
    pub fn new(current: Current, policies: Arc<Policies>, resolver: Resolver) -> Self {
        Self {
            current: ArcSwap::from_pointee(current),
            policies,
            resolver,
            follower: Follower::new(),
        }
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

    /// Judges a request by what is in force.
    pub async fn judge(&self, question: Question) -> Judgement {
        self.judge_by(&self.current(), question).await
    }

    /// Judges a request by what is in force, as if it were asked at that moment.
    pub async fn judge_at(&self, question: Question, now: Timestamp) -> Judgement {
        self.judged(&self.current(), question, now).await
    }

    /// Judges a request by what was in force when it came.
    pub async fn judge_by(&self, current: &Arc<Current>, question: Question) -> Judgement {
        self.judged(current, question, Timestamp::now()).await
    }

    async fn judged(&self, current: &Arc<Current>, question: Question, now: Timestamp) -> Judgement {
        let mut decided = question.blank();
        let outcome = match self.led(&question, &current.house).await {
            Ok(led) => {
                decided.target = Some(led.target());
                self.ask(question, led, now, current, &mut decided).await
            }
            Err(refusal) => Err(refusal),
        };
        note(&mut decided, &outcome);
        Judgement { decided, outcome }
    }

    /// Judges a request, and gives up after `patience`: that is a failure to decide.
    pub async fn judge_within(&self, current: &Arc<Current>, question: Question, patience: Duration) -> Judgement {
        let late = question.clone();
        let judged = tokio::time::timeout(patience, self.judge_by(current, question)).await;
        judged.unwrap_or_else(|_| {
            let mut judgement = late.unanswered(Refusal::Undecided {
                code: "deadline",
                reason: format!("no decision within {} ms", patience.as_millis()),
            });
            judgement.decided.target = before_policy(&late, &current.house).ok();
            judgement
        })
    }

    /// Judges something that is open once more, as what its login gives now, and says why, to the policies and in the
    /// audit log.
    pub async fn judge_again(
        &self,
        current: &Arc<Current>,
        request: &ForwardRequest,
        rights: &Rights,
        why: &'static str,
    ) -> Judgement {
        self.judge_by(current, Question::again(request, rights, why)).await
    }

    /// The canonical target, and for a socket what its path leads to.
    async fn led(&self, question: &Question, house: &House) -> Result<Led, Refusal> {
        let target = before_policy(question, house)?;
        match (&question.connected, target) {
            (Some(path), Endpoint::Socket(_)) => Ok(Led::Socket(Socket::connected(path.clone()))),
            (_, target) => self.follower.follow(question.action, target).await,
        }
    }

    async fn ask(
        &self,
        question: Question,
        led: Led,
        now: Timestamp,
        current: &Arc<Current>,
        decided: &mut Decided,
    ) -> Result<Permit, Refusal> {
        let house = &*current.house;
        let limits = question.limits;
        let target = led.target();
        let again = question.again.is_some();
        let request = Arc::new(ForwardRequest {
            id: question.id,
            now,
            action: question.action,
            target: target.clone(),
            requested: question.requested,
            originator: question.originator,
            principal: question.principal,
            connection: question.connection,
            dry_run: question.dry_run,
            extra: question.again.map(request::again).into_iter().collect(),
        });
        let Opinion {
            verdict,
            policy,
            mut lookups,
            took,
        } = self.opinion(current, &request, question.verdicts.as_deref()).await;
        decided.micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        decided.policy = policy;
        decided.asked = Some(request.now);
        let answered = lookups.answered();
        decided.names = answered
            .map(|(name, answer)| (name.to_owned(), NameAnswer::from(answer.clone())))
            .collect();
        let (effective, mut terms) = match verdict {
            Ok(Verdict::Allow(terms)) => {
                decided.verdict = VerdictWord::Allow;
                (target, terms)
            }
            Ok(Verdict::Rewrite(redirect)) => {
                decided.verdict = VerdictWord::Rewrite;
                decided.effective = Some(redirect.to.clone());
                decided.reason = Some(redirect.reason);
                (redirect.to, redirect.terms)
            }
            Ok(Verdict::Deny(denial)) => {
                return Err(refused(denial, &lookups));
            }
            Err(failure) => {
                return Err(Refusal::Undecided {
                    code: failure.code(),
                    reason: failure.to_string(),
                });
            }
        };
        decided.tags = std::mem::take(&mut terms.tags);
        decided.terms = Some(terms.clone());
        let led = if decided.effective.is_some() {
            let led = self.follower.follow(request.action, effective).await;
            let led = led.map_err(|refusal| match again {
                // What a path leads to now says nothing about a connection that stands.
                true => Refusal::Unreachable {
                    reason: refusal.sentence(),
                },
                false => refusal,
            })?;
            decided.effective = Some(led.target());
            led
        } else {
            led
        };
        let effective = led.target();
        let way = match (request.action, led) {
            (Action::Accept, _) => Way::Deliver,
            (_, Led::Socket(socket)) => Way::Socket(socket),
            (_, Led::Place(place)) => Way::BindSocket(place),
            (Action::Connect, Led::Tcp { host, port }) => {
                Way::Dial(vet(house, &host, port, &terms, &mut lookups, decided).await?)
            }
            (Action::Listen, Led::Tcp { host, port }) => {
                house.listen(&host, port)?;
                Way::Bind(bind::addresses(&host, port, house, &mut lookups, decided).await?)
            }
            (_, Led::Accepted(_)) => {
                return Err(Refusal::Unreachable {
                    reason: "nothing was accepted".to_owned(),
                });
            }
        };
        let judged_by = Arc::clone(current);
        Ok(Permit::new(request, effective, terms, way, judged_by, limits))
    }

    /// Asks the policies, or uses what they said of an equal request.
    async fn opinion(&self, current: &Current, request: &Arc<ForwardRequest>, verdicts: Option<&Verdicts>) -> Opinion {
        let generation = &current.generation;
        let user = &request.principal.user;
        let mut lookups = Lookups::of(self.resolver.clone(), user, current.limits.lookup_timeout);
        lookups.concern(&request.target);
        if let Some(kept) = verdicts.and_then(|verdicts| verdicts.find(request, generation)) {
            lookups.pin(kept.names);
            return Opinion {
                verdict: Ok(kept.verdict),
                policy: kept.policy,
                lookups,
                took: Duration::ZERO,
            };
        }
        let opinion = generation.decide(Arc::clone(request), lookups).await;
        let reuse = match &opinion.verdict {
            Ok(Verdict::Allow(terms)) => terms.reuse_seconds,
            Ok(Verdict::Rewrite(redirect)) => redirect.terms.reuse_seconds,
            _ => None,
        };
        if let (Some(seconds), Some(verdicts), Ok(verdict)) = (reuse, verdicts, &opinion.verdict) {
            let answer = Answer {
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
fn before_policy(question: &Question, house: &House) -> Result<Endpoint, Refusal> {
    house.switches(question.action, &question.requested)?;
    if let Some(listener) = &question.listener {
        return Ok(listener.clone());
    }
    let malformed = |error: crate::request::EndpointError| Refusal::told(By::Floor, "bad-endpoint", error.to_string());
    let limits = &question.limits;
    let limited = |limited: crate::auth::Limited| Refusal::told(By::Key, limited.code, limited.reason);
    match (question.action, &question.requested) {
        (Action::Listen, Requested::Tcp { host, port }) => {
            let narrow = narrow(*port).map_err(malformed)?;
            limits.listen_tcp(host, narrow).map_err(limited)?;
            bind::target(host, narrow, house.gateway_ports()).map_err(malformed)
        }
        (_, Requested::Tcp { host, port }) => {
            limits
                .connect_tcp(host, narrow(*port).map_err(malformed)?)
                .map_err(limited)?;
            Endpoint::to_connect(host, *port).map_err(malformed)
        }
        (Action::Listen, Requested::Socket(path)) => {
            limits.listen_socket().map_err(limited)?;
            Endpoint::socket(path).map_err(malformed)
        }
        (_, Requested::Socket(path)) => {
            limits.connect_socket(path).map_err(limited)?;
            Endpoint::socket(path).map_err(malformed)
        }
    }
}

fn narrow(port: u32) -> Result<u16, crate::request::EndpointError> {
    u16::try_from(port).map_err(|_| crate::request::EndpointError::Port(port))
}

/// Every address of the host is judged; those that nobody refuses may be dialled.
async fn vet(
    house: &House,
    host: &Host,
    port: u16,
    terms: &Terms,
    lookups: &mut Lookups,
    decided: &mut Decided,
) -> Result<Vec<SocketAddr>, Refusal> {
    let found = lookups.settle(host).await.map_err(|error| Refusal::Unreachable {
        reason: format!("{host}: {error}"),
    })?;
    decided.resolved.clone_from(&found);
    // That answer is in the line once.
    if let Host::Name(name) = host {
        decided.names.remove(name.as_str());
    }
    let mut first = None;
    let permitted = found
        .into_iter()
        .filter_map(|address| {
            judge_address(house, address, port, terms)
                .map_err(|refusal| first.get_or_insert(refusal).clone())
                .ok()
        })
        .collect();
    match first {
        Some(refusal) if Vec::is_empty(&permitted) => Err(refusal),
        _ => Ok(permitted),
    }
}

fn judge_address(house: &House, address: IpAddr, port: u16, terms: &Terms) -> Result<SocketAddr, Refusal> {
    if !terms.address_rules.permit(address) {
        let reason = format!("the policy's address rules refuse {address}");
        return Err(Refusal::denied(By::Policy, "address-rule", reason));
    }
    let target = SocketAddr::new(address, port);
    house.dial(target)?;
    Ok(target)
}

#[cfg(test)]
mod names_tests;

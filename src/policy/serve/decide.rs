//! Asks a whole chain of policies for a decision.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::poll;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::generation::Generation;
use crate::names::Lookups;
use crate::policy::load::Loaded;
use crate::policy::sandbox::Turn;
use crate::policy::{Failure, PolicyRef};
use crate::request::{ForwardRequest, Redirect, Terms, Verdict};

/// What the chain answered.
pub struct Opinion {
    /// The verdict of the whole chain, or why there is none.
    pub verdict: Result<Verdict, Failure>,
    /// Which policy refused, failed or rewrote, or else the last that allowed.
    pub policy: Option<PolicyRef>,
    /// The names that were looked up on the way: only these answers may be dialled.
    pub lookups: Lookups,
    /// How long it took, with the wait for a place.
    pub took: Duration,
    /// How long each policy took that was asked, by its configured name, in order, without the wait for a place.
    pub times: Vec<(Arc<str>, Duration)>,
}

impl Opinion {
    /// What the gateway makes of the verdict, where nobody has to be told: a denial is one only if every name that it may rest on
    /// was answered.
    ///
    /// # Errors
    /// Why there is none.
    pub fn counted(&self) -> Result<Verdict, Failure> {
        match (&self.verdict, self.lookups.unanswered()) {
            (Ok(Verdict::Deny(denial)), Some((name, error))) => Err(Failure::Unanswered {
                name: format!("{name}: {error}"),
                code: denial.code.clone(),
                reason: denial.reason.clone(),
            }),
            (verdict, _) => verdict.clone(),
        }
    }
}

impl Generation {
    /// Asks the chain: the first refusal wins, a rewrite is the next one's target.
    ///
    /// The first turn of the guests runs on the calling thread, because most decisions are over
    /// before it ends. A decision that takes longer, or waits for a name, continues elsewhere, so
    /// that it delays no other one here.
    pub async fn decide(self: &Arc<Self>, request: Arc<ForwardRequest>, lookups: Lookups) -> Opinion {
        let began = Instant::now();
        let resolver = lookups.resolver();
        let outer = self.deadline * 4 + self.host_patience(&lookups);
        let asked = Box::pin(Arc::clone(self).ask_within(outer, request, lookups));
        let done = match first_turn(asked).await {
            Ok(done) => done,
            Err(unfinished) => {
                let elsewhere = AbortOnDropHandle::new(self.spare.spawn(unfinished));
                elsewhere.await.ok().flatten()
            }
        }
        .unwrap_or_else(|| Asked::failed(Failure::Deadline, Lookups::new(resolver)));
        Opinion {
            verdict: done.verdict,
            policy: done.policy,
            lookups: done.lookups,
            took: began.elapsed(),
            times: done.times,
        }
    }

    /// How long the host may keep a decision waiting. Only names and state on another machine may; a guest that merely sleeps is
    /// cut short.
    fn host_patience(&self, lookups: &Lookups) -> Duration {
        let names = self.chain.iter().any(|loaded| !loaded.names_refused);
        let state = self.remembers_elsewhere();
        let with = |asks: bool, waits: Duration| if asks { waits } else { Duration::ZERO };
        // Each policy of the chain may wait for its state as long as it may compute.
        let policies = u32::try_from(self.chain.len()).unwrap_or(u32::MAX);
        let waits = with(names, lookups.patience()) + with(state, self.deadline.saturating_mul(policies));
        match names || state {
            true => waits + HOST_PATIENCE,
            false => Duration::from_millis(100),
        }
    }

    /// Asks the chain once there is a place for it; none where it does not end in time.
    async fn ask_within(
        self: Arc<Self>,
        outer: Duration,
        request: Arc<ForwardRequest>,
        lookups: Lookups,
    ) -> Option<Asked> {
        match self.places.enter(&request.principal.user, &self.loader.sandbox).await {
            Ok(turn) => {
                let (at, user) = (AtomicUsize::new(0), Arc::clone(&request));
                // Pinned where it is made, here and below: what is awaited is moved first, and has its place twice. Of a
                // decision's futures each holds the next, so they were ten times as large.
                let asked = pin!(self.ask_chain(request, lookups, Some(turn), &at));
                let asked = timeout(outer, asked).await;
                if asked.is_err()
                    && let Some(loaded) = self.chain.get(at.load(Ordering::Relaxed))
                {
                    self.count(loaded, &user, &Err(Failure::Deadline));
                }
                asked.ok()
            }
            Err(failure) => Some(Asked::failed(failure, lookups)),
        }
    }

    /// Requests that nobody waits for are not counted, nor are those whose asker has gone.
    fn count(&self, loaded: &Loaded, request: &ForwardRequest, verdict: &Result<Verdict, Failure>) {
        if self.counts {
            loaded.counts.count(&request.principal.user, verdict);
        }
    }

    /// `at` says which policy is asked at the moment.
    async fn ask_chain(
        &self,
        request: Arc<ForwardRequest>,
        mut lookups: Lookups,
        mut turn: Option<Turn>,
        at: &AtomicUsize,
    ) -> Asked {
        let mut request = request;
        let mut terms: Option<Terms> = None;
        let mut rewritten: Option<(Redirect, PolicyRef)> = None;
        let mut last = None;
        let mut times = Vec::with_capacity(self.chain.len());
        for (index, loaded) in self.chain.iter().enumerate() {
            at.store(index, Ordering::Relaxed);
            let began = Instant::now();
            let verdict;
            (verdict, lookups, turn) = {
                let (sandbox, with) = (&self.loader.sandbox, (lookups, turn));
                let asked = pin!(loaded.decide(sandbox, &self.facts, &request, with, self.deadline));
                asked.await
            };
            let verdict = without_contradiction(terms.as_ref(), verdict);
            self.count(loaded, &request, &verdict);
            times.push((Arc::clone(&loaded.label.0), began.elapsed()));
            last = Some(loaded.reference.clone());
            match verdict {
                Ok(Verdict::Allow(given)) => terms = Some(tightened(terms, given)),
                Ok(Verdict::Rewrite(mut redirect)) => {
                    terms = Some(tightened(terms, std::mem::take(&mut redirect.terms)));
                    lookups.concern(&redirect.to);
                    Arc::make_mut(&mut request).target = redirect.to.clone();
                    rewritten = Some((redirect, loaded.reference.clone()));
                }
                refusal => {
                    return Asked {
                        verdict: refusal,
                        policy: last,
                        lookups,
                        times,
                    };
                }
            }
        }
        let terms = terms.unwrap_or_default();
        let (verdict, policy) = match (rewritten, last) {
            (Some((redirect, policy)), _) => (Ok(Verdict::Rewrite(Redirect { terms, ..redirect })), Some(policy)),
            (None, Some(policy)) => (Ok(Verdict::Allow(terms)), Some(policy)),
            (None, None) => (Err(Failure::Host("no policy is loaded".to_owned())), None),
        };
        Asked {
            verdict,
            policy,
            lookups,
            times,
        }
    }
}

/// The first policy's terms are what later ones tighten; before it there are none, not those that set nothing.
fn tightened(terms: Option<Terms>, given: Terms) -> Terms {
    match terms {
        Some(terms) => terms.tightened_by(given),
        None => given,
    }
}

/// A verdict whose obligations contradict those of an earlier policy is none: both cannot be kept.
fn without_contradiction(terms: Option<&Terms>, verdict: Result<Verdict, Failure>) -> Result<Verdict, Failure> {
    let given = match &verdict {
        Ok(Verdict::Allow(given)) => given,
        Ok(Verdict::Rewrite(redirect)) => &redirect.terms,
        Ok(Verdict::Deny(_)) | Err(_) => return verdict,
    };
    match terms.and_then(|terms| terms.outbound.contradicts(&given.outbound)) {
        Some(name) => Err(Failure::BadObligation(
            name.to_owned(),
            "contradicts that of an earlier policy in the chain".to_owned(),
        )),
        None => verdict,
    }
}

/// What became of asking the chain, as in [`Opinion`].
struct Asked {
    verdict: Result<Verdict, Failure>,
    policy: Option<PolicyRef>,
    lookups: Lookups,
    times: Vec<(Arc<str>, Duration)>,
}

impl Asked {
    /// No policy came to an answer.
    fn failed(failure: Failure, lookups: Lookups) -> Self {
        Self {
            verdict: Err(failure),
            policy: None,
            lookups,
            times: Vec::new(),
        }
    }
}

/// Polls once; gives the future back where it has not finished.
async fn first_turn<F: Future + Unpin>(mut future: F) -> Result<F::Output, F> {
    let polled = poll!(pin!(&mut future));
    match polled {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(future),
    }
}

/// What the host may take over all calls of one decision beside the waiting itself: the wait for the next turn after each.
const HOST_PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn obliging(json: &str) -> Terms {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn policies_of_a_chain_must_not_contradict_each_other() {
        #[rustfmt::skip]
        let table = [
            (r#"{"via":"office"}"#, r#"{"via":"office","mark":7}"#,   Some(r#"{"mark":7,"via":"office"}"#)),
            (r#"{"mark":7}"#,       r#"{"dscp":"ef"}"#,               Some(r#"{"mark":7,"dscp":"ef"}"#)),
            (r#"{"via":"office"}"#, r#"{"via":"other"}"#,             None),
            (r#"{"via":"office"}"#, r#"{"via":"direct"}"#,            None),
        ];
        for (earlier, later, together) in table {
            let (earlier, later) = (obliging(earlier), obliging(later));
            let verdict = without_contradiction(Some(&earlier), Ok(Verdict::Allow(later)));
            match (verdict, together) {
                (Ok(Verdict::Allow(later)), Some(together)) => {
                    let terms = tightened(Some(earlier), later);
                    assert_eq!(serde_json::to_string(&terms).unwrap(), together);
                }
                (Err(failure), None) => assert_eq!(failure.code(), "bad-obligation"),
                (verdict, together) => panic!("{verdict:?} {together:?}"),
            }
        }
    }
}

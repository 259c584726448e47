//! Asks a whole chain of policies for a decision.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::poll;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::generation::Generation;
use crate::names::Lookups;
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
        // Only names may keep a decision waiting; a guest that merely sleeps is cut short.
        let asks_names = self.chain.iter().any(|loaded| !loaded.names_refused);
        let outer = self.deadline * 4
            + if asks_names {
                lookups.patience() + HOST_PATIENCE
            } else {
                Duration::from_millis(100)
            };
        let asked = Box::pin(Arc::clone(self).ask_within(outer, request, lookups));
        let (verdict, policy, lookups) = match first_turn(asked).await {
            Ok(done) => done,
            Err(unfinished) => {
                let elsewhere = AbortOnDropHandle::new(self.spare.spawn(unfinished));
                elsewhere.await.ok().flatten()
            }
        }
        .unwrap_or_else(|| (Err(Failure::Deadline), None, Lookups::new(resolver)));
        Opinion {
            verdict,
            policy,
            lookups,
            took: began.elapsed(),
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
            Ok(turn) => timeout(outer, self.ask_chain(request, lookups, Some(turn))).await.ok(),
            Err(failure) => Some((Err(failure), None, lookups)),
        }
    }

    async fn ask_chain(&self, request: Arc<ForwardRequest>, mut lookups: Lookups, mut turn: Option<Turn>) -> Asked {
        let mut request = request;
        let mut terms: Option<Terms> = None;
        let mut rewritten: Option<(Redirect, PolicyRef)> = None;
        let mut last = None;
        for loaded in &self.chain {
            let asked = loaded.decide(
                &self.loader.sandbox,
                &self.facts,
                &request,
                (lookups, turn),
                self.deadline,
            );
            let verdict;
            (verdict, lookups, turn) = asked.await;
            last = Some(loaded.reference.clone());
            match verdict {
                Ok(Verdict::Allow(given)) => terms = Some(tightened(terms, given)),
                Ok(Verdict::Rewrite(mut redirect)) => {
                    terms = Some(tightened(terms, std::mem::take(&mut redirect.terms)));
                    lookups.concern(&redirect.to);
                    Arc::make_mut(&mut request).target = redirect.to.clone();
                    rewritten = Some((redirect, loaded.reference.clone()));
                }
                refusal => return (refusal, last, lookups),
            }
        }
        let terms = terms.unwrap_or_default();
        match (rewritten, last) {
            (Some((redirect, policy)), _) => (
                Ok(Verdict::Rewrite(Redirect { terms, ..redirect })),
                Some(policy),
                lookups,
            ),
            (None, Some(policy)) => (Ok(Verdict::Allow(terms)), Some(policy), lookups),
            (None, None) => (Err(Failure::Host("no policy is loaded".to_owned())), None, lookups),
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

type Asked = (Result<Verdict, Failure>, Option<PolicyRef>, Lookups);

/// Polls once; gives the future back where it has not finished.
async fn first_turn<F: Future + Unpin>(mut future: F) -> Result<F::Output, F> {
    let polled = poll!(pin!(&mut future));
    match polled {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(future),
    }
}

/// What the host may take over all calls of one decision beside the look-ups themselves: the wait for the next turn after each.
const HOST_PATIENCE: Duration = Duration::from_secs(2);

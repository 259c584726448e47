//! What is open is judged again: after a swap, and as often as its terms say.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::Desk;
use super::listen::effective_listener;
use super::renew::{NoRights, concerns};
use crate::audit::{Cause, Event, Subject};
use crate::config::OnSwap;
use crate::judgement::{Current, Judgement, Permit};
use crate::registry::Forward;
use crate::request::{Endpoint, Refusal};

impl Desk {
    /// Judges these again.
    pub(super) async fn reconsider_these(&self, open: Vec<Arc<Forward>>) {
        let spare = &AtomicUsize::new(SPARE);
        let again = async |forward: Arc<Forward>| self.reconsider(&forward, "swap", spare).await;
        // Some wait for a name, or for a policy that never decides.
        stream::iter(open).for_each_concurrent(AT_ONCE, again).await;
    }

    /// Judges one open tunnel or listener again. What cannot be decided is refused, but not because of one moment in which
    /// the machine had no time: nobody waits for this answer. With `spare` the patience of all ends, since a policy that
    /// never decides in time must not keep everything open meanwhile.
    async fn reconsider(&self, forward: &Forward, why: &'static str, spare: &AtomicUsize) {
        let mut outcome = self.judge_once_more(forward, why).await;
        for _ in 1..ATTEMPTS {
            let late = outcome.as_ref().is_err_and(Refusal::came_too_late);
            let take_one = || spare.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spare| spare.checked_sub(1));
            if !late || forward.stop.cause().is_some() || take_one().is_err() {
                break;
            }
            outcome = self.judge_once_more(forward, why).await;
        }
        let keeps = match &outcome {
            Ok(permit) => {
                let house = &permit.judged_by().house;
                let address = forward
                    .dialled
                    .is_none_or(|dialled| permit.terms().address_rules.permit(dialled.ip()) && house.may_dial(dialled));
                address && same_place(permit.effective(), forward)
            }
            // A name that does not resolve any more says nothing about a connection that stands.
            Err(Refusal::Unreachable { .. }) => true,
            Err(_) => false,
        };
        if !keeps {
            forward.stop.end(Cause::Revoked);
        }
    }

    /// Asks again about something open, as often as its terms say, until that ends it. Whoever
    /// carries it notices the end by itself, so this never answers first.
    pub(super) async fn recheck(&self, judged_by: Arc<Current>, forward: &Forward) -> Cause {
        self.catch_up(judged_by, forward).await;
        let Some(seconds) = forward.terms.recheck_seconds else {
            return std::future::pending().await;
        };
        let pause = Duration::from_secs(u64::from(seconds.max(1)));
        while forward.stop.cause().is_none() {
            tokio::time::sleep(pause).await;
            self.reconsider_alone(forward, "recheck").await;
        }
        std::future::pending().await
    }

    /// What was decided by policies that were replaced meanwhile, or for a login that gives something else now, is judged
    /// again.
    async fn catch_up(&self, judged_by: Arc<Current>, forward: &Forward) {
        let current = self.judge.current();
        let concerned = current.on_swap == OnSwap::Reevaluate
            && (concerns(&current, &judged_by, forward) || is_of_another_login(forward));
        drop((judged_by, current));
        if concerned {
            self.reconsider_alone(forward, "swap").await;
        }
    }

    /// In a box, since whatever is open waits for this all the time and does it now and then.
    async fn reconsider_alone(&self, forward: &Forward, why: &'static str) {
        Box::pin(async { self.reconsider(forward, why, &AtomicUsize::new(SPARE)).await }).await;
    }

    async fn judge_once_more(&self, forward: &Forward, why: &'static str) -> Result<Permit, Refusal> {
        let current = self.judge.current();
        let asked = self.rights_of(&forward.standing, &forward.request.connection, &current.accounts);
        let rights = match asked.await {
            Ok(rights) => rights,
            // The session ends with its user's right to log in, and needs no line for each of its tunnels.
            Err(gone @ NoRights::Gone(_)) => return Err(gone.into_refusal()),
            Err(NoRights::Unsure(_)) => forward.standing.rights(),
        };
        let judged = self.judge.judge_again(&current, &forward.request, &rights, why);
        let Judgement { decided, outcome } = judged.await;
        let event = Event::ForwardDecided(Box::new(decided));
        self.audit.record(&Subject::of(&forward.request), &event);
        outcome
    }
}

/// Whether the login gave something else when this was judged.
fn is_of_another_login(forward: &Forward) -> bool {
    let rights = forward.standing.rights();
    !Arc::ptr_eq(&rights.principal, &forward.request.principal) || !Arc::ptr_eq(&rights.limits, &forward.limits)
}

/// A listener that was to have any port has one now.
fn same_place(effective: &Endpoint, forward: &Forward) -> bool {
    let effective = match (effective, &forward.effective) {
        (Endpoint::Tcp { port: 0, .. }, Endpoint::Tcp { port, .. }) => effective_listener(effective, Some(*port)),
        _ => effective.clone(),
    };
    effective == forward.effective
}

/// How many are judged at once after a swap: of the decisions that a policy takes at once, few.
const AT_ONCE: usize = 16;
/// How often something open is judged where the time is not enough, before it is closed.
const ATTEMPTS: usize = 3;
/// How many further attempts there are for all that a swap judges.
const SPARE: usize = 16;

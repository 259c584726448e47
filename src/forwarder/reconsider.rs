//! What is open is judged again: after a swap, and as often as its terms say.
//!
//! A refusal closes it. A failure to decide says nothing about it, so it stays open and is asked about again after a pause,
//! unless `policy.on-doubt` says that doubt closes.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::listen::effective_listener;
use super::renew::{NoRights, concerns};
use crate::accounts::Rights;
use crate::config::{OnDoubt, OnSwap};
use crate::events::{Decided, Event, Events, Subject};
use crate::judgement::{Allowed, Current, Explanation, Judge};
use crate::request::{Cause, Endpoint, Refusal};
use crate::sessions::{Forward, Sessions};

/// What came of asking about something open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// It may go on as it is.
    Holds,
    /// It may not.
    Refused,
    /// Nothing was decided. What had too little time may come in time at the next attempt.
    Doubtful { came_too_late: bool },
}

/// What other policies would do to what is open.
pub(crate) struct Closing {
    /// So much would be closed.
    pub closed: u64,
    /// Of so much that was judged in time.
    pub judged: u64,
    /// Of so much that is open.
    pub open: u64,
}

impl Finding {
    fn ends(self, on_doubt: OnDoubt) -> bool {
        match self {
            Finding::Holds => false,
            Finding::Refused => true,
            Finding::Doubtful { .. } => on_doubt == OnDoubt::Close,
        }
    }
}

/// Judges again what is open, and asks again what logins give. Clones are one.
#[derive(Clone)]
pub(crate) struct Review {
    pub(super) judge: Arc<Judge>,
    pub(super) events: Events,
    pub(super) sessions: Sessions,
}

impl Review {
    pub(super) fn new(judge: &Arc<Judge>, events: &Events, sessions: &Sessions) -> Self {
        Self {
            judge: Arc::clone(judge),
            events: events.clone(),
            sessions: sessions.clone(),
        }
    }

    /// Judges these again.
    pub(super) async fn reconsider_these(&self, open: Vec<Arc<Forward>>) {
        let spare = &AtomicUsize::new(SPARE);
        let mut by_user = HashMap::<_, Vec<_>>::new();
        for forward in open {
            let user = forward.request.principal.user.clone();
            by_user.entry(user).or_default().push(forward);
        }
        // Some wait for a name, or for a policy that never decides: that holds up the rest of the same user only.
        let of_user = async |open: Vec<Arc<Forward>>| self.reconsider_of_user(open, spare).await;
        let users = stream::iter(by_user.into_values());
        users.for_each_concurrent(None, of_user).await;
    }

    async fn reconsider_of_user(&self, open: Vec<Arc<Forward>>, spare: &AtomicUsize) {
        let again = async |forward: Arc<Forward>| {
            if let Finding::Doubtful { .. } = self.reconsider(&forward, "swap", spare).await {
                forward.doubt.notify_one();
            }
        };
        stream::iter(open).for_each_concurrent(AT_ONCE, again).await;
    }

    /// Judges one open tunnel or listener again, and ends it if that is refused.
    ///
    /// Where doubt closes, it does not because of one moment in which the machine had no time: there are a few attempts. With
    /// `spare` the patience of all ends, since a policy that never decides in time must not keep everything open meanwhile.
    async fn reconsider(&self, forward: &Forward, why: &'static str, spare: &AtomicUsize) -> Finding {
        let mut standing = self.judge_once_more(forward, why).await;
        let closes = self.judge.current().on_doubt == OnDoubt::Close;
        for _ in 1..ATTEMPTS {
            let late = standing == Finding::Doubtful { came_too_late: true };
            let take_one = || spare.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |spare| spare.checked_sub(1));
            if !(closes && late) || forward.stop.cause().is_some() || take_one().is_err() {
                break;
            }
            standing = self.judge_once_more(forward, why).await;
        }
        if standing.ends(self.judge.current().on_doubt) {
            let why = "the policies in force now do not permit it";
            self.events.followers().say_closed(&forward.request, why);
            forward.stop.end(Cause::Revoked);
        }
        standing
    }

    /// Asks again about something open: as often as its terms say, and after a pause that grows while
    /// nothing is decided, until that ends it. Whoever carries it notices the end by itself, so this
    /// never answers first.
    pub(super) async fn recheck(&self, judged_by: Arc<Current>, forward: &Forward) -> Cause {
        let every = forward.terms.recheck_seconds;
        let every = every.map(|seconds| Duration::from_secs(u64::from(seconds.max(1))));
        let mut doubts = self.catch_up(judged_by, forward).await;
        let mut why = "swap";
        while forward.stop.cause().is_none() {
            tokio::select! {
                () = rest(pause(doubts, every)) => {}
                () = forward.doubt.notified() => {
                    (doubts, why) = (doubts.max(1), "swap");
                    continue;
                }
            }
            if doubts == 0 {
                why = "recheck";
            }
            doubts = self.reconsider_alone(forward, why, doubts).await;
        }
        std::future::pending().await
    }

    /// What was decided by policies that were replaced meanwhile, or for a login that gives something else now, is judged
    /// again.
    async fn catch_up(&self, judged_by: Arc<Current>, forward: &Forward) -> u32 {
        let current = self.judge.current();
        let concerned = current.on_swap == OnSwap::Reevaluate
            && (concerns(&current, &judged_by, forward) || is_of_another_login(forward));
        drop((judged_by, current));
        match concerned {
            true => self.reconsider_alone(forward, "swap", 0).await,
            false => 0,
        }
    }

    /// How often in a row nothing was decided by now. In a box, since whatever is open waits for this
    /// all the time and does it now and then.
    async fn reconsider_alone(&self, forward: &Forward, why: &'static str, doubts: u32) -> u32 {
        let asked = Box::pin(async { self.reconsider(forward, why, &AtomicUsize::new(SPARE)).await });
        match asked.await {
            Finding::Doubtful { .. } => doubts.saturating_add(1),
            Finding::Holds | Finding::Refused => 0,
        }
    }

    /// How much of what is open this would close. Nothing is closed, nothing is recorded, and what is not judged by `until`
    /// is not judged.
    pub(crate) async fn would_close(&self, supposed: &Arc<Current>, until: Instant) -> Closing {
        let forwards = self.sessions.forwards();
        let open = forwards.len() as u64;
        let mut closing = Closing {
            closed: 0,
            judged: 0,
            open,
        };
        if supposed.on_swap == OnSwap::Keep {
            closing.judged = open;
            return closing;
        }
        let mut spare = SPARE;
        for forward in &forwards {
            if Instant::now() > until {
                break;
            }
            let rights = forward.session.standing.rights();
            let mut attempts = 1..ATTEMPTS;
            let ends = loop {
                let (finding, _) = self.find(supposed, forward, &rights, "swap").await;
                let late = finding == Finding::Doubtful { came_too_late: true };
                let closes = finding.ends(supposed.on_doubt);
                if !(closes && late && spare > 0 && attempts.next().is_some()) {
                    break closes;
                }
                spare -= 1;
            };
            closing.judged += 1;
            closing.closed += u64::from(ends);
        }
        closing
    }

    async fn judge_once_more(&self, forward: &Forward, why: &'static str) -> Finding {
        let current = self.judge.current();
        let asked = self.rights_of(
            &forward.session.standing,
            &forward.request.connection,
            &current.accounts,
        );
        let rights = match asked.await {
            Ok(rights) => rights,
            // The session ends with its user's right to log in, and needs no line for each of its tunnels.
            Err(NoRights::Gone(_)) => return Finding::Refused,
            Err(NoRights::Unsure(_)) => forward.session.standing.rights(),
        };
        let (finding, line) = self.find(&current, forward, &rights, why).await;
        let event = Event::ForwardDecided(Box::new(line));
        self.events.emit(&Subject::of(&forward.request), &event);
        finding
    }

    /// What comes of asking by `current`, and the line for the log.
    async fn find(
        &self,
        current: &Arc<Current>,
        forward: &Forward,
        rights: &Rights,
        why: &'static str,
    ) -> (Finding, Decided) {
        let judged = self.judge.judge_again(current, &forward.request, rights, why);
        let explanation = judged.await;
        (self.finding(&explanation, forward).await, explanation.line())
    }

    async fn finding(&self, explanation: &Explanation, forward: &Forward) -> Finding {
        let refusal = match explanation.outcome() {
            Ok(allowed) => match self.leaves_alone(allowed, forward).await {
                Ok(true) => return Finding::Holds,
                // It may lead elsewhere only because a name was not answered.
                Ok(false) if explanation.lacks_a_name() => return Finding::Doubtful { came_too_late: true },
                Ok(false) => return Finding::Refused,
                Err(doubt) => doubt,
            },
            Err(refusal) => refusal.clone(),
        };
        match refusal {
            // A name that does not resolve any more says nothing about a connection that stands.
            Refusal::Unreachable { .. } => Finding::Holds,
            refusal if refusal.is_doubt() => Finding::Doubtful {
                came_too_late: refusal.came_too_late(),
            },
            _ => Finding::Refused,
        }
    }

    /// Whether what is allowed now is what is open.
    async fn leaves_alone(&self, allowed: &Allowed, forward: &Forward) -> Result<bool, Refusal> {
        if !(same_place(&allowed.effective, forward) && same_way(allowed, forward)) {
            return Ok(false);
        }
        let Some(dialled) = forward.dialled else {
            return Ok(true);
        };
        if !allowed.terms.address_rules.permit(dialled.ip()) {
            return Ok(false);
        }
        match self
            .judge
            .may_dial(&allowed.judged_by.house, &allowed.request.principal.user, dialled)
            .await
        {
            Ok(()) => Ok(true),
            Err(refusal) if refusal.is_doubt() => Err(refusal),
            Err(_) => Ok(false),
        }
    }
}

/// Whether the login gave something else when this was judged.
fn is_of_another_login(forward: &Forward) -> bool {
    let rights = forward.session.standing.rights();
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

/// Whether the connection was made in the way that is demanded now. What cannot be made true of it any more ends it: another
/// proxy is another place, and a target that was not told who comes cannot be told now.
fn same_way(allowed: &Allowed, forward: &Forward) -> bool {
    let through = match (&allowed.through, &forward.through) {
        (Some(now), Some(then)) => now.is_same_place(then),
        (None, None) => true,
        _ => false,
    };
    through && forward.terms.outbound.still_fulfils(&allowed.terms.outbound)
}

/// How long it is until the next question after so many in a row that decided nothing; none: it need not be asked.
fn pause(doubts: u32, every: Option<Duration>) -> Option<Duration> {
    if doubts == 0 {
        return every;
    }
    let grown = FIRST_PAUSE.saturating_mul(1 << (doubts - 1).min(16)).min(LONGEST_PAUSE);
    // What fell into doubt at one moment is not asked about at one moment.
    let thousandth = u32::try_from(RandomState::new().hash_one(0) % 250).unwrap_or(0);
    let spread = grown - grown * thousandth / 1000;
    Some(every.map_or(spread, |every| every.min(spread)))
}

async fn rest(pause: Option<Duration>) {
    match pause {
        Some(pause) => tokio::time::sleep(pause).await,
        None => std::future::pending().await,
    }
}

/// How many of one user are judged at once after a swap: of the decisions that a policy takes at once, few.
const AT_ONCE: usize = 8;
/// How often something open is judged where doubt closes and the time is not enough, before it is closed.
const ATTEMPTS: usize = 3;
/// How many further attempts there are for all that a swap judges.
const SPARE: usize = 16;
/// After a question that decided nothing; each further one in a row doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_the_doubts_and_is_never_longer_than_the_terms_say() {
        let seconds = Duration::from_secs;
        let table = [
            (0, None, None),
            (0, Some(5), Some(5)),
            (1, None, Some(1)),
            (3, None, Some(4)),
            (7, None, Some(60)),
            (u32::MAX, None, Some(60)),
            (4, Some(2), Some(2)),
            (1, Some(300), Some(1)),
        ];
        for (doubts, every, expected) in table {
            let found = pause(doubts, every.map(seconds));
            let expected: Option<Duration> = expected.map(seconds);
            // A part of it is left to chance.
            let fits = match (found, expected) {
                (Some(found), Some(most)) => found <= most && found >= most * 3 / 4,
                (found, most) => found == most,
            };
            assert!(fits, "{doubts} doubts, every {every:?}: {found:?}");
        }
    }
}

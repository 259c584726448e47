//! Every request is judged, and every judgement recorded before it has an effect.

use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use super::Review;
use super::refusals::{Cause, LINES, MOST_SESSION_WAIT, MOST_WAIT, OfUser, Record, Refusals, speeds};
use crate::events::{ConnectFailed, Decided, Event, Events, Subject};
use crate::judgement::{Allowed, Connect, Direction, Judge, Judgement, Permit, Question, unrecorded};
use crate::request::{Action, Refusal, Step, Unreached};
use crate::sessions::{Counted, Full, Session};

/// A refusal, and the `forward` of the audit line that has it.
pub(super) struct Refused {
    pub(super) refusal: Refusal,
    pub(super) forward: String,
}

impl Refused {
    fn unrecorded(forward: String) -> Self {
        Self {
            refusal: unrecorded(),
            forward,
        }
    }
}

/// What is being done with a permit, for the line that says if it fails.
pub(super) struct Attempt {
    pub(super) allowed: Arc<Allowed>,
    addresses: Vec<IpAddr>,
    began: Instant,
}

impl Attempt {
    /// With this permit, from now on.
    pub(super) fn with<D: Direction>(permit: &Permit<D>) -> Self {
        Self {
            allowed: Arc::clone(permit.allowed()),
            addresses: permit.addresses().iter().map(SocketAddr::ip).collect(),
            began: Instant::now(),
        }
    }
}

/// A judgement that is not recorded yet.
struct Asked<D: Direction> {
    id: String,
    judgement: Judgement<D>,
    began: Instant,
    /// How long a refusal may wait for its turn.
    most: Duration,
}

/// Makes decisions, one after the other as their user may have them, and puts them on record.
pub(super) struct Decisions {
    review: Review,
    /// What is refused over and over.
    refusals: Refusals,
    tasks: TaskTracker,
    /// The gateway stops: nothing new is forwarded.
    draining: AtomicBool,
}

impl Decisions {
    pub(super) fn new(review: Review, tasks: &TaskTracker) -> Self {
        Self {
            review,
            refusals: Refusals::default(),
            tasks: tasks.clone(),
            draining: AtomicBool::new(false),
        }
    }

    pub(super) fn refuse_all(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn refuses_all(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(super) fn flush(&self) {
        self.refusals.flush(self.events());
    }

    fn events(&self) -> &Events {
        &self.review.events
    }

    fn judging(&self) -> &Judge {
        &self.review.judge
    }

    /// Judges and records; an allow counts only once it is in the log. Users, policies, floors and limits are those of one
    /// moment.
    pub(super) async fn judge<D: Direction>(
        &self,
        session: &Session,
        question: Question<D>,
    ) -> Result<Permit<D>, Refused> {
        // Pinned where it is made, here and below, for the same reason as in `policy::serve`.
        let asked = pin!(self.ask(session, question)).await?;
        pin!(self.conclude(session, asked)).await
    }

    /// As [`Decisions::judge`], for a connection that is to be made: with the permit comes a place among those that are made.
    pub(super) async fn judge_to_dial(
        &self,
        session: &Session,
        question: Question<Connect>,
    ) -> Result<(Permit<Connect>, Counted), Refused> {
        let mut asked = pin!(self.ask(session, question)).await?;
        let place = session.dial_place(&self.judging().current().limits);
        if let Err(full) = &place {
            asked.judgement.refuse(full.refusal());
        }
        let forward = asked.id.clone();
        let permit = pin!(self.conclude(session, asked)).await?;
        match place {
            Ok(place) => Ok((permit, place)),
            Err(full) => Err(Refused {
                refusal: full.refusal(),
                forward,
            }),
        }
    }

    async fn ask<D: Direction>(&self, session: &Session, mut question: Question<D>) -> Result<Asked<D>, Refused> {
        let id = question.id().to_owned();
        if !self.events().audit().takes_lines() {
            return Err(Refused::unrecorded(id));
        }
        let began = Instant::now();
        let most = match D::ACTION {
            // The session waits for this one.
            Action::Listen => MOST_SESSION_WAIT,
            _ => MOST_WAIT,
        };
        let asked = |judgement| {
            Ok(Asked {
                id,
                judgement,
                began,
                most,
            })
        };
        let house = || Arc::clone(&self.judging().current().house);
        if self.refuses_all() {
            let refusal = Refusal::Exhausted {
                code: "draining",
                reason: "the gateway is stopping".to_owned(),
            };
            return asked(question.refused(&house(), refusal));
        }
        if self.review.sessions.refuses_new() {
            let refusal = Refusal::Exhausted {
                code: "cut-off",
                reason: "the gateway cannot reach the state that it shares with others".to_owned(),
            };
            return asked(question.refused(&house(), refusal));
        }
        let a_second = self.judging().current().limits.decisions_per_user_per_second;
        match session.quota.next_decision(a_second) {
            None => return asked(question.refused(&house(), Full::Decisions.refusal())),
            Some(Duration::ZERO) => {}
            Some(wait) => sleep(wait).await,
        }
        let current = self.judging().current();
        match self.review.rights(session, &current.accounts).await {
            Ok(rights) => question.asked_by(&rights),
            Err(refusal) => return asked(question.refused(&current.house, refusal)),
        }
        asked(match D::ACTION {
            Action::Listen => Box::pin(self.judging().judge_within(&current, question, LISTEN_PATIENCE)).await,
            _ => pin!(self.judging().judge(&current, question)).await,
        })
    }

    async fn conclude<D: Direction>(&self, session: &Session, asked: Asked<D>) -> Result<Permit<D>, Refused> {
        let Asked {
            id,
            judgement,
            began,
            most,
        } = asked;
        let failed = match (judgement.refusal(), D::ACTION) {
            (Some(Refusal::Unreachable { why, reason }), Action::Connect) => {
                let failed = ConnectFailed::unresolved(&judgement.line(), *why, reason.clone(), super::millis(began));
                failed.map(Box::new)
            }
            _ => None,
        };
        let judged = pin!(self.publish(session, id, judgement, Waits::Within(most))).await;
        if let (Some(failed), Err(refused)) = (failed, &judged) {
            let subject = session.subject.with_forward(&refused.forward);
            self.events().emit(&subject, &Event::ConnectFailed(failed));
        }
        judged
    }

    /// Refuses because of a limit that is reached before anything is asked, and records it.
    pub(super) async fn exhausted<D: Direction>(
        &self,
        session: &Session,
        question: &Question<D>,
        full: Full,
    ) -> Refused {
        let forward = question.id().to_owned();
        if !self.events().audit().takes_lines() {
            return Refused::unrecorded(forward);
        }
        let judgement = question.refused(&self.judging().current().house, full.refusal());
        let waits = match D::ACTION {
            Action::Listen => Waits::Within(MOST_SESSION_WAIT),
            _ => Waits::InPlace(MOST_WAIT),
        };
        let refused = pin!(self.publish(session, forward.clone(), judgement, waits)).await;
        refused.err().unwrap_or_else(|| Refused {
            refusal: full.refusal(),
            forward,
        })
    }

    async fn publish<D: Direction>(
        &self,
        session: &Session,
        id: String,
        judgement: Judgement<D>,
        waits: Waits,
    ) -> Result<Permit<D>, Refused> {
        let Some(refusal) = judgement.refusal().cloned() else {
            let recorded = pin!(judgement.record(self.events())).await;
            return recorded.map_err(|refusal| Refused { refusal, forward: id });
        };
        let subject = judgement.subject().clone();
        let line = judgement.line();
        let forward = pin!(self.refuse(session, subject, &line, waits)).await;
        Err(Refused { refusal, forward })
    }

    /// Lets a refusal wait for its turn, and records it; the answer is the `forward` that the user is told.
    async fn refuse(&self, session: &Session, subject: Subject, decided: &Decided, waits: Waits) -> String {
        let user = self.refusals.of(&session.user);
        let place = match waits {
            Waits::Within(_) => None,
            Waits::InPlace(_) => Arc::clone(&session.waiting).try_acquire_owned().ok(),
        };
        let most = match waits {
            Waits::InPlace(_) if place.is_none() => Duration::ZERO,
            Waits::Within(most) | Waits::InPlace(most) => most,
        };
        self.slow(session, &user, most).await;
        let cause = Cause::of(&subject, decided);
        let mut record = user.count(Instant::now(), cause.clone(), &subject, decided);
        if record == Record::Alone && !wait_for(user.lines.turn(Instant::now(), most, LINES), most).await {
            record = user.count_widely(Instant::now(), cause, &subject, decided);
        }
        match record {
            Record::Alone => {
                let event = Event::ForwardDecided(Box::new(decided.clone()));
                self.events().emit(&subject, &event);
                subject.forward.unwrap_or_default()
            }
            Record::Counted { forward, after } => {
                if let Some(after) = after {
                    let (events, forward) = (self.events().clone(), forward.clone());
                    self.tasks.spawn(async move {
                        tokio::time::sleep(after).await;
                        user.write(&events, &forward);
                    });
                }
                forward
            }
        }
    }

    /// Waits until an answer that gives nothing has its turn, of the session's and of the user's.
    async fn slow(&self, session: &Session, user: &OfUser, most: Duration) {
        let now = Instant::now();
        let limit = self.judging().current().limits.decisions_per_user_per_second;
        let (of_session, of_user) = speeds(limit);
        let turns = (
            session.pace.turn(now, most, of_session),
            user.pace.turn(now, most, of_user),
        );
        let turn = turns.0.zip(turns.1).map(|(session, user)| session.max(user));
        wait_for(turn, most).await;
    }

    /// Records that what was allowed is not there, and why; `why` is for the target's part in it, if it has one.
    pub(super) fn unreached(&self, attempt: &Attempt, why: Option<Unreached>, step: Option<Step>, reason: String) {
        let request = &attempt.allowed.request;
        let subject = Subject::of(request);
        let failed = ConnectFailed {
            action: request.action,
            requested: request.requested.clone(),
            target: request.target.clone(),
            effective: attempt.allowed.effective.clone(),
            resolved: attempt.addresses.clone(),
            why,
            step,
            reason,
            millis: super::millis(attempt.began),
        };
        self.events().emit(&subject, &Event::ConnectFailed(Box::new(failed)));
    }

    /// Lets the answer to a dial that failed wait for its turn, as if it were a refusal.
    pub(super) async fn slow_down(&self, session: &Session) {
        let user = self.refusals.of(&session.user);
        self.slow(session, &user, MOST_WAIT).await;
        wait_for(user.lines.turn(Instant::now(), MOST_WAIT, LINES), MOST_WAIT).await;
    }
}

/// For how long a refusal may wait for its turn.
#[derive(Clone, Copy)]
enum Waits {
    /// So long: it has a place among what its session may have open.
    Within(Duration),
    /// So long, if there is a place for that.
    InPlace(Duration),
}

/// Waits for the turn, or for as long as may be where it comes later: then it is false.
async fn wait_for(turn: Option<Duration>, most: Duration) -> bool {
    let wait = turn.unwrap_or(most);
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    turn.is_some()
}

/// A decision on a remote forward that takes longer is a refusal.
const LISTEN_PATIENCE: Duration = Duration::from_secs(2);

//! What a user is refused over and over: slowed, and recorded as a count.
//!
//! A refusal costs its user nothing, and the gateway a decision and a line. So after a first rush the answers come at a pace,
//! by session and by user: whoever asks has a bounded number of requests open, and waits. And what is equal within a second
//! has one line, which says how many it stands for. A user who asks for something else each time gets a line for each, at a
//! slower pace; only what would wait longer than [`MOST_WAIT`] for its own line is counted with others that were refused for
//! the same cause. So each decision is on record, and the lines of a user are bounded.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::events::{Decided, Event, Events, Subject};
use crate::request::{Action, By, Requested, VerdictWord};
use crate::sessions::{Pace, Speed};

/// The refusals of all users that are of the last while.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<String, Arc<OfUser>>>);

impl Refusals {
    /// Those of this user.
    pub(super) fn of(&self, user: &str) -> Arc<OfUser> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = users.get(user) {
            return Arc::clone(found);
        }
        let now = Instant::now();
        users.retain(|_, one| Arc::strong_count(one) > 1 || !one.is_over(now));
        let new = Arc::new(OfUser::new(now));
        users.insert(user.to_owned(), Arc::clone(&new));
        new
    }

    /// Records what was only counted so far.
    pub(super) fn flush(&self, events: &Events) {
        let users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for one in users.values() {
            one.flush(events);
        }
    }
}

/// The refusals of one user, over all their sessions.
pub(super) struct OfUser {
    /// Of the answers.
    pub(super) pace: Pace,
    /// Of the lines.
    pub(super) lines: Pace,
    counts: Mutex<Counts>,
}

/// How fast one session and one user get refusals after the first rush: a quarter and half of the decisions that a user may have
/// each second, and never below [`LEAST_OF_SESSION`] and twice that.
pub(super) fn speeds(decisions_per_second: usize) -> (Speed, Speed) {
    let quarter = u32::try_from(decisions_per_second / 4).unwrap_or(u32::MAX / 2);
    let of_session = quarter.clamp(LEAST_OF_SESSION, u32::MAX / 2);
    let speed = |each_second| Speed {
        at_once: each_second,
        each_second,
    };
    (speed(of_session), speed(of_session * 2))
}

/// How a refusal goes on record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// By a line of its own.
    Alone,
    /// By the line of this `forward`, which the caller writes for all when `after` is over, by [`OfUser::write`].
    Counted { forward: String, after: Option<Duration> },
}

/// What makes refusals equal. What a client chooses at random, such as the port it says it comes from, is no part of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Cause {
    session: Option<String>,
    action: Action,
    /// None where it does not matter to the cause.
    requested: Option<Requested>,
    verdict: VerdictWord,
    by: By,
    code: Option<String>,
    reason: Option<String>,
    policy: Option<String>,
}

impl Cause {
    pub(super) fn of(subject: &Subject, decided: &Decided) -> Self {
        Self {
            session: subject.session.clone(),
            action: decided.action,
            // A limit is reached, whatever is asked for.
            requested: (decided.by != By::Limit).then(|| decided.requested.clone()),
            verdict: decided.verdict,
            by: decided.by,
            code: decided.code.clone(),
            reason: decided.reason.clone(),
            policy: decided.policy.as_ref().map(|policy| policy.sha256.clone()),
        }
    }

    /// The same cause, whatever was asked for. A reason may repeat that.
    fn wider(self) -> Self {
        Self {
            requested: None,
            reason: None,
            ..self
        }
    }

    /// As wide as it can be.
    fn widest(self) -> Self {
        Self {
            code: None,
            ..self.wider()
        }
    }
}

#[derive(Default)]
struct Counts {
    causes: HashMap<Cause, Count>,
    cleaned: Option<Instant>,
}

/// Equal refusals of one second.
struct Count {
    began: Instant,
    /// That had lines of their own.
    alone: u32,
    /// That have none yet, and the last of them.
    counted: u64,
    last: Option<(Subject, Decided)>,
}

impl Count {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            alone: 0,
            counted: 0,
            last: None,
        }
    }

    /// Whether nothing of it is left to write, and nothing came of late.
    fn is_over(&self, now: Instant) -> bool {
        self.counted == 0 && now.saturating_duration_since(self.began) >= WINDOW
    }
}

impl OfUser {
    fn new(now: Instant) -> Self {
        Self {
            pace: Pace::default(),
            lines: Pace::default(),
            counts: Mutex::new(Counts {
                cleaned: Some(now),
                ..Counts::default()
            }),
        }
    }

    /// Counts a refusal, unless it is one of the first of its kind.
    pub(super) fn count(&self, now: Instant, cause: Cause, subject: &Subject, decided: &Decided) -> Record {
        let mut counts = self.lock();
        counts.clean(now);
        let count = counts.causes.entry(cause).or_insert_with(|| Count::new(now));
        if count.alone < ALONE && count.counted == 0 {
            count.alone += 1;
            return Record::Alone;
        }
        count.add(now, subject, decided)
    }

    /// Counts a refusal with others of the same cause.
    pub(super) fn count_widely(&self, now: Instant, cause: Cause, subject: &Subject, decided: &Decided) -> Record {
        let mut counts = self.lock();
        counts.clean(now);
        let mut cause = cause.wider();
        if counts.causes.len() >= MOST_CAUSES && !counts.causes.contains_key(&cause) {
            cause = cause.widest();
        }
        let count = counts.causes.entry(cause).or_insert_with(|| Count::new(now));
        count.add(now, subject, decided)
    }

    /// Writes what was counted under this `forward`.
    pub(super) fn write(&self, events: &Events, forward: &str) {
        let mut counts = self.lock();
        let is_it = |count: &&mut Count| {
            let last = count.last.as_ref();
            last.is_some_and(|(subject, _)| subject.forward.as_deref() == Some(forward))
        };
        if let Some(count) = counts.causes.values_mut().find(is_it) {
            count.write(events);
        }
    }

    fn flush(&self, events: &Events) {
        for count in self.lock().causes.values_mut() {
            count.write(events);
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        let counts = self.lock();
        let calm = counts
            .cleaned
            .is_none_or(|cleaned| now.saturating_duration_since(cleaned) >= CALM);
        calm && counts.causes.values().all(|count| count.is_over(now))
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn clean(&mut self, now: Instant) {
        if self
            .cleaned
            .is_none_or(|cleaned| now.saturating_duration_since(cleaned) >= WINDOW)
        {
            self.cleaned = Some(now);
            self.causes.retain(|_, count| !count.is_over(now));
        }
    }
}

impl Count {
    fn add(&mut self, now: Instant, subject: &Subject, decided: &Decided) -> Record {
        self.counted += 1;
        let first = self.last.is_none();
        let forward = match &self.last {
            // The users of all of them are told of one line.
            Some((first, _)) => first.forward.clone(),
            None => {
                self.began = now;
                subject.forward.clone()
            }
        };
        let subject = Subject {
            forward: forward.clone(),
            ..subject.clone()
        };
        self.last = Some((subject, decided.clone()));
        Record::Counted {
            forward: forward.unwrap_or_default(),
            after: first.then_some(WINDOW),
        }
    }

    fn write(&mut self, events: &Events) {
        let Some((subject, mut decided)) = self.last.take() else {
            return;
        };
        let counted = std::mem::take(&mut self.counted);
        decided.repeated = Some(counted).filter(|counted| *counted > 1);
        self.began = Instant::now();
        events.emit(&subject, &Event::ForwardDecided(Box::new(decided)));
    }
}

/// How long a refusal waits at most, for its answer and for its line.
pub(super) const MOST_WAIT: Duration = Duration::from_secs(5);
/// The same for a remote forward, for which its session waits.
pub(super) const MOST_SESSION_WAIT: Duration = Duration::from_millis(250);

/// Equal refusals in a row that have lines of their own.
const ALONE: u32 = 3;
/// What one line stands for at most.
const WINDOW: Duration = Duration::from_secs(1);
/// A browser that is refused a page with all that is on it stays below this; a scan of ports does not.
const LEAST_OF_SESSION: u32 = 500;
/// A line has about 1 KB.
pub(super) const LINES: Speed = Speed {
    at_once: 300,
    each_second: 100,
};
/// Causes of one user that are told apart where targets are not.
const MOST_CAUSES: usize = 512;
/// Who was refused nothing for so long begins anew.
const CALM: Duration = Duration::from_secs(60);

#[cfg(test)]
#[path = "refusals_tests.rs"]
mod tests;

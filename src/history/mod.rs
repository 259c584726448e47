//! What the gateway did in the last hour, in fixed memory, for those who look at it now and then.
//!
//! The room listens to [`events`](crate::events) and takes a sample of what is open once a second. Five minutes are kept by the
//! second and an hour by ten seconds, so memory does not grow with time or with clients. It must not know HTTP or HTML.
//!
//! Invariant: its readers may not know who does what, so no user, host or address is in it. What it keeps as text are words of the
//! gateway, names from the configuration, and codes of refusals that [look like a word](codes) and do not name the request.

mod cell;
mod codes;
mod kept;
mod marks;
mod outcomes;
mod ring;
#[cfg(test)]
mod tests;
mod times;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::events::{Event, Listener, Subject};
use crate::sessions::Sessions;
use kept::Kept;

pub(crate) use cell::Point;
pub(crate) use kept::{Picture, Span};
pub(crate) use marks::{Change, Mark};
pub(crate) use outcomes::Outcome;

/// The history of one gateway. Cheap to clone; clones are one.
#[derive(Clone)]
pub(crate) struct History(Arc<Inner>);

struct Inner {
    began: Instant,
    kept: Mutex<Kept>,
}

/// A moment, on both clocks.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Since the history began.
    since: Duration,
    /// For people.
    time: Timestamp,
}

impl Default for History {
    fn default() -> Self {
        Self(Arc::new(Inner {
            began: Instant::now(),
            kept: Mutex::default(),
        }))
    }
}

impl History {
    /// Takes a sample each second until `stop`.
    pub(crate) async fn keep(self, sessions: Sessions, stop: CancellationToken) {
        let mut seconds = interval_at(tokio::time::Instant::now() + SECOND, SECOND);
        seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
        loop {
            tokio::select! {
                _ = seconds.tick() => {
                    // What takes the sessions' lock is done before this one is taken.
                    let totals = sessions.totals();
                    self.kept().sample(self.since(), totals);
                }
                () = stop.cancelled() => return,
            }
        }
    }

    /// What there is to see of this span.
    #[must_use]
    pub(crate) fn look(&self, span: Span) -> Picture {
        self.kept().look(self.since(), span)
    }

    fn since(&self) -> Duration {
        self.0.began.elapsed()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener for History {
    fn hear(&self, subject: &Subject, event: &Event) {
        if !Kept::wants(event) {
            return;
        }
        let now = Moment {
            since: self.since(),
            time: Timestamp::now(),
        };
        self.kept().hear(now, subject, event);
    }
}

const SECOND: Duration = Duration::from_secs(1);

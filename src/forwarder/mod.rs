//! The story of one request: judge it, record it, dial or listen, hand it back or refuse it.
//!
//! [`Forwarder`] carries what is asked; its decisions are made, paced and put on record by `decisions.rs`. [`Review`] judges again
//! what is open.

mod connect;
mod decisions;
mod listen;
mod reconsider;
mod refusals;
mod renew;
mod tunnel;

use std::sync::Arc;
use std::time::Instant;

use tokio_util::task::TaskTracker;

use crate::events::Events;
use crate::judgement::Judge;
use crate::relay::{Queue, Sink, Source};
use crate::sessions::{Full, Place, Session, Sessions};
use crate::shares::Shares;

use decisions::Decisions;

pub(crate) use connect::Pending;
pub(crate) use listen::{Listening, Opener, Unopened};
pub(crate) use reconsider::{Closing, Review};

/// Carries what clients ask for, once it is allowed.
pub(crate) struct Forwarder {
    decisions: Decisions,
    review: Review,
    events: Events,
    sessions: Sessions,
    /// Files that forwards may have open: what is left is for accepting, for the log and for policies.
    files: Arc<Shares>,
    tasks: TaskTracker,
}

impl Forwarder {
    /// Judged by `judge`, announced to `events` and entered in `sessions`; all it does is a task of `tasks`.
    #[must_use]
    pub(crate) fn new(
        judge: &Arc<Judge>,
        events: &Events,
        sessions: &Sessions,
        files: Arc<Shares>,
        tasks: &TaskTracker,
    ) -> Self {
        let review = Review::new(judge, events, sessions);
        Self {
            decisions: Decisions::new(review.clone(), tasks),
            review,
            events: events.clone(),
            sessions: sessions.clone(),
            files,
            tasks: tasks.clone(),
        }
    }

    /// What judges again what is open.
    #[must_use]
    pub(crate) fn review(&self) -> &Review {
        &self.review
    }

    /// From now on nothing new is forwarded: the gateway stops.
    pub(crate) fn refuse_all(&self) {
        self.decisions.refuse_all();
    }

    /// Whether nothing new is forwarded.
    #[must_use]
    pub(crate) fn refuses_all(&self) -> bool {
        self.decisions.refuses_all()
    }

    /// Records refusals that were only counted so far.
    pub(crate) fn flush(&self) {
        self.decisions.flush();
    }

    fn tunnel_place(&self, session: &Session) -> Result<Place, Full> {
        session.tunnel_place(&self.review.judge.current().limits, &self.files)
    }

    fn listener_place(&self, session: &Session) -> Result<Place, Full> {
        session.listener_place(&self.review.judge.current().limits, &self.files)
    }
}

/// What the client's channels are to a tunnel.
pub(crate) trait Channels {
    /// The client's sending side.
    type Source: Source + 'static;
    /// The client's receiving side.
    type Sink: Sink + 'static;
    /// The count of what waits for the target.
    type Queue: Queue + 'static;
}

/// A channel that is open.
pub(crate) type Opened<C> = (<C as Channels>::Source, <C as Channels>::Sink, <C as Channels>::Queue);

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

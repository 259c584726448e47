//! A user who is in.

use std::sync::Arc;
use std::time::Instant;

use crate::events::{Event, Events};
use crate::request::Cause;
use crate::sessions::{Entry, Session};

/// A user who is in. Held by whoever serves the connection, so that the end of the session does not
/// depend on what the protocol waits for.
pub(super) struct Entered {
    events: Events,
    pub(super) session: Arc<Session>,
    /// Why it ended, unless it ended normally.
    pub(super) reason: Option<String>,
    began: Instant,
    _entry: Entry,
}

impl Entered {
    pub(super) fn new(events: Events, session: Arc<Session>, began: Instant, entry: Entry) -> Self {
        Self {
            events,
            session,
            reason: None,
            began,
            _entry: entry,
        }
    }
}

impl Drop for Entered {
    /// Listeners and tunnels belong to their session and go with it.
    fn drop(&mut self) {
        self.session.stop.end(Cause::Closed);
        let event = Event::SessionClosed {
            millis: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            reason: self.reason.take(),
        };
        self.events.emit(&self.session.subject, &event);
    }
}

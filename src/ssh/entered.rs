use std::sync::Arc;
use std::time::Instant;

use crate::events::Event;
use crate::forwarder::{Desk, Present, Visit};
use crate::registry::SessionGuard;
use crate::request::Cause;

/// A user who is in. Held by whoever serves the connection, so that the end of the session does not
/// depend on what the protocol waits for.
pub(super) struct Entered {
    desk: Arc<Desk>,
    pub(super) visit: Arc<Visit>,
    /// Why it ended, unless it ended normally.
    pub(super) reason: Option<String>,
    began: Instant,
    _guard: Option<SessionGuard>,
    _present: Present,
}

impl Entered {
    pub(super) fn new(desk: Arc<Desk>, visit: Arc<Visit>, began: Instant, guard: Option<SessionGuard>) -> Self {
        Self {
            _present: desk.sessions.enter(&visit),
            desk,
            visit,
            reason: None,
            began,
            _guard: guard,
        }
    }
}

impl Drop for Entered {
    /// Listeners and tunnels belong to their session and go with it.
    fn drop(&mut self) {
        self.visit.stop.end(Cause::Closed);
        let event = Event::SessionClosed {
            millis: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            reason: self.reason.take(),
        };
        self.desk.events.emit(&self.visit.subject, &event);
    }
}

//! Ends something once, and much at once.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::{Forward, Session};
use crate::request::Cause;

/// Ends these sessions, whose clients are told the sentence, and these tunnels and listeners.
///
/// Each is woken on the thread that serves it. From another thread every one of them would be a message, and the thread would
/// take those up one by one between the work that the first of them make.
pub(crate) fn end_all(sessions: &[Arc<Session>], sentence: &str, forwards: &[Arc<Forward>], cause: Cause) {
    let sessions = sessions.iter().filter(|session| session.will_say(sentence));
    let sessions = sessions.map(|session| (&**session, &session.stop));
    let forwards = forwards.iter().map(|forward| (&*forward.session, &forward.stop));
    let mut by_thread = HashMap::new();
    for (session, stop) in sessions.chain(forwards) {
        stop.begin(cause);
        let Some(thread) = &session.thread else {
            stop.token.cancel();
            continue;
        };
        let (_, stops) = by_thread.entry(thread.id()).or_insert_with(|| (thread, Vec::new()));
        stops.push(stop.clone());
    }
    for (thread, stops) in by_thread.into_values() {
        thread.spawn(async move {
            for some in stops.chunks(AT_ONCE) {
                for stop in some {
                    stop.token.cancel();
                }
                yield_now().await;
            }
        });
    }
}

/// Ends something once, with the first cause that is given.
#[derive(Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    cause: Arc<OnceLock<Cause>>,
}

impl Stop {
    /// Ends it.
    pub fn end(&self, cause: Cause) {
        self.begin(cause);
        self.token.cancel();
    }

    /// It is going to end with this cause, and no other.
    fn begin(&self, cause: Cause) {
        let _ = self.cause.set(cause);
    }

    /// Waits until it is to end. Cancel-safe.
    pub async fn ended(&self) -> Cause {
        self.token.cancelled().await;
        self.cause.get().copied().unwrap_or(Cause::Closed)
    }

    /// The cause, if it is to end.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause.get().copied()
    }
}

/// So many are woken before others have a turn: some milliseconds.
const AT_ONCE: usize = 8192;

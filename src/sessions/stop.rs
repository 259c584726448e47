//! Ends one thing once, or many together.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use tokio::task::yield_now;
use tokio_util::sync::CancellationToken;

use super::{Forward, Session};
use crate::request::Cause;

/// Ends these sessions, whose clients are told the sentence, and these tunnels and listeners.
///
/// One task on each serving thread wakes all that the thread serves. If the caller woke each of them from its own thread, the last
/// would wait until the first had closed their targets and channels: tokio takes one such message for every 31 local tasks.
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

    /// Sets the cause; the first one stays.
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

/// How many are woken before other tasks get a turn, after a few milliseconds.
const AT_ONCE: usize = 8192;

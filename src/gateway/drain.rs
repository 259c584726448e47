//! Shutdown: open tunnels may finish for a while, and are then cut.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::Parts;
use crate::events::{Event, Subject};
use crate::request::{Action, Cause};
use crate::sessions::end_all;

impl Parts {
    pub(super) async fn drain(self: &Arc<Self>) {
        self.closing.cancel();
        self.succession.close();
        self.forwarder.refuse_all();
        let began = Instant::now();
        tracing::info!(patience = ?self.patience(), open = self.sessions.forwards().len(), "draining");
        let listens = |action| action == Action::Listen;
        let mut listeners = self.sessions.forwards();
        listeners.retain(|forward| listens(forward.request.action));
        end_all(&[], "", &listeners, Cause::Drained);
        while !self.sessions.forwards().is_empty() && began.elapsed() < self.patience() {
            sleep(DRAIN_LOOK).await;
        }
        self.cut().await;
        // Who has asked for something is answered, as who asked for this.
        self.succession.leaving.cancel();
        self.succession.callers.close();
        let _ = timeout(LAST_ANSWERS, self.succession.callers.wait()).await;
        self.ending.cancel();
        self.tasks.close();
        let _ = timeout(DRAIN_END, self.tasks.wait()).await;
        self.finish();
    }

    /// How long what is open may go on; an administrator may say so again, with another time.
    pub(super) fn patience(&self) -> Duration {
        let asked = *self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        asked.unwrap_or(self.judge.current().limits.drain_timeout)
    }

    /// Ends everything that is open, and waits until it is recorded.
    pub(super) async fn cut(&self) {
        end_all(&[], "", &self.sessions.forwards(), Cause::Drained);
        let _ = timeout(DRAIN_END, async {
            while !self.sessions.forwards().is_empty() {
                sleep(DRAIN_LOOK).await;
            }
        })
        .await;
    }

    pub(super) fn finish(&self) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *finished, true) {
            self.forwarder.flush();
            let process = std::process::id();
            self.events
                .emit(&Subject::default(), &Event::GatewayStopped { process });
            self.events.audit().finish();
        }
    }
}

const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How long answers to administrators may take that are under way at the end.
const LAST_ANSWERS: Duration = Duration::from_millis(500);
const DRAIN_END: Duration = Duration::from_secs(2);

//! Shutdown: open tunnels may finish for a while, and are then cut.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::Shared;
use crate::events::{Event, Subject};
use crate::request::{Action, Cause};

impl Shared {
    pub(super) async fn drain(self: &Arc<Self>) {
        let desk = self.desk();
        self.closing.cancel();
        desk.draining.store(true, Ordering::Relaxed);
        let asked = *self.patience.lock().unwrap_or_else(PoisonError::into_inner);
        let patience = asked.unwrap_or(desk.judge.current().limits.drain_timeout);
        tracing::info!(?patience, open = desk.registry.forwards().len(), "draining");
        let listens = |action| action == Action::Listen;
        for forward in desk
            .registry
            .forwards()
            .iter()
            .filter(|forward| listens(forward.request.action))
        {
            forward.stop.end(Cause::Drained);
        }
        let _ = timeout(patience, async {
            while !desk.registry.forwards().is_empty() {
                sleep(DRAIN_LOOK).await;
            }
        })
        .await;
        self.cut().await;
        self.ending.cancel();
        desk.tasks.close();
        let _ = timeout(DRAIN_END, desk.tasks.wait()).await;
        self.finish();
    }

    /// Ends everything that is open, and waits until it is recorded.
    pub(super) async fn cut(&self) {
        let registry = &self.desk().registry;
        for forward in registry.forwards() {
            forward.stop.end(Cause::Drained);
        }
        let _ = timeout(DRAIN_END, async {
            while !registry.forwards().is_empty() {
                sleep(DRAIN_LOOK).await;
            }
        })
        .await;
    }

    pub(super) fn finish(&self) {
        let mut finished = self.finished.lock().unwrap_or_else(PoisonError::into_inner);
        if !std::mem::replace(&mut *finished, true) {
            self.desk().refusals.flush(&self.desk().events);
            self.desk().events.emit(&Subject::default(), &Event::GatewayStopped);
            self.desk().events.audit().finish();
        }
    }
}

const DRAIN_LOOK: Duration = Duration::from_millis(20);
const DRAIN_END: Duration = Duration::from_secs(2);

//! Places for decisions, which users share fairly: for an instance while it is there, and for the turns in which it computes.
//!
//! A decision that waits for a name gives its turn back and keeps only its instance. So a slow name server delays further
//! decisions of that user only.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::poll;
use tokio::time::timeout;

use super::engine::{DECISIONS, INSTANCES, Sandbox};
use super::ticker::Running;
use crate::policy::Failure;
use crate::shares::{Share, Shares};

/// The places of all decisions.
#[derive(Clone)]
pub(in crate::policy) struct Places {
    instances: Arc<Shares>,
    turns: Arc<Shares>,
    /// How long a decision may wait for them.
    patience: Duration,
}

/// The places of one decision.
pub(in crate::policy) struct Turn {
    places: Places,
    sandbox: Arc<Sandbox>,
    user: Arc<str>,
    /// None while the decision waits for a name.
    computes: Option<(Share, Running)>,
    _instance: Share,
}

impl Places {
    pub(in crate::policy) fn new() -> Self {
        Self {
            instances: Shares::new(INSTANCES, 1),
            turns: Shares::new(DECISIONS, 1),
            patience: Duration::from_secs(2),
        }
    }

    /// Waits until a decision of this user may begin, but not for ever.
    pub(in crate::policy) async fn enter(&self, user: &str, sandbox: &Arc<Sandbox>) -> Result<Turn, Failure> {
        let both = async { (self.instances.take(user).await, self.turns.take(user).await) };
        let entered = timeout(self.patience, both).await;
        let (instance, turn) = entered.map_err(|_| Failure::QueueFull)?;
        Ok(Turn {
            places: self.clone(),
            user: Arc::from(user),
            computes: Some((turn, sandbox.running())),
            sandbox: Arc::clone(sandbox),
            _instance: instance,
        })
    }
}

impl Turn {
    /// Waits for something that is not computed here, and takes no turn meanwhile.
    pub(in crate::policy) async fn aside<F: Future>(&mut self, waits: F) -> F::Output {
        let mut waits = pin!(waits);
        if let Poll::Ready(output) = poll!(waits.as_mut()) {
            return output;
        }
        self.computes = None;
        let output = waits.await;
        let turn = self.places.turns.take(&self.user).await;
        self.computes = Some((turn, self.sandbox.running()));
        output
    }
}

#[cfg(test)]
#[path = "turns_tests.rs"]
mod tests;

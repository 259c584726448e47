//! Asking the system, without holding up the threads that serve: where the path of a Unix socket leads, for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::paths::PathError;
use crate::request::{By, Refusal, SocketPath};
use crate::shares::Shares;

/// The places for questions to the system, which users share fairly: a file system that hangs holds up the user who asks about it.
pub(super) struct System(Arc<Shares>);

/// Asks the system for one user.
#[derive(Clone, Copy)]
pub struct Aside<'a> {
    system: &'a System,
    user: &'a str,
}

impl System {
    pub(super) fn new() -> Self {
        Self(Shares::new(MOST, WEIGHT))
    }

    pub(super) fn aside<'a>(&'a self, user: &'a str) -> Aside<'a> {
        Aside { system: self, user }
    }
}

impl Aside<'_> {
    /// Follows a path to what it leads to.
    pub(super) async fn follow<T: Send + 'static>(
        &self,
        path: SocketPath,
        follow: fn(&SocketPath) -> Result<T, PathError>,
    ) -> Result<T, Refusal> {
        match self.look(move || follow(&path)).await {
            Some(found) => found.map_err(|error| refused(&error)),
            None => Err(Refusal::Undecided {
                code: "socket-path",
                reason: format!(
                    "the file system did not say within {} s where the path leads",
                    PATIENCE.as_secs()
                ),
            }),
        }
    }

    /// What the system answers; none if it does not in time.
    pub(super) async fn look<T: Send + 'static>(&self, look: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let looked = timeout(PATIENCE, async move {
            let place = self.system.0.take(self.user).await;
            // The place is given back when the system has answered, not when nothing waits for it any more.
            let look = move || {
                let _place = place;
                look()
            };
            tokio::task::spawn_blocking(look).await.ok()
        });
        looked.await.ok().flatten()
    }
}

fn refused(error: &PathError) -> Refusal {
    let code = match error {
        PathError::HardLinks { .. } => "hard-links",
        _ => "bad-endpoint",
    };
    Refusal::told(By::Floor, code, error.to_string())
}

/// Questions at once.
const MOST: usize = 32;
/// One user may have as many as are left free.
const WEIGHT: usize = 1;
/// A remote forward is refused if it is not decided in two seconds.
const PATIENCE: Duration = Duration::from_secs(1);

//! Asking the system, without holding up the threads that serve: where the path of a Unix socket leads, for one.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::paths::PathError;
use crate::request::{By, Refusal, SocketPath};

/// Asks the system what may take a while: so many questions at once, and each for so long.
#[derive(Clone)]
pub struct Aside(Arc<Semaphore>);

impl Aside {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

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
        let places = Arc::clone(&self.0);
        let looked = timeout(PATIENCE, async move {
            let place = places.acquire_owned().await.ok();
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

const MOST: usize = 32;
/// A remote forward is refused if it is not decided in two seconds.
const PATIENCE: Duration = Duration::from_secs(1);

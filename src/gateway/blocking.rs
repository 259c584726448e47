//! What may wait for a file server, on a thread on which nobody else waits for it.

use std::future::pending;
use std::panic::resume_unwind;

use tokio::task::spawn_blocking;

/// Does it on a thread of its own.
///
/// # Panics
/// As it does.
pub(super) async fn away<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await.map_err(|error| error.try_into_panic()) {
        Ok(done) => done,
        Err(Ok(panic)) => resume_unwind(panic),
        // The program ends.
        Err(Err(_)) => pending().await,
    }
}

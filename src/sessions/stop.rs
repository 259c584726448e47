//! Ends something once.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::request::Cause;

/// Ends something once, with the first cause that is given.
#[derive(Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    cause: Arc<OnceLock<Cause>>,
}

impl Stop {
    /// Ends it.
    pub fn end(&self, cause: Cause) {
        let _ = self.cause.set(cause);
        self.token.cancel();
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

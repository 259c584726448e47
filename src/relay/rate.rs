//! The bytes a second of one direction.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Holds one direction of a tunnel to its rate: a bucket that holds a quarter of a second.
pub(super) struct RateLimit {
    rate: Option<u64>,
    full: f64,
    left: f64,
    filled: Instant,
    wait: Option<Pin<Box<Sleep>>>,
}

impl RateLimit {
    pub(super) fn new(rate: Option<u64>) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no 53 bits")]
        let full = rate.map_or(0.0, |rate| (rate as f64 / 4.0).max(1.0));
        Self {
            rate,
            full,
            left: full,
            filled: Instant::now(),
            wait: None,
        }
    }

    /// How many bytes may pass now, at least one and at most `wanted`.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between one and a quarter of the rate"
    )]
    pub(super) fn poll_allow(&mut self, context: &mut Context<'_>, wanted: usize) -> Poll<usize> {
        let Some(rate) = self.rate else {
            return Poll::Ready(wanted);
        };
        loop {
            if let Some(wait) = &mut self.wait {
                ready!(wait.as_mut().poll(context));
                self.wait = None;
            }
            let now = Instant::now();
            let gained = now.duration_since(self.filled).as_secs_f64() * rate as f64;
            self.left = (self.left + gained).min(self.full);
            self.filled = now;
            if self.left >= 1.0 {
                return Poll::Ready(wanted.min(self.left as usize));
            }
            // A twentieth of the bucket at a time keeps the flow smooth without a timer per byte.
            let missing = (self.full / 20.0).max(1.0) - self.left;
            let pause = Duration::from_secs_f64(missing / rate as f64).max(Duration::from_millis(1));
            self.wait = Some(Box::pin(sleep_until(now + pause)));
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a chunk is far below 2^53")]
    pub(super) fn passed(&mut self, bytes: usize) {
        self.left -= bytes as f64;
    }

    pub(super) async fn allow(&mut self, wanted: usize) -> usize {
        std::future::poll_fn(|context| self.poll_allow(context, wanted)).await
    }
}

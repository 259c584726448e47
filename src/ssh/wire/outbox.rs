//! What the library has written and the connection has not taken.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::time::{Instant, Sleep, sleep_until};

/// What waits to be written.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: BytesMut,
    is_due: bool,
    /// The connection took no more of it.
    is_stuck: bool,
    /// Grants of the least are among it.
    has_grants: bool,
    /// They are on their way.
    began: bool,
    until: Option<Pin<Box<Sleep>>>,
}

impl Outbox {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How much the connection has not taken.
    pub(super) fn stuck(&self) -> usize {
        if self.is_stuck { self.bytes.len() } else { 0 }
    }

    /// Whether more may be held to be written with what follows.
    pub(super) fn has_room(&self) -> bool {
        self.bytes.len() < MOST_HELD
    }

    /// Adds what is to be written before the next read.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.is_due = true;
    }

    /// Adds what may wait a while.
    pub(super) fn add_grants(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.has_grants = true;
        if self.until.is_none() {
            self.until = Some(Box::pin(sleep_until(Instant::now() + PAUSE)));
        }
    }

    /// Adds what the connection did not take.
    pub(super) fn add_rest(&mut self, bytes: &[u8]) {
        self.add(bytes);
        self.is_stuck = true;
    }

    pub(super) fn take(&mut self, sent: usize) {
        self.bytes.advance(sent);
        if self.bytes.is_empty() {
            *self = Self::default();
        }
    }

    pub(super) fn has_grants(&self) -> bool {
        self.has_grants
    }

    /// The grants are on their way, if there are any; true the first time.
    pub(super) fn begin(&mut self) -> bool {
        self.has_grants && !std::mem::replace(&mut self.began, true)
    }

    /// It need not wait any longer.
    pub(super) fn hurry(&mut self) {
        self.is_due = true;
    }

    /// Whether something is to be written now.
    pub(super) fn is_due(&mut self, context: &mut Context<'_>) -> bool {
        if !self.is_due {
            let until = self.until.as_mut();
            self.is_due = until.is_some_and(|until| until.as_mut().poll(context).is_ready());
        }
        self.is_due && !self.bytes.is_empty()
    }
}

/// For how long the client has neither taken nor sent anything.
pub(super) struct Silence {
    patience: Option<Duration>,
    since: Instant,
    look: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    /// `patience` is how long it may last.
    pub(super) fn new(patience: Option<Duration>) -> Self {
        Self {
            patience,
            since: Instant::now(),
            look: None,
        }
    }

    /// The client took something, or sent something.
    pub(super) fn end(&mut self) {
        self.since = Instant::now();
    }

    /// Ready where it has lasted too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(patience) = self.patience else {
            return Poll::Pending;
        };
        let look = self
            .look
            .get_or_insert_with(|| Box::pin(sleep_until(self.since + patience)));
        loop {
            ready!(look.as_mut().poll(context));
            let lasted = self.since.elapsed();
            if (patience..patience + patience / 4).contains(&lasted) {
                return Poll::Ready(());
            }
            // For so long nobody looked: then it was not the client that kept others waiting.
            if lasted >= patience {
                self.since = Instant::now();
            }
            look.as_mut().reset(self.since + patience);
        }
    }
}

/// Long enough to make the round of two bytes each cheap.
const PAUSE: Duration = Duration::from_millis(100);
pub(super) const MOST_HELD: usize = 64 << 10;

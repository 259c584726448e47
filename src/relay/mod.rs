//! Dialling, listening and copying for permitted requests.
//!
//! Nothing here decides. A target is dialled and a listener bound with a [`Permit`] and nothing else,
//! and the terms of the permit are kept. The room does not know SSH: the client's side of a tunnel is a
//! [`Source`] and a [`Sink`]. Invariant: the source is always drained at once, so that no tunnel can
//! make the session that feeds it wait.
//!
//! [`Permit`]: crate::judgement::Permit

mod bound;
mod buffer;
mod clock;
mod dial;
mod flow;
mod gate;
mod inbox;
mod lead;
mod meter;
mod tunnel;
mod window;

use std::future::Future;
use std::task::{Context, Poll};

use bytes::Bytes;

pub(crate) use bound::is_ours;
pub use bound::{Accepted, Bound};
pub use clock::Patience;
pub use dial::{Dialled, dial};
pub use flow::{Flows, Memory, Queued, Round, Way};
pub use gate::{Gate, Passage};
pub use tunnel::{Stream, part, run};
pub use window::{Bounds, Overrun, Throttle};

/// What comes from the client.
pub enum Inbound {
    /// Bytes for the target.
    Data(Bytes),
    /// The client will send no more; the other direction goes on.
    Eof,
}

/// The client's sending side.
pub trait Source: Send {
    /// What the client sent next; `None` once the channel is closed.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Inbound>>;
}

/// The client's receiving side. Each call waits for the client's window, and returns false if the
/// channel is gone.
pub trait Sink: Send {
    /// Sends bytes of the target. What is sent is gone from them, and nothing else is where this is dropped meanwhile.
    fn data(&mut self, bytes: &mut Bytes) -> impl Future<Output = bool> + Send;
    /// Says that the target will send no more; once is enough.
    fn eof(&mut self) -> impl Future<Output = bool> + Send;
    /// Closes the channel.
    fn close(&mut self) -> impl Future<Output = bool> + Send;
}

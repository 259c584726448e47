//! Dialling, listening and copying for permitted requests.
//!
//! Nothing here decides. A target is dialled and a listener bound with a [`Permit`] and nothing else,
//! and the terms of the permit are kept. The room does not know SSH: the client's side of a tunnel is a
//! [`Source`], a [`Sink`] and a [`Queue`], which counts what waits and says when more may be sent. Invariant: the source is always drained at once, so that no tunnel can
//! make the session that feeds it wait.
//!
//! [`Permit`]: crate::judgement::Permit

mod backlog;
mod buffer;
mod deadlines;
mod dial;
mod listen;
mod rate;
mod tunnel;

use std::future::Future;
use std::task::{Context, Poll};

use bytes::Bytes;

pub(crate) use buffer::{MAX_READ, PIECE};
pub(crate) use deadlines::Patience;
pub(crate) use dial::{Undialled, dial};
pub(crate) use listen::is_ours;
pub(crate) use listen::{Accepted, ListeningSockets};
pub(crate) use tunnel::{Stream, part, run};

/// What comes from the client.
pub(crate) enum Inbound {
    /// Bytes for the target.
    Data(Bytes),
    /// The client will send no more; the other direction goes on.
    Eof,
}

/// The client's sending side.
pub(crate) trait Source: Send {
    /// What the client sent next; `None` once the channel is closed.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Inbound>>;
}

/// The client's receiving side. Each call waits for the client's window, and returns false if the
/// channel is gone.
pub(crate) trait Sink: Send {
    /// Sends bytes of the target. What is sent is gone from them, and nothing else is where this is dropped meanwhile.
    fn data(&mut self, bytes: &mut Bytes) -> impl Future<Output = bool> + Send;
    /// Says that the target will send no more; once is enough.
    fn eof(&mut self) -> impl Future<Output = bool> + Send;
    /// Closes the channel.
    fn close(&mut self) -> impl Future<Output = bool> + Send;
}

/// What waits in one tunnel for its target. The room that feeds the tunnel counts it, and throttles its client by that. It counts
/// nothing more once it is dropped.
pub(crate) trait Queue: Send {
    /// The way back.
    type Outlet: Outlet;
    /// The way back of the same tunnel.
    fn outlet(&self) -> Self::Outlet;
    /// Bytes were queued.
    fn add(&mut self, bytes: usize);
    /// Bytes left the queue, for the target or because that takes no more.
    fn take(&mut self, bytes: usize);
    /// Bytes arrived that nobody wants.
    fn skip(&self, bytes: usize);
    /// Bytes in the queue.
    fn bytes(&self) -> usize;
    /// Whether more waits than may, so that the tunnel must end.
    fn is_too_much(&self) -> bool;
}

/// What one tunnel may read of its target and send to its client.
pub(crate) trait Outlet: Send + Sync {
    /// Bytes that are held; they are not any more once it is dropped.
    type Held: Send;
    /// How many bytes may be read at once: at most [`MAX_READ`], or [`PIECE`] while much is held.
    fn room(&self) -> usize;
    /// Waits until the target may be read, which is expected to send so many bytes. Cancel-safe.
    fn open(&self, bytes: usize) -> impl Future<Output = ()> + Send;
    /// Counts bytes that were read while they are held.
    fn hold(&self, bytes: usize) -> Self::Held;
    /// Waits until some of so many bytes may be sent, and returns how many. Cancel-safe.
    fn send(&self, bytes: usize) -> impl Future<Output = usize> + Send;
}

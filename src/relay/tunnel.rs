//! One tunnel, from its first byte to its end.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::io::AsyncWrite;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::backlog::Backlog;
use super::buffer::{Buffer, MAX_READ, PIECE, Readable};
use super::deadlines::{Deadlines, Patience};
use super::rate::RateLimit;
use super::{Inbound, Outlet, Queue, Sink, Source};
use crate::request::Cause;
use crate::sessions::Forward;
use crate::workers;

/// The target's side of a tunnel.
pub(crate) enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
}

/// Copies both ways until both sides are done, a term is reached or the tunnel is closed from outside.
///
/// End of file on one side closes that direction only. `idle` and `stall` are the configured
/// defaults; the forward's own terms are stricter. The channel is left for the caller to [`part`].
pub(crate) async fn run(
    source: &mut impl Source,
    sink: &mut impl Sink,
    stream: &mut Stream,
    forward: &Forward,
    queue: impl Queue,
    patience: &Patience,
) -> Cause {
    match stream {
        Stream::Tcp(stream) => {
            let (read, write) = stream.split();
            copy(source, sink, read, write, forward, queue, patience).await
        }
        Stream::Unix(stream) => {
            let (read, write) = stream.split();
            copy(source, sink, read, write, forward, queue, patience).await
        }
    }
}

/// Ends a channel whose tunnel is over. If the client was told and does not close it in time, the gateway does, and this
/// returns false.
pub(crate) async fn part(source: &mut impl Source, sink: &mut impl Sink, patience: Duration) -> bool {
    let parting = async {
        if !patience.is_zero() && !draining(source, sink.eof()).await {
            return;
        }
        poll_fn(|context| {
            while let Some(_unwanted) = ready!(source.poll_next(context)) {}
            Poll::Ready(())
        })
        .await;
    };
    // Without patience there is no timer either, and the close leaves with the end of file.
    let client_was_first = match patience {
        Duration::ZERO => parting.now_or_never().is_some(),
        _ => timeout(patience, parting).await.is_ok(),
    };
    draining(source, sink.close()).await;
    client_was_first
}

/// Waits for the session to take a message. What arrives meanwhile is taken and dropped: the session may be waiting for that
/// before it takes anything.
async fn draining<T>(source: &mut impl Source, message: impl Future<Output = T>) -> T {
    let mut message = pin!(message);
    poll_fn(|context| {
        while let Poll::Ready(Some(_unwanted)) = source.poll_next(context) {}
        message.as_mut().poll(context)
    })
    .await
}

async fn copy(
    source: &mut impl Source,
    sink: &mut impl Sink,
    read: impl Readable,
    write: impl AsyncWrite + Unpin,
    forward: &Forward,
    queue: impl Queue,
    patience: &Patience,
) -> Cause {
    let deadlines = Deadlines::new();
    let budget = Budget {
        forward,
        limit: forward.terms.max_bytes,
    };
    let outlet = queue.outlet();
    let mut upward = Upward {
        source,
        write,
        backlog: Backlog::default(),
        queue,
        rate: RateLimit::new(forward.terms.bytes_per_second),
        source_is: End::Open,
        target_gone: false,
        budget: &budget,
        deadlines: &deadlines,
    };
    let delivered = AtomicBool::new(false);
    // Pinned here, and only borrowed below: a future that takes others has room for them twice.
    let mut up = pin!(upward.run(&delivered));
    let mut down = pin!(downward(sink, read, &budget, &deadlines, &outlet));
    let both = async {
        tokio::select! {
            ended = &mut up => return ended,
            ended = &mut down => if ended != Finish::Finished { return ended },
        }
        poll_fn(|context| match up.as_mut().poll(context) {
            Poll::Pending if delivered.load(Ordering::Relaxed) => Poll::Ready(Finish::Finished),
            other => other,
        })
        .await
    };
    tokio::select! {
        biased;
        cause = forward.stop.ended() => cause,
        ended = both => match ended {
            Finish::Finished | Finish::Closed => Cause::Closed,
            Finish::Spent => Cause::ByteLimit,
            Finish::Crowded => Cause::Stalled,
            Finish::Failed => Cause::Failed,
        },
        cause = deadlines.watch(forward, patience) => cause,
    }
}

/// How one direction came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Finish {
    /// End of file was passed on.
    Finished,
    /// The channel is gone.
    Closed,
    /// The bytes of the terms are used up.
    Spent,
    /// The target's connection broke.
    Failed,
    /// Too much waits for its target.
    Crowded,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Eof,
    Closed,
}

/// From the client to the target.
struct Upward<'a, S, W, Q> {
    source: &'a mut S,
    write: W,
    backlog: Backlog,
    queue: Q,
    rate: RateLimit,
    source_is: End,
    /// The target takes nothing more; what still comes is dropped, so that the client's window
    /// does not close on it.
    target_gone: bool,
    budget: &'a Budget<'a>,
    deadlines: &'a Deadlines,
}

impl<S: Source, W: AsyncWrite + Unpin, Q: Queue> Upward<'_, S, W, Q> {
    /// Ends when the client closes the channel, or a term ends the tunnel. `delivered` is set
    /// when the client's end of file was passed on.
    async fn run(&mut self, delivered: &AtomicBool) -> Finish {
        let ended = poll_fn(|context| self.poll(context)).await;
        if ended != Finish::Finished {
            return ended;
        }
        if !self.target_gone {
            let _ = poll_fn(|context| Pin::new(&mut self.write).poll_shutdown(context)).await;
        }
        delivered.store(true, Ordering::Relaxed);
        poll_fn(|context| {
            self.drain(context);
            if self.source_is == End::Closed {
                Poll::Ready(Finish::Closed)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Finish> {
        loop {
            self.drain(context);
            if self.backlog.is_empty() {
                return match self.source_is {
                    End::Open => Poll::Pending,
                    End::Eof => Poll::Ready(Finish::Finished),
                    End::Closed => Poll::Ready(Finish::Closed),
                };
            }
            let allowed = self.budget.allows(self.queue.bytes());
            if allowed == 0 {
                return Poll::Ready(Finish::Spent);
            }
            let Poll::Ready(allowed) = self.rate.poll_allow(context, allowed) else {
                self.deadlines.excuse();
                return self.wait();
            };
            match self.write(context, allowed) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => self.give_up(),
                Poll::Ready(Ok(written)) => self.wrote(written),
                Poll::Pending => return self.wait(),
            }
        }
    }

    /// Nothing more can be written now.
    fn wait(&self) -> Poll<Finish> {
        if self.queue.is_too_much() {
            Poll::Ready(Finish::Crowded)
        } else {
            Poll::Pending
        }
    }

    /// Takes everything that the client sent, whatever the target does.
    fn drain(&mut self, context: &mut Context<'_>) {
        while self.source_is != End::Closed {
            match self.source.poll_next(context) {
                Poll::Ready(Some(Inbound::Data(bytes))) if bytes.is_empty() => {}
                Poll::Ready(Some(Inbound::Data(bytes))) if !self.target_gone => {
                    if self.backlog.is_empty() {
                        self.deadlines.progress();
                    }
                    workers::received(bytes.len());
                    self.queue.add(bytes.len());
                    self.deadlines.waiting(self.queue.bytes());
                    self.backlog.push(bytes);
                }
                Poll::Ready(Some(Inbound::Data(bytes))) => self.queue.skip(bytes.len()),
                Poll::Ready(Some(Inbound::Eof)) => self.source_is = End::Eof,
                Poll::Ready(None) => self.source_is = End::Closed,
                Poll::Pending => return,
            }
        }
    }

    fn write(&mut self, context: &mut Context<'_>, allowed: usize) -> Poll<io::Result<usize>> {
        let mut slices = [IoSlice::new(&[]); MAX_SLICES];
        let count = self.backlog.slices(&mut slices, allowed);
        let slices = slices.get(..count).unwrap_or_default();
        Pin::new(&mut self.write).poll_write_vectored(context, slices)
    }

    fn wrote(&mut self, written: usize) {
        workers::carried(written);
        self.budget
            .forward
            .bytes
            .up
            .fetch_add(written as u64, Ordering::Relaxed);
        self.rate.passed(written);
        self.queue.take(written);
        self.deadlines.progress();
        self.deadlines.waiting(self.queue.bytes());
        self.backlog.advance(written);
    }

    fn give_up(&mut self) {
        self.target_gone = true;
        self.queue.take(self.queue.bytes());
        self.deadlines.waiting(0);
        self.backlog.clear();
    }
}

/// From the target to the client.
async fn downward(
    sink: &mut impl Sink,
    mut read: impl Readable,
    budget: &Budget<'_>,
    deadlines: &Deadlines,
    outlet: &impl Outlet,
) -> Finish {
    let mut rate = RateLimit::new(budget.forward.terms.bytes_per_second);
    let mut buffer = Buffer::default();
    loop {
        let allowed = rate.allow(MAX_READ).await;
        // With nothing left to spend, one more byte is one too many, but an end is an end.
        let limit = || budget.allows(allowed.min(outlet.room())).max(1);
        let bytes = match buffer.read(&mut read, outlet, limit).await {
            Ok(bytes) if bytes.is_empty() => {
                sink.eof().await;
                return Finish::Finished;
            }
            Ok(_) if budget.allows(1) == 0 => return Finish::Spent,
            Ok(bytes) => bytes,
            Err(_) => return Finish::Failed,
        };
        workers::carried(bytes.len());
        rate.passed(bytes.len());
        deadlines.progress_down();
        let mut unsent = Unsent::new(bytes, &budget.forward.bytes.down, outlet);
        while !unsent.rest.is_empty() {
            let bytes = outlet.send(unsent.rest.len().min(PIECE)).await;
            unsent.next(bytes);
            if !sink.data(&mut unsent.piece).await {
                return Finish::Closed;
            }
            deadlines.progress_down();
        }
    }
}

/// Bytes of the target on their way to the client. They count from the beginning, since they are spent, and what is not
/// sent in the end does not.
struct Unsent<'a, H> {
    piece: Bytes,
    rest: Bytes,
    count: &'a AtomicU64,
    _held: H,
}

impl<'a, H> Unsent<'a, H> {
    fn new(bytes: Bytes, count: &'a AtomicU64, outlet: &impl Outlet<Held = H>) -> Self {
        count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Self {
            piece: Bytes::new(),
            _held: outlet.hold(bytes.len()),
            rest: bytes,
            count,
        }
    }

    /// Goes on with the next piece, of so many bytes.
    fn next(&mut self, bytes: usize) {
        self.piece = self.rest.split_to(self.rest.len().min(bytes));
    }
}

impl<H> Drop for Unsent<'_, H> {
    fn drop(&mut self) {
        let unsent = self.piece.len() + self.rest.len();
        self.count.fetch_sub(unsent as u64, Ordering::Relaxed);
    }
}

/// The bytes that the terms still allow, both directions together.
struct Budget<'a> {
    forward: &'a Forward,
    limit: Option<u64>,
}

impl Budget<'_> {
    /// How many of these bytes may still pass.
    fn allows(&self, bytes: usize) -> usize {
        let left = |limit: u64| limit.saturating_sub(self.forward.bytes.total());
        let left = self
            .limit
            .map_or(usize::MAX, |limit| usize::try_from(left(limit)).unwrap_or(usize::MAX));
        bytes.min(left)
    }
}

const MAX_SLICES: usize = 32;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// What the client still sends: the session takes no message before all of it is taken.
    struct Rest(Arc<AtomicUsize>);

    impl Source for Rest {
        fn poll_next(&mut self, _context: &mut Context<'_>) -> Poll<Option<Inbound>> {
            match self.0.load(Ordering::Relaxed) {
                0 => Poll::Ready(None),
                left => {
                    self.0.store(left - 1, Ordering::Relaxed);
                    Poll::Ready(Some(Inbound::Data(Bytes::from_static(b"x"))))
                }
            }
        }
    }

    struct Full(Arc<AtomicUsize>);

    impl Full {
        async fn takes(&self) -> bool {
            poll_fn(|_| match self.0.load(Ordering::Relaxed) {
                0 => Poll::Ready(true),
                _ => Poll::Pending,
            })
            .await
        }
    }

    impl Sink for Full {
        async fn data(&mut self, _bytes: &mut Bytes) -> bool {
            self.takes().await
        }

        async fn eof(&mut self) -> bool {
            self.takes().await
        }

        async fn close(&mut self) -> bool {
            self.takes().await
        }
    }

    #[tokio::test]
    async fn a_channel_that_is_over_takes_what_arrives_while_it_waits_to_say_so() {
        for patience in [Duration::ZERO, Duration::from_secs(60)] {
            let left = Arc::new(AtomicUsize::new(100));
            let (mut source, mut sink) = (Rest(Arc::clone(&left)), Full(Arc::clone(&left)));
            let parted = part(&mut source, &mut sink, patience).now_or_never();
            assert!(
                parted.is_some(),
                "{patience:?}: {} were not taken",
                left.load(Ordering::Relaxed)
            );
        }
    }
}

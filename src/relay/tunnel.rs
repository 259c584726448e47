use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use futures_util::FutureExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::time::{Instant, sleep_until, timeout};

use super::flow::{Outlet, Queued};
use super::inbox::Inbox;
use super::meter::Meter;
use super::{Inbound, Sink, Source};
use crate::audit::Cause;
use crate::registry::Forward;
use crate::workers;

/// The target's side of a tunnel.
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix-domain socket.
    Unix(UnixStream),
}

/// Copies both ways until both sides are done, a term is reached or somebody ends it.
///
/// End of file on one side closes that direction only. `idle` and `stall` are the configured
/// defaults; the forward's own terms are stricter. The channel is left for the caller to close.
pub async fn run(
    source: impl Source,
    sink: &mut impl Sink,
    stream: Stream,
    forward: &Forward,
    queue: Queued,
    patience: Patience,
) -> Cause {
    match stream {
        Stream::Tcp(mut stream) => {
            let (read, write) = stream.split();
            copy(source, sink, read, write, forward, queue, patience).await
        }
        Stream::Unix(mut stream) => {
            let (read, write) = stream.split();
            copy(source, sink, read, write, forward, queue, patience).await
        }
    }
}

/// How long a tunnel may do nothing.
#[derive(Clone, Copy)]
pub struct Patience {
    /// Without a byte in either direction.
    pub idle: Option<Duration>,
    /// With bytes for a target that takes none.
    pub stall: Option<Duration>,
    /// With both directions done, for the client to close its side.
    pub close: Duration,
}

async fn copy(
    source: impl Source,
    sink: &mut impl Sink,
    read: impl Readable,
    write: impl AsyncWrite + Unpin,
    forward: &Forward,
    queue: Queued,
    patience: Patience,
) -> Cause {
    let clock = Clock::new();
    let budget = Budget {
        forward,
        limit: forward.terms.max_bytes,
    };
    let outlet = queue.outlet();
    let upward = Upward {
        source,
        write,
        inbox: Inbox::default(),
        queue,
        meter: Meter::new(forward.terms.bytes_per_second),
        source_is: End::Open,
        target_gone: false,
        budget: &budget,
        clock: &clock,
    };
    let delivered = AtomicBool::new(false);
    let up = upward.run(&delivered);
    let down = downward(sink, read, &budget, &clock, &outlet);
    let both = async {
        tokio::pin!(up, down);
        tokio::select! {
            ended = &mut up => return ended,
            ended = &mut down => if ended != Ended::Finished { return ended },
        }
        let done = poll_fn(|context| match up.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending if delivered.load(Ordering::Relaxed) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        });
        match done.await {
            Some(ended) => ended,
            None => timeout(patience.close, up).await.unwrap_or(Ended::Finished),
        }
    };
    tokio::select! {
        biased;
        cause = forward.stop.ended() => cause,
        ended = both => match ended {
            Ended::Finished | Ended::Closed => Cause::Closed,
            Ended::Spent => Cause::ByteLimit,
            Ended::Failed => Cause::Failed,
        },
        cause = clock.watch(forward, patience) => cause,
    }
}

/// How one direction came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// End of file was passed on.
    Finished,
    /// The channel is gone.
    Closed,
    /// The bytes of the terms are used up.
    Spent,
    /// The target's connection broke.
    Failed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Open,
    Eof,
    Closed,
}

/// From the client to the target.
struct Upward<'a, S, W> {
    source: S,
    write: W,
    inbox: Inbox,
    queue: Queued,
    meter: Meter,
    source_is: End,
    /// The target takes nothing more; what still comes is dropped, so that the client's window
    /// does not close on it.
    target_gone: bool,
    budget: &'a Budget<'a>,
    clock: &'a Clock,
}

impl<S: Source, W: AsyncWrite + Unpin> Upward<'_, S, W> {
    /// Ends when the client closes the channel, or a term ends the tunnel. `delivered` is set
    /// when the client's end of file was passed on.
    async fn run(mut self, delivered: &AtomicBool) -> Ended {
        let ended = poll_fn(|context| self.poll(context)).await;
        if ended != Ended::Finished {
            return ended;
        }
        if !self.target_gone {
            let _ = poll_fn(|context| Pin::new(&mut self.write).poll_shutdown(context)).await;
        }
        delivered.store(true, Ordering::Relaxed);
        poll_fn(|context| {
            self.drain(context);
            if self.source_is == End::Closed {
                Poll::Ready(Ended::Closed)
            } else {
                Poll::Pending
            }
        })
        .await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Ended> {
        loop {
            self.drain(context);
            if self.inbox.is_empty() {
                return match self.source_is {
                    End::Open => Poll::Pending,
                    End::Eof => Poll::Ready(Ended::Finished),
                    End::Closed => Poll::Ready(Ended::Closed),
                };
            }
            let allowed = self.budget.allows(self.queue.bytes());
            if allowed == 0 {
                return Poll::Ready(Ended::Spent);
            }
            let Poll::Ready(allowed) = self.meter.poll_allow(context, allowed) else {
                self.clock.excuse();
                return Poll::Pending;
            };
            match self.write(context, allowed) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => self.give_up(),
                Poll::Ready(Ok(written)) => self.wrote(written),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Takes everything that the client sent, whatever the target does.
    fn drain(&mut self, context: &mut Context<'_>) {
        while self.source_is != End::Closed {
            match self.source.poll_next(context) {
                Poll::Ready(Some(Inbound::Data(bytes))) if !self.target_gone => {
                    if self.inbox.is_empty() {
                        self.clock.progress();
                    }
                    self.queue.add(bytes.len());
                    self.clock.waiting(self.queue.bytes());
                    self.inbox.push(bytes);
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
        let count = self.inbox.slices(&mut slices, allowed);
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
        self.meter.passed(written);
        self.queue.take(written);
        self.clock.progress();
        self.clock.waiting(self.queue.bytes());
        self.inbox.advance(written);
    }

    fn give_up(&mut self) {
        self.target_gone = true;
        self.queue.take(self.queue.bytes());
        self.clock.waiting(0);
        self.inbox.clear();
    }
}

/// From the target to the client.
async fn downward(
    sink: &mut impl Sink,
    mut read: impl Readable,
    budget: &Budget<'_>,
    clock: &Clock,
    outlet: &Outlet,
) -> Ended {
    let mut meter = Meter::new(budget.forward.terms.bytes_per_second);
    let mut buffer = Buffer::default();
    loop {
        let allowed = meter.allow(MAX_READ).await;
        // With nothing left to spend, one more byte is one too many, but an end is an end.
        let limit = || budget.allows(allowed).max(1);
        let bytes = match buffer.read(&mut read, limit).await {
            Ok(bytes) if bytes.is_empty() => {
                sink.eof().await;
                return Ended::Finished;
            }
            Ok(_) if budget.allows(1) == 0 => return Ended::Spent,
            Ok(bytes) => bytes,
            Err(_) => return Ended::Failed,
        };
        workers::carried(bytes.len());
        meter.passed(bytes.len());
        clock.progress_down();
        budget
            .forward
            .bytes
            .down
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        outlet.send(bytes.len()).await;
        if !sink.data(bytes).await {
            return Ended::Closed;
        }
    }
}

/// The reading half of a socket, which can tell that something is there before a buffer is made for it.
trait Readable: AsyncRead + Unpin {
    async fn readable(&self) -> io::Result<()>;
}

impl Readable for tcp::ReadHalf<'_> {
    async fn readable(&self) -> io::Result<()> {
        tcp::ReadHalf::readable(self).await
    }
}

impl Readable for unix::ReadHalf<'_> {
    async fn readable(&self) -> io::Result<()> {
        unix::ReadHalf::readable(self).await
    }
}

/// Reads into pieces as large as what arrives; an idle tunnel holds none.
struct Buffer {
    bytes: BytesMut,
    piece: usize,
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            bytes: BytesMut::new(),
            piece: MIN_READ,
        }
    }
}

impl Buffer {
    /// At most `limit` bytes, which is asked when there is something to read; none at the end.
    ///
    /// A read that does not fill its room has emptied the socket. tokio then waits for news of it, and what comes
    /// meanwhile is read in one piece; asking again at once would find little, and tell the target of each little.
    async fn read(&mut self, socket: &mut impl Readable, limit: impl Fn() -> usize) -> io::Result<Bytes> {
        loop {
            if self.bytes.capacity() < MIN_READ / 4 {
                self.bytes.reserve(self.piece);
            }
            let room = self.bytes.capacity().min(limit());
            let read = socket.read_buf(&mut (&mut self.bytes).limit(room)).now_or_never();
            match read {
                Some(length) => {
                    let length = length?;
                    self.piece = if length == room { self.piece * 2 } else { length };
                    self.piece = self.piece.clamp(MIN_READ, MAX_READ);
                    return Ok(self.bytes.split().freeze());
                }
                None => {
                    self.bytes = BytesMut::new();
                    socket.readable().await?;
                }
            }
        }
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

/// When something last passed.
struct Clock {
    began: Instant,
    /// Milliseconds since `began`.
    last: AtomicU64,
    last_up: AtomicU64,
    waiting: AtomicU64,
}

impl Clock {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            last: AtomicU64::new(0),
            last_up: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn progress(&self) {
        let now = self.now();
        self.last.store(now, Ordering::Relaxed);
        self.last_up.store(now, Ordering::Relaxed);
    }

    fn progress_down(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// The rate limit, not the target, keeps bytes waiting.
    fn excuse(&self) {
        self.last_up.store(self.now(), Ordering::Relaxed);
    }

    fn waiting(&self, bytes: usize) {
        self.waiting.store(bytes as u64, Ordering::Relaxed);
    }

    /// Waits for the first time limit that is reached.
    async fn watch(&self, forward: &Forward, patience: Patience) -> Cause {
        let seconds = |seconds: Option<u32>| seconds.map(|seconds| Duration::from_secs(u64::from(seconds)));
        let expires = seconds(forward.terms.max_seconds).map(|limit| self.began + limit);
        let idle = match (seconds(forward.terms.idle_seconds), patience.idle) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        loop {
            let at = |millis: &AtomicU64| self.began + Duration::from_millis(millis.load(Ordering::Relaxed));
            let idles = idle.map(|idle| at(&self.last) + idle);
            let waits = self.waiting.load(Ordering::Relaxed) > 0;
            let stalls = patience
                .stall
                .map(|stall| if waits { at(&self.last_up) } else { Instant::now() } + stall);
            let next = [expires, idles, stalls].into_iter().flatten().min();
            let Some(next) = next else {
                return std::future::pending().await;
            };
            let now = Instant::now();
            if expires.is_some_and(|when| when <= now) {
                return Cause::Expired;
            }
            if idles.is_some_and(|when| when <= now) {
                return Cause::Idle;
            }
            if waits && stalls.is_some_and(|when| when <= now) {
                return Cause::Stalled;
            }
            sleep_until(next).await;
        }
    }
}

const MIN_READ: usize = 4 << 10;
/// Four SSH packets' worth: more saves little, and would keep small messages of other tunnels waiting behind it.
const MAX_READ: usize = 128 << 10;
const MAX_SLICES: usize = 32;

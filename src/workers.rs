//! The threads that serve connections: one single-threaded runtime for each core.
//!
//! Everything of a connection stays on one thread, its tunnels included, so bytes pass from the
//! target to the cipher without a thread switch. Measured against a runtime that moves tasks
//! between threads this saves a sixth of the processor time per byte. Policies compute elsewhere
//! once they take longer than one turn, so that they do not hold up the connections of a core.
//!
//! The first of these threads accepts, too: a connection that it keeps costs no switch at all until it is served.
//!
//! While much passes, a thread that has nothing left to do rests for a moment before it looks for more, as network
//! cards hold back interrupts: to wake up for every packet cost more than to decrypt it.

use std::cell::Cell;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use std::{io, net, thread};

use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The threads; they end when this is dropped, and what runs on them is cut short.
pub(crate) struct Workers {
    workers: Vec<Worker>,
    /// Told whenever a connection has ended.
    ended: Arc<Notify>,
    _ending: DropGuard,
}

struct Worker {
    handle: Handle,
    connections: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts one thread for each core.
    ///
    /// # Errors
    /// If a thread or its runtime cannot be created.
    pub(crate) fn start() -> io::Result<Self> {
        let ending = CancellationToken::new();
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let workers = (0..cores)
            .map(|_| Worker::start(ending.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        let ended = Arc::new(Notify::new());
        if let Some(worker) = workers.first() {
            worker.handle.spawn(give_back(Arc::clone(&ended)));
        }
        Ok(Self {
            workers,
            ended,
            _ending: ending.drop_guard(),
        })
    }

    /// Accepts on the first thread: what `accept` makes of the listener runs there.
    ///
    /// # Errors
    /// If the system cannot watch the listener.
    pub(crate) fn accept<A>(&self, listener: net::TcpListener, accept: impl FnOnce(TcpListener) -> A) -> io::Result<()>
    where
        A: Future<Output = ()> + Send + 'static,
    {
        if let Some(first) = self.workers.first() {
            let _there = first.handle.enter();
            first.handle.spawn(accept(TcpListener::from_std(listener)?));
        }
        Ok(())
    }

    /// Serves a connection that the first thread has accepted on the thread that has the fewest.
    ///
    /// # Errors
    /// If the system cannot watch the connection there.
    pub(crate) fn serve<C>(&self, stream: TcpStream, serve: impl FnOnce(TcpStream) -> C) -> io::Result<()>
    where
        C: Future<Output = ()> + Send + 'static,
    {
        let load = |(_, worker): &(usize, &Worker)| worker.connections.load(Ordering::Relaxed);
        let Some((place, worker)) = self.workers.iter().enumerate().min_by_key(load) else {
            return Ok(());
        };
        let stream = match place {
            0 => stream,
            _ => {
                let stream = stream.into_std()?;
                let _there = worker.handle.enter();
                TcpStream::from_std(stream)?
            }
        };
        let counted = Counted::new(&worker.connections);
        let ended = Arc::clone(&self.ended);
        // Not a block that awaits the connection: it would have room for it twice.
        worker.handle.spawn(serve(stream).map(move |()| {
            drop(counted);
            ended.notify_one();
        }));
        Ok(())
    }
}

impl Worker {
    fn start(ending: CancellationToken) -> io::Result<Self> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .on_thread_park(rest)
            .build()?;
        let handle = runtime.handle().clone();
        thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || runtime.block_on(until(ending)))?;
        Ok(Self {
            handle,
            connections: Arc::default(),
        })
    }
}

/// Waits for the end of the threads, and always keeps a timer that is due within a second. Each forward sets timers of several
/// seconds, and if no earlier one exists, tokio wakes its own thread for each of them with a system call.
async fn until(ending: CancellationToken) {
    while timeout(DUE, ending.cancelled()).await.is_err() {}
}

/// Lets the allocator give back what ended connections held. It does so some time after memory was freed, but only where
/// something happens then: the end of a thread does, and where everybody has left nothing else might.
async fn give_back(ended: Arc<Notify>) {
    loop {
        ended.notified().await;
        sleep(CALM).await;
        if let Err(error) = thread::Builder::new().name("give-back".to_owned()).spawn(|| {}) {
            tracing::debug!(%error, "freed memory was not returned to the system yet");
        }
    }
}

thread_local! {
    /// Bytes that were relayed since this thread last had nothing to do, and when that was.
    static TURN: Cell<(usize, Option<Instant>)> = const { Cell::new((0, None)) };
    /// When a client of this thread last sent a small message, to which it probably waits for an answer.
    static ASKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Notes the size of a message from a client.
pub(crate) fn received(bytes: usize) {
    if bytes <= LITTLE {
        ASKED.set(Some(Instant::now()));
    }
}

/// Bytes were relayed on this thread.
pub(crate) fn carried(bytes: usize) {
    let (sum, began) = TURN.get();
    TURN.set((sum + bytes, began));
}

/// Pauses the thread under load, so that more arrives before it looks again. A thread does not pause if it carries few bytes, or
/// if one of its clients waits for small answers.
fn rest() {
    let (bytes, began) = TURN.get();
    let since = |when: Option<Instant>, most| when.is_some_and(|when| when.elapsed() < most);
    if bytes >= MUCH && since(began, SOON) && !since(ASKED.get(), PRESENCE) {
        thread::sleep(REST);
    }
    TURN.set((0, (bytes >= MUCH).then(Instant::now)));
}

/// Shorter than the timers of forwards, and too rare to cost anything.
const DUE: Duration = Duration::from_secs(1);
/// Longer than the allocator waits with what was freed.
const CALM: Duration = Duration::from_secs(2);
/// One full SSH packet.
const MUCH: usize = 32 << 10;
const SOON: Duration = Duration::from_millis(1);
/// The largest message that counts as small.
const LITTLE: usize = 4 << 10;
/// How long a client counts as waiting after a small message.
const PRESENCE: Duration = Duration::from_millis(100);
/// The system makes some 70 microseconds more of it. Longer rests save little more, and new connections wait for them.
const REST: Duration = Duration::from_micros(150);

struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

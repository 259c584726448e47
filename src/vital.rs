//! The tasks that a gateway cannot do without: each is started again when it ends too early, and [`Vitals::absent`] names
//! those that are not running now.
//!
//! A task is essential if nothing else would do its work: the loop that accepts connections, the loop that watches files, the
//! thread that writes the audit log. When such a task panics, the panic is logged as an error and the task starts again after
//! a pause, which grows while it keeps failing. Until then readiness can name it.

use std::any::Any;
use std::fmt::{self, Display};
use std::future::Future;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::request::printable;

/// An essential task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vital {
    /// Accepts connections on that address.
    Accepting(SocketAddr),
    /// Looks for changed files of policies.
    Watching,
    /// Looks for moved tags in registries.
    Polling,
    /// Looks for changed files of keys.
    WatchingKeys,
    /// Writes the audit log.
    Auditing,
    /// Interrupts policies at their deadlines.
    Epochs,
    /// Makes instances of policies ahead.
    Preparing,
    /// Serves the control socket.
    Steering,
    /// Serves health paths on that address.
    Monitoring(SocketAddr),
    /// Takes the samples of the status page.
    Sampling,
    /// Keeps the connection to Redis.
    Linking,
    /// Counts together with other gateways.
    Counting,
    /// Hears what administrators tell all gateways.
    Hearing,
    /// Tells other gateways how it is with its policies.
    Telling,
}

impl Display for Vital {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepting(address) => write!(f, "accepting on {address}"),
            Self::Watching => f.write_str("watching policy files"),
            Self::Polling => f.write_str("looking up policies in registries"),
            Self::WatchingKeys => f.write_str("watching key files"),
            Self::Auditing => f.write_str("writing the audit log"),
            Self::Sampling => f.write_str("taking samples for the status page"),
            Self::Linking => f.write_str("keeping the connection to redis"),
            Self::Hearing => f.write_str("hearing what all gateways are told"),
            Self::Telling => f.write_str("telling other gateways of its policies"),
            Self::Counting => f.write_str("counting together with other gateways"),
            Self::Steering => f.write_str("serving the control socket"),
            Self::Monitoring(address) => write!(f, "serving {address}"),
            Self::Preparing => f.write_str("preparing instances of policies"),
            Self::Epochs => f.write_str("interrupting policies at their deadlines"),
        }
    }
}

/// The essential tasks of one gateway. Cheap to clone.
#[derive(Clone, Default)]
pub struct Vitals(Arc<Mutex<Vec<Entry>>>);

struct Entry {
    vital: Vital,
    runs: Box<dyn Fn() -> bool + Send + Sync>,
}

/// Whether one essential task runs now. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pulse(Arc<AtomicBool>);

impl Pulse {
    /// Whether the task runs.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    fn beats(&self) -> Beating<'_> {
        self.0.store(true, Ordering::Release);
        Beating(self)
    }
}

/// The task runs; it does no longer when this is dropped.
struct Beating<'a>(&'a Pulse);

impl Drop for Beating<'_> {
    fn drop(&mut self) {
        self.0.0.store(false, Ordering::Release);
    }
}

impl Vitals {
    /// The essential tasks that are not running now.
    #[must_use]
    pub fn absent(&self) -> Vec<Vital> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let absent = entries.iter().filter(|entry| !(entry.runs)());
        absent.map(|entry| entry.vital).collect()
    }

    /// Registers a task that is kept elsewhere.
    pub fn register(&self, vital: Vital, runs: impl Fn() -> bool + Send + Sync + 'static) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(Entry {
            vital,
            runs: Box::new(runs),
        });
    }

    /// Registers a task and keeps it running until `closing`: whenever it panics or ends before, it is made and started anew.
    pub fn keep<F>(
        &self,
        vital: Vital,
        closing: CancellationToken,
        make: impl Fn() -> F + Send + Sync + 'static,
    ) -> impl Future<Output = ()> + Send + 'static
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let pulse = Pulse::default();
        let seen = pulse.clone();
        self.register(vital, move || seen.is_there());
        async move {
            let mut pause = Pause::default();
            loop {
                let began = Instant::now();
                let beating = pulse.beats();
                let ended = AssertUnwindSafe(make()).catch_unwind().await;
                drop(beating);
                if closing.is_cancelled() {
                    return;
                }
                let pause = pause.after(began.elapsed());
                report(&vital, ended.err(), pause);
                tokio::select! {
                    () = sleep(pause) => {}
                    () = closing.cancelled() => return,
                }
            }
        }
    }
}

/// Starts a thread that keeps `body` running until it returns: whenever it panics it is called again.
///
/// # Errors
/// Fails if the system gives no thread.
pub fn keep_thread(
    name: &str,
    vital: Vital,
    pulse: Pulse,
    mut body: impl FnMut() + Send + 'static,
) -> std::io::Result<thread::JoinHandle<()>> {
    // It counts as running from here on, so that nothing looks absent that is only starting.
    pulse.0.store(true, Ordering::Release);
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut pause = Pause::default();
        loop {
            let began = Instant::now();
            let beating = pulse.beats();
            let ended = std::panic::catch_unwind(AssertUnwindSafe(&mut body));
            drop(beating);
            let Err(panic) = ended else {
                return;
            };
            let pause = pause.after(began.elapsed());
            report(&vital, Some(panic), pause);
            thread::sleep(pause);
        }
    })
}

fn report(vital: &Vital, panic: Option<Box<dyn Any + Send>>, pause: Duration) {
    let why = panic.map_or_else(|| "it ended".to_owned(), |panic| words(&*panic));
    let millis = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    tracing::error!(task = %vital, why, millis, "an essential task failed; it restarts after a pause");
}

/// Runs a future and turns a panic in it into its words.
///
/// # Errors
/// What the panic said.
pub async fn caught<T>(future: impl Future<Output = T>) -> Result<T, String> {
    let done = AssertUnwindSafe(future).catch_unwind().await;
    done.map_err(|panic| words(&*panic))
}

/// What a panic said, on one line.
#[must_use]
pub fn words(panic: &(dyn Any + Send)) -> String {
    let said = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let said = said.or_else(|| panic.downcast_ref::<String>().cloned());
    printable(
        &said.unwrap_or_else(|| "a panic without a message".to_owned()),
        MAX_WORDS,
    )
}

/// How long until the next try: longer each time, and short again after a long run.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    fn after(&mut self, ran: Duration) -> Duration {
        self.0 = if ran > LONG_RUN {
            0
        } else {
            (self.0 + 1).min(MOST_DOUBLINGS)
        };
        FIRST_PAUSE * 2_u32.pow(self.0)
    }
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause is 3.2 seconds.
const MOST_DOUBLINGS: u32 = 6;
const LONG_RUN: Duration = Duration::from_secs(60);
const MAX_WORDS: usize = 256;

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[tokio::test]
    async fn a_task_that_panics_or_ends_is_absent_until_it_runs_again() {
        let vitals = Vitals::default();
        let closing = CancellationToken::new();
        let (told, mut tells) = unbounded_channel();
        let until = closing.clone();
        let kept = vitals.keep(Vital::Watching, closing.clone(), move || {
            let (told, until) = (told.clone(), until.clone());
            async move {
                let (answer, answered) = tokio::sync::oneshot::channel();
                let _ = told.send(answer);
                match answered.await {
                    Ok("panic") => panic!("as told"),
                    Ok("end") => {}
                    _ => until.cancelled().await,
                }
            }
        });
        assert_eq!(vitals.absent(), [Vital::Watching], "not started yet");
        let task = tokio::spawn(kept);
        for order in ["panic", "end", "panic"] {
            let run = tells.recv().await.unwrap();
            assert_eq!(vitals.absent(), []);
            run.send(order).unwrap();
            while vitals.absent().is_empty() {
                tokio::task::yield_now().await;
            }
        }
        let _last = tells.recv().await.unwrap();
        assert_eq!(vitals.absent(), []);
        closing.cancel();
        drop(_last);
        task.await.unwrap();
    }

    #[test]
    fn a_thread_that_panics_is_called_again_until_it_returns() {
        let pulse = Pulse::default();
        let mut runs = 0;
        let thread = keep_thread("test", Vital::Auditing, pulse.clone(), move || {
            runs += 1;
            assert!(runs >= 2, "run {runs}");
        });
        thread.unwrap().join().unwrap();
        assert!(!pulse.is_there());
    }

    #[test]
    fn pauses_grow_to_seconds_and_are_short_again_after_a_long_run() {
        let mut pause = Pause::default();
        let pauses: Vec<_> = (0..9).map(|_| pause.after(Duration::ZERO).as_millis()).collect();
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 3200, 3200, 3200]);
        assert_eq!(pause.after(LONG_RUN * 2), FIRST_PAUSE);
    }

    #[tokio::test]
    async fn a_panic_becomes_its_words_on_one_line() {
        let one: Result<(), _> = caught(async { panic!("plain") }).await;
        assert_eq!(one, Err("plain".to_owned()));
        let number = 7;
        let other: Result<(), _> = caught(async { panic!("two\nlines of {number}") }).await;
        assert_eq!(other, Err("two lines of 7".to_owned()));
        assert_eq!(caught(async { 1 }).await, Ok(1));
    }
}

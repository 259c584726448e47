//! The way into the log: a line waits for the thread that writes it.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::call::call_soon;
use super::queue::Queue;
use super::target::Target;
use super::waiter::Waiter;
use super::writer::Writer;
use crate::config;
use crate::vital::{Pulse, Vital, keep_thread};

/// The way into the log. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Way>);

/// With the last of them the thread ends, too.
struct Way {
    shared: Arc<Pipeline>,
    /// Whether the thread lives; nothing ever comes from it.
    writer: Mutex<mpsc::Receiver<Infallible>>,
    pulse: Pulse,
}

/// What those who record share with the thread that writes.
pub(super) struct Pipeline {
    pub(super) queue: Queue,
    pub(super) state: State,
}

pub(super) struct State {
    required: bool,
    pub(super) broken: AtomicBool,
    /// Lines that are not in the log yet.
    pub(super) waiting: AtomicUsize,
    /// Lines for which there was no room, of a log that is not required.
    pub(super) dropped: AtomicUsize,
    pub(super) tally: Tally,
}

/// What became of lines, since the start.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) written: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) dropped: AtomicU64,
}

/// What became of lines, since the start of the gateway.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// That are in the log.
    pub written: u64,
    /// That could not be written when that was tried. They are kept and tried again, twice a second, and counted each time.
    pub failed: u64,
    /// For which there was no room; always 0 of a log that is required.
    pub dropped: u64,
}

/// When a line is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Haste {
    /// At once.
    AtOnce,
    /// Within twenty milliseconds, or with the next line that is written at once.
    MayWait,
}

/// Resolves when the line is in the log.
pub struct Written<'a> {
    shared: &'a Pipeline,
    done: Option<oneshot::Receiver<()>>,
}

impl Written<'_> {
    /// True once the line is in the log; false where it cannot be written in time and must be. Then nobody after this one
    /// waits so long: the log counts as broken until something is written.
    pub async fn confirmed(self) -> bool {
        let Some(done) = self.done else {
            return true;
        };
        let written = tokio::time::timeout(PATIENCE, done).await;
        if written.is_err() {
            if !self.shared.state.broken.swap(true, Ordering::AcqRel) {
                tracing::error!("the audit log is not written in time: new forwards are refused");
            }
            // The thread may have written it just now: woken, it says whether it can write.
            self.shared.queue.add(|_| ());
        }
        matches!(written, Ok(Ok(())))
    }
}

impl Audit {
    /// Opens the log and starts its thread.
    ///
    /// # Errors
    /// Where the file cannot be opened for appending and the log is required.
    pub fn open(config: &config::Audit) -> io::Result<Self> {
        let mut target = Target::new(&config.file);
        let opened = target.open();
        if config.required {
            opened?;
        } else if let Err(error) = opened {
            tracing::warn!(%error, "the audit log cannot be opened; it is not required, so forwards go on");
        }
        let shared = Arc::new(Pipeline {
            queue: Queue::default(),
            state: State {
                required: config.required,
                broken: AtomicBool::new(false),
                waiting: AtomicUsize::new(0),
                dropped: AtomicUsize::new(0),
                tally: Tally::default(),
            },
        });
        let (alive, ended) = mpsc::channel();
        let mut writer = Writer::new(target, Arc::clone(&shared), alive);
        let pulse = Pulse::default();
        keep_thread("audit", Vital::Auditing, pulse.clone(), move || writer.run())?;
        Ok(Self(Arc::new(Way {
            shared,
            writer: Mutex::new(ended),
            pulse,
        })))
    }

    /// Hands a line, with its end, to the log without waiting.
    pub fn write(&self, line: Vec<u8>, haste: Haste) {
        self.send(line, haste, None);
    }

    /// Hands a line to the log; the answer tells when it is there.
    #[must_use]
    pub fn write_surely(&self, line: Vec<u8>, haste: Haste) -> Written<'_> {
        let shared = &*self.0.shared;
        if !shared.state.required {
            self.send(line, haste, None);
            return Written { shared, done: None };
        }
        let (sender, done) = oneshot::channel();
        self.send(line, haste, Some(Waiter::new(sender)));
        Written {
            shared,
            done: Some(done),
        }
    }

    /// The answer for a line that could not be made.
    #[must_use]
    pub fn unwritten(&self) -> Written<'_> {
        Written {
            shared: &self.0.shared,
            done: self.0.shared.state.required.then(|| oneshot::channel().1),
        }
    }

    /// False where new forwards must be refused, before anything is decided, because the log cannot be written.
    #[must_use]
    pub fn takes_lines(&self) -> bool {
        let state = &self.0.shared.state;
        !state.required || !state.broken.load(Ordering::Acquire) && self.has_room()
    }

    /// False where new logins must be refused, before anything is decided, because too much waits to be written. What is
    /// let in has a line for its end, so these two are what bounds the lines that wait: none is dropped of a log that is
    /// required.
    #[must_use]
    pub fn has_room(&self) -> bool {
        let state = &self.0.shared.state;
        !state.required || state.waiting.load(Ordering::Acquire) < BACKLOG
    }

    /// Whether the thread that writes the log runs.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.0.pulse.is_there()
    }

    /// Whether lines get into the log now, and how many wait.
    #[must_use]
    pub fn state(&self) -> (bool, usize) {
        let state = &self.0.shared.state;
        (
            !state.broken.load(Ordering::Acquire),
            state.waiting.load(Ordering::Acquire),
        )
    }

    /// What became of all lines so far.
    #[must_use]
    pub fn lines(&self) -> Lines {
        let tally = &self.0.shared.state.tally;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Lines {
            written: count(&tally.written),
            failed: count(&tally.failed),
            dropped: count(&tally.dropped),
        }
    }

    /// Opens the file again under its name, after it was moved away.
    pub fn reopen(&self) {
        self.0.shared.queue.add(|orders| orders.reopen = true);
    }

    /// Writes what is left, and ends; a log that takes nothing is not waited for without end.
    pub fn finish(&self) {
        self.0.shared.queue.add(|orders| orders.finish = true);
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.recv_timeout(LAST_PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let lines = self.0.shared.state.waiting.load(Ordering::Acquire);
            tracing::error!(lines, "the audit log takes nothing: lines are lost");
        }
    }

    fn send(&self, line: Vec<u8>, haste: Haste, waiter: Option<Waiter>) {
        let Pipeline { queue, state, .. } = &*self.0.shared;
        if !state.required && state.waiting.load(Ordering::Acquire) >= 2 * BACKLOG {
            state.tally.dropped.fetch_add(1, Ordering::Relaxed);
            if state.dropped.fetch_add(1, Ordering::AcqRel) == 0 {
                tracing::error!("the audit log takes no lines: they are dropped, since `audit.required` is false");
            }
            return;
        }
        state.waiting.fetch_add(1, Ordering::AcqRel);
        let is_waited_for = waiter.is_some();
        let orders = queue.put_line(line, waiter, haste == Haste::AtOnce);
        match is_waited_for {
            true => call_soon(&self.0.shared, orders),
            // The thread is about to be woken for an urgent line, and will write this one with it.
            false if haste == Haste::MayWait && !orders.calls.is_empty() => drop(orders),
            false => queue.call(orders),
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.queue.add(|orders| orders.finish = true);
    }
}

/// Lines that may wait before new forwards are refused.
const BACKLOG: usize = 100_000;
/// How long a request waits for its line.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long the end waits for what is left to be written.
const LAST_PATIENCE: Duration = Duration::from_secs(5);
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::AuditFile;

    fn log(path: &Path) -> Audit {
        let config = config::Audit {
            file: AuditFile::Path(path.to_owned()),
            required: true,
        };
        Audit::open(&config).unwrap()
    }

    #[tokio::test]
    async fn lines_keep_their_order_whether_somebody_waits_for_them_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = log(&path);
        for round in 0..20 {
            audit.write(b"later\n".to_vec(), Haste::MayWait);
            let line = format!("round {round}\n");
            let written = audit.write_surely(line.clone().into_bytes(), Haste::AtOnce);
            assert!(written.confirmed().await);
            let lines = std::fs::read_to_string(&path).unwrap();
            assert_eq!(lines.lines().count(), 2 * round + 2, "{lines}");
            assert!(lines.ends_with(&format!("later\n{line}")), "{lines}");
        }
        audit.write(b"last\n".to_vec(), Haste::MayWait);
        audit.finish();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 41);
    }

    #[test]
    fn lines_of_several_threads_are_confirmed_each_where_somebody_waits() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = log(&path);
        let wait = |name: &str| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .unwrap();
            runtime.block_on(async {
                for round in 0..20 {
                    let lines = (0..20).map(|line| format!("{name} {round} {line}\n").into_bytes());
                    let written = lines.map(|line| audit.write_surely(line, Haste::AtOnce).confirmed());
                    let confirmed = futures_util::future::join_all(written).await;
                    assert_eq!(confirmed, [true; 20]);
                }
            });
        };
        std::thread::scope(|scope| {
            scope.spawn(|| wait("one"));
            scope.spawn(|| wait("other"));
        });
        let lines = std::fs::read_to_string(&path).unwrap();
        for name in ["one", "other"] {
            let expected: Vec<_> = (0..400)
                .map(|line| format!("{name} {} {}", line / 20, line % 20))
                .collect();
            let found: Vec<_> = lines.lines().filter(|line| line.starts_with(name)).collect();
            assert_eq!(found, expected);
        }
    }

    #[tokio::test]
    async fn a_line_that_may_wait_does_not_wake_the_thread_that_is_about_to_be_woken() {
        let folder = tempfile::tempdir().unwrap();
        let audit = log(&folder.path().join("audit.jsonl"));
        let queue = &audit.0.shared.queue;
        while !queue.lock().waits() {
            std::thread::yield_now();
        }
        let written = audit.write_surely(b"surely\n".to_vec(), Haste::AtOnce);
        audit.write(b"later\n".to_vec(), Haste::MayWait);
        assert!(queue.lock().waits(), "it is woken at the end of this turn");
        assert!(written.confirmed().await);
        assert_eq!(audit.lines().written, 2, "in one batch");
    }

    #[test]
    fn a_line_is_written_even_where_the_thread_that_recorded_it_ends_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = log(&path);
        for round in 1..=20 {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            {
                let _there = runtime.enter();
                drop(audit.write_surely(b"a line\n".to_vec(), Haste::AtOnce));
            }
            drop(runtime);
            let deadline = std::time::Instant::now() + Duration::from_secs(30);
            while audit.lines().written < round {
                assert!(std::time::Instant::now() < deadline, "line {round} is not written");
                std::thread::yield_now();
            }
        }
    }

    #[tokio::test]
    async fn a_line_that_could_not_be_made_is_not_confirmed() {
        let folder = tempfile::tempdir().unwrap();
        let audit = log(&folder.path().join("audit.jsonl"));
        assert!(!audit.unwritten().confirmed().await);
        assert!(audit.takes_lines(), "and says nothing about the log");
    }

    #[tokio::test]
    async fn a_log_that_counts_as_broken_and_can_be_written_does_not_stay_so() {
        let folder = tempfile::tempdir().unwrap();
        let audit = log(&folder.path().join("audit.jsonl"));
        let (_never, done) = oneshot::channel();
        let shared = &*audit.0.shared;
        let late = Written {
            shared,
            done: Some(done),
        };
        assert!(!late.confirmed().await);
        while !audit.takes_lines() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn what_is_left_is_written_when_nobody_holds_the_log_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = log(&path);
        for _ in 0..3 {
            audit.write(b"a line\n".to_vec(), Haste::MayWait);
        }
        let (_, other) = mpsc::channel();
        let ended = std::mem::replace(&mut *audit.0.writer.lock().unwrap(), other);
        drop(audit);
        let writer = ended.recv_timeout(Duration::from_secs(40));
        assert_eq!(writer, Err(RecvTimeoutError::Disconnected));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    }
}

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::event::{Event, Line, Subject};
use crate::config::{self, AuditFile};

/// The way into the log. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Way>);

/// With the last of them the thread ends, too.
struct Way {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    queue: Queue,
    state: State,
}

struct State {
    required: bool,
    broken: AtomicBool,
    /// Lines that are not in the log yet.
    waiting: AtomicUsize,
}

/// What the thread has before it.
#[derive(Default)]
struct Queue {
    orders: Mutex<Orders>,
    called: Condvar,
}

#[derive(Default)]
struct Orders {
    lines: VecDeque<(Vec<u8>, Option<oneshot::Sender<()>>)>,
    /// The thread waits for whatever comes.
    asleep: bool,
    /// Something of this must not wait.
    urgent: bool,
    reopen: bool,
    finish: bool,
}

/// Resolves when the line is in the log.
pub struct Written {
    done: Option<oneshot::Receiver<()>>,
}

impl Written {
    /// True once the line is in the log; false where it cannot be written in time and must be.
    pub async fn confirmed(self) -> bool {
        match self.done {
            None => true,
            Some(done) => matches!(tokio::time::timeout(PATIENCE, done).await, Ok(Ok(()))),
        }
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
        let shared = Arc::new(Shared {
            queue: Queue::default(),
            state: State {
                required: config.required,
                broken: AtomicBool::new(false),
                waiting: AtomicUsize::new(0),
            },
        });
        let writer = Writer {
            target,
            shared: Arc::clone(&shared),
            batch: Batch::default(),
        };
        let handle = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run())?;
        Ok(Self(Arc::new(Way {
            shared,
            writer: Mutex::new(Some(handle)),
        })))
    }

    /// Hands a line to the log without waiting. What was refused or changed is written at once; what went as permitted
    /// within twenty milliseconds, unless another line comes sooner.
    pub fn record(&self, subject: &Subject, event: &Event) {
        self.send(subject, event, None);
    }

    /// Hands a line to the log; the answer tells when it is there.
    #[must_use]
    pub fn record_surely(&self, subject: &Subject, event: &Event) -> Written {
        if !self.0.shared.state.required {
            self.send(subject, event, None);
            return Written { done: None };
        }
        let (sender, done) = oneshot::channel();
        self.send(subject, event, Some(sender));
        Written { done: Some(done) }
    }

    /// False where new forwards must be refused because the log cannot be written.
    #[must_use]
    pub fn takes_lines(&self) -> bool {
        let state = &self.0.shared.state;
        !state.required || !state.broken.load(Ordering::Acquire) && state.waiting.load(Ordering::Acquire) < BACKLOG
    }

    /// Opens the file again under its name, after it was moved away.
    pub fn reopen(&self) {
        self.0.shared.queue.add(|orders| orders.reopen = true);
    }

    /// Writes what is left, and ends.
    pub fn finish(&self) {
        self.0.shared.queue.add(|orders| orders.finish = true);
        let handle = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            let _ = handle.join();
        }
    }

    fn send(&self, subject: &Subject, event: &Event, done: Option<oneshot::Sender<()>>) {
        let Shared { queue, state, .. } = &*self.0.shared;
        // Only what was let in can end, so ends are bounded; refusals are not, and a log that is
        // broken cannot take them.
        let full = state.waiting.load(Ordering::Acquire) >= 2 * BACKLOG;
        if full && matches!(event, Event::ForwardDecided(_) | Event::AuthFailed { .. }) {
            tracing::error!("the audit log takes no lines; a decision went unrecorded");
            return;
        }
        match serde_json::to_vec(&Line::new(subject, event)) {
            Ok(mut line) => {
                line.push(b'\n');
                state.waiting.fetch_add(1, Ordering::AcqRel);
                let may_wait = matches!(
                    event,
                    Event::AuthSucceeded(_)
                        | Event::TunnelOpened { .. }
                        | Event::TunnelClosed(_)
                        | Event::SessionClosed { .. }
                );
                queue.add_line(line, done, !may_wait);
            }
            Err(error) => tracing::error!(%error, "an audit line cannot be written"),
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.shared.queue.add(|orders| orders.finish = true);
    }
}

impl Queue {
    /// Wakes the thread where the line is urgent, or where there is no rest to wait for.
    fn add_line(&self, line: Vec<u8>, done: Option<oneshot::Sender<()>>, urgent: bool) {
        let mut orders = self.lock();
        orders.urgent |= urgent;
        orders.lines.push_back((line, done));
        if orders.urgent || orders.asleep {
            self.called.notify_one();
        }
    }

    fn add(&self, order: impl FnOnce(&mut Orders)) {
        let mut orders = self.lock();
        order(&mut orders);
        orders.urgent = true;
        self.called.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until something is urgent, but no longer than this.
    fn rest(&self, time: Duration) -> MutexGuard<'_, Orders> {
        let rested = self
            .called
            .wait_timeout_while(self.lock(), time, |orders| !orders.urgent);
        rested.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until there is anything to do.
    fn sleep<'a>(&'a self, mut orders: MutexGuard<'a, Orders>) -> MutexGuard<'a, Orders> {
        orders.asleep = true;
        let woken = self
            .called
            .wait_while(orders, |orders| orders.lines.is_empty() && !orders.urgent);
        let mut orders = woken.unwrap_or_else(PoisonError::into_inner);
        orders.asleep = false;
        orders
    }
}

struct Writer {
    target: Target,
    shared: Arc<Shared>,
    batch: Batch,
}

/// What is written at once.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    lines: usize,
    confirmations: Vec<oneshot::Sender<()>>,
}

impl Writer {
    /// After each batch it rests, so that a crowd of lines does not wake it for each of them.
    fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut orders = shared.queue.lock();
        loop {
            if self.batch.bytes.is_empty() {
                orders = shared.queue.sleep(orders);
            }
            orders.urgent = false;
            if std::mem::take(&mut orders.reopen) {
                self.target.forget();
            }
            let finishing = orders.finish;
            while self.batch.bytes.len() < BATCH
                && let Some((line, done)) = orders.lines.pop_front()
            {
                self.batch.bytes.extend_from_slice(&line);
                self.batch.lines += 1;
                self.batch.confirmations.extend(done);
            }
            let more = !orders.lines.is_empty();
            drop(orders);
            let written = self.write();
            if finishing && !(written && more) {
                if !written {
                    tracing::error!(lines = self.batch.lines, "audit lines are lost");
                }
                return;
            }
            orders = match written {
                true if more => shared.queue.lock(),
                true => shared.queue.rest(REST),
                false => shared.queue.rest(RETRY),
            };
        }
    }

    /// False where the log cannot be written; the batch is kept then.
    fn write(&mut self) -> bool {
        let state = &self.shared.state;
        if let Err(error) = self.target.write(&self.batch.bytes) {
            if !state.broken.swap(true, Ordering::AcqRel) {
                tracing::error!(%error, "the audit log cannot be written: new forwards are refused unless `audit.required` is false");
            }
            self.target.forget();
            return false;
        }
        self.batch.bytes.clear();
        state
            .waiting
            .fetch_sub(std::mem::take(&mut self.batch.lines), Ordering::AcqRel);
        for done in self.batch.confirmations.drain(..) {
            let _ = done.send(());
        }
        if state.broken.swap(false, Ordering::AcqRel) {
            tracing::warn!("the audit log can be written again");
        }
        true
    }
}

/// The file, or stdout.
struct Target {
    path: Option<PathBuf>,
    file: Option<File>,
}

impl Target {
    fn new(file: &AuditFile) -> Self {
        Self {
            path: match file {
                AuditFile::Path(path) => Some(path.clone()),
                AuditFile::Stdout => None,
            },
            file: None,
        }
    }

    fn open(&mut self) -> io::Result<()> {
        if let (None, Some(path)) = (&self.file, &self.path) {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            self.file = Some(file);
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.file = None;
    }

    /// Writes all lines, or takes back what was written of them.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.open()?;
        let Some(file) = &mut self.file else {
            let mut out = io::stdout().lock();
            out.write_all(lines)?;
            return out.flush();
        };
        let before = file
            .metadata()
            .ok()
            .filter(std::fs::Metadata::is_file)
            .map(|found| found.len());
        let written = file.write_all(lines);
        if let (Err(_), Some(length)) = (&written, before) {
            let _ = file.set_len(length);
        }
        written
    }
}

/// Lines that may wait before new forwards are refused.
const BACKLOG: usize = 100_000;
/// Bytes that are written at once.
const BATCH: usize = 1 << 20;
const RETRY: Duration = Duration::from_millis(500);
/// How long a line waits at most that is not urgent.
const REST: Duration = Duration::from_millis(20);
/// How long a request waits for its line.
const PATIENCE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn log(path: &Path) -> Audit {
        let config = config::Audit {
            file: AuditFile::Path(path.to_owned()),
            required: true,
        };
        Audit::open(&config).unwrap()
    }

    fn ended() -> Event {
        Event::SessionClosed {
            millis: 0,
            reason: None,
        }
    }

    #[tokio::test]
    async fn lines_keep_their_order_whether_somebody_waits_for_them_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = log(&path);
        for round in 0..20 {
            audit.record(&Subject::default(), &ended());
            let started = Event::GatewayStarted {
                listen: vec![([127, 0, 0, 1], round).into()],
                policies: Vec::new(),
            };
            assert!(audit.record_surely(&Subject::default(), &started).confirmed().await);
            let lines = std::fs::read_to_string(&path).unwrap();
            assert_eq!(lines.lines().count(), 2 * usize::from(round) + 2, "{lines}");
            assert!(
                lines.ends_with(&format!("\"listen\":[\"127.0.0.1:{round}\"],\"policies\":[]}}\n")),
                "{lines}"
            );
        }
        audit.record(&Subject::default(), &Event::GatewayStopped);
        audit.finish();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 41);
    }

    #[test]
    fn what_is_left_is_written_when_nobody_holds_the_log_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = log(&path);
        let writer = audit.0.writer.lock().unwrap().take().unwrap();
        for _ in 0..3 {
            audit.record(&Subject::default(), &ended());
        }
        drop(audit);
        writer.join().unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 3);
    }
}

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::event::{Event, Line, Subject};
use crate::config::{self, AuditFile};

/// The way into the log. Cheap to clone.
#[derive(Clone)]
pub struct Audit {
    orders: Sender<Order>,
    state: Arc<State>,
    writer: Arc<Mutex<Option<JoinHandle<()>>>>,
}

struct State {
    required: bool,
    broken: AtomicBool,
    waiting: AtomicUsize,
}

enum Order {
    Line(Vec<u8>, Option<oneshot::Sender<()>>),
    Reopen,
    Finish,
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
        let state = Arc::new(State {
            required: config.required,
            broken: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
        });
        let (orders, received) = mpsc::channel();
        let writer = Writer {
            target,
            state: Arc::clone(&state),
        };
        let handle = thread::Builder::new()
            .name("audit".to_owned())
            .spawn(move || writer.run(&received))?;
        Ok(Self {
            orders,
            state,
            writer: Arc::new(Mutex::new(Some(handle))),
        })
    }

    /// Hands a line to the log without waiting.
    pub fn record(&self, subject: &Subject, event: &Event) {
        self.send(subject, event, None);
    }

    /// Hands a line to the log; the answer tells when it is there.
    #[must_use]
    pub fn record_surely(&self, subject: &Subject, event: &Event) -> Written {
        if !self.state.required {
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
        !self.state.required
            || !self.state.broken.load(Ordering::Acquire) && self.state.waiting.load(Ordering::Acquire) < BACKLOG
    }

    /// Opens the file again under its name, after it was moved away.
    pub fn reopen(&self) {
        let _ = self.orders.send(Order::Reopen);
    }

    /// Writes what is left, and ends.
    pub fn finish(&self) {
        let _ = self.orders.send(Order::Finish);
        let handle = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(handle) = handle {
            let _ = handle.join();
        }
    }

    fn send(&self, subject: &Subject, event: &Event, done: Option<oneshot::Sender<()>>) {
        // Only what was let in can end, so ends are bounded; refusals are not, and a log that is
        // broken cannot take them.
        let full = self.state.waiting.load(Ordering::Acquire) >= 2 * BACKLOG;
        if full && matches!(event, Event::ForwardDecided(_) | Event::AuthFailed { .. }) {
            tracing::error!("the audit log takes no lines; a decision went unrecorded");
            return;
        }
        match serde_json::to_vec(&Line::new(subject, event)) {
            Ok(mut line) => {
                line.push(b'\n');
                self.state.waiting.fetch_add(1, Ordering::AcqRel);
                let _ = self.orders.send(Order::Line(line, done));
            }
            Err(error) => tracing::error!(%error, "an audit line cannot be written"),
        }
    }
}

struct Writer {
    target: Target,
    state: Arc<State>,
}

impl Writer {
    fn run(mut self, orders: &Receiver<Order>) {
        let mut batch = Vec::new();
        let mut confirmations = Vec::new();
        let mut lines = 0;
        let mut finishing = false;
        while !(finishing && batch.is_empty()) {
            let first = if batch.is_empty() {
                orders.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                orders.recv_timeout(RETRY)
            };
            let mut next = match first {
                Ok(order) => Some(order),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => {
                    finishing = true;
                    None
                }
            };
            while let Some(order) = next {
                match order {
                    Order::Line(line, done) => {
                        batch.extend_from_slice(&line);
                        confirmations.extend(done);
                        lines += 1;
                    }
                    Order::Reopen => self.target.forget(),
                    Order::Finish => finishing = true,
                }
                next = if batch.len() < BATCH {
                    orders.try_recv().ok()
                } else {
                    None
                };
            }
            match self.target.write(&batch) {
                Ok(()) => {
                    batch.clear();
                    self.state
                        .waiting
                        .fetch_sub(std::mem::take(&mut lines), Ordering::AcqRel);
                    for done in confirmations.drain(..) {
                        let _ = done.send(());
                    }
                    if self.state.broken.swap(false, Ordering::AcqRel) {
                        tracing::warn!("the audit log can be written again");
                    }
                }
                Err(error) => {
                    if !self.state.broken.swap(true, Ordering::AcqRel) {
                        tracing::error!(%error, "the audit log cannot be written: new forwards are refused unless `audit.required` is false");
                    }
                    self.target.forget();
                    if finishing {
                        tracing::error!(lines, "audit lines are lost");
                        return;
                    }
                }
            }
        }
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
/// How long a request waits for its line.
const PATIENCE: Duration = Duration::from_secs(2);

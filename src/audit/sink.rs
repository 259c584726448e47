use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::event::{Event, Line, Subject};
use super::queue::Queue;
use super::target::Target;
use super::writer::Writer;
use crate::config;
use crate::vital::{Pulse, Vital, keep_thread};

/// The way into the log. Cheap to clone.
#[derive(Clone)]
pub struct Audit(Arc<Way>);

/// With the last of them the thread ends, too.
struct Way {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
    pulse: Pulse,
}

/// What those who record share with the thread that writes.
pub(super) struct Shared {
    pub(super) queue: Queue,
    pub(super) state: State,
}

pub(super) struct State {
    required: bool,
    pub(super) broken: AtomicBool,
    /// Lines that are not in the log yet.
    pub(super) waiting: AtomicUsize,
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
        let mut writer = Writer::new(target, Arc::clone(&shared));
        let pulse = Pulse::default();
        let handle = keep_thread("audit", Vital::Auditing, pulse.clone(), move || writer.run())?;
        Ok(Self(Arc::new(Way {
            shared,
            writer: Mutex::new(Some(handle)),
            pulse,
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

    /// Whether the thread that writes the log runs.
    #[must_use]
    pub fn is_served(&self) -> bool {
        self.0.pulse.is_there()
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

/// Lines that may wait before new forwards are refused.
const BACKLOG: usize = 100_000;
/// How long a request waits for its line.
const PATIENCE: Duration = Duration::from_secs(2);

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

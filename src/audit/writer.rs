//! The thread that writes the log.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc;

use super::sink::Pipeline;
use super::target::{Target, Written};
use super::waiter::{Waiter, confirm};

/// The thread that writes the log.
pub(super) struct Writer {
    target: Target,
    shared: Arc<Pipeline>,
    batch: Batch,
    /// Dropped with the thread, so that whoever waits for its end need not wait without end.
    _alive: mpsc::Sender<Infallible>,
}

/// What is written at once.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// Bytes that a stream has taken already.
    sent: usize,
    lines: usize,
    waiters: Vec<Waiter>,
}

impl Writer {
    pub(super) fn new(target: Target, shared: Arc<Pipeline>, alive: mpsc::Sender<Infallible>) -> Self {
        Self {
            target,
            shared,
            batch: Batch::default(),
            _alive: alive,
        }
    }

    /// It rests where nothing is urgent, so that a crowd of lines does not wake it for each of them.
    pub(super) fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut orders = shared.queue.next(false);
        loop {
            let urgent = std::mem::take(&mut orders.urgent);
            if std::mem::take(&mut orders.reopen) {
                self.target.reopen();
            }
            let finishing = orders.finish;
            while self.batch.bytes.len() < BATCH
                && let Some((line, waiter)) = orders.lines.pop_front()
            {
                self.batch.bytes.extend_from_slice(&line);
                self.batch.lines += 1;
                self.batch.waiters.extend(waiter);
            }
            let more = !orders.lines.is_empty();
            drop(orders);
            let written = self.write();
            if finishing && !(written && more) {
                if !written {
                    let lines = shared.state.waiting.load(Ordering::Acquire);
                    tracing::error!(lines, "audit lines are lost");
                }
                return;
            }
            orders = match written {
                true if more => shared.queue.lock(),
                true => shared.queue.next(urgent),
                false => shared.queue.pause(),
            };
        }
    }

    /// False where the log cannot be written; the batch is kept then.
    fn write(&mut self) -> bool {
        let state = &self.shared.state;
        let mut lines = Written {
            bytes: &self.batch.bytes,
            sent: self.batch.sent,
        };
        let written = self.target.write(&mut lines);
        self.batch.sent = lines.sent;
        let count = self.batch.lines as u64;
        if let Err(error) = written {
            state.tally.failed.fetch_add(count, Ordering::Relaxed);
            if !state.broken.swap(true, Ordering::AcqRel) {
                let why = match error.kind() {
                    io::ErrorKind::TimedOut => "nothing reads it".to_owned(),
                    _ => error.to_string(),
                };
                tracing::error!(
                    why,
                    "the audit log cannot be written: new forwards are refused unless `audit.required` is false"
                );
            }
            return false;
        }
        state.tally.written.fetch_add(count, Ordering::Relaxed);
        self.batch.bytes.clear();
        self.batch.sent = 0;
        state
            .waiting
            .fetch_sub(std::mem::take(&mut self.batch.lines), Ordering::AcqRel);
        confirm(self.batch.waiters.drain(..));
        if state.broken.swap(false, Ordering::AcqRel) {
            let dropped = state.dropped.swap(0, Ordering::AcqRel);
            tracing::warn!(dropped, "the audit log can be written again");
        }
        true
    }
}

/// Bytes that are written at once.
const BATCH: usize = 1 << 20;

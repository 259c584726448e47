//! Progress: one line on a terminal, nothing elsewhere.

use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::replay::Progress;

/// A line that is drawn until this is dropped.
pub(super) struct Bar {
    /// Dropped to end it.
    drawing: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Bar {
    /// Shows how many of `length` bytes were read.
    pub(super) fn show(progress: Arc<Progress>, length: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self { drawing: None };
        }
        let (over, ended) = channel::<()>();
        let began = Instant::now();
        let thread = thread::spawn(move || {
            while ended.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                let _ = write!(io::stderr(), "\r\x1b[K{}", line(&progress, length, began.elapsed()));
            }
            let _ = write!(io::stderr(), "\r\x1b[K");
        });
        Self {
            drawing: Some((over, thread)),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some((over, thread)) = self.drawing.take() {
            drop(over);
            let _ = thread.join();
        }
    }
}

fn line(progress: &Progress, length: u64, took: Duration) -> String {
    let read = progress.bytes.load(Ordering::Relaxed);
    let asked = progress.asked.load(Ordering::Relaxed);
    let share = (read as f64 / length.max(1) as f64).min(1.0);
    let full = (share * WIDTH as f64) as usize;
    let rate = asked as f64 / took.as_secs_f64().max(1e-9);
    format!(
        "[{}{}] {:>3.0} %  {asked} decisions  {rate:.0} a second",
        "#".repeat(full),
        ".".repeat(WIDTH - full.min(WIDTH)),
        share * 100.0
    )
}

const WIDTH: usize = 30;
const PAUSE: Duration = Duration::from_millis(100);

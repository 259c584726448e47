//! Queues lines for a stream that may be blocked: the writer of a line never waits.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

use super::{Format, json};
use crate::outlet::Outlet;

/// The way to a stream. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Lines(Arc<Outgoing>);

#[derive(Default)]
struct Outgoing {
    format: Format,
    waiting: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// Lines for which there was no room.
    dropped: u64,
    /// The thread has taken something that is not written yet.
    writing: bool,
}

impl Lines {
    /// Starts the thread that writes to the stream.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(name: &str, outlet: Outlet, format: Format) -> io::Result<Self> {
        let shared = Arc::new(Outgoing {
            format,
            ..Outgoing::default()
        });
        let writer = Arc::clone(&shared);
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.run(outlet))?;
        Ok(Self(shared))
    }

    /// Hands over a line, or counts it where too much waits already.
    pub(crate) fn add(&self, line: &[u8]) {
        let mut waiting = self.0.lock();
        if waiting.bytes + line.len() > MOST {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line.to_owned());
        self.0.changed.notify_all();
    }

    /// Waits until everything is written, but no longer than that.
    pub(crate) fn flush(&self, patience: Duration) {
        let left = |waiting: &mut Waiting| waiting.writing || !waiting.lines.is_empty() || waiting.dropped > 0;
        let waited = self.0.changed.wait_timeout_while(self.0.lock(), patience, left);
        drop(waited);
    }
}

impl Outgoing {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut outlet: Outlet) {
        loop {
            let next = self.next();
            let mut rest = next.as_slice();
            while !rest.is_empty() {
                match outlet.write(rest, PATIENCE) {
                    Ok(taken) => rest = rest.get(taken..).unwrap_or_default(),
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                    // A stream that is gone. What is written to it goes nowhere, as it would without this thread.
                    Err(_) => break,
                }
            }
        }
    }

    /// The next line, or how many there was no room for.
    fn next(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        waiting.writing = false;
        self.changed.notify_all();
        let idle = |waiting: &mut Waiting| waiting.lines.is_empty() && waiting.dropped == 0;
        let waited = self.changed.wait_while(waiting, idle);
        waiting = waited.unwrap_or_else(PoisonError::into_inner);
        waiting.writing = true;
        let Some(line) = waiting.lines.pop_front() else {
            let dropped = std::mem::take(&mut waiting.dropped);
            return missing(dropped, self.format).into_bytes();
        };
        waiting.bytes -= line.len();
        line
    }
}

fn missing(count: u64, format: Format) -> String {
    match format {
        Format::Text => format!("{count} lines are missing here: the reader of this stream was too slow\n"),
        Format::Json => json::missing(count),
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = OneLine<'a>;

    fn make_writer(&'a self) -> OneLine<'a> {
        OneLine {
            lines: self,
            text: Vec::new(),
        }
    }
}

/// One line, which is handed over as a whole.
pub(crate) struct OneLine<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl Write for OneLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for OneLine<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.lines.add(&self.text);
        }
    }
}

/// Bytes of lines that may wait.
const MOST: usize = 1 << 20;
/// How long the thread waits for the stream before it looks again.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn what_nobody_reads_holds_up_nothing_and_is_counted() {
        let (reader, writer) = UnixStream::pair().unwrap();
        let lines = Lines::start("test", Outlet::standard(writer.as_fd()).unwrap(), Format::Text).unwrap();
        drop(writer);
        let all = 100_000_u64;
        for number in 0..all {
            lines.add(format!("line {number} {}\n", "x".repeat(100)).as_bytes());
        }
        lines.flush(Duration::ZERO);
        let (mut next, mut missing) = (0, 0);
        for line in BufReader::new(reader).lines() {
            let line = line.unwrap();
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                (Some("line"), Some(number)) => {
                    assert_eq!(number, next.to_string());
                    next += 1;
                }
                (Some(count), Some("lines")) => missing += count.parse::<u64>().unwrap(),
                _ => panic!("{line}"),
            }
            if missing > 0 && next + missing == all {
                break;
            }
        }
        assert!(missing > 0 && next > 1000, "{next} lines, {missing} missing");
    }

    #[test]
    fn a_flush_waits_for_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let lines = Lines::start("test", Outlet::open(&path).unwrap(), Format::Text).unwrap();
        for _ in 0..100 {
            lines.add(b"line\n");
        }
        lines.flush(Duration::from_secs(40));
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 100);
    }
}

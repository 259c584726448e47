//! An open file, pipe, socket or terminal that lines go to, and that may take nothing for a while.
//!
//! A regular file is written as it is. Everything else is asked first whether it takes anything, and then gets no more than it
//! takes without waiting. So the thread that writes is never held up for longer than its patience, whether or not another
//! process has made the pipe a non-blocking one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock};

/// Where lines go.
pub(crate) struct Outlet {
    file: Arc<File>,
    /// Device and number, to know it again.
    identity: (u64, u64),
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Always takes what it has room for.
    File,
    /// Takes as much as its reader has made room for.
    Stream,
}

impl Outlet {
    /// Opens a file for appending; if there is none, it is made for its owner alone. A pipe is opened without waiting.
    ///
    /// # Errors
    /// The system's, and of a pipe that no process reads.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options
            .append(true)
            .create(true)
            .mode(0o600)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
        let opened = options.open(path).map_err(|error| match error.raw_os_error() {
            Some(libc::ENXIO) => io::Error::new(error.kind(), "no process reads this pipe: start its reader first"),
            _ => error,
        });
        Self::new(opened?)
    }

    /// One of the streams that the process was started with: a copy, so that nothing of what is written here waits in a
    /// buffer of the standard library.
    pub(crate) fn standard(stream: BorrowedFd<'_>) -> io::Result<Self> {
        Self::new(stream.try_clone_to_owned()?.into())
    }

    fn new(file: File) -> io::Result<Self> {
        let found = file.metadata()?;
        Ok(Self {
            identity: (found.dev(), found.ino()),
            kind: if found.is_file() { Kind::File } else { Kind::Stream },
            file: Arc::new(file),
        })
    }

    /// Whether this is a regular file, of which the end can be taken back.
    pub(crate) fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Whether this is still what is at that path.
    pub(crate) fn is_at(&self, path: &Path) -> bool {
        path.metadata()
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity)
    }

    /// The turn of this process to write a file that others write, too (flock(2)), until it is dropped. It is not waited for longer
    /// than that: whoever keeps it is no gateway.
    pub(crate) fn turn(&self, patience: Duration) -> io::Result<Turn> {
        if !self.is_file() {
            return Ok(Turn(None));
        }
        let file = Arc::clone(&self.file);
        let began = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Turn(Some(file))),
                Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < patience => thread::sleep(PAUSE),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes some of the bytes, and returns how many. Of a stream that others write, too, it takes whole lines at once, as far as a
    /// line is not longer than that.
    ///
    /// # Errors
    /// [`io::ErrorKind::TimedOut`] if a stream takes nothing for so long; the system's.
    pub(crate) fn write(&mut self, bytes: &[u8], patience: Duration) -> io::Result<usize> {
        let (some, _) = match self.kind {
            Kind::File => (bytes, &[][..]),
            Kind::Stream => bytes.split_at(whole_lines(bytes, AT_ONCE)),
        };
        loop {
            if self.kind == Kind::Stream && !self.takes_some(patience)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match (&*self.file).write(some) {
                Ok(0) if !some.is_empty() => return Err(io::ErrorKind::WriteZero.into()),
                // Another process that has the same pipe was quicker.
                Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
                other => return other,
            }
        }
    }

    fn takes_some(&self, patience: Duration) -> io::Result<bool> {
        let limit = Timespec::try_from(patience).ok();
        let mut asked = [PollFd::from_borrowed_fd(self.file.as_fd(), PollFlags::OUT)];
        match poll(&mut asked, limit.as_ref()) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Cuts off the bytes that were written last, of a regular file.
    pub(crate) fn take_back(&self, bytes: usize) {
        if let (true, Ok(found)) = (self.is_file() && bytes > 0, self.file.metadata()) {
            let _ = self.file.set_len(found.len().saturating_sub(bytes as u64));
        }
    }
}

/// The turn to write a file.
pub(crate) struct Turn(Option<Arc<File>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(file) = &self.0 {
            let _ = flock(file, FlockOperation::Unlock);
        }
    }
}

/// How many bytes to write at once, at most so many: up to the end of a line, if there is one.
fn whole_lines(bytes: &[u8], most: usize) -> usize {
    let some = bytes.get(..most).unwrap_or(bytes);
    some.iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(some.len(), |end| end + 1)
}

/// Between two tries to get the turn.
const PAUSE: Duration = Duration::from_millis(1);
/// A pipe that takes anything takes this much without waiting (`PIPE_BUF`, pipe(7)).
const AT_ONCE: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::process::Command;

    use super::*;

    /// A pipe by name.
    fn pipe() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        (folder, path)
    }

    #[test]
    fn a_pipe_that_no_process_reads_is_an_error_at_once() {
        let (_folder, path) = pipe();
        let error = Outlet::open(&path).err().unwrap();
        assert!(error.to_string().contains("no process reads this pipe"), "{error}");
    }

    #[test]
    fn a_stream_gives_nothing_twice_and_waits_no_longer_than_it_may() {
        for blocking in [true, false] {
            let (mut reader, writer) = UnixStream::pair().unwrap();
            writer.set_nonblocking(!blocking).unwrap();
            let mut outlet = Outlet::standard(writer.as_fd()).unwrap();
            drop(writer);
            let mut sent = Vec::new();
            let error = loop {
                let line = format!("line {}\n", sent.len()).repeat(100);
                match outlet.write(line.as_bytes(), Duration::from_millis(10)) {
                    Ok(taken) => sent.extend_from_slice(&line.as_bytes()[..taken]),
                    Err(error) => break error,
                }
            };
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            let mut heard = vec![0; sent.len()];
            reader.read_exact(&mut heard).unwrap();
            assert!(heard == sent, "another order, or other bytes");
            assert_eq!(outlet.write(b"more", Duration::from_secs(1)).unwrap(), 4);
        }
    }

    #[test]
    fn a_stream_gets_whole_lines_where_they_are_short_enough() {
        #[rustfmt::skip]
        let table: [(&[u8], usize); 5] = [
            (b"one\ntwo\nthree", 8), (b"one\n", 4), (b"one", 3), (b"eleven bytes\n", 10), (b"", 0),
        ];
        for (bytes, taken) in table {
            assert_eq!(whole_lines(bytes, 10), taken, "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn writers_of_one_file_take_turns_and_wait_no_longer_than_they_may() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let [one, other] = [(), ()].map(|()| Outlet::open(&path).unwrap());
        let turn = one.turn(Duration::ZERO).unwrap();
        assert!(other.turn(Duration::from_millis(5)).is_err());
        drop(turn);
        assert!(other.turn(Duration::ZERO).is_ok());
    }

    #[test]
    fn only_of_a_file_the_end_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let mut outlet = Outlet::open(&path).unwrap();
        assert_eq!(outlet.write(b"whole\nhal", Duration::ZERO).unwrap(), 9);
        outlet.take_back(3);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\n");
        outlet.take_back(100);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "no more than there is");
        assert!(outlet.is_at(&path));
        std::fs::rename(&path, folder.path().join("moved")).unwrap();
        assert!(!outlet.is_at(&path));
    }
}

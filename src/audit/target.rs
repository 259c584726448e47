//! The file, pipe or standard output that the lines go to.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::AuditFile;
use crate::outlet::Outlet;

/// Where the log is, and what is open of it.
pub(super) struct Target {
    path: Option<PathBuf>,
    outlet: Option<Outlet>,
    /// How long it may take nothing.
    patience: Duration,
}

impl Target {
    pub(super) fn new(file: &AuditFile) -> Self {
        Self {
            path: match file {
                AuditFile::Path(path) => Some(path.clone()),
                AuditFile::Stdout => None,
            },
            outlet: None,
            patience: PATIENCE,
        }
    }

    pub(super) fn open(&mut self) -> io::Result<()> {
        self.opened().map(drop)
    }

    fn opened(&mut self) -> io::Result<&mut Outlet> {
        let outlet = match self.outlet.take() {
            Some(open) => open,
            None => match &self.path {
                Some(path) => begun(path, self.patience).map_err(|error| {
                    let words = format!("{}: {error}", path.display());
                    io::Error::new(error.kind(), words)
                })?,
                None => Outlet::standard(io::stdout().as_fd())?,
            },
        };
        Ok(self.outlet.insert(outlet))
    }

    /// Opens the file again under its name with the next line, unless that is still this one.
    pub(super) fn reopen(&mut self) {
        let stays = |outlet: &Outlet| self.path.as_ref().is_none_or(|path| outlet.is_at(path));
        if !self.outlet.as_ref().is_some_and(stays) {
            self.outlet = None;
        }
    }

    /// Writes what is left of the lines. Where that fails, the end of a file is taken back; what a stream has taken stays
    /// written, and is not written again.
    pub(super) fn write(&mut self, lines: &mut Written<'_>) -> io::Result<()> {
        let (unopened, patience) = (self.outlet.is_none(), self.patience);
        let outlet = self.opened()?;
        if unopened {
            // Its reader has none of the line that the one before had begun.
            lines.begin_line_again();
        }
        // After an upgrade another process writes the same file: what is taken back must be the end of it.
        let _turn = outlet.turn(patience);
        while !lines.rest().is_empty() {
            match outlet.write(lines.rest(), patience) {
                Ok(taken) => lines.sent += taken,
                Err(error) => {
                    if outlet.is_file() {
                        outlet.take_back(std::mem::take(&mut lines.sent));
                    }
                    if error.kind() != io::ErrorKind::TimedOut {
                        self.outlet = None;
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

/// The log at this path. If the last line of a file has no end, because its writer was killed, the next one is a line of its own.
fn begun(path: &Path, patience: Duration) -> io::Result<Outlet> {
    let mut outlet = Outlet::open(path)?;
    if outlet.is_file() && ends_in_a_line(path)? {
        outlet.write(b"\n", patience)?;
    }
    Ok(outlet)
}

fn ends_in_a_line(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

/// Lines, and how much of them is written.
pub(super) struct Written<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) sent: usize,
}

impl<'a> Written<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.sent..).unwrap_or_default()
    }

    fn begin_line_again(&mut self) {
        let sent = self.bytes.get(..self.sent).unwrap_or_default();
        self.sent = sent.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    }
}

/// A pipe that takes nothing for so long cannot be written; requests wait for their lines twice as long.
const PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::unix::fs::OpenOptionsExt;
    use std::process::Command;

    use nix::libc;

    use super::*;

    fn written(bytes: &[u8]) -> Written<'_> {
        Written { bytes, sent: 0 }
    }

    #[test]
    fn a_log_that_was_moved_away_is_made_anew_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut target = Target::new(&AuditFile::Path(path.clone()));
        target.write(&mut written(b"one\n")).unwrap();
        target.reopen();
        target.write(&mut written(b"two\n")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\ntwo\n");
        fs::rename(&path, folder.path().join("old")).unwrap();
        target.write(&mut written(b"three\n")).unwrap();
        target.reopen();
        target.write(&mut written(b"four\n")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "four\n");
    }

    #[test]
    fn a_line_that_was_not_written_whole_does_not_spoil_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for (before, after) in [("", "two\n"), ("one\n", "one\ntwo\n"), ("one\nha", "one\nha\ntwo\n")] {
            fs::write(&path, before).unwrap();
            let mut target = Target::new(&AuditFile::Path(path.clone()));
            target.write(&mut written(b"two\n")).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), after, "after {before:?}");
        }
    }

    #[test]
    fn a_line_that_a_reader_of_a_pipe_did_not_get_whole_is_begun_again_for_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
        let mut reading = OpenOptions::new();
        reading.read(true).custom_flags(libc::O_NONBLOCK);
        let first = reading.open(&path).unwrap();
        let mut target = Target::new(&AuditFile::Path(path.clone()));
        target.patience = Duration::from_millis(5);
        let line = format!("{}\n", "x".repeat(99_999));
        let bytes = line.repeat(3).into_bytes();
        let mut lines = written(&bytes);
        let stalled = target.write(&mut lines).unwrap_err();
        assert_eq!(stalled.kind(), io::ErrorKind::TimedOut);
        assert!(lines.sent > 0 && lines.sent < bytes.len());
        drop(first);
        assert!(target.write(&mut lines).is_err(), "a pipe that no process reads");
        assert!(target.write(&mut lines).is_err());
        let mut second = reading.open(&path).unwrap();
        let mut heard = Vec::new();
        let mut some = vec![0; 1 << 16];
        while heard.len() < bytes.len() {
            let _ = target.write(&mut lines);
            while let Ok(read @ 1..) = second.read(&mut some) {
                heard.extend_from_slice(&some[..read]);
            }
        }
        assert!(heard == bytes, "not the same lines");
    }
}

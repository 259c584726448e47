use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use crate::config::AuditFile;

/// The file, or stdout.
pub(super) struct Target {
    path: Option<PathBuf>,
    file: Option<File>,
}

impl Target {
    pub(super) fn new(file: &AuditFile) -> Self {
        Self {
            path: match file {
                AuditFile::Path(path) => Some(path.clone()),
                AuditFile::Stdout => None,
            },
            file: None,
        }
    }

    pub(super) fn open(&mut self) -> io::Result<()> {
        if let (None, Some(path)) = (&self.file, &self.path) {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            self.file = Some(file);
        }
        Ok(())
    }

    pub(super) fn forget(&mut self) {
        self.file = None;
    }

    /// Writes all lines, or takes back what was written of them.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        self.open()?;
        let Some(file) = &mut self.file else {
            let mut out = io::stdout().lock();
            out.write_all(lines)?;
            return out.flush();
        };
        let mut rest = lines;
        while !rest.is_empty() {
            match file.write(rest) {
                Ok(written) if written > 0 => rest = rest.get(written..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => {
                    take_back(file, lines.len() - rest.len());
                    return other.and(Err(io::ErrorKind::WriteZero.into()));
                }
            }
        }
        Ok(())
    }
}

/// Cuts off the bytes that were written last.
fn take_back(file: &File, bytes: usize) {
    let found = file.metadata().ok().filter(std::fs::Metadata::is_file);
    if let Some(found) = found.filter(|_| bytes > 0) {
        let _ = file.set_len(found.len().saturating_sub(bytes as u64));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_of_lines_that_did_not_fit_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut target = Target::new(&AuditFile::Path(path.clone()));
        target.write(b"whole\nhal").unwrap();
        take_back(target.file.as_ref().unwrap(), 3);
        target.write(b"another\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nanother\n");
        take_back(target.file.as_ref().unwrap(), 100);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "", "no more than there is");
    }
}

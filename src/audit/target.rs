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

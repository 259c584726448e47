//! A file of revoked keys, cached and read again when it changes.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::revoked::{RevokedError, RevokedKeys};
use crate::files::Mark;

/// The file `auth.revoked-keys`, with what was last read of it. A list may have many megabytes, and every open session
/// asks it when it changes.
pub struct Revocations {
    path: PathBuf,
    read: Mutex<Option<(Mark, Arc<RevokedKeys>)>>,
}

impl Revocations {
    /// Of this file, which is read when it is first asked.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            read: Mutex::new(None),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file revokes now.
    ///
    /// # Errors
    /// As [`RevokedKeys::read`].
    pub fn now(&self) -> Result<Arc<RevokedKeys>, RevokedError> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let mark = Mark::of(&self.path);
        match &*read {
            Some((known, revoked)) if mark == Some(*known) => return Ok(Arc::clone(revoked)),
            _ => *read = None,
        }
        let revoked = Arc::new(RevokedKeys::read(&self.path)?);
        // A file that has just been written may be written once more without any sign of it: clocks of files are coarse.
        if let Some(mark) = mark.filter(|mark| Mark::of(&self.path) == Some(*mark) && is_old(mark)) {
            *read = Some((mark, Arc::clone(&revoked)));
        }
        Ok(revoked)
    }
}

fn is_old(mark: &Mark) -> bool {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let written = mark.changed.0.max(mark.modified.0);
    i64::try_from(now).is_ok_and(|now| written < now.saturating_sub(COARSE))
}

/// Seconds, more than the coarsest clock of a file system.
const COARSE: i64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_at_once_and_what_is_old_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("revoked");
        let revocations = Revocations::at(&path);
        assert!(revocations.now().is_err(), "there is none");
        std::fs::write(&path, "").unwrap();
        let first = revocations.now().unwrap();
        assert!(
            !Arc::ptr_eq(&first, &revocations.now().unwrap()),
            "it is too new to be trusted"
        );
        std::fs::write(&path, "nonsense").unwrap();
        assert!(revocations.now().is_err());
        std::fs::remove_file(&path).unwrap();
        assert!(revocations.now().is_err());
    }
}

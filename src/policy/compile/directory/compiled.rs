//! The store of compiled code: sealed, limited in size, and the least recently used entry is removed first.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::{Directory, bounded, write_whole};
use crate::policy::compile::sealed::{Code, Label};

impl Directory {
    /// Code that was compiled before, if it is there, whole and ours.
    pub(in crate::policy::compile) fn compiled(&self, label: &Label) -> Option<Code> {
        let path = self.entry(label);
        let read = bounded(&path).and_then(|file| Code::unsealed(&self.key, label, file));
        let code = match read {
            Ok(code) => code,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read compiled code: it will be recompiled");
                return None;
            }
        };
        match &code {
            // What is used stays longest.
            Some(_) => {
                let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
            }
            None => {
                tracing::warn!(path = %path.display(), "compiled code is damaged or not ours: it will be recompiled");
                let _ = fs::remove_file(&path);
            }
        }
        code
    }

    /// Keeps compiled code, and lets go of what was not used for longest where it is too much.
    pub(in crate::policy::compile) fn keep_compiled(&self, label: &Label, code: &Code) {
        let path = self.entry(label);
        match write_whole(&path, |file| code.write_sealed(&self.key, label, file)) {
            Ok(()) => self.evict(&path),
            Err(error) => tracing::warn!(path = %path.display(), %error, "cannot store compiled code"),
        }
    }

    /// Entries that this version cannot load at all, though they are ours.
    pub(in crate::policy::compile) fn forget_compiled(&self, label: &Label) {
        let _ = fs::remove_file(self.entry(label));
    }

    fn entry(&self, label: &Label) -> PathBuf {
        let name: String = label.iter().map(|byte| format!("{byte:02x}")).collect();
        self.path.join(COMPILED).join(name)
    }

    fn evict(&self, keep: &Path) {
        let listed = fs::read_dir(self.path.join(COMPILED)).into_iter().flatten().flatten();
        let mut files: Vec<_> = listed
            .filter_map(|entry| {
                let found = entry.metadata().ok()?;
                Some((found.modified().ok()?, found.len(), entry.path()))
            })
            .collect();
        files.sort_unstable();
        let mut bytes: u64 = files.iter().map(|(_, size, _)| size).sum();
        let mut count = files.len();
        for (modified, size, path) in files.iter().filter(|(_, _, path)| path != keep) {
            let unfinished = path.extension().is_some() && modified.elapsed().is_ok_and(|age| age > UNFINISHED);
            if bytes <= MAX_BYTES && count <= MAX_ENTRIES && !unfinished {
                continue;
            }
            if fs::remove_file(path).is_ok() {
                bytes -= size;
                count -= 1;
            }
        }
    }
}

pub(super) const COMPILED: &str = "compiled";
/// Of all compiled code: a dozen policies in Python.
pub(super) const MAX_BYTES: u64 = 512 << 20;
const MAX_ENTRIES: usize = 256;
/// A file that another process left behind in the middle of writing.
const UNFINISHED: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::confined::Sealed;

    fn code(bytes: &[u8]) -> Code {
        Code::from_compiler(Sealed::of(bytes).unwrap())
    }

    #[test]
    fn an_entry_under_a_wrong_name_is_not_taken_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        directory.keep_compiled(&[1; 32], &code(b"code"));
        fs::rename(directory.entry(&[1; 32]), directory.entry(&[2; 32])).unwrap();
        assert!(directory.compiled(&[2; 32]).is_none());
        assert!(!directory.entry(&[2; 32]).exists());
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let label = |number: usize| {
            let mut label = [0; 32];
            label[..8].copy_from_slice(&number.to_be_bytes());
            label
        };
        let long_ago = SystemTime::now() - Duration::from_secs(1000);
        for number in 0..MAX_ENTRIES {
            directory.keep_compiled(&label(number), &code(&[0]));
            let file = File::open(directory.entry(&label(number))).unwrap();
            file.set_modified(long_ago + Duration::from_secs(number as u64))
                .unwrap();
        }
        directory.compiled(&label(0)).unwrap();
        directory.keep_compiled(&label(MAX_ENTRIES), &code(&[0]));
        assert!(directory.compiled(&label(1)).is_none(), "the oldest is gone");
        assert!(directory.compiled(&label(0)).is_some(), "this one was used");
        assert!(directory.compiled(&label(2)).is_some());
    }
}

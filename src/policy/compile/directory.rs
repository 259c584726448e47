//! What the gateway keeps of its policies between two starts: `policy.directory`.
//!
//! ```text
//! key                     the secret that compiled code is sealed with, mode 0600, made at the first start
//! compiled/HASH           compiled code, sealed; anything else is ignored and made anew
//! last-good/NAME.wasm     the component that served last under that name, for the administrator
//! last-good/NAME.json     and its settings; neither is ever read by the gateway
//! served/NAME.sealed      which signed component served last under that name, sealed: no older one is taken
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::sealed::{Artifact, Key, Label};
use crate::files;
use crate::policy::source::{Lineage, digest, hex};

/// Why a directory for policies is not used.
#[derive(Debug, Error)]
pub enum DirectoryError {
    /// It is not there and cannot be made, or cannot be read or written.
    #[error("{}: {error}", path.display())]
    Unusable {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's words.
        error: io::Error,
    },
    /// Somebody else could put code of theirs there, or could have.
    #[error("{}: {what}", path.display())]
    Unsafe {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and the mend.
        what: String,
    },
}

/// The folder, made and checked.
pub(in crate::policy) struct Directory {
    path: PathBuf,
    key: Key,
}

impl Directory {
    /// Opens the folder, and makes it and its key where they are not there.
    ///
    /// # Errors
    /// Where it cannot be used, or where somebody else could write there or read the key.
    pub(in crate::policy) fn open(path: &Path) -> Result<Self, DirectoryError> {
        for folder in [
            path.to_owned(),
            path.join(COMPILED),
            path.join(LAST_GOOD),
            path.join(SERVED),
        ] {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|error| unusable(&folder, error))?;
            let found = fs::metadata(&folder).map_err(|error| unusable(&folder, error))?;
            check(&folder, &found, 0o022, "written")?;
        }
        let key = key(&path.join("key"))?;
        Ok(Self {
            path: path.to_owned(),
            key,
        })
    }

    /// Code that was compiled before, if it is there, whole and ours.
    pub(in crate::policy) fn compiled(&self, label: &Label) -> Option<Artifact> {
        let path = self.entry(label);
        let read = bounded(&path).and_then(|file| Artifact::unsealed(&self.key, label, file));
        let artifact = match read {
            Ok(artifact) => artifact,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "compiled code cannot be read: it is compiled anew");
                return None;
            }
        };
        match &artifact {
            // What is used stays longest.
            Some(_) => {
                let _ = File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
            }
            None => {
                tracing::warn!(path = %path.display(), "compiled code is damaged or not ours: it is compiled anew");
                let _ = fs::remove_file(&path);
            }
        }
        artifact
    }

    /// Keeps compiled code, and lets go of what was not used for longest where it is too much.
    pub(in crate::policy) fn keep_compiled(&self, label: &Label, artifact: &Artifact) {
        let path = self.entry(label);
        match write_whole(&path, |file| artifact.write_sealed(&self.key, label, file)) {
            Ok(()) => self.evict(&path),
            Err(error) => tracing::warn!(path = %path.display(), %error, "compiled code cannot be kept"),
        }
    }

    /// Entries that this version cannot load at all, though they are ours.
    pub(in crate::policy) fn forget_compiled(&self, label: &Label) {
        let _ = fs::remove_file(self.entry(label));
    }

    /// Keeps a copy of a component that serves and of its settings, if it is another than before.
    pub(in crate::policy) fn keep_last_good(&self, name: &str, component: &[u8], settings: &str) {
        let path = self.last_good_path(name);
        let same = bounded(&path)
            .and_then(digest_of)
            .is_ok_and(|kept| kept == digest(component));
        let component = |file: &mut File| file.write_all(component);
        let written = if same { Ok(()) } else { write_whole(&path, component) }
            .and_then(|()| write_whole(&path.with_extension("json"), |file| file.write_all(settings.as_bytes())));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "a copy of the policy that serves cannot be kept");
        }
    }

    /// Where the component lies that served last under that name, if there is one.
    pub(in crate::policy) fn last_good(&self, name: &str) -> Option<PathBuf> {
        let path = self.last_good_path(name);
        path.is_file().then_some(path)
    }

    /// What served last as the plugin of that name, if that is kept, whole and ours.
    pub(in crate::policy) fn served(&self, name: &str) -> Option<Lineage> {
        let path = self.served_path(name);
        let bytes = match files::read(&path, MOST_LINEAGE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read which version of a policy served last");
                return None;
            }
        };
        let found = Lineage::unsealed(&self.key, name, &bytes);
        if found.is_none() {
            tracing::warn!(path = %path.display(), "the record of the version that served last is damaged or not ours: it is ignored");
        }
        found
    }

    /// Keeps what serves as the plugin of that name.
    pub(in crate::policy) fn keep_served(&self, name: &str, lineage: &Lineage) {
        let path = self.served_path(name);
        if let Err(error) = write_whole(&path, |file| file.write_all(&lineage.sealed(&self.key, name))) {
            tracing::warn!(path = %path.display(), %error, "cannot record which version of a policy serves");
        }
    }

    fn served_path(&self, name: &str) -> PathBuf {
        self.path.join(SERVED).join(format!("{name}.sealed"))
    }

    /// Names have no separator and cannot begin a path upwards with the ending.
    fn last_good_path(&self, name: &str) -> PathBuf {
        self.path.join(LAST_GOOD).join(format!("{name}.wasm"))
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

/// Reads the key, or makes one. Two processes that start at once end with the same.
fn key(path: &Path) -> Result<Key, DirectoryError> {
    let bad = |error| unusable(path, error);
    if !path.exists() {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(|error| bad(io::Error::other(error)))?;
        let unfinished = unfinished(path);
        let made =
            write_new(&unfinished, |file| file.write_all(&secret)).and_then(|()| fs::hard_link(&unfinished, path));
        let _ = fs::remove_file(&unfinished);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(bad(error)),
            _ => {}
        }
    }
    let file = open(path).map_err(bad)?;
    let found = file.metadata().map_err(bad)?;
    check(path, &found, 0o077, "read or written")?;
    let mut bytes = Vec::new();
    file.take(33).read_to_end(&mut bytes).map_err(bad)?;
    let key = bytes.try_into().map_err(|_| DirectoryError::Unsafe {
        path: path.to_owned(),
        what: "it is no key of 32 bytes: remove it, and the next start makes one".to_owned(),
    })?;
    Ok(Key(key))
}

/// It must be ours, and the mode must have none of `forbidden`.
fn check(path: &Path, found: &fs::Metadata, forbidden: u32, done: &str) -> Result<(), DirectoryError> {
    let what = if found.uid() != geteuid().as_raw() {
        format!(
            "it belongs to user {}, and this process runs as {}: run it as that user, or name another `policy.directory`",
            found.uid(),
            geteuid()
        )
    } else if found.mode() & forbidden != 0 {
        format!(
            "it can be {done} by others (mode {:03o}), and code that is run could be put there: \
             check what is in it, then `chmod go-rwx`",
            found.mode() & 0o777
        )
    } else {
        return Ok(());
    };
    Err(DirectoryError::Unsafe {
        path: path.to_owned(),
        what,
    })
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// No more of a file than may be kept in one.
fn bounded(path: &Path) -> io::Result<io::Take<File>> {
    let file = open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() > MAX_BYTES {
        return Err(io::Error::other("no file, or larger than any that is kept"));
    }
    Ok(file.take(MAX_BYTES))
}

/// As [`digest`] of what is read.
fn digest_of(mut file: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(piece.get(..read).unwrap_or_default());
    }
}

/// Whole or not at all, whoever reads meanwhile.
fn write_whole(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = unfinished(path);
    let written = write_new(&unfinished, content).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_new(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    content(&mut file)
}

/// A name beside `path` that no other write uses.
fn unfinished(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}-{number}.new", std::process::id()));
    path.with_file_name(name)
}

fn unusable(path: &Path, error: io::Error) -> DirectoryError {
    DirectoryError::Unusable {
        path: path.to_owned(),
        error,
    }
}

const PIECE: usize = 64 << 10;
const COMPILED: &str = "compiled";
const LAST_GOOD: &str = "last-good";
const SERVED: &str = "served";
/// A seal, a name and a version.
const MOST_LINEAGE: u64 = 64 << 10;
/// Of all compiled code: a dozen policies in Python.
const MAX_BYTES: u64 = 512 << 20;
const MAX_ENTRIES: usize = 256;
/// A file that another process left behind in the middle of writing.
const UNFINISHED: Duration = Duration::from_secs(3600);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::confined::Sealed;

    fn code(bytes: &[u8]) -> Artifact {
        Artifact::from_compiler(Sealed::of(bytes).unwrap())
    }

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_is_kept_is_found_again_by_the_next_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policies");
        Directory::open(&path).unwrap().keep_compiled(&[1; 32], &code(b"code"));
        let again = Directory::open(&path).unwrap();
        let mut written = Vec::new();
        let found = again.compiled(&[1; 32]).unwrap();
        found.write_sealed(&again.key, &[1; 32], &mut written).unwrap();
        assert!(written.ends_with(b"code"));
        assert!(again.compiled(&[2; 32]).is_none());
        assert_eq!(fs::metadata(path.join("key")).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn what_served_is_known_to_the_next_process_and_cannot_be_put_there_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let lineage = |version: &str| Lineage {
            component: "office".to_owned(),
            version: version.to_owned(),
        };
        let directory = Directory::open(folder.path()).unwrap();
        assert_eq!(directory.served("a"), None);
        directory.keep_served("a", &lineage("1.0.0"));
        directory.keep_served("a", &lineage("2.0.0"));
        let again = Directory::open(folder.path()).unwrap();
        assert_eq!(again.served("a"), Some(lineage("2.0.0")));
        fs::copy(directory.served_path("a"), directory.served_path("b")).unwrap();
        assert_eq!(again.served("b"), None, "of another plugin");
        fs::write(directory.served_path("a"), "{}").unwrap();
        assert_eq!(again.served("a"), None, "not ours");
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
    fn a_folder_or_key_that_others_can_reach_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Directory::open(folder.path()).unwrap();
        #[rustfmt::skip]
        let table = [
            // what       mode   is it refused?
            ("key",       0o640, true),
            ("key",       0o604, true),
            ("key",       0o400, false),
            ("compiled",  0o770, true),
            ("compiled",  0o755, false),
            ("last-good", 0o702, true),
            ("",          0o777, true),
            ("",          0o750, false),
        ];
        for (name, mode, refused) in table {
            let path = folder.path().join(name);
            let before = fs::metadata(&path).unwrap().mode();
            chmod(&path, mode);
            let opened = Directory::open(folder.path());
            assert_eq!(
                matches!(opened, Err(DirectoryError::Unsafe { .. })),
                refused,
                "{name} {mode:o}"
            );
            chmod(&path, before);
        }
    }

    #[test]
    fn a_key_that_is_a_link_or_cut_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Directory::open(folder.path()).unwrap();
        let key = folder.path().join("key");
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&key, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &key).unwrap();
        assert!(Directory::open(folder.path()).is_err());
        fs::remove_file(&key).unwrap();
        fs::write(&key, "short").unwrap();
        chmod(&key, 0o600);
        assert!(Directory::open(folder.path()).is_err());
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

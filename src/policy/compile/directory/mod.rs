//! The gateway's store for policies between two starts: `policy.directory`.
//!
//! ```text
//! key                     the secret that compiled code is sealed with, mode 0600, created at the first start
//! compiled/HASH           compiled code, sealed; anything else is ignored and recompiled
//! generations/NAME.sealed what serves and served under that name, with its settings, sealed
//! generations/HASH.wasm   the components of these generations, each with its signature (HASH.wasm.sig) where it has one
//! served/NAME.sealed      which signed component was last in force under that name, sealed: no older one is accepted
//! ```

mod compiled;
mod generations;
mod served;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;
use thiserror::Error;

use self::compiled::{COMPILED, MAX_BYTES};
use self::generations::GENERATIONS;
use self::served::SERVED;
use super::sealed::Key;

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
    /// Another user could put code there, or could have put it.
    #[error("{}: {what}", path.display())]
    Unsafe {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and how to fix it.
        what: String,
    },
}

/// The folder, made and checked.
pub(in crate::policy::compile) struct Directory {
    path: PathBuf,
    key: Key,
}

impl Directory {
    /// Opens the folder, and makes it and its key where they are not there.
    ///
    /// # Errors
    /// If it cannot be used, or where somebody else could write there or read the key.
    pub(in crate::policy::compile) fn open(path: &Path) -> Result<Self, DirectoryError> {
        for folder in [
            path.to_owned(),
            path.join(COMPILED),
            path.join(GENERATIONS),
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
        what: "it is not a key of 32 bytes: remove it, and the next start makes one".to_owned(),
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
            "it can be {done} by other users (mode {:03o}), who could put code there that the gateway runs: check its contents, then `chmod go-rwx`",
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
        return Err(io::Error::other("not a file, or too large"));
    }
    Ok(file.take(MAX_BYTES))
}

/// A reader sees the whole file or none.
fn write_whole(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let unfinished = unfinished(path);
    let written = write_new(&unfinished, content).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_new(path: &Path, content: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    // Left behind by a process of the same number that was killed.
    let _ = fs::remove_file(path);
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::confined::Sealed;
    use crate::policy::compile::sealed::Code;

    fn code(bytes: &[u8]) -> Code {
        Code::from_compiler(Sealed::of(bytes).unwrap())
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
            ("generations", 0o702, true),
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
}

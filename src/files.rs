//! Reads files that others may have put there, without blocking and up to a size limit. Writes files atomically.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::libc;

/// Opens a regular file. A FIFO or a device in its place would hold up its reader for ever, or never end.
///
/// # Errors
/// If it cannot be opened, or is something else.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    match file.metadata()?.file_type() {
        kind if kind.is_file() => Ok(file),
        kind if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        _ => Err(io::Error::other("it is not a regular file")),
    }
}

/// The bytes of a regular file.
///
/// # Errors
/// As [`open`], and `FileTooLarge` if it has more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {most} bytes"));
    let length = file.metadata()?.len();
    if length > most {
        return Err(too_large());
    }
    // What is read grows no further than the file, unless the file does.
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        Err(too_large())
    } else {
        Ok(bytes)
    }
}

/// The text of a regular file.
///
/// # Errors
/// As [`read`], and if it is not UTF-8.
pub(crate) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let text = String::from_utf8(read(path, most)?);
    text.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// The first line of a file that only its owner and its group can read, without the space around it.
///
/// # Errors
/// A sentence that names the file and the fix.
pub(crate) fn read_secret(path: &Path) -> Result<String, String> {
    let text = read_private(path, MOST_SECRET)?;
    Ok(text.lines().next().unwrap_or_default().trim().to_owned())
}

/// The text of a file that only its owner and its group can read, of at most so many bytes.
///
/// # Errors
/// A sentence that names the file and the fix.
pub(crate) fn read_private(path: &Path, most: u64) -> Result<String, String> {
    let wrong = |what: &str| format!("{}: {what}", path.display());
    let cannot = |error: &dyn std::fmt::Display| wrong(&format!("cannot be read: {error}"));
    let file = open(path).map_err(|error| cannot(&error))?;
    // Of the file that is read, whatever is at its path by then.
    let mode = file.metadata().map_err(|error| cannot(&error))?.mode() & 0o777;
    if mode & 0o027 != 0 {
        return Err(wrong(&format!("has mode {mode:04o}: chmod it to 0600 or 0640")));
    }
    let text = read_capped(file, most).map_err(|error| cannot(&error))?;
    let text = text.ok_or_else(|| wrong(&format!("has more than {most} bytes")))?;
    String::from_utf8(text).map_err(|_| wrong("is not UTF-8"))
}

/// Everything in the file, or `None` if that is more than `most` bytes.
pub(crate) fn read_capped(file: impl Read, most: u64) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= most))
}

/// Writes a file atomically, because another process may be watching: it writes a new file beside it and renames it.
///
/// # Errors
/// If it cannot be written; the old file is then unchanged.
pub(crate) fn replace(path: &Path, content: impl AsRef<[u8]>, permissions: Option<Permissions>) -> io::Result<()> {
    let draft = draft(path);
    let mut file = File::create_new(&draft)?;
    let written = file
        .write_all(content.as_ref())
        .and_then(|()| permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions)))
        // Otherwise the new name may outlive a loss of power, and the content not.
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

/// Makes a file that is there as a whole or not at all; false where another process was faster, whose file stays.
///
/// # Errors
/// If it cannot be written; nothing is left behind then.
pub(crate) fn create(path: &Path, mode: u32, content: &[u8]) -> io::Result<bool> {
    let draft = draft(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&draft)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    let linked = written.and_then(|()| match fs::hard_link(&draft, path) {
        // A file system without hard links: then the last one to come is the one that counts.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => fs::rename(&draft, path),
        linked => linked,
    });
    let _ = fs::remove_file(&draft);
    match linked {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// A name beside a file, under which nothing is. In a container every process may have the same number: what is there was left
/// behind by one that was killed.
fn draft(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let _ = fs::remove_file(&draft);
    draft
}

/// What changes when a file is replaced or written, also through a link above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) size: u64,
    pub(crate) modified: (i64, i64),
    pub(crate) changed: (i64, i64),
}

impl Mark {
    /// Of the file as it is now; none if it is not there.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

/// A component, as far as it is read at all.
pub(crate) const MOST_COMPONENT: u64 = 64 << 20;
/// A file with a token or a password.
const MOST_SECRET: u64 = 64 << 10;
/// A file that people write: a configuration, settings, a key.
pub(crate) const MOST_TEXT: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_never_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for path in [fifo.as_path(), Path::new("/dev/zero")] {
            let error = read(path, MOST_COMPONENT).unwrap_err();
            assert_eq!(error.to_string(), "it is not a regular file", "{}", path.display());
        }
        let error = read(folder.path(), MOST_COMPONENT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sparse");
        File::create(&path).unwrap().set_len(5 << 30).unwrap();
        assert_eq!(read(&path, 64).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        std::fs::write(&path, [7; 64]).unwrap();
        assert_eq!(read(&path, 64).unwrap(), [7; 64]);
    }

    #[test]
    fn what_a_killed_process_left_behind_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks.json");
        let left = folder.path().join(format!(".locks.json.{}", std::process::id()));
        fs::write(&left, "half of").unwrap();
        assert!(create(&path, 0o600, b"one").unwrap());
        fs::write(&left, "half of").unwrap();
        assert!(!create(&path, 0o600, b"two").unwrap(), "what is there stays");
        assert_eq!(fs::read(&path).unwrap(), b"one");
        fs::write(&left, "half of").unwrap();
        replace(&path, "three", None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

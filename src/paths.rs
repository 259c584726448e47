//! Resolves the path of a Unix socket, and holds on to the file that is there.
//!
//! One socket has many paths: through symbolic links, `/proc/self/root`, `/proc/self/cwd`, hard links. A rule names one of them, so a
//! path is first followed to the one that has no link in it; that one is judged. What was found there is held open (`O_PATH`), and
//! what is held is connected to, by way of `/proc/self/fd`: whatever is put in that place in the meantime is not reached. The
//! same goes for the folder that a listener's socket is made in.
//!
//! A second name of the same file (a hard link) cannot be followed to the first: such a socket is refused.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::libc::{EIO, O_DIRECTORY, O_NOFOLLOW, O_PATH};
use nix::unistd::geteuid;
use thiserror::Error;

use crate::request::{EndpointError, SocketPath};

/// A socket to connect to: the path without a link in it, and what was there.
#[derive(Clone, Debug)]
pub struct Socket {
    path: SocketPath,
    held: Held,
}

/// A place where a socket may be made: the path without a link in it, and the folder.
#[derive(Clone, Debug)]
pub struct Place {
    path: SocketPath,
    folder: Held,
}

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    /// Of the file that has this metadata.
    #[must_use]
    pub fn of(found: &Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
        }
    }
}

/// A file that is held, or the error of the operating system where there is none.
type Held = Result<Arc<File>, i32>;

/// Why a path cannot be resolved.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum PathError {
    /// Where it leads is no path that can be judged.
    #[error("it leads to {0}")]
    Target(EndpointError),
    /// Its name is not text.
    #[error("it leads to a path that is not UTF-8")]
    NotText,
    /// Another name of the same socket could be meant by a rule.
    #[error(
        "the socket {path} has {names} names (hard links), so path rules cannot tell which one is meant: remove the others"
    )]
    HardLinks {
        /// The path without a link in it.
        path: SocketPath,
        /// How many names it has.
        names: u64,
    },
    /// Something is put in its way at this moment.
    #[error("the path of {0} changed while it was resolved: try again")]
    Changing(SocketPath),
}

impl Socket {
    /// Follows a path to a socket. If nothing is there, it follows the path as far as it leads, and connecting fails.
    ///
    /// # Errors
    /// If it is not known what it leads to. May block as the file system does.
    pub fn follow(path: &SocketPath) -> Result<Self, PathError> {
        let (real, found) = real(Path::new(path.as_str()));
        let path = judged(&real)?;
        let held = match found.and_then(|()| open(&real, 0)) {
            Ok(file) => Ok(hold(file, &real, &path)?),
            Err(error) => Err(errno(&error)),
        };
        if let Ok(file) = &held
            && let Ok(found) = file.metadata()
            && found.file_type().is_socket()
            && found.nlink() > 1
        {
            return Err(PathError::HardLinks {
                path,
                names: found.nlink(),
            });
        }
        Ok(Self { path, held })
    }

    /// A socket that is connected to already, and is judged once more as what it was then.
    #[must_use]
    pub fn connected(path: SocketPath) -> Self {
        Self { path, held: Err(EIO) }
    }

    /// The path without a link in it.
    #[must_use]
    pub fn path(&self) -> &SocketPath {
        &self.path
    }

    /// Which file was found, if one was.
    #[must_use]
    pub fn file(&self) -> Option<FileId> {
        let found = self.held.as_ref().ok()?.metadata().ok()?;
        Some(FileId::of(&found))
    }

    /// The path to connect to, which leads to what was found as long as this value lives.
    ///
    /// # Errors
    /// If nothing was found.
    pub fn held(&self) -> io::Result<PathBuf> {
        opened(&self.held).map(|file| by_number(file))
    }
}

impl Place {
    /// Follows the folder of a path; the last part of the path is never followed.
    ///
    /// # Errors
    /// If it is not known what the folder is. May block as the file system does.
    pub fn follow(path: &SocketPath) -> Result<Self, PathError> {
        let path = Path::new(path.as_str());
        let folder = path.parent().unwrap_or(Path::new("/"));
        let (real, found) = real(folder);
        let path = judged(&real.join(path.file_name().unwrap_or_default()))?;
        let folder = match found.and_then(|()| open(&real, O_DIRECTORY)) {
            Ok(file) => Ok(hold(file, &real, &path)?),
            Err(error) => Err(errno(&error)),
        };
        Ok(Self { path, folder })
    }

    /// The path without a link in it.
    #[must_use]
    pub fn path(&self) -> &SocketPath {
        &self.path
    }

    /// The path to bind, which lies in the folder that was found as long as this value lives.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn held(&self) -> io::Result<PathBuf> {
        let name = Path::new(self.path.as_str()).file_name().unwrap_or_default();
        opened(&self.folder).map(|folder| by_number(folder).join(name))
    }

    /// Removes a socket that was left behind here: one of this process's own user to which no connection can be made. Any other
    /// file stays, and so does a socket that is served.
    ///
    /// # Errors
    /// `EADDRINUSE` where something stays.
    pub fn clear(&self) -> io::Result<()> {
        let path = self.held()?;
        let file = match open(&path, 0) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let found = file.metadata()?;
        let ours = found.file_type().is_socket() && found.uid() == geteuid().as_raw();
        let same = || fs::symlink_metadata(&path).is_ok_and(|now| (now.dev(), now.ino()) == (found.dev(), found.ino()));
        if ours && is_abandoned(&file) && same() {
            return fs::remove_file(&path);
        }
        Err(io::Error::from_raw_os_error(nix::libc::EADDRINUSE))
    }
}

/// Whether no process accepts connections to this socket. Only a refusal says so: a full queue or a want of permission does not.
fn is_abandoned(socket: &File) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
    connect_at_once(&by_number(socket)).is_err_and(refused)
}

/// Connects without waiting for a place in the queue of the one who listens.
fn connect_at_once(path: &Path) -> io::Result<UnixStream> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.connect(&socket2::SockAddr::unix(path)?)?;
    Ok(UnixStream::from(std::os::fd::OwnedFd::from(socket)))
}

/// The path without a link in it. Where it does not lead to its end, as much of it as does, with the rest as it is written, and why.
fn real(path: &Path) -> (PathBuf, io::Result<()>) {
    let error = match fs::canonicalize(path) {
        Ok(real) => return (real, Ok(())),
        Err(error) => error,
    };
    let leading = path.ancestors().skip(1).find_map(|ancestor| {
        let real = fs::canonicalize(ancestor).ok()?;
        Some(real.join(path.strip_prefix(ancestor).ok()?))
    });
    (leading.unwrap_or_else(|| path.to_owned()), Err(error))
}

/// The path as it is told to policies.
fn judged(real: &Path) -> Result<SocketPath, PathError> {
    let text = real.to_str().ok_or(PathError::NotText)?;
    SocketPath::parse(text).map_err(PathError::Target)
}

fn open(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(O_PATH | O_NOFOLLOW | flags)
        .open(path)
}

/// What was opened must be what was followed: a link that came in between shows in the path that the system knows it by.
fn hold(file: File, real: &Path, path: &SocketPath) -> Result<Arc<File>, PathError> {
    match fs::read_link(by_number(&file)) {
        Ok(known) if known == real => Ok(Arc::new(file)),
        _ => Err(PathError::Changing(path.clone())),
    }
}

fn opened(held: &Held) -> io::Result<&Arc<File>> {
    held.as_ref().map_err(|errno| io::Error::from_raw_os_error(*errno))
}

fn by_number(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(EIO)
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;

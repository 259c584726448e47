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
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    struct Room {
        folder: tempfile::TempDir,
    }

    impl Room {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().unwrap(),
            }
        }

        fn path(&self, name: &str) -> PathBuf {
            fs::canonicalize(self.folder.path()).unwrap().join(name)
        }

        fn socket(&self, name: &str) -> SocketPath {
            SocketPath::parse(self.path(name).to_str().unwrap()).unwrap()
        }

        fn listen(&self, name: &str) -> UnixListener {
            UnixListener::bind(self.path(name)).unwrap()
        }
    }

    fn parsed(path: &str) -> SocketPath {
        SocketPath::parse(path).unwrap()
    }

    #[test]
    fn every_path_of_a_socket_is_followed_to_the_one_without_a_link() {
        let room = Room::new();
        let _listener = room.listen("denied");
        fs::create_dir(room.path("folder")).unwrap();
        symlink(room.path("denied"), room.path("link")).unwrap();
        symlink("denied", room.path("relative")).unwrap();
        symlink(room.path("link"), room.path("twice")).unwrap();
        symlink(room.path(""), room.path("above")).unwrap();
        symlink("../denied", room.path("folder/up")).unwrap();
        let denied = room.socket("denied");
        let paths = [
            denied.to_string(),
            room.path("link").display().to_string(),
            room.path("relative").display().to_string(),
            room.path("twice").display().to_string(),
            room.path("above/denied").display().to_string(),
            room.path("above/above/link").display().to_string(),
            room.path("folder/up").display().to_string(),
            format!("/proc/self/root{denied}"),
            format!("/proc/thread-self/root{denied}"),
            format!("/proc/{}/root{denied}", std::process::id()),
        ];
        for path in paths {
            let Ok(path) = SocketPath::parse(&path) else { continue };
            let found = Socket::follow(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
            assert_eq!(found.path(), &denied, "{path}");
            UnixStream::connect(found.held().unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    }

    #[test]
    fn what_was_found_is_connected_to_whatever_is_there_later() {
        let room = Room::new();
        let (first, second) = (room.listen("a"), room.listen("b"));
        symlink(room.path("a"), room.path("link")).unwrap();
        let found = Socket::follow(&room.socket("link")).unwrap();
        fs::remove_file(room.path("link")).unwrap();
        symlink(room.path("b"), room.path("link")).unwrap();
        fs::rename(room.path("b"), room.path("a")).unwrap();
        second.set_nonblocking(true).unwrap();
        let connected = UnixStream::connect(found.held().unwrap());
        assert!(second.accept().is_err(), "the other one was not reached");
        drop((connected, first));
    }

    #[test]
    fn a_path_that_leads_nowhere_is_followed_as_far_as_it_leads() {
        let room = Room::new();
        fs::create_dir(room.path("folder")).unwrap();
        symlink(room.path("folder"), room.path("link")).unwrap();
        symlink(room.path("gone"), room.path("dangling")).unwrap();
        symlink(room.path("loop"), room.path("loop")).unwrap();
        fs::write(room.path("file"), "").unwrap();
        #[rustfmt::skip]
        let table = [
            ("link/none",     "folder/none",   nix::libc::ENOENT),
            ("link/no/where", "folder/no/where", nix::libc::ENOENT),
            ("dangling",      "dangling",      nix::libc::ENOENT),
            ("loop",          "loop",          nix::libc::ELOOP),
            ("file/x",        "file/x",        nix::libc::ENOTDIR),
        ];
        for (asked, judged, errno) in table {
            let found = Socket::follow(&room.socket(asked)).unwrap();
            assert_eq!(found.path(), &room.socket(judged), "{asked}");
            assert_eq!(found.held().unwrap_err().raw_os_error(), Some(errno), "{asked}");
        }
        assert_eq!(
            Socket::follow(&parsed("/nowhere-at-all/x")).unwrap().path(),
            &parsed("/nowhere-at-all/x")
        );
    }

    #[test]
    fn a_socket_with_a_second_name_is_refused() {
        let room = Room::new();
        let _listener = room.listen("denied");
        fs::hard_link(room.path("denied"), room.path("other")).unwrap();
        for name in ["denied", "other"] {
            let refused = Socket::follow(&room.socket(name)).map(|_| ()).unwrap_err();
            let (path, names) = (room.socket(name), 2);
            assert_eq!(refused, PathError::HardLinks { path, names }, "{name}");
        }
    }

    #[test]
    fn a_socket_is_made_in_the_folder_that_was_judged() {
        let room = Room::new();
        for folder in ["one", "two"] {
            fs::create_dir(room.path(folder)).unwrap();
        }
        symlink(room.path("one"), room.path("link")).unwrap();
        let place = Place::follow(&room.socket("link/new")).unwrap();
        assert_eq!(place.path(), &room.socket("one/new"));
        fs::remove_file(room.path("link")).unwrap();
        symlink(room.path("two"), room.path("link")).unwrap();
        let _listener = UnixListener::bind(place.held().unwrap()).unwrap();
        assert!(room.path("one/new").exists() && !room.path("two/new").exists());
        let none = Place::follow(&room.socket("none/new")).unwrap();
        assert_eq!(none.held().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn only_a_socket_that_was_left_behind_is_removed() {
        let room = Room::new();
        let _served = room.listen("served");
        drop(room.listen("left"));
        let busy = room.listen("busy");
        let datagrams = std::os::unix::net::UnixDatagram::bind(room.path("datagrams")).unwrap();
        fs::write(room.path("file"), "").unwrap();
        fs::create_dir(room.path("folder")).unwrap();
        symlink(room.path("left"), room.path("link")).unwrap();
        // Fill the queue: one that cannot be connected to at once is served all the same.
        let waiting: Vec<_> = std::iter::repeat_with(|| connect_at_once(&room.path("busy")))
            .take(10_000)
            .take_while(io::Result::is_ok)
            .collect();
        #[rustfmt::skip]
        let table = [
            ("served",    false),
            ("busy",      false),
            ("datagrams", false),
            ("file",      false),
            ("folder",    false),
            ("link",      false),
            ("left",      true),
            ("none",      true),
        ];
        for (name, free) in table {
            let cleared = Place::follow(&room.socket(name)).unwrap().clear();
            assert_eq!(cleared.is_ok(), free, "{name}: {cleared:?}");
            let there = fs::symlink_metadata(room.path(name)).is_ok();
            assert_eq!(there, !free, "{name}");
        }
        drop((waiting, busy, datagrams));
    }
}

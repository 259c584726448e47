//! The control socket: created with its mode, and replaced only if no other gateway serves it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::chown;
use thiserror::Error;

use super::Admins;

/// A control socket that is bound. Its file is removed at the end, if it is this process's and still the one that was made.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    made: (u64, u64),
    ownership: Ownership,
    listener: UnixListener,
}

/// Whether this process removes the file of a socket at the end. Clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Ownership(Arc<AtomicBool>);

impl Ownership {
    /// This process does.
    pub(crate) fn take(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Another process does.
    pub(crate) fn give_up(&self) {
        self.0.store(false, Ordering::Release);
    }

    fn is_ours(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Why there is no control socket.
#[derive(Debug, Error)]
pub(crate) enum SocketError {
    /// Another gateway serves it.
    #[error("another gateway uses {}: set admin.socket to another path", .0.display())]
    InUse(PathBuf),
    /// Something that is no socket has that name.
    #[error("{} is not a socket: remove it, or set admin.socket to another path", .0.display())]
    NotASocket(PathBuf),
    /// The operating system refused.
    #[error("cannot create the control socket {}: {error}", path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// The operating system's words.
        error: io::Error,
    },
}

impl ControlSocket {
    /// Binds the socket with mode 0600, or 0660 and the group of the administrators. A socket that a gateway left behind is
    /// replaced; one that is served is not.
    ///
    /// # Errors
    /// Why it cannot be bound.
    pub(crate) fn bind(path: &Path, admins: &Admins) -> Result<Self, SocketError> {
        let system = |error| SocketError::System {
            path: path.to_owned(),
            error,
        };
        if let Some(folder) = path.parent() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o700).create(folder).map_err(system)?;
        }
        make_room(path)?;
        // Beside its place, and renamed into it once its mode is right: it is never open to others, and what is found under
        // the name is complete.
        let aside = aside(path);
        let _ = fs::remove_file(&aside);
        let listener = UnixListener::bind(&aside).map_err(system)?;
        let made = admit(&aside, admins).and_then(|()| {
            let found = fs::symlink_metadata(&aside)?;
            fs::rename(&aside, path)?;
            Ok((found.dev(), found.ino()))
        });
        let made = made.inspect_err(|_| {
            let _ = fs::remove_file(&aside);
        });
        listener.set_nonblocking(true).map_err(system)?;
        Ok(Self {
            path: path.to_owned(),
            made: made.map_err(system)?,
            ownership: Ownership(Arc::new(AtomicBool::new(true))),
            listener,
        })
    }

    /// Takes over a socket that another process made and serves, if its file is still there. That is the other's until
    /// [`Ownership::take`].
    ///
    /// # Errors
    /// If its mode cannot be set.
    pub(crate) fn taken(
        path: &Path,
        listener: UnixListener,
        made: (u64, u64),
        admins: &Admins,
    ) -> Result<Option<Self>, SocketError> {
        if !is_there(path, made) {
            return Ok(None);
        }
        admit(path, admins).map_err(|error| SocketError::System {
            path: path.to_owned(),
            error,
        })?;
        Ok(Some(Self {
            path: path.to_owned(),
            made,
            ownership: Ownership(Arc::default()),
            listener,
        }))
    }

    /// Device and number of its file.
    #[must_use]
    pub(crate) fn made(&self) -> (u64, u64) {
        self.made
    }

    /// Whose it is.
    #[must_use]
    pub(crate) fn ownership(&self) -> Ownership {
        self.ownership.clone()
    }

    /// Where it is.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        if self.ownership.is_ours() {
            remove(&self.path, self.made);
        }
    }
}

/// Removes the file of a socket, if it is still this one.
pub(crate) fn remove(path: &Path, made: (u64, u64)) {
    if is_there(path, made) {
        let _ = fs::remove_file(path);
    }
}

fn is_there(path: &Path, made: (u64, u64)) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| (found.dev(), found.ino()) == made)
}

/// Only a socket that nothing serves may be replaced.
#[expect(
    clippy::disallowed_methods,
    reason = "at the start, to see whether the socket of the gateway is served"
)]
fn make_room(path: &Path) -> Result<(), SocketError> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(()),
        Ok(found) if !found.file_type().is_socket() => Err(SocketError::NotASocket(path.to_owned())),
        Ok(_) => match UnixStream::connect(path) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(SocketError::System {
                path: path.to_owned(),
                error,
            }),
            Ok(_) => Err(SocketError::InUse(path.to_owned())),
        },
    }
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    PathBuf::from(name)
}

fn admit(path: &Path, admins: &Admins) -> io::Result<()> {
    let mode = match admins.group() {
        Some(group) => {
            chown(path, None, Some(group)).map_err(io::Error::from)?;
            0o660
        }
        None => 0o600,
    };
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admins() -> Admins {
        Admins::new(None).unwrap()
    }

    #[test]
    fn a_socket_is_closed_to_others_and_gone_at_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/admin.sock");
        let socket = ControlSocket::bind(&path, &admins()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777,
            0o700
        );
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_was_taken_over_is_removed_by_the_one_that_has_it_then() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let old = ControlSocket::bind(&path, &admins()).unwrap();
        let take = || {
            let listener = old.listener().try_clone().unwrap();
            ControlSocket::taken(&path, listener, old.made(), &admins()).unwrap()
        };
        drop(take());
        assert!(path.exists(), "one that never served has taken it away");
        let new = take().unwrap();
        old.ownership().give_up();
        new.ownership().take();
        drop(old);
        assert!(path.exists(), "the old one has taken it away");
        drop(new);
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_is_served_or_is_none_is_left_alone_and_a_dead_one_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.sock");
        let mut first = ControlSocket::bind(&path, &admins()).unwrap();
        assert!(matches!(
            ControlSocket::bind(&path, &admins()),
            Err(SocketError::InUse(_))
        ));
        // As a gateway that was killed leaves it.
        let inode = fs::metadata(&path).unwrap().ino();
        first.listener = UnixListener::bind(folder.path().join("another.sock")).unwrap();
        let second = ControlSocket::bind(&path, &admins()).unwrap();
        assert_ne!(fs::metadata(&path).unwrap().ino(), inode);
        // The first one's end does not take the second one's file.
        drop(first);
        assert!(path.exists());
        drop(second);
        fs::write(&path, "a file").unwrap();
        assert!(matches!(
            ControlSocket::bind(&path, &admins()),
            Err(SocketError::NotASocket(_))
        ));
        assert_eq!(fs::read_to_string(&path).unwrap(), "a file");
    }
}

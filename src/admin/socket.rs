//! The control socket: created with its mode, and replaced only if no other gateway serves it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::chown;
use thiserror::Error;

use super::Admins;

/// A control socket that is bound. Its file is removed at the end, if it is still the one that was made.
#[derive(Debug)]
pub(crate) struct ControlSocket {
    path: PathBuf,
    made: (u64, u64),
    listener: UnixListener,
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
            listener,
        })
    }

    /// Where it is.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.made) {
            let _ = fs::remove_file(&self.path);
        }
    }
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

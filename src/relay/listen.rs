//! The listening sockets of a remote forward.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::time::Duration;

use futures_util::future::select_all;
use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::net::{TcpListener, UnixListener};

use super::dial::unreachable;
use super::tunnel::Stream;
use crate::judgement::{Bind, Listen, Permit};
use crate::paths::Place;
use crate::request::{Endpoint, Refusal};

/// The listening sockets of one remote forward. They end when it is dropped, and so does the socket file.
pub(crate) struct ListeningSockets {
    sockets: Sockets,
}

enum Sockets {
    Tcp(Vec<TcpListener>),
    Unix(UnixListener, Remover),
}

/// A connection to a listener.
pub(crate) struct Accepted {
    /// The connection.
    pub stream: Stream,
    /// The peer, where it has an address.
    pub peer: Option<SocketAddr>,
}

impl ListeningSockets {
    /// Binds what the permit names, and uses it up.
    ///
    /// With several addresses one port is used on all of them, and it suffices that one can be
    /// bound (OpenSSH's `channel_setup_fwd_listener_tcpip`).
    ///
    /// # Errors
    /// Where no address can be bound, in the words of the operating system.
    pub(crate) fn new(permit: Permit<Listen>) -> Result<Self, Refusal> {
        let (allowed, bind) = permit.spend();
        let sockets = match bind {
            Bind::Addresses(addresses) => bind_all(&addresses).map(Sockets::Tcp),
            Bind::Socket(place) => bind_path(&place, allowed.terms.replace_socket),
        };
        let sockets = sockets.map_err(|error| unreachable(&error))?;
        Ok(Self { sockets })
    }

    /// The port that was bound; none for a socket file.
    #[must_use]
    pub(crate) fn port(&self) -> Option<u16> {
        match &self.sockets {
            Sockets::Tcp(listeners) => listeners.first()?.local_addr().ok().map(|address| address.port()),
            Sockets::Unix(..) => None,
        }
    }

    /// The places that were bound.
    #[must_use]
    pub(crate) fn places(&self) -> Vec<Endpoint> {
        match &self.sockets {
            Sockets::Tcp(listeners) => {
                let addresses = listeners.iter().filter_map(|one| one.local_addr().ok());
                addresses.map(Endpoint::from).collect()
            }
            Sockets::Unix(_, remover) => vec![Endpoint::Socket(remover.place.path().clone())],
        }
    }

    /// The next connection. A shortage of file descriptors or memory waits a second, as OpenSSH
    /// does; a peer that is gone already is passed over. Cancel-safe.
    pub(crate) async fn accept(&self) -> Accepted {
        loop {
            match self.accept_once().await {
                Ok(accepted) => return accepted,
                Err(error) if is_ours(&error) => {
                    tracing::warn!(%error, "a listener cannot accept: raise the limit of open files (ulimit -n)");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => tracing::debug!(%error, "a peer was gone before it was accepted"),
            }
        }
    }

    async fn accept_once(&self) -> io::Result<Accepted> {
        match &self.sockets {
            Sockets::Tcp(listeners) => {
                let accepts = listeners.iter().map(|listener| Box::pin(listener.accept()));
                let (accepted, _, _) = select_all(accepts).await;
                let (stream, peer) = accepted?;
                stream.set_nodelay(true)?;
                Ok(Accepted {
                    stream: Stream::Tcp(stream),
                    peer: Some(SocketAddr::new(peer.ip().to_canonical(), peer.port())),
                })
            }
            Sockets::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted {
                    stream: Stream::Unix(stream),
                    peer: None,
                })
            }
        }
    }
}

/// Out of descriptors or memory: not the peer's fault.
pub(crate) fn is_ours(error: &io::Error) -> bool {
    use nix::libc::{EMFILE, ENFILE, ENOBUFS, ENOMEM};
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE | ENOBUFS | ENOMEM))
}

fn bind_all(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    // A port that the system chose for one family may be taken on the other: then choose again.
    for _ in 0..PORT_TRIES {
        let mut bound: Vec<TcpListener> = Vec::new();
        let mut port = None;
        let mut taken = false;
        for address in addresses {
            let address = SocketAddr::new(address.ip(), port.unwrap_or(address.port()));
            match bind_one(address) {
                Ok(listener) => {
                    port = Some(listener.local_addr()?.port());
                    bound.push(listener);
                }
                Err(error) => {
                    taken |= error.kind() == io::ErrorKind::AddrInUse;
                    last = error;
                }
            }
        }
        let chosen = addresses.iter().all(|address| address.port() == 0);
        let again = taken && chosen;
        if !bound.is_empty() && !again {
            return Ok(bound);
        }
        if !chosen {
            break;
        }
    }
    Err(last)
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if matches!(address.ip(), IpAddr::V6(_)) {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Removes the socket file with its listener, if it is still the same file.
struct Remover {
    place: Place,
    inode: Option<u64>,
}

impl Drop for Remover {
    fn drop(&mut self) {
        if let Ok(file) = self.place.held()
            && inode(&file) == self.inode
        {
            let _ = fs::remove_file(&file);
        }
    }
}

fn inode(path: &Path) -> Option<u64> {
    use std::os::unix::fs::MetadataExt;
    fs::symlink_metadata(path).ok().map(|found| found.ino())
}

/// Makes a socket in a place that is free. What exists there is never followed and never removed, unless the terms say that a
/// socket may be replaced, and it is one that was left behind.
fn bind_path(place: &Place, replace: bool) -> io::Result<Sockets> {
    let file = place.held()?;
    if replace {
        place.clear()?;
    }
    let listener = bind_private(&file)?;
    let remover = Remover {
        place: place.clone(),
        inode: inode(&file),
    };
    listener.set_nonblocking(true)?;
    Ok(Sockets::Unix(UnixListener::from_std(listener)?, remover))
}

/// OpenSSH's `StreamLocalBindMask` 0177: only the gateway's own user may connect. The socket gets its mode before it has a name
/// (unix(7)), so no mask of the whole process has to change for it.
fn bind_private(file: &Path) -> io::Result<StdUnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    socket.bind(&SockAddr::unix(file)?)?;
    socket.listen(BACKLOG)?;
    Ok(StdUnixListener::from(OwnedFd::from(socket)))
}

const PORT_TRIES: usize = 16;
const BACKLOG: i32 = 128;

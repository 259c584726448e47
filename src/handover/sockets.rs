//! Listening sockets, each with what it is for.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What a socket is for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "kebab-case")]
pub(crate) enum Label {
    /// Clients.
    Ssh {
        /// As configured: with port 0 where any would do.
        asked: SocketAddr,
    },
    /// Monitoring.
    Monitoring {
        /// As configured.
        asked: SocketAddr,
    },
    /// Administrators.
    Control {
        /// Its name.
        path: PathBuf,
        /// Device and number of what has that name.
        made: (u64, u64),
    },
    /// Something that this version does not know.
    #[serde(other)]
    Unknown,
}

/// Listening sockets; closed when they are dropped.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    all: Vec<(Label, OwnedFd)>,
    /// The addresses of those that somebody must take, for one purpose or another.
    wanted: Vec<SocketAddr>,
}

impl Sockets {
    pub(super) fn new(labels: Vec<Label>, files: Vec<OwnedFd>) -> Self {
        Self {
            all: labels.into_iter().zip(files).collect(),
            wanted: Vec::new(),
        }
    }

    pub(super) fn labels(&self) -> Vec<Label> {
        self.all.iter().map(|(label, _)| label.clone()).collect()
    }

    pub(super) fn files(&self) -> Vec<&OwnedFd> {
        self.all.iter().map(|(_, file)| file).collect()
    }

    pub(super) fn must_be_used(&mut self, address: SocketAddr) {
        self.wanted.push(address);
    }

    /// The address of a socket that nobody took, and somebody must.
    pub(crate) fn unused(&self) -> Option<SocketAddr> {
        let left = |address: SocketAddr| {
            let asked = [Label::Ssh { asked: address }, Label::Monitoring { asked: address }];
            let is_left = |wanted: &Label| self.all.iter().any(|(label, _)| label == wanted);
            asked.iter().all(is_left)
        };
        self.wanted.iter().copied().find(|address| left(*address))
    }

    /// One more.
    pub(crate) fn add(&mut self, label: Label, socket: impl Into<OwnedFd>) {
        self.all.push((label, socket.into()));
    }

    /// The same sockets once more.
    ///
    /// # Errors
    /// If there are no more files to be had.
    pub(crate) fn again(&self) -> io::Result<Self> {
        let again = |(label, file): &(Label, OwnedFd)| Ok((label.clone(), file.try_clone()?));
        let all = self.all.iter().map(again).collect::<io::Result<_>>()?;
        Ok(Self {
            all,
            wanted: self.wanted.clone(),
        })
    }

    /// The one for clients that was asked for by that address, or is bound to it.
    pub(crate) fn take_ssh(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let asked = |label: &Label| matches!(label, Label::Ssh { asked } if *asked == address);
        self.take(asked)
            .map(|(_, file)| TcpListener::from(file))
            .or_else(|| self.take_bound(address, |label| matches!(label, Label::Ssh { .. })))
    }

    /// The one for monitoring that was asked for by that address, or is bound to it.
    pub(crate) fn take_monitoring(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let asked = |label: &Label| matches!(label, Label::Monitoring { asked } if *asked == address);
        self.take(asked)
            .map(|(_, file)| TcpListener::from(file))
            .or_else(|| self.take_bound(address, |label| matches!(label, Label::Monitoring { .. })))
    }

    /// The one for administrators of that name, with device and number of its file.
    pub(crate) fn take_control(&mut self, name: &Path) -> Option<(UnixListener, (u64, u64))> {
        let named = |label: &Label| matches!(label, Label::Control { path, .. } if path == name);
        match self.take(named)? {
            (Label::Control { made, .. }, file) => Some((UnixListener::from(file), made)),
            _ => None,
        }
    }

    /// The names of control sockets that nothing has taken, with device and number of their files.
    pub(crate) fn unused_controls(&self) -> impl Iterator<Item = (&Path, (u64, u64))> {
        self.all.iter().filter_map(|(label, _)| match label {
            Label::Control { path, made } => Some((path.as_path(), *made)),
            _ => None,
        })
    }

    fn take(&mut self, fits: impl Fn(&Label) -> bool) -> Option<(Label, OwnedFd)> {
        let place = self.all.iter().position(|(label, _)| fits(label))?;
        Some(self.all.remove(place))
    }

    fn take_bound(&mut self, address: SocketAddr, fits: impl Fn(&Label) -> bool) -> Option<TcpListener> {
        let is_there = |file: &OwnedFd| {
            let listener = file.try_clone().map(TcpListener::from);
            listener.and_then(|listener| listener.local_addr()).ok() == Some(address)
        };
        let place = self
            .all
            .iter()
            .position(|(label, file)| fits(label) && is_there(file))?;
        Some(TcpListener::from(self.all.remove(place).1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_found_once_by_what_was_asked_for_or_by_where_it_is() {
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let bound: Vec<_> = (0..3).map(|_| TcpListener::bind(any).unwrap()).collect();
        let at: Vec<_> = bound.iter().map(|one| one.local_addr().unwrap()).collect();
        let mut sockets = Sockets::default();
        for (listener, label) in bound.into_iter().zip([
            Label::Ssh { asked: any },
            Label::Ssh { asked: any },
            Label::Monitoring { asked: any },
        ]) {
            sockets.add(label, listener);
        }
        let is = |found: Option<TcpListener>| found.map(|one| one.local_addr().unwrap());
        assert_eq!(is(sockets.take_ssh(at[2])), None, "it is for something else");
        assert_eq!(is(sockets.take_ssh(at[1])), Some(at[1]));
        assert_eq!(is(sockets.take_ssh(any)), Some(at[0]));
        assert_eq!(is(sockets.take_ssh(any)), None);
        assert_eq!(is(sockets.take_monitoring(any)), Some(at[2]));
    }

    #[test]
    fn a_label_of_another_version_is_no_error() {
        let label: Label = serde_json::from_str(r#"{"for":"carrier-pigeons","loft":7}"#).unwrap();
        assert_eq!(label, Label::Unknown);
    }
}

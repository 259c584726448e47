//! Tells the service manager what this process does (sd_notify(3)): a datagram to the socket that `NOTIFY_SOCKET` names.
//!
//! Nothing depends on it: without a service manager, or if it does not listen, nothing is said.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// What a service manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fact {
    /// This process serves.
    Serves,
    /// This process begins to stop.
    Stops,
    /// Another process has taken the place of this one.
    Replaced {
        /// Its number.
        by: u32,
    },
}

/// Tells the service manager, if there is one.
pub(crate) fn tell(fact: Fact) {
    if let Some(name) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = tell_at(&name, fact)
    {
        tracing::debug!(%error, "the service manager does not listen on NOTIFY_SOCKET");
    }
}

fn tell_at(name: &OsStr, fact: Fact) -> io::Result<()> {
    let address = match name.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    // A manager that does not read holds up nothing.
    socket.set_nonblocking(true)?;
    socket.send_to_addr(words(fact).as_bytes(), &address).map(drop)
}

fn words(fact: Fact) -> String {
    match fact {
        // Also from a process that has replaced another: the manager knows it as the main one by then, or ignores it.
        Fact::Serves => "READY=1".to_owned(),
        Fact::Stops => "STOPPING=1".to_owned(),
        Fact::Replaced { by } => format!("MAINPID={by}\nREADY=1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fact_is_one_datagram_at_a_path_or_an_abstract_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("@portreeve-test-{}", std::process::id());
        let at_name = SocketAddr::from_abstract_name(&name[1..]).unwrap();
        let managers = [
            (path.as_os_str(), UnixDatagram::bind(&path).unwrap()),
            (OsStr::new(&name), UnixDatagram::bind_addr(&at_name).unwrap()),
        ];
        for (name, manager) in managers {
            for (fact, told) in [
                (Fact::Serves, "READY=1"),
                (Fact::Replaced { by: 7 }, "MAINPID=7\nREADY=1"),
                (Fact::Stops, "STOPPING=1"),
            ] {
                tell_at(name, fact).unwrap();
                let mut heard = [0; 64];
                let length = manager.recv(&mut heard).unwrap();
                assert_eq!(std::str::from_utf8(&heard[..length]).unwrap(), told);
            }
        }
    }
}

//! The sockets that a service manager listens on for this program: socket activation, sd_listen_fds(3).

use std::io;

use listenfd::ListenFd;

use super::{Label, Sockets};

/// The sockets that this process was started with; none where `LISTEN_PID` names another, or nobody passed any.
///
/// # Errors
/// If one is no TCP socket that listens: a control socket is made by the gateway itself, with its own mode and group.
pub(crate) fn activated() -> io::Result<Sockets> {
    let mut passed = ListenFd::from_env();
    let mut sockets = Sockets::default();
    for number in 0..passed.len() {
        let listener = passed.take_tcp_listener(number);
        let listener = listener.map_err(|error| io::Error::other(format!("socket {number} of the unit: {error}")))?;
        let Some(listener) = listener else { continue };
        listener.set_nonblocking(true)?;
        let asked = listener.local_addr()?;
        // What it is for, the configuration says.
        sockets.add(Label::Ssh { asked }, listener.try_clone()?);
        sockets.add(Label::Monitoring { asked }, listener);
        sockets.must_be_used(asked);
    }
    Ok(sockets)
}

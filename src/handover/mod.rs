//! Hands the listening sockets of a process to another one that takes its place, so that no connection is refused in between.
//!
//! The running program starts its successor ([`Program`]) with one end of a Unix socket as standard input. Over that it passes the
//! sockets as open files (`SCM_RIGHTS`, unix(7)), and over that the successor says that it serves, or why it cannot ([`Predecessor`]).
//! Files are not inherited by number, as in the socket activation of systemd: that needs a moment in which they are not closed on
//! exec, in which every other process that is started would get them, too.
//!
//! The room must not know what is served on the sockets. Invariant: a successor that does not say in time that it serves is ended, and
//! until it has said so nothing changes for the process that started it.

mod activated;
mod packets;
mod predecessor;
mod program;
mod sockets;

pub(crate) use activated::activated;
pub(crate) use predecessor::Predecessor;
pub(crate) use program::{Program, Successor, Unserved};
pub(crate) use sockets::{Label, Sockets};

/// Set for a successor; its value says nothing.
const VARIABLE: &str = "PORTREEVE_HANDOVER";

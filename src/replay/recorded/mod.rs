//! Reads audit logs: the requests, the input of the policies, and the decisions.
//!
//! All commands that read a log use this, so that they agree on what it says. It must not know what they need it for.
//!
//! Invariant: memory holds only one line of limited length and the open sessions, however long the log is.

mod line;
mod lines;
mod sessions;

pub(crate) use line::{Kind, Line, Session};
pub(crate) use lines::{End, Lines, Text};
pub(crate) use sessions::Sessions;

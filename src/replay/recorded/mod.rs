//! Audit logs, read back: who asked for what, what the policies were told, and what was decided.
//!
//! All commands that read a log use this, so that they agree on what it says. It must not know what they need it for.
//!
//! Invariant: however long a log is, no more of it is held than a line of bounded length and the sessions that are open.

mod line;
mod lines;
mod sessions;

pub(crate) use line::{Kind, Line, Session};
pub(crate) use lines::{End, Lines, Text};
pub(crate) use sessions::Sessions;

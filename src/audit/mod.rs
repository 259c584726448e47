//! The audit log: who asked for what, what was decided by which policy, and how it ended.
//!
//! One JSON object a line, whole or not at all, written by a thread of its own so that a slow disk
//! holds up no relay. What was refused or changed is on its way at once; logins, openings and ends may wait some
//! milliseconds for the next line, so that a crowd does not wake that thread for each. It must not filter: what is recorded is
//! recorded, and no line of a log that is required is dropped. Invariant: where the log cannot be written,
//! [`Audit::takes_lines`] says so before anything is decided, and [`Audit::has_room`] before anybody is let in: what could not
//! be recorded is refused, not dropped.

mod event;
mod printable;
mod queue;
mod sink;
mod target;
mod writer;

pub use event::{Cause, ConnectFailed, Decided, Ended, Event, Line, LoggedIn, NameAnswer, Subject, VerdictWord};
pub use sink::{Audit, Written};

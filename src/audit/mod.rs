//! The audit log: who asked for what, what was decided by which policy, and how it ended.
//!
//! One JSON object a line, whole or not at all, written by a thread of its own so that a slow disk
//! holds up no relay. What was refused or changed is on its way at once; logins, openings and ends may wait some
//! milliseconds for the next line, so that a crowd does not wake that thread for each. It must not filter: what is recorded is recorded. Invariant: where the log
//! cannot be written, [`Audit::record`] says so before anything is allowed.

mod event;
mod queue;
mod sink;
mod target;
mod writer;

pub use event::{Cause, Decided, Ended, Event, Line, LoggedIn, NameAnswer, Subject, VerdictWord};
pub use sink::{Audit, Written};

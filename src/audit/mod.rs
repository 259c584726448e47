//! The audit log: one of those who listen to what happens ([`events`](crate::events)), the one that keeps it.
//!
//! A line is written whole or not at all, by a thread of its own, so that a slow disk holds up no relay. What is urgent is on its
//! way at once; the rest may wait some milliseconds for the next line, so that a crowd does not wake that thread for each. It
//! must not know what a line says, and must not filter: no line of a log that is required is dropped. Invariant: where the log cannot be written,
//! [`Audit::takes_lines`] says so before anything is decided, and [`Audit::has_room`] before anybody is let in: what could not
//! be recorded is refused, not dropped.

mod call;
mod queue;
mod sink;
mod target;
mod waiter;
mod writer;

pub(crate) use sink::{Audit, Haste, Lines, Written};

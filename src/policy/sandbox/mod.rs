//! Runs guests: the engine, the interfaces that a guest can reach, and the limits on its memory, time and calls.
//!
//! It must not know why a guest is called. Invariant: a guest reaches nothing but the interfaces that it is linked with.

mod backtrace;
mod calendar;
mod call;
mod engine;
mod facts;
mod guest;
mod interfaces;
mod limits;
mod recorder;
mod state;
mod ticker;
mod turns;
mod wasi;

pub(in crate::policy) use call::{classify, configure, configured, fill_up, store};
pub use engine::Meter;
pub(in crate::policy) use engine::{CLEARING, PREPARED, Sandbox, settings};
pub(in crate::policy) use facts::Facts;
pub use facts::{CountsElsewhere, OpenForwards};
pub(in crate::policy) use guest::{Guest, Label, Phase};
pub(in crate::policy) use recorder::Recorder;
pub use recorder::{Call, Line, LogLevel, Observed};
pub(in crate::policy) use state::State;
#[cfg(test)]
pub(crate) use state::suite;
pub use state::{Clock, MAX_BYTES, MAX_ENTRIES, MAX_KEY, MAX_VALUE, Remembers, SetClock, StateError};
pub(in crate::policy) use turns::{Places, Turn};
pub(in crate::policy) use wasi::{Inert, add_to_linker};

//! Where guests run: the engine, what a guest can reach, and the bounds on its memory, time and calls.
//!
//! It must not know why a guest is asked. Invariant: a guest reaches nothing but the interfaces that it is linked with.

pub(in crate::policy) mod backtrace;
mod calendar;
pub(in crate::policy) mod engine;
mod guest;
mod recorder;
mod state;
mod turns;
pub(in crate::policy) mod wasi;

pub use engine::Meter;
pub(in crate::policy) use engine::{CLEARING, PREPARED, Sandbox};
pub use guest::OpenForwards;
pub(in crate::policy) use guest::{Facts, Guest, Label, Phase};
pub(in crate::policy) use recorder::Recorder;
pub use recorder::{Call, Line, LogLevel, Observed};
pub use state::{Clock, SetClock};
pub(in crate::policy) use state::{State, StateError};
pub(in crate::policy) use turns::{Places, Turn};
pub(in crate::policy) use wasi::Inert;

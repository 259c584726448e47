//! The values and counters that policies keep between decisions (the interface `state`), and its clock.

mod clock;
mod memory;

pub use clock::{Clock, SetClock};
pub(in crate::policy) use memory::{State, StateError};

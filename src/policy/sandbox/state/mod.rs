//! What policies remember between decisions (the interface `state`), and the clock that it goes by.

mod clock;
mod memory;

pub use clock::{Clock, SetClock};
pub(in crate::policy) use memory::{State, StateError};

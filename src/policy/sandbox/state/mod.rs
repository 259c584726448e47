//! The values and counters that policies keep between decisions (the interface `state`), and its clock.
//!
//! Where they are kept is behind [`Remembers`]: in this process (`memory.rs`), or where several gateways share them. Whoever
//! keeps them keeps to one suite of tests (`suite.rs`), so that a policy cannot tell them apart.

mod clock;
mod memory;
#[cfg(test)]
pub(crate) mod suite;

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

pub use clock::{Clock, SetClock};
pub(in crate::policy) use memory::State;

/// Keeps small values and counters, in one namespace for each policy name.
///
/// `now` is the present of the caller; what has a clock of its own, which all that share it go by, ignores it.
pub trait Remembers: Send + Sync {
    /// The value of a key, unless there is none or it has ended.
    ///
    /// # Errors
    /// [`StateError::Unavailable`].
    fn get<'a>(
        &'a self,
        space: &'a str,
        key: String,
        now: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StateError>>;

    /// Stores a value for `ttl`; a `ttl` of zero removes it. A value that does not fit leaves what was there.
    ///
    /// # Errors
    /// Why it is not stored. After [`StateError::Unavailable`] it may be.
    fn put<'a>(
        &'a self,
        space: &'a str,
        key: String,
        bytes: Vec<u8>,
        ttl: Duration,
        now: Instant,
    ) -> BoxFuture<'a, Result<(), StateError>>;

    /// Adds to a counter whose window begins with the first addition, and returns the new sum. A sum past the range of an `i64`
    /// stays at its end.
    ///
    /// # Errors
    /// Why it is not counted. After [`StateError::Unavailable`] it may be.
    fn add<'a>(
        &'a self,
        space: &'a str,
        key: String,
        delta: i64,
        window: Duration,
        now: Instant,
    ) -> BoxFuture<'a, Result<i64, StateError>>;

    /// Whether a call may have to wait for another machine.
    fn is_elsewhere(&self) -> bool;
}

/// Why the state does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateError {
    /// The namespace is full.
    OverBudget,
    /// The key or the value alone is too large.
    TooLarge,
    /// Where it is kept could not be reached in time.
    Unavailable,
}

/// Bytes of a key.
pub const MAX_KEY: usize = 256;
/// Bytes of a value.
pub const MAX_VALUE: usize = 64 << 10;
/// Values and counters of one namespace.
pub const MAX_ENTRIES: usize = 65_536;
/// Bytes of the keys and values of one namespace.
pub const MAX_BYTES: usize = 16 << 20;

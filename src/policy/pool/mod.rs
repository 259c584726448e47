//! Instances that are prepared in advance, each for exactly one decision.
//!
//! If creating an instance takes long (the interpreters), a decision would wait for it. So for
//! policies in use, a few instances are kept that are instantiated and configured, and nothing
//! more: they were created before the request came, without any knowledge of it. A decision
//! consumes one; if there is none, it creates its own. Deadline and budgets begin with
//! the decision either way, and a guest cannot tell which of the two it is.
//!
//! One thread of low priority (`refill`) makes them and clears away what decisions have used. What is kept is
//! bounded: see `MOST`, `MOST_BYTES` and `PREPARED`. How many a
//! policy gets follows from how often a decision found none.
//!
//! If an instance takes only a few microseconds (Rust, C), this pays only while decisions are rare:
//! then the caches are cold, and half of the time of a decision is spent on that. Under load it does
//! not pay, and the two threads would only disturb each other.

mod instances;
mod prefault;
mod refill;

pub use instances::Pooled;
pub(in crate::policy) use instances::{Pool, Prepared, Recipe};
pub(in crate::policy) use refill::Refill;

#[cfg(test)]
mod tests;

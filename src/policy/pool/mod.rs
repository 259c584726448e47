//! Instances that are made ahead of the decisions that will use them, each for exactly one.
//!
//! Where making an instance takes long (the interpreters), a decision would wait for it. So for
//! policies that are asked, a few instances are kept that are instantiated and configured, and
//! nothing more: they were made before the request came, without any knowledge of it. A decision
//! takes one away for good; where there is none it makes its own. Deadline and budgets begin with
//! the decision either way, and a guest cannot tell which of the two it is.
//!
//! One thread of low priority (`refill`) makes them and clears away what decisions have used. What is kept is
//! bounded: see `MOST`, `MOST_BYTES` and `PREPARED`. How many a
//! policy gets follows from how often a decision found none.
//!
//! Where an instance is made in a few microseconds (Rust, C), that pays only while decisions are
//! rare: then the caches have forgotten all about it, and half of the time of a decision is spent on
//! that. In a crowd it is the other way round, and two threads would only be in each other's way.

mod instances;
mod prefault;
mod refill;

pub use instances::Pooled;
pub(in crate::policy) use instances::{Pool, Prepared, Recipe};
pub(in crate::policy) use refill::Refill;

#[cfg(test)]
mod tests;

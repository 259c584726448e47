//! The policies in force: asked as a chain, told of ends, and replaced as a whole.
//!
//! Invariant: a [`Generation`] never changes. A swap makes the next one, complete and tried, or none.

mod generation;
pub(in crate::policy) mod observe;
mod swap;

pub use generation::{Generation, Opinion};
pub use observe::ForwardEnded;
pub(in crate::policy) use swap::Spare;
pub use swap::{LoadErrors, Policies, Swapped};

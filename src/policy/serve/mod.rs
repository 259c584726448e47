//! The policies in force: asked as a chain, told of ends, and replaced as a whole.
//!
//! Invariant: a [`Generation`] never changes. A swap creates the next one, complete and tested, or none.

mod decide;
mod generation;
mod observe;
mod past;
mod policies;
mod spare;
mod succession;

pub use decide::Opinion;
pub use generation::Generation;
pub use observe::ForwardEnded;
pub use policies::{LoadErrors, Named, Policies, Prepared};
pub(in crate::policy) use spare::Spare;
pub use succession::Swapped;

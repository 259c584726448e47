//! From a component to code that runs: made in a process of its own, and kept under a seal for the next start.
//!
//! It must not know what the code is asked. Invariant: no code is loaded that this gateway has not compiled itself.

mod compiler;
mod directory;
mod forbidden;
mod nesting;
mod rehearsal;
mod sealed;
mod state_image;
mod workshop;

pub use compiler::{Compiler, Work, perform};
pub use directory::DirectoryError;
pub(in crate::policy) use state_image::{StateImage, Writing};
pub(in crate::policy) use workshop::Order;
pub use workshop::Workshop;

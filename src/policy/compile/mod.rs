//! Compiles components to code in a separate process, and stores it under a seal for the next start.
//!
//! It must not know what the code is used for. Invariant: no code is loaded that this gateway has not compiled itself.

mod compiler;
mod counts;
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

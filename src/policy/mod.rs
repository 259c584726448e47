//! Policies: loading, asking and swapping sandboxed WebAssembly components.
//!
//! The only room that names wasmtime. A component becomes part of a [`Generation`] after it was
//! compiled, checked against the world of `wit/policy.wit`, configured and tried. Each decision
//! runs in an instance of its own that nothing else has used or will use. Invariant: whatever goes
//! wrong inside a guest becomes a [`Failure`], never an allow and never a denial.

mod bindings;
mod convert;
mod decide;
mod engine;
mod failure;
mod generation;
mod host;
mod load;
mod observe;
mod record;
mod snapshot;
mod state;
mod swap;
mod track;
mod wasi;
mod watch;
mod workbench;

use std::sync::Arc;

use serde::Serialize;

pub use engine::Meter;
pub use failure::{Failure, LoadError, Problem};
pub use generation::{Generation, Opinion};
pub use load::digest;
pub use observe::ForwardEnded;
pub use record::{Call, Line, LogLevel, Observed};
pub use swap::{Policies, Swapped};
pub use watch::{Watch, read};
pub use workbench::{Asked, Candidate, HostSide, Remembered, Workbench, component};

/// Answers how many tunnels and listeners a user has open.
pub type OpenForwards = Arc<dyn Fn(&str) -> u32 + Send + Sync>;

/// Which policy decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyRef {
    /// The name under which it is configured.
    pub name: String,
    /// The version that the component states.
    pub version: String,
    /// SHA-256 of the component, hexadecimal.
    pub sha256: String,
}

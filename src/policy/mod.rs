//! Policies: loading, asking and swapping sandboxed WebAssembly components.
//!
//! The only room that names wasmtime. A component becomes part of a [`Generation`] after it was
//! compiled, checked against the world of `wit/policy.wit`, configured and tried. Each decision
//! runs in an instance of its own that nothing else has used or will use; some are made ahead
//! (`stock`). Compiling happens in a process of its own (`compiler`), and what it gave is kept under
//! a seal (`artifact`, `directory`). Invariant: whatever goes
//! wrong inside a guest becomes a [`Failure`], never an allow and never a denial.

mod aliases;
mod anatomy;
mod artifact;
mod calendar;
mod compiler;
mod contract;
mod convert;
mod decide;
mod directory;
mod engine;
mod failure;
mod forbidden;
mod gates;
mod generation;
mod host;
mod imports;
mod lineage;
mod load;
mod nesting;
mod observe;
mod place;
mod places;
mod read;
mod record;
mod rehearsal;
mod snapshot;
mod state;
mod state_image;
mod stock;
mod swap;
mod track;
mod trial;
mod vetted;
mod warm;
mod wasi;
mod watch;
mod workbench;
mod workshop;

use std::sync::Arc;

use serde::Serialize;

use crate::signature::Signer;

pub use anatomy::{Anatomy, Import, Kind, Producer};
pub use compiler::{Compiler, Work, perform};
pub use directory::DirectoryError;
pub use engine::Meter;
pub use failure::{Failure, LoadError, Problem};
pub use gates::{Gate, GateName, Passed};
pub use generation::{Generation, Opinion};
pub use observe::ForwardEnded;
pub use read::Fresh;
pub use record::{Call, Line, LogLevel, Observed};
pub use state::{Clock, SetClock};
pub use stock::Kept;
pub use swap::{LoadErrors, Policies, Swapped};
pub use trial::Description;
pub use vetted::{Vetted, digest};
pub use watch::Watch;
pub use workbench::{Asked, Candidate, HostSide, Remembered, Told, Workbench, component};
pub use workshop::Workshop;

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
    /// SHA-256 of the settings, of the JSON text that the component was given, hexadecimal.
    pub settings_sha256: String,
}

/// A policy that was loaded, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Which.
    #[serde(flatten)]
    pub policy: PolicyRef,
    /// Who signed its component, where a signature was demanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
}

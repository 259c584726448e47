//! Policies: loading, asking and swapping sandboxed WebAssembly components.
//!
//! The only room that names wasmtime. A component is read from a file (`source`), inspected (`inspect`), compiled in a separate
//! process (`compile`), and runs in the `sandbox` under the `contract` of `wit/policy.wit`. Once it is configured and tested
//! (`load`), it is part of a [`Generation`] (`serve`). Each decision runs in a fresh instance that nothing else uses; some are
//! prepared in advance (`pool`). `offline` is the host for tools.
//!
//! Invariant: an error inside a guest becomes a [`Failure`], never an allow and never a denial.

mod compile;
mod contract;
mod failure;
mod history;
mod inspect;
mod load;
mod offline;
mod pool;
mod reference;
mod sandbox;
mod serve;
mod source;

pub use compile::{Compiler, DirectoryError, Work, Workshop, perform};
pub use failure::{Failure, LoadError, Problem};
pub use history::{Entry, Known, PassedOver, Quarantined};
pub use inspect::{Gate, GateName, Import, Kind, Parts, Passed, Producer};
pub use load::Counted;
pub(crate) use load::Counts;
pub use load::{Description, Step};
pub use offline::{Asked, Candidate, HostSide, Offline, Remembered, Told};
pub use pool::Pooled;
pub(in crate::policy) use reference::BUILTIN;
pub use reference::{Identity, Installed, PolicyRef};
#[cfg(test)]
pub(crate) use sandbox::suite;
pub use sandbox::{Call, Clock, Line, LogLevel, Meter, Observed, OpenForwards, SetClock};
pub use sandbox::{CountsElsewhere, MAX_BYTES, MAX_ENTRIES, MAX_KEY, MAX_VALUE, Remembers, StateError};
pub use serve::{ForwardEnded, Generation, LoadErrors, Named, Opinion, Policies, Prepared, Swapped};
pub use source::{Component, Fresh, ReadPlugins, Vetted, Watch, digest};

//! Describes a component without running it, and says whether it would pass the gates of a swap.

mod bytes;
mod gates;
mod imports;
mod parts;

pub(in crate::policy) use bytes::check_bytes;
pub use gates::{Gate, GateName, Passed};
pub(in crate::policy) use gates::{at_rest, gates};
pub(in crate::policy) use imports::{check_import, grants, links_anyway};
pub use parts::{Import, Kind, Parts, Producer};

//! What a component is, as far as it shows without running it, and whether it would pass the gates of a swap.

mod gates;
pub(in crate::policy) mod imports;
mod parts;

pub use gates::{Gate, GateName, Passed};
pub(in crate::policy) use imports::{grants, typed};
pub use parts::{Anatomy, Import, Kind, Producer};

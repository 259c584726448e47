//! Reads the files of components once, with their digests, signatures and settings, and watches them for changes.
//!
//! It must not know what a component is made of, nor what is done with it.

mod component;
mod fresh;
pub(in crate::policy) mod lineage;
mod vetted;
mod watch;

pub(in crate::policy) use component::hex;
pub use component::{Component, digest};
pub use fresh::{Fresh, ReadPlugins};
pub(in crate::policy) use lineage::Lineage;
pub use vetted::Vetted;
pub use watch::Watch;

//! Where components come from: their files, read once, with their signatures and settings, and watched for changes.
//!
//! It must not know what a component is made of, nor what is done with it.

mod component;
mod fresh;
pub(in crate::policy) mod lineage;
mod watch;

pub use component::{Vetted, digest};
pub(in crate::policy) use component::{hex, read};
pub use fresh::Fresh;
pub(in crate::policy) use lineage::Lineage;
pub use watch::Watch;

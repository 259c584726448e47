//! Policies in OCI registries: push them, pull them, and keep what was pulled.
//!
//! An artifact has the layout that the CNCF describes for WebAssembly (`layout`). Its signature, the one that `signature` makes
//! beside a file, travels with it as a referrer. What was pulled last is kept in a folder (`kept`) and serves as any other file,
//! so a tag that moves is a file that changes.
//!
//! A registry is not trusted. The library that speaks with it reads answers as long as they are, so each errand is done in a
//! process of its own ([`confined`](crate::confined)), whose memory and time are limited. What comes back from there is at most
//! one component, and its digests were checked.
//!
//! The room is the only one that names `oci_client`. It does not know what a component is: it sees bytes.

mod client;
mod credentials;
mod errand;
mod kept;
mod layout;
mod parcel;
mod registries;
mod words;

pub(crate) use errand::perform;
pub(crate) use kept::ArtifactFolder;
pub(crate) use layout::Described;
pub(crate) use registries::{Fetched, PullError, Pulled, Pushed, Registries};

use crate::confined::Order;

/// Whether a process was started for an errand of this room.
#[must_use]
pub(crate) fn is_ordered(order: &Order) -> bool {
    order.of_room::<()>(ROOM).is_some()
}

const ROOM: &str = "registry";

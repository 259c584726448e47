//! The SSH protocol: the only room that names russh.
//!
//! It turns callbacks into requests at once and hands them to the forwarder; nothing in the session
//! loop waits for a policy, a name or a target, except the request for a remote forward, whose reply
//! SSH cannot defer. It does not decide. Invariant: whatever the client sends, each request gets
//! exactly one answer, and a bad one is refused without ending the session.

mod algorithms;
mod channel;
mod credential;
mod entered;
mod failed_login;
mod failures;
mod flow;
mod handler;
mod heard;
mod host_key;
mod server;
mod status;
mod wire;

pub(crate) use host_key::{HostKeys, make_user_key};
pub(crate) use server::{Serves, Service, Settings};

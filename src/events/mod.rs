//! Announces each fact once, to all listeners.
//!
//! [`Events::emit`] takes a fact ([`Event`]) and its subject ([`Subject`]). It becomes one line of JSON, which the audit log
//! writes and the administrators' stream ([`Live`]) shows. Besides these two there are the operators' log (`log.rs`), the status
//! channels of users ([`Followers`]), and whatever the gateway adds ([`Listener`]). The room must not know why something happens,
//! and no listener may wait: it runs on the task that announced the fact.

mod decided;
mod event;
mod followers;
mod line;
mod live;
mod log;
mod login;
mod printable;
mod stream;
mod subject;

pub(crate) use decided::{ConnectFailed, Decided, NameAnswer};
pub(crate) use event::{Differs, Event, Swap, TunnelEnd};
pub(crate) use followers::{Decision, Followers, News};
pub(crate) use live::{Fact, Live, Missed, Reading};
pub(crate) use login::LoggedIn;
pub(crate) use printable::printable_json;
pub(crate) use stream::{Events, Listener};
pub(crate) use subject::Subject;

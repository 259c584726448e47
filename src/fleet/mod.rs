//! What several gateways share: the state of policies, and counts over all of them, on Redis or Valkey.
//!
//! The only room that names redis. It must not know SSH, nor what a policy or a user asks for. Redis and the network to it are not
//! trusted to be there, to be quick or to answer right: every call has a deadline, what waits has a bound, and nothing of the
//! gateway waits for a connection; no reply is larger than `bounded.rs` allows. `link.rs` keeps one connection and says whether it
//! is there; `state.rs` keeps the state of policies, `counts.rs` what is open, `gateways.rs` who is alive, `orders.rs` what administrators tell all gateways,
//! `notices.rs` what a gateway says of itself, `streams.rs` what gateways tell one that follows them. All changes are made by
//! scripts (`scripts.rs`), each atomic and one round trip.
//!
//! Invariant: a call returns within its deadline, whatever Redis does. Without an answer it is unavailable, never a guess.

mod bounded;
mod connect;
mod counts;
#[cfg(test)]
mod counts_tests;
mod gateways;
mod keys;
mod link;
mod notes;
mod notices;
#[cfg(test)]
mod notices_tests;
mod orders;
#[cfg(test)]
mod orders_tests;
mod scripts;
#[cfg(test)]
mod server_tests;
mod state;
#[cfg(test)]
mod state_tests;
mod streams;
#[cfg(test)]
mod streams_tests;
mod width;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::config;
use crate::files;

pub use counts::Counts;
pub(crate) use link::Unavailable;
pub use link::{Condition, Link};
pub use notes::Open;
pub(crate) use notices::Notices;
pub(crate) use orders::{Answered, name};
pub use orders::{Heard, Hears, Keep, Orders};
pub use state::SharedState;
pub(crate) use streams::{AT_ONCE, Bookmark, Entry, Published, Streams, Wish};

/// This gateway's part in a fleet. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Fleet {
    /// The connection to Redis.
    pub link: Arc<Link>,
    /// What is open on all gateways.
    pub counts: Arc<Counts>,
    /// What administrators tell all gateways.
    pub orders: Arc<Orders>,
    /// What each gateway says of itself.
    pub(crate) notices: Arc<Notices>,
    /// What gateways tell one that follows them.
    pub(crate) streams: Arc<Streams>,
    when_cut_off: config::WhenCutOff,
}

impl Fleet {
    /// Reads the password, and connects to nothing yet; none where no Redis is shared.
    ///
    /// # Errors
    /// If the file of the password cannot be used, in words that name it and the fix.
    pub fn new(config: &config::Fleet) -> Result<Option<Self>, String> {
        let Some(servers) = &config.redis else {
            return Ok(None);
        };
        if let Some(path) = &config.redis_password_file {
            password(path)?;
        }
        let name = config.gateway_name();
        let link = Arc::new(Link::new(servers, config.redis_password_file.clone(), config.timeout));
        let counts = Arc::new(Counts::new(Arc::clone(&link), &name, config.lease));
        let orders = Arc::new(Orders::new(Arc::clone(&link), Arc::clone(&counts)));
        let notices = Arc::new(Notices::new(Arc::clone(&link), name));
        let streams = Arc::new(Streams::new(Arc::clone(&link)));
        Ok(Some(Self {
            link,
            counts,
            orders,
            notices,
            streams,
            when_cut_off: config.when_cut_off,
        }))
    }

    /// The state of policies.
    #[must_use]
    pub fn state(&self) -> Arc<SharedState> {
        Arc::new(SharedState::new(Arc::clone(&self.link)))
    }

    /// Whether new sessions and forwards must be refused now, because the others cannot be reached.
    pub(crate) fn refuses_new(&self) -> bool {
        self.when_cut_off == config::WhenCutOff::RefuseNew && !self.link.condition().is_connected()
    }

    /// Keeps the connection until `ending`.
    pub async fn keep_link(self, ending: CancellationToken) {
        tokio::select! {
            () = self.link.keep() => {}
            () = ending.cancelled() => {}
        }
    }

    /// Hears what all gateways are told, until `ending`; then nothing is published to readers of all gateways any more.
    pub async fn keep_hearing(self, hears: Hears, ending: CancellationToken) {
        tokio::select! {
            () = self.orders.hear(&hears) => {}
            () = ending.cancelled() => self.streams.end(),
        }
    }

    /// Keeps the counts until `ending`; then nothing of this gateway counts any more.
    pub async fn keep_counts(self, ending: CancellationToken) {
        tokio::select! {
            () = self.counts.keep() => {}
            () = ending.cancelled() => self.counts.leave().await,
        }
    }
}

/// The password in this file.
///
/// # Errors
/// In words that name the file and the fix.
pub(crate) fn password(path: &std::path::Path) -> Result<String, String> {
    let password = files::read_secret(path)?;
    match password.is_empty() {
        true => Err(format!("{}: its first line is empty", path.display())),
        false => Ok(password),
    }
}

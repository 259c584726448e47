//! Counts what happens, for Prometheus: `GET /metrics`.
//!
//! Counters listen to the one stream of [`events`](crate::events), so each fact counts once and no other room calls this one
//! (`counters.rs`). What no event says is read from the gateway at each scrape ([`Now`], `now.rs`). The room must not know HTTP,
//! nor how the gateway comes by what it says.
//!
//! Invariants: a label is a word of an enum or comes from the configuration and its policies (`labels.rs`), never from a client, so
//! the number of series does not grow with users, hosts or addresses; and no counter goes backwards.

mod counters;
mod labels;
mod now;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

use crate::events::{Event, Listener, Subject};
use counters::Counters;

pub(crate) use labels::Component;
pub(crate) use now::{Now, Redis};
/// The media type of the text.
pub(crate) use prometheus_text::CONTENT_TYPE;

/// What is counted. Cheap to clone; clones are one.
#[derive(Clone)]
pub(crate) struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    counters: Counters,
    relayed: Relayed,
}

/// The most bytes that a scrape has shown so far.
///
/// A tunnel counts bytes to the client when it reads them, and takes back those that do not arrive. A counter that goes
/// backwards means a restart to Prometheus, so what was shown once stays until the true count has passed it.
#[derive(Default)]
struct Relayed {
    up: AtomicU64,
    down: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let counters = Counters::registered(&mut registry);
        Self(Arc::new(Inner {
            registry,
            counters,
            relayed: Relayed::default(),
        }))
    }
}

impl Metrics {
    /// All metrics, in the text format of Prometheus (version 0.0.4).
    #[must_use]
    pub(crate) fn text(&self, mut now: Now) -> String {
        let relayed = &self.0.relayed;
        now.totals.bytes_up = at_least(&relayed.up, now.totals.bytes_up);
        now.totals.bytes_down = at_least(&relayed.down, now.totals.bytes_down);
        let mut text = String::new();
        if let Err(error @ fmt::Error) = self.write(&mut text, now) {
            tracing::error!(%error, "the metrics cannot be written");
        }
        text
    }

    fn write(&self, text: &mut String, now: Now) -> fmt::Result {
        prometheus_text::encode(text, &now.registry())?;
        prometheus_text::encode(text, &self.0.registry)
    }
}

/// This count, or what was shown before if that is more.
fn at_least(shown: &AtomicU64, count: u64) -> u64 {
    shown.fetch_max(count, Ordering::Relaxed).max(count)
}

impl Listener for Metrics {
    fn hear(&self, _: &Subject, event: &Event) {
        self.0.counters.hear(event);
    }
}

const PREFIX: &str = "portreeve";

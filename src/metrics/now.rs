//! What no event says: read from the gateway at each scrape.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::PREFIX;
use super::labels::{Build, Component, Kind, Outcome, Way};
use crate::audit::Lines;
use crate::request::Action;
use crate::sessions::Totals;

/// The gateway at the moment of a scrape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Now {
    /// What is open, and the bytes that tunnels carried.
    pub totals: Totals,
    /// Bytes that wait for targets slower than their clients.
    pub buffered_bytes: usize,
    /// Connections whose client has not logged in yet.
    pub unauthenticated: usize,
    /// Networks that have as many of them as one may: each further connection costs an older one its place.
    pub penalised_sources: usize,
    /// What became of audit lines.
    pub audit: Lines,
    /// Look-ups of names by what became of them, since the start.
    pub lookups: Vec<(&'static str, u64)>,
    /// The policies in force.
    pub policies: Vec<Component>,
    /// The Redis that is shared with other gateways, where there is one.
    pub redis: Option<Redis>,
}

/// What becomes of calls to the shared Redis.
#[derive(Clone, Debug, Default)]
pub(crate) struct Redis {
    /// Whether it is there now.
    pub connected: bool,
    /// How often a connection was made.
    pub connections: u64,
    /// Calls by what became of them, since the start.
    pub calls: Vec<(&'static str, u64)>,
}

impl Now {
    /// A registry for one scrape: what is read anew each time needs no series that would have to be removed again.
    pub(super) fn registry(self) -> Registry {
        let mut registry = Registry::with_prefix(PREFIX);
        let version = env!("CARGO_PKG_VERSION");
        let build = gauges([(Build { version }, 1)]);
        registry.register("build_info", "The version that runs", build);
        self.open(&mut registry);
        self.carried(&mut registry);
        let policies = gauges(self.policies.iter().cloned().map(|policy| (policy, 1)));
        registry.register("policy_info", "Policies in force", policies);
        let help = "Audit lines that were written, and those that could not be: tried again, or dropped";
        let audit = counters([
            (Outcome { result: "written" }, self.audit.written),
            (Outcome { result: "failed" }, self.audit.failed),
            (Outcome { result: "dropped" }, self.audit.dropped),
        ]);
        registry.register("audit_lines", help, audit);
        let lookups = counters(self.lookups.iter().map(|(result, count)| (Outcome { result }, *count)));
        registry.register("name_lookups", "Look-ups of names, by what became of them", lookups);
        if let Some(redis) = &self.redis {
            redis.register(&mut registry);
        }
        registry
    }

    fn open(&self, registry: &mut Registry) {
        let totals = &self.totals;
        registry.register("sessions", "Sessions whose user is logged in", gauge(totals.sessions));
        let kind = |action: Action| Kind {
            action: action.as_str(),
        };
        let tunnels = gauges([
            (kind(Action::Connect), count(totals.connects)),
            (kind(Action::Accept), count(totals.accepts)),
        ]);
        registry.register("tunnels", "Open tunnels", tunnels);
        registry.register("listeners", "Open listeners", gauge(totals.listeners));
        let help = "Connections whose client has not logged in yet";
        registry.register("unauthenticated", help, gauge(self.unauthenticated));
        let help = "Source networks that are at limits.unauthenticated-per-source";
        registry.register("penalised_sources", help, gauge(self.penalised_sources));
    }

    fn carried(&self, registry: &mut Registry) {
        let totals = &self.totals;
        let help = "Bytes that tunnels carried, of open tunnels too: up is from clients to targets";
        let relayed = counters([
            (Way { direction: "up" }, totals.bytes_up),
            (Way { direction: "down" }, totals.bytes_down),
        ]);
        registry.register("relayed_bytes", help, relayed);
        let help = "Bytes that wait for targets slower than their clients";
        registry.register("buffered_bytes", help, gauge(self.buffered_bytes));
    }
}

impl Redis {
    fn register(&self, registry: &mut Registry) {
        let connected = gauge(usize::from(self.connected));
        registry.register("redis_connected", "Whether the shared Redis is reachable", connected);
        let made = Counter::<u64>::default();
        made.inc_by(self.connections);
        registry.register("redis_connections", "Connections made to the shared Redis", made);
        let calls = counters(self.calls.iter().map(|(result, count)| (Outcome { result }, *count)));
        registry.register(
            "redis_calls",
            "Calls to the shared Redis, by what became of them",
            calls,
        );
    }
}

fn gauge(value: usize) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(count(value));
    gauge
}

fn gauges<L: Labels>(series: impl IntoIterator<Item = (L, i64)>) -> Family<L, Gauge> {
    let family = Family::<L, Gauge>::default();
    for (labels, value) in series {
        family.get_or_create(&labels).set(value);
    }
    family
}

fn counters<L: Labels>(series: impl IntoIterator<Item = (L, u64)>) -> Family<L, Counter> {
    let family = Family::<L, Counter>::default();
    for (labels, value) in series {
        family.get_or_create(&labels).inc_by(value);
    }
    family
}

trait Labels: EncodeLabelSet + Clone + Eq + std::hash::Hash {}

impl<L: EncodeLabelSet + Clone + Eq + std::hash::Hash> Labels for L {}

/// Gauges are signed.
fn count(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

//! What is counted from events.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::labels::{Decision, End, Login, Plugin, Reason, Swap};
use crate::events::{Decided, Event};
use crate::request::{Cause, Unreached};

/// The counters, which are also in the registry.
pub(super) struct Counters {
    decisions: Family<Decision, Counter>,
    times: Times,
    logins: Family<Login, Counter>,
    dial_failures: Family<Reason, Counter>,
    closes: Family<End, Counter>,
    swaps: Family<Swap, Counter>,
    differences: Family<Plugin, Counter>,
}

type Times = Family<Plugin, Histogram, fn() -> Histogram>;

impl Counters {
    /// New ones. Every series that can be known ahead is there, at 0: a rate sees no series that begins at 1.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let counters = Self {
            decisions: Family::default(),
            times: Times::new_with_constructor(|| Histogram::new(BUCKETS)),
            logins: Family::default(),
            dial_failures: Family::default(),
            closes: Family::default(),
            swaps: Family::default(),
            differences: Family::default(),
        };
        counters.enter(registry);
        counters.begin();
        counters
    }

    fn enter(&self, registry: &mut Registry) {
        let Self {
            decisions,
            times,
            logins,
            dial_failures,
            closes,
            swaps,
            differences,
        } = self;
        registry.register("decisions", "Decisions on requests to forward", decisions.clone());
        let help = "Time that a policy took for a decision, without the wait for a place";
        registry.register("decision_seconds", help, times.clone());
        registry.register("auth", "Logins that succeeded and failed", logins.clone());
        let help = "Allowed connections whose target was not reached";
        registry.register("dial_failures", help, dial_failures.clone());
        registry.register("tunnel_closes", "Tunnels that ended", closes.clone());
        let help = "Policies that took the place of another, and candidates that were rejected";
        registry.register("policy_swaps", help, swaps.clone());
        let help = "Decisions that a candidate in the shadow of this plugin would have made otherwise";
        registry.register("policy_differences", help, differences.clone());
    }

    fn begin(&self) {
        for decision in Decision::all() {
            drop(self.decisions.get_or_create(&decision));
        }
        for method in METHODS {
            for result in [SUCCEEDED, FAILED] {
                drop(self.logins.get_or_create(&Login { method, result }));
            }
        }
        for why in Unreached::ALL {
            drop(self.dial_failures.get_or_create(&reason(why)));
        }
        for cause in Cause::ALL {
            drop(self.closes.get_or_create(&end(cause)));
        }
    }

    /// Counts a fact.
    pub(super) fn hear(&self, event: &Event) {
        match event {
            Event::GatewayStarted { policies, .. } => {
                for installed in policies {
                    self.begin_plugin(&installed.policy.name);
                }
            }
            Event::ForwardDecided(decided) => self.decided(decided),
            Event::AuthSucceeded(login) => self.tried(&login.method, SUCCEEDED, 1),
            Event::AuthFailed { method, repeated, .. } => {
                self.tried(method, FAILED, repeated.unwrap_or(1));
            }
            Event::ConnectFailed(failed) => {
                if let Some(why) = failed.why {
                    self.dial_failures.get_or_create(&reason(why)).inc();
                }
            }
            Event::TunnelClosed(ended) => {
                self.closes.get_or_create(&end(ended.cause)).inc();
            }
            Event::PolicySwapped(swap) => self.swapped(&swap.policy.policy.name, SWAPPED),
            Event::PolicyRejected { name, .. } => self.swapped(name, REJECTED),
            Event::PolicyDiffers(differs) => self.differs(&differs.plugin, differs.unlisted + 1),
            _ => {}
        }
    }

    fn begin_plugin(&self, plugin: &str) {
        self.time(plugin, |_| ());
        self.differs(plugin, 0);
        for result in [SWAPPED, REJECTED] {
            drop(self.swaps.get_or_create(&swap(plugin, result)));
        }
    }

    /// A line that stands for equal refusals counts as all of them; it has the times of the last one only.
    fn decided(&self, decided: &Decided) {
        let decision = Decision::of(decided.action, decided.verdict, decided.by);
        let count = decided.repeated.unwrap_or(1);
        self.decisions.get_or_create(&decision).inc_by(count);
        for (plugin, took) in &decided.times {
            self.took(plugin, *took);
        }
    }

    fn took(&self, plugin: &Arc<str>, took: Duration) {
        self.time(plugin, |times| times.observe(took.as_secs_f64()));
    }

    fn time(&self, plugin: &str, then: impl FnOnce(&Histogram)) {
        let plugin = plugin.to_owned();
        then(&self.times.get_or_create(&Plugin { plugin }));
    }

    fn differs(&self, plugin: &str, count: u64) {
        let plugin = plugin.to_owned();
        self.differences.get_or_create(&Plugin { plugin }).inc_by(count);
    }

    fn tried(&self, method: &str, result: &'static str, times: u64) {
        let known = METHODS.into_iter().find(|known| *known == method);
        let method = known.unwrap_or(OTHER);
        self.logins.get_or_create(&Login { method, result }).inc_by(times);
    }

    fn swapped(&self, plugin: &str, result: &'static str) {
        // Both are there before one of them counts.
        self.begin_plugin(plugin);
        self.swaps.get_or_create(&swap(plugin, result)).inc();
    }
}

fn reason(why: Unreached) -> Reason {
    Reason { reason: why.as_str() }
}

fn end(cause: Cause) -> End {
    End { cause: cause.as_str() }
}

fn swap(plugin: &str, result: &'static str) -> Swap {
    Swap {
        plugin: plugin.to_owned(),
        result,
    }
}

/// The ways to log in that the gateway has.
const METHODS: [&str; 3] = ["publickey", "certificate", "password"];
/// Any other, which there is none of today.
const OTHER: &str = "other";
const SUCCEEDED: &str = "succeeded";
const FAILED: &str = "failed";
const SWAPPED: &str = "swapped";
const REJECTED: &str = "rejected";

/// Upper bounds, in seconds. Compiled policies answer in tens of microseconds, Python and JavaScript in milliseconds; the default
/// deadline is 50 ms, the largest 10 s, and a look-up of names may take 20 s (`limits.lookup-timeout`).
const BUCKETS: [f64; 15] = [
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 20.0,
];

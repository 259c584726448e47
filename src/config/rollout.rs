//! `[policy.rollout]`: which gateways of a fleet a new policy decides on first.

use std::time::Duration;

use super::Fleet;
use super::fleet;
use super::value::Value;
use super::walk::Table;

/// `[policy.rollout]`: on the other gateways of the fleet a candidate waits at the gate `canary` until it has proved itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// `canary`: the names of the gateways that a new policy decides on first, 1 to 64, each as `fleet.name` has it. All of them
    /// must be well with it.
    pub canary: Vec<String>,
    /// `wait`: how long each of them must have served it, burn-in included, 1s to 30d. Default 10m.
    pub wait: Duration,
    /// Whether this gateway is none of them, and follows.
    pub follows: bool,
}

pub(super) fn rollout(value: &Value<'_>, fleet: &Fleet) -> Option<Rollout> {
    if fleet.redis.is_none() {
        return value.fault("needs fleet.redis: gateways tell each other through it how they are with a policy");
    }
    value.table(|table| read(table, fleet))?
}

fn read(table: &mut Table<'_>, fleet: &Fleet) -> Option<Rollout> {
    let canary = table.required("canary", "the names of the gateways that are first", |value| {
        // By what is written: names that are wrong have faults of their own.
        match value.toml().as_array().map_or(1, |names| names.len()) {
            1..=MOST => value.list(fleet::name),
            _ => value.fault(format!("must name 1 to {MOST} gateways")),
        }
    });
    let wait = table.or("wait", WAIT, |value| value.duration(Duration::from_secs(1)..=LONGEST));
    let canary = canary?;
    Some(Rollout {
        follows: !canary.contains(&fleet.gateway_name()),
        canary,
        wait,
    })
}

const MOST: usize = 64;
const WAIT: Duration = Duration::from_secs(10 * 60);
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

//! Prints nanoseconds per decision: `cargo run --release -p portreeve-rules --example bench`.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a bench")]

use std::hint::black_box;
use std::time::Instant;

use portreeve_rules::request::{Action, Endpoint, Identity};
use portreeve_rules::{Request, RuleSet};
use serde_json::{Value, json};

/// The name of a kind of rule, the rule with a number, and the target that only this rule matches.
type Kind = (&'static str, fn(usize) -> Value, fn(usize) -> (String, u16));

const KINDS: &[Kind] = &[
    (
        "group, host and port",
        |n| json!({ "groups": ["dba", format!("g{n}")], "hosts": format!("h{n}.db"), "ports": [5432, "8000-8999"] }),
        |n| (format!("h{n}.db"), 5432),
    ),
    (
        "host ends",
        |n| json!({ "users": ["*", "!mallory"], "hosts": format!("*.d{n}.internal"), "clients": ["10.0.0.0/8", "192.168.0.0/16"] }),
        |n| (format!("a.d{n}.internal"), 443),
    ),
    (
        "networks",
        |n| json!({ "groups": "dba", "addresses": format!("10.{}.{}.0/24", n / 256, n % 256), "when": { "days": "mon-sun", "zone": "Europe/Vienna" } }),
        |n| (format!("10.{}.{}.7", n / 256, n % 256), 443),
    ),
    (
        "port ranges, not indexed",
        |n| json!({ "users": "a*", "ports": format!("{}-{}", 1000 + n * 20, 1019 + n * 20) }),
        |n| ("web".into(), 1007 + n as u16 * 20),
    ),
    (
        "globs, not indexed",
        |n| json!({ "users": "a*", "hosts": format!("*x{n}-*") }),
        |n| (format!("web-x{n}-a"), 443),
    ),
];

fn main() {
    println!(
        "{:28}{:>8}{:>14}{:>14}{:>14}{:>14}",
        "rules", "count", "last rule", "no rule", "no rule, name", "configure"
    );
    for (name, rule, target) in KINDS {
        for count in [10, 1_000] {
            let rules: Vec<Value> = (0..count)
                .map(|number| {
                    let mut rule = rule(number);
                    rule["name"] = json!(format!("r{number}"));
                    rule["outcome"] = json!("allow");
                    rule
                })
                .collect();
            let settings = json!({ "rules": rules }).to_string();
            let start = Instant::now();
            let set = RuleSet::new(&settings).unwrap_or_else(|faults| panic!("{faults:?}"));
            let configure = start.elapsed();
            let last = nanoseconds(&set, &target(count - 1));
            let none = nanoseconds(&set, &("192.0.2.1".into(), 7));
            let unknown = nanoseconds(&set, &("elsewhere.example".into(), 7));
            println!(
                "{name:28}{count:>8}{last:>11.0} ns{none:>11.0} ns{unknown:>11.0} ns{:>11} us",
                configure.as_micros()
            );
        }
    }
}

/// The best of some rounds, because the machine has other work.
fn nanoseconds(set: &RuleSet, (host, port): &(String, u16)) -> f64 {
    let groups: Vec<String> = ["staff", "dba", "vienna"].map(String::from).to_vec();
    let request = Request {
        now: 1_795_176_000_000,
        action: Action::Connect,
        target: Endpoint::Tcp(host, *port),
        address: host.parse::<std::net::IpAddr>().is_ok().then_some(host),
        peer: None,
        client: "10.1.2.3",
        identity: Identity {
            user: "alice",
            groups: &groups,
            method: "publickey",
            key: Some("SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"),
            issuer: None,
            principals: &[],
        },
    };
    let round = || {
        let start = Instant::now();
        for _ in 0..2_000 {
            black_box(set.decide(black_box(request), &|_| Some(vec!["192.0.2.1".into()])));
        }
        start.elapsed().as_nanos() as f64 / 2_000.0
    };
    (0..30).map(|_| round()).fold(f64::INFINITY, f64::min)
}

//! How long a decision takes, through the server's own path: a fresh instance each time.
//!
//! `cargo bench --bench decisions [-- COMPONENT…]` prints one row for the embedded rules with 10 and
//! with 1,000 rules, and one for each component file that is named.
#![allow(missing_docs, clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use portreeve::config;
use portreeve::names::{Lookups, Resolver};
use portreeve::policy::Policies;
use portreeve::request::{Action, Endpoint, ForwardRequest};
use serde_json::json;

const DECISIONS: usize = 20_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    println!(
        "{:<34} {:>9} {:>9} {:>9} {:>9} {:>10}",
        "policy", "load", "p50", "p99", "max", "per second"
    );
    for count in [10, 1000] {
        let settings = json!({ "rules": rules(count) });
        runtime.block_on(row(
            &format!("rules, {count}, the last matches"),
            "builtin:rules",
            &settings,
            last(count),
        ));
        runtime.block_on(row(
            &format!("rules, {count}, none matches"),
            "builtin:rules",
            &settings,
            "nowhere.example:1",
        ));
    }
    for component in std::env::args().skip(1).filter(|argument| !argument.starts_with("--")) {
        runtime.block_on(row(&component, &component, &json!({}), "db.example:5432"));
    }
    runtime.shutdown_background();
}

fn last(count: usize) -> &'static str {
    if count == 10 {
        "host9.example:5432"
    } else {
        "host999.example:5432"
    }
}

fn rules(count: usize) -> Vec<serde_json::Value> {
    let rule = |index: usize| {
        json!({
            "name": format!("rule-{index}"),
            "actions": ["connect"],
            "groups": [format!("group{}", index % 7), "everybody"],
            "hosts": [format!("host{index}.example"), format!("*.zone{index}.example")],
            "ports": [5432, "8000-8999"],
            "outcome": "allow",
        })
    };
    (0..count).map(rule).collect()
}

async fn row(name: &str, component: &str, settings: &serde_json::Value, target: &str) {
    let text = format!(
        "[[policy.plugin]]\nname = \"bench\"\ncomponent = \"{component}\"\ngrants = [\"names\"]\nrewrite = true\n"
    );
    let mut config = config::parse(&text, "bench.toml".as_ref()).unwrap().policy;
    config.plugins[0].settings = settings.clone();
    let began = Instant::now();
    let loaded = Policies::load(&config, Arc::new(|_| 0)).await;
    let policies = loaded.map_err(|errors| errors[0].1.to_string()).unwrap();
    let load = began.elapsed();
    let target: Endpoint = target.parse().unwrap();
    let mut request = ForwardRequest::dry("alice", Action::Connect, target);
    Arc::make_mut(&mut request.principal).groups = vec!["everybody".to_owned()];
    let request = Arc::new(request);
    let resolver = Resolver::silent();
    let mut times = Vec::with_capacity(DECISIONS);
    for _ in 0..DECISIONS {
        let began = Instant::now();
        let opinion = policies
            .current()
            .decide(Arc::clone(&request), Lookups::new(resolver.clone()))
            .await;
        times.push(began.elapsed());
        assert!(opinion.verdict.is_ok(), "{:?}", opinion.verdict);
    }
    let total: Duration = times.iter().sum();
    times.sort_unstable();
    let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
    println!(
        "{name:<34} {:>9} {:>9} {:>9} {:>9} {:>10.0}",
        format!("{} ms", load.as_millis()),
        micros(times[DECISIONS / 2]),
        micros(times[DECISIONS * 99 / 100]),
        micros(times[DECISIONS - 1]),
        DECISIONS as f64 / total.as_secs_f64(),
    );
}

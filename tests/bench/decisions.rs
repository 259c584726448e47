//! What a decision costs, through the server's own path: an instance of its own each time.
//!
//! `cargo bench --bench decisions [-- [--quick] COMPONENT…]` prints one row for the embedded rules with 10 and with 1,000
//! rules, one for each component file that is named, and one for the same question asked of a webhook on this machine.
//! `--state` measures only decisions that call `state.add`, in memory and on a Redis of its own; with `--pause` that one is stopped,
//! too. Both need `redis-server` and `redis-cli`.
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
#[path = "../gateway/abi.rs"]
mod abi;
#[allow(dead_code, unreachable_pub, reason = "the tests use the rest")]
#[path = "../gateway/guests.rs"]
mod guests;
#[allow(dead_code, reason = "the benchmark of the fleet uses the rest")]
mod redis;
mod shared;
mod webhook;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portreeve::config;
use portreeve::names::{Lookups, Resolver};
use portreeve::policy::{Compiler, Generation, Policies, Workshop};
use portreeve::request::{Action, Endpoint, ForwardRequest};
use serde_json::json;
use webhook::Webhook;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// One after the other, as fast as it goes.
const CLOSE: usize = 20_000;
/// At [`RATE`] a second.
const PACED: usize = 2_000;
const RATE: u32 = 200;

fn main() {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let counts = if quick { (1_000, 400) } else { (CLOSE, PACED) };
    // As a worker of the gateway: one thread, one runtime.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    if arguments.iter().any(|argument| argument == "--state") {
        runtime.block_on(async {
            shared::rows(counts.0).await;
            if arguments.iter().any(|argument| argument == "--pause") {
                shared::pause().await;
            }
        });
        runtime.shutdown_background();
        return;
    }
    println!(
        "{:<34} {:>9} {:>8} {:>8} {:>9} {:>9} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
        "policy",
        "size",
        "cold",
        "cached",
        "p50",
        "p99",
        "per second",
        "paced p50",
        "p99",
        "max",
        "instance",
        "process",
        "webhook"
    );
    let hook = runtime.block_on(webhook_row(counts));
    for count in [10, 1000] {
        let settings = json!({ "rules": rules(count) });
        let last = format!("host{}.example:5432", count - 1);
        for (what, target) in [("last matches", last.as_str()), ("none matches", "nowhere.example:1")] {
            let name = format!("rules, {count}, the {what}");
            let subject = Subject::new(&name, "builtin:rules", &settings, target);
            runtime.block_on(subject.row(counts, hook));
        }
    }
    for component in arguments.iter().filter(|argument| !argument.starts_with("--")) {
        let name = Path::new(component).file_name().unwrap().to_string_lossy();
        let subject = Subject::new(&name, component, &json!({}), "db.example:5432");
        runtime.block_on(subject.row(counts, hook));
    }
    runtime.shutdown_background();
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

/// One component with its settings, and what it is asked.
struct Subject {
    name: String,
    config: config::Policy,
    size: Option<u64>,
    request: Arc<ForwardRequest>,
}

impl Subject {
    fn new(name: &str, component: &str, settings: &serde_json::Value, target: &str) -> Self {
        let text = format!(
            "[[policy.plugin]]\nname = \"bench\"\ncomponent = \"{component}\"\ngrants = [\"names\", \"state\", \"view\"]\nrewrite = true\n"
        );
        let mut config = config::parse(&text, "bench.toml".as_ref()).unwrap().policy;
        config.plugins[0].settings = settings.clone();
        Self {
            name: name.to_owned(),
            config,
            size: std::fs::metadata(component).ok().map(|found| found.len()),
            request: request(target),
        }
    }

    async fn row(&self, counts: (usize, usize), hook: Spread) {
        let folder = tempfile::tempdir().unwrap();
        let (_, cold) = self.load(folder.path()).await;
        let before = resident();
        let (policies, cached) = self.load(folder.path()).await;
        let failed = std::cell::RefCell::new(Vec::new());
        let ask = async || {
            let opinion = policies.decide(Arc::clone(&self.request), Lookups::new(Resolver::silent()));
            // On a machine that is busy with other things one may miss its deadline.
            if let Err(failure) = opinion.await.verdict {
                failed.borrow_mut().push(failure.to_string());
            }
        };
        let close = close(counts.0, &ask).await;
        let paced = paced(counts.1, &ask).await;
        let memory = policies.pooled().first().map_or(0, |kept| kept.bytes);
        let grown = resident().saturating_sub(before);
        Row {
            name: &self.name,
            size: self.size,
            loads: Some((cold, cached)),
            close,
            paced,
            memory: Some((memory, grown)),
            ratio: Some(hook.p50.as_secs_f64() / paced.p50.as_secs_f64()),
        }
        .print();
        let failed = failed.into_inner();
        if let Some(first) = failed.first() {
            println!("{}: {} decisions failed: {first}", self.name, failed.len());
        }
    }

    /// As at a start of the gateway, which keeps compiled code in the folder.
    async fn load(&self, folder: &Path) -> (Arc<Generation>, Duration) {
        let began = Instant::now();
        let compiler = Compiler::program(env!("CARGO_BIN_EXE_portreeve"));
        let workshop = Workshop::keeping(compiler, folder, Path::new("bench.toml")).unwrap();
        let loaded = Policies::load_in(workshop, &self.config, Arc::new(|_| 0)).await;
        let (_, policies) = loaded.map_err(|errors| errors[0].1.to_string()).unwrap();
        (policies, began.elapsed())
    }
}

fn request(target: &str) -> Arc<ForwardRequest> {
    let target: Endpoint = target.parse().unwrap();
    let mut request = ForwardRequest::dry("alice", Action::Connect, target);
    Arc::make_mut(&mut request.principal).groups = vec!["everybody".to_owned()];
    Arc::new(request)
}

async fn webhook_row(counts: (usize, usize)) -> Spread {
    let hook = tokio::sync::Mutex::new(Webhook::start().await);
    let request = request("db.example:5432");
    let ask = async || assert!(hook.lock().await.ask(&request).await);
    let row = Row {
        name: "(webhook: HTTP on loopback, JSON)",
        size: None,
        loads: None,
        close: close(counts.0, &ask).await,
        paced: paced(counts.1, &ask).await,
        memory: None,
        ratio: None,
    };
    row.print();
    row.paced
}

/// How the times of many decisions are spread.
#[derive(Clone, Copy)]
struct Spread {
    p50: Duration,
    p99: Duration,
    max: Duration,
    per_second: f64,
}

impl Spread {
    fn of(mut times: Vec<Duration>) -> Self {
        let total: Duration = times.iter().sum();
        times.sort_unstable();
        Self {
            p50: times[times.len() / 2],
            p99: times[times.len() * 99 / 100],
            max: times[times.len() - 1],
            per_second: times.len() as f64 / total.as_secs_f64(),
        }
    }
}

async fn close(count: usize, ask: &impl AsyncFn()) -> Spread {
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        let began = Instant::now();
        ask().await;
        times.push(began.elapsed());
    }
    Spread::of(times)
}

async fn paced(count: usize, ask: &impl AsyncFn()) -> Spread {
    let mut turns = tokio::time::interval(Duration::from_secs(1) / RATE);
    turns.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        turns.tick().await;
        let began = Instant::now();
        ask().await;
        times.push(began.elapsed());
    }
    Spread::of(times)
}

struct Row<'a> {
    name: &'a str,
    size: Option<u64>,
    loads: Option<(Duration, Duration)>,
    close: Spread,
    paced: Spread,
    /// Memories and tables of one instance; what the process grew by.
    memory: Option<(u64, u64)>,
    ratio: Option<f64>,
}

impl Row<'_> {
    fn print(&self) {
        let micros = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
        let dash = || "-".to_owned();
        let bytes = |count: u64| match count {
            0..1_000_000 => format!("{} KB", count / 1000),
            _ => format!("{:.1} MB", count as f64 / 1e6),
        };
        let millis = |time: Duration| format!("{} ms", time.as_millis());
        println!(
            "{:<34} {:>9} {:>8} {:>8} {:>9} {:>9} {:>10.0} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7}",
            self.name,
            self.size.map_or_else(dash, bytes),
            self.loads.map_or_else(dash, |(cold, _)| millis(cold)),
            self.loads.map_or_else(dash, |(_, cached)| millis(cached)),
            micros(self.close.p50),
            micros(self.close.p99),
            self.close.per_second,
            micros(self.paced.p50),
            micros(self.paced.p99),
            micros(self.paced.max),
            self.memory.map_or_else(dash, |(instance, _)| bytes(instance)),
            self.memory.map_or_else(dash, |(_, grown)| bytes(grown)),
            self.ratio.map_or_else(dash, |ratio| format!("{ratio:.1}×")),
        );
    }
}

/// Bytes of memory that this process takes, what is mapped often counted once.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/smaps_rollup").unwrap();
    let line = text.lines().find(|line| line.starts_with("Pss:")).unwrap();
    let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes << 10
}

//! What a decision costs that counts with one `state.add`: in memory, and on a Redis that the benchmark starts; and what becomes of
//! decisions while that Redis is stopped.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream;
use portreeve::config;
use portreeve::fleet::Fleet;
use portreeve::names::{Lookups, Resolver};
use portreeve::policy::Generation;
use portreeve::request::{ForwardRequest, Verdict};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::guests::{Does, Guest};
use super::redis::{Server, Used};
use super::{Spread, Subject, close, request};

/// Decisions at once: as many as eight users ask for who never wait.
const AT_ONCE: usize = 8;
/// As in the configuration below.
const DEADLINE: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_millis(20);
/// How often a stopped Redis is asked.
const PAUSED: usize = 40;
const PATIENCE: Duration = Duration::from_secs(20);

/// Prints a row for each place where the state can be.
pub(crate) async fn rows(count: usize) {
    let bench = Bench::new().await;
    println!(
        "\n{:<34} {:>9} {:>9} {:>10} {:>14} {:>12} {:>12} {:>13}",
        "a decision with one state.add",
        "p50",
        "p99",
        "per second",
        "8 at once, /s",
        "its cpu",
        "cpu of redis",
        "scripts each"
    );
    bench.row("state in memory", &bench.memory, None, count).await;
    let socket = Shared::start(Server::start(), &bench.memory).await;
    bench
        .row("redis, Unix socket", &socket.generation, Some(&socket.server), count)
        .await;
    socket.ending.cancel();
    let port = Shared::start(Server::on_a_port(&[]), &bench.memory).await;
    bench
        .row("redis, TCP over loopback", &port.generation, Some(&port.server), count)
        .await;
    port.ending.cancel();
}

/// Prints how long decisions take whose Redis is stopped, and what comes when it goes on.
pub(crate) async fn pause() {
    let bench = Bench::new().await;
    let shared = Shared::start(Server::on_a_port(&[]), &bench.memory).await;
    let ask = async || bench.ask(&shared.generation).await;
    assert!(ask().await, "it counts");
    shared.server.pause();
    let stopped = Instant::now();
    println!(
        "\nredis stopped (fleet.timeout {TIMEOUT:?}, policy.deadline {DEADLINE:?}), decisions one after the other:"
    );
    let mut times = Vec::new();
    for _ in 0..PAUSED {
        let began = Instant::now();
        let allowed = ask().await;
        assert!(!allowed, "the policy denies what it could not count");
        times.push(began.elapsed());
    }
    let slowest = times.iter().copied().max().unwrap_or_default();
    let waited = times.iter().filter(|time| **time > TIMEOUT / 2).count();
    println!(
        "  {waited} of {PAUSED} waited for an answer; the others were told at once that redis is away. slowest {slowest:.1?}, first {:.1?}, last {:.1?}",
        times[0],
        times[PAUSED - 1]
    );
    let eight = Instant::now();
    let denied = bench.at_once(&shared.generation, AT_ONCE).await;
    println!(
        "  {AT_ONCE} at once: all over after {:.1?}, {} allowed",
        eight.elapsed(),
        denied.1
    );
    println!("  away is known after {:.1?} at the latest", stopped.elapsed());
    for seconds in [1, 4] {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        shared.server.resume();
        let resumed = Instant::now();
        while !ask().await {
            assert!(resumed.elapsed() < PATIENCE, "it never counts again");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        println!(
            "  goes on after {seconds} s more: counts again after {:.1?}",
            resumed.elapsed()
        );
        shared.server.pause();
        while ask().await || !shared.is_away() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    shared.ending.cancel();
}

/// A policy that counts, and what it is asked.
struct Bench {
    memory: Arc<Generation>,
    request: Arc<ForwardRequest>,
    _folder: tempfile::TempDir,
}

impl Bench {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("counts.wasm");
        let guest = Guest::that(Does::CountsTo(u32::MAX)).importing_state();
        std::fs::write(&path, guest.build()).unwrap();
        let mut subject = Subject::new("counts", path.to_str().unwrap(), &json!({}), "db.example:5432");
        subject.config.deadline = DEADLINE;
        let (memory, _) = subject.load(folder.path()).await;
        Self {
            memory,
            request: request("db.example:5432"),
            _folder: folder,
        }
    }

    /// Whether it was allowed.
    async fn ask(&self, generation: &Arc<Generation>) -> bool {
        let opinion = generation.decide(Arc::clone(&self.request), Lookups::new(Resolver::silent()));
        matches!(opinion.await.verdict, Ok(Verdict::Allow(_)))
    }

    /// So many decisions, eight at a time: the time that took, and how many were allowed.
    async fn at_once(&self, generation: &Arc<Generation>, count: usize) -> (Duration, usize) {
        let began = Instant::now();
        let asked = stream::iter(0..count).map(|_| self.ask(generation));
        let allowed = asked
            .buffer_unordered(AT_ONCE)
            .filter(|allowed| std::future::ready(*allowed));
        let allowed = allowed.count().await;
        (began.elapsed(), allowed)
    }

    async fn row(&self, name: &str, generation: &Arc<Generation>, redis: Option<&Server>, count: usize) {
        let refused = std::cell::Cell::new(0);
        let ask = async || {
            if !self.ask(generation).await {
                refused.set(refused.get() + 1);
            }
        };
        close(count / 10, &ask).await;
        let used = |before: Used| redis.map_or_else(Used::default, |redis| Used::since(redis, before));
        let (before, own) = (used(Used::default()), processor());
        let one: Spread = close(count, &ask).await;
        let (cost, own) = (used(before), processor() - own);
        let (took, allowed) = self.at_once(generation, count).await;
        let micros = |seconds: f64| format!("{:.1} µs", seconds * 1e6 / count as f64);
        println!(
            "{name:<34} {:>9} {:>9} {:>10.0} {:>14.0} {:>12} {:>12} {:>13.3}",
            format!("{:.1} µs", one.p50.as_secs_f64() * 1e6),
            format!("{:.1} µs", one.p99.as_secs_f64() * 1e6),
            one.per_second,
            count as f64 / took.as_secs_f64(),
            micros(own),
            micros(cost.processor),
            cost.scripts / count as f64
        );
        let refused = refused.get() + count - allowed;
        if refused > 0 {
            println!("{name}: {refused} decisions could not count in time");
        }
    }
}

/// The same policy in a gateway that shares its state.
struct Shared {
    server: Server,
    fleet: Fleet,
    generation: Arc<Generation>,
    ending: CancellationToken,
}

impl Shared {
    async fn start(server: Server, memory: &Generation) -> Self {
        let text = format!(
            "[fleet]\nname = \"bench\"\nredis = \"{}\"\ntimeout = \"{}ms\"\n[[policy.plugin]]\nname = \"rules\"\n\
             component = \"builtin:rules\"\n",
            server.url(),
            TIMEOUT.as_millis()
        );
        let config = config::parse(&text, Path::new("bench.toml")).unwrap().fleet;
        let fleet = Fleet::new(&config).unwrap().unwrap();
        let ending = CancellationToken::new();
        tokio::spawn(fleet.clone().keep_link(ending.clone()));
        let began = Instant::now();
        while !fleet.link.condition().is_connected() {
            assert!(began.elapsed() < PATIENCE, "{:?}", fleet.link.condition());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Self {
            generation: Arc::new(memory.sharing(fleet.state(), Arc::clone(&fleet.counts) as Arc<_>)),
            server,
            fleet,
            ending,
        }
    }

    fn is_away(&self) -> bool {
        !self.fleet.link.condition().is_connected()
    }
}

/// Seconds of processor that this process has used.
pub(crate) fn processor() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike;
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    (usage.user_time() + usage.system_time()).num_microseconds() as f64 / 1e6
}

//! Many gateways on one Redis, in one process: each with the connection, the counts, the state and the orders of a real one, and
//! with users, sessions and tunnels that are only numbers.
//!
//!     cargo bench --bench fleet -- --gateways 100 --users 10000 --tunnels 100000 --seconds 10
//!
//! It starts a Redis of its own on loopback and prints what that spends: at rest, on each kind of call, under a load of logins and
//! forwards, and how long an order takes to reach all. `--logins` and `--forwards` are that load, for each second and all gateways;
//! `--spread` is on how many gateways each user has sessions. Needs `redis-server` and `redis-cli`, and ends by itself.
#![allow(
    clippy::disallowed_methods,
    missing_docs,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod gateway;
mod load;
#[path = "../redis.rs"]
mod redis;
mod times;

use std::time::{Duration, Instant};

use gateway::{Gateway, reach_all};
use load::Load;
use redis::{Server, Used, memory};
use times::Times;

/// What is played.
#[derive(Clone, Copy, Debug)]
struct Play {
    gateways: usize,
    users: usize,
    tunnels: usize,
    seconds: u64,
    logins: f64,
    forwards: f64,
    spread: usize,
}

impl Play {
    fn of(arguments: &[String]) -> Self {
        let given = |name: &str, otherwise: usize, most: usize| {
            let found = arguments.windows(2).find(|pair| pair[0] == name);
            let number = found.map_or(otherwise, |pair| {
                pair[1].parse().unwrap_or_else(|_| panic!("{name}: a number"))
            });
            number.min(most)
        };
        let gateways = given("--gateways", 4, 4000).max(1);
        Self {
            gateways,
            users: given("--users", 400, 4_000_000).max(1),
            tunnels: given("--tunnels", 4000, 40_000_000),
            seconds: given("--seconds", 2, 60) as u64,
            logins: given("--logins", 10 * gateways, 1_000_000) as f64,
            forwards: given("--forwards", 50 * gateways, 1_000_000) as f64,
            spread: given("--spread", 1, gateways).max(1),
        }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let play = Play::of(&arguments);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    raise_open_files();
    let ended = runtime.block_on(async { tokio::time::timeout(LONGEST, run(play)).await });
    runtime.shutdown_background();
    assert!(ended.is_ok(), "it took more than {LONGEST:?}");
}

async fn run(play: Play) {
    println!("{play:?}");
    let most = (play.gateways + 100).to_string();
    let server = Server::on_a_port(&["--maxclients", &most, "--maxmemory-policy", "noeviction"]);
    let empty = memory(&server);
    let gateways = start(play, &server).await;
    let connected = memory(&server);
    println!(
        "memory of redis for a gateway             {:>12.0} bytes",
        (connected - empty) / play.gateways as f64
    );
    fill(play, &server, &gateways).await;
    let rest = rest(play, &server).await;
    calls(play, &server, &gateways, rest).await;
    loaded(play, &server, &gateways).await;
    let mut orders = Times::default();
    for _ in 0..ORDERS {
        orders.add(reach_all(&gateways).await);
    }
    println!("an order reaches all gateways after       {orders}");
    let outcomes = gateways.iter().flat_map(|gateway| gateway.fleet.link.outcomes());
    // Those before the first connection are no calls.
    let missed = outcomes.filter(|(word, _)| !matches!(*word, "ok" | "away"));
    let missed: u64 = missed.map(|(_, count)| count).sum();
    println!("calls without an answer                   {missed:>12}");
    println!(
        "memory of this process for a gateway      {:>12.0} bytes",
        resident() / play.gateways as f64
    );
}

/// Starts all gateways and waits until each is connected and has heard an order.
async fn start(play: Play, server: &Server) -> Vec<Gateway> {
    let began = Instant::now();
    let gateways: Vec<_> = (0..play.gateways).map(|_| Gateway::start(&server.url())).collect();
    for gateway in &gateways {
        gateway.until_connected().await;
    }
    let connected = began.elapsed();
    reach_all(&gateways).await;
    println!(
        "{} gateways connected after {connected:.1?}, all hear after {:.1?}",
        play.gateways,
        began.elapsed()
    );
    gateways
}

/// Opens all sessions and tunnels, and waits until Redis knows of every one.
async fn fill(play: Play, server: &Server, gateways: &[Gateway]) {
    let used = Used::so_far(server);
    let began = Instant::now();
    let fields = play.users * play.spread;
    for user in 0..play.users {
        for place in 0..play.spread {
            let share = (play.tunnels + user * play.spread + place) / fields;
            gateways[(user + place) % gateways.len()].open(&load::name(user), share as u64);
        }
    }
    let mut last = (0.0, Instant::now());
    // Nothing says when a gateway has written all: until nothing is added, and every user is there.
    while last.1.elapsed() < Duration::from_secs(1) || server.cli(&["DBSIZE"]).parse::<usize>().unwrap() < play.users {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let held = memory(server);
        if (held - last.0).abs() > 4096.0 + held / 5000.0 {
            last = (held, Instant::now());
        }
    }
    let used = Used::since(server, used);
    println!(
        "{} users with {} tunnels on {} gateways each, noted in {:.1?} with {:.1} s of redis' processor",
        play.users,
        play.tunnels / play.users,
        play.spread,
        began.elapsed(),
        used.processor
    );
    // The buffers of connections shrink meanwhile, so what the data takes is asked of Redis itself.
    let key = format!("portreeve:open:{{{}}}", load::name(play.users / 2).replace('@', "%40"));
    let bytes: f64 = server
        .cli(&["MEMORY", "USAGE", &key, "SAMPLES", "0"])
        .parse()
        .unwrap_or(0.0);
    let tunnels = play.tunnels.max(play.users) / play.users;
    println!("memory of redis for a user                {bytes:>12.0} bytes");
    println!(
        "memory of redis for a tunnel              {:>12.1} bytes",
        bytes / tunnels as f64
    );
}

/// What is spent while nobody does anything.
async fn rest(play: Play, server: &Server) -> Used {
    let before = Used::so_far(server);
    let began = Instant::now();
    tokio::time::sleep(Duration::from_secs(play.seconds)).await;
    let used = per_second(Used::since(server, before), began);
    let each = used.scripts / play.gateways as f64;
    println!(
        "at rest                                   {:>9.1} % of redis' core, {:.0} scripts/s ({each:.1} of each gateway), {:.1} kB/s out",
        used.processor * 100.0,
        used.scripts,
        used.sent / 1e3
    );
    used
}

fn per_second(used: Used, began: Instant) -> Used {
    let seconds = began.elapsed().as_secs_f64();
    Used {
        processor: used.processor / seconds,
        scripts: used.scripts / seconds,
        received: used.received / seconds,
        sent: used.sent / seconds,
    }
}

/// Each kind of call alone, as fast as a few at once go: what one costs Redis beyond what is spent at rest.
async fn calls(play: Play, server: &Server, gateways: &[Gateway], rest: Used) {
    let load = Load::new(play, gateways);
    for call in load::CALLS {
        let before = Used::so_far(server);
        let began = Instant::now();
        let times = load.close(*call, Duration::from_secs(play.seconds)).await;
        let seconds = began.elapsed().as_secs_f64();
        let used = Used::since(server, before);
        let count = times.count().max(1) as f64;
        println!(
            "{:<41} {:>9.1} µs of redis' processor each, {:.0}/s, {:.2} scripts each, {:.0} bytes out; {times}",
            call.what(),
            (used.processor - rest.processor * seconds).max(0.0) * 1e6 / count,
            count / seconds,
            (used.scripts - rest.scripts * seconds).max(0.0) / count,
            (used.sent - rest.sent * seconds).max(0.0) / count,
        );
    }
}

/// All of it together, at the rates that were asked for.
async fn loaded(play: Play, server: &Server, gateways: &[Gateway]) {
    let load = Load::new(play, gateways);
    let before = Used::so_far(server);
    let began = Instant::now();
    let done = load.paced(Duration::from_secs(play.seconds)).await;
    let seconds = began.elapsed().as_secs_f64();
    let used = per_second(Used::since(server, before), began);
    println!(
        "{:.0} forwards/s and {:.0} logins/s             {:>9.1} % of redis' core, {:.0} scripts/s, {:.0} kB/s in, {:.0} kB/s out",
        done.adds.count() as f64 / seconds,
        done.logins.count() as f64 / seconds,
        used.processor * 100.0,
        used.scripts,
        used.received / 1e3,
        used.sent / 1e3
    );
    println!("  state.add                               {}", done.adds);
    println!("  login                                   {}", done.logins);
    println!("  refused or unavailable                  {:>12}", done.failed);
}

fn raise_open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

/// Bytes of this process that are in memory.
fn resident() -> f64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes * 1024.0
}

const ORDERS: usize = 5;
const LONGEST: Duration = Duration::from_secs(900);

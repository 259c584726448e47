//! Components that compilers do not make, in a running gateway and in the tools: whatever they are, each is rejected or
//! loaded within its bounds, the gateway lives and stays small, and the next good one is swapped in.
//!
//! `PORTREEVE_ODD_SEED` repeats a run, `PORTREEVE_ODD_SECONDS` makes it longer: an hour is
//! `PORTREEVE_ODD_SECONDS=3600 cargo test --test components -- --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test that cannot go on should say so and stop"
)]

#[allow(dead_code, reason = "another suite has policies of its own")]
#[path = "gateway/abi.rs"]
mod abi;
#[path = "fuzz/dice.rs"]
mod dice;
#[allow(dead_code, reason = "another suite has policies of its own")]
#[path = "gateway/guests.rs"]
mod guests;
mod odd;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dice::Dice;
use guests::{Guest, allows};
use odd::Odd;
use tempfile::TempDir;

/// What the gateway may hold.
const MOST_MEMORY: usize = 200 << 20;
/// Four times the processor time that a compiler has, and two of them in turn.
const PATIENCE: Duration = Duration::from_secs(2 * 4 * 60 + 60);

#[test]
fn whatever_component_comes_the_gateway_lives_stays_small_and_takes_the_next_good_one() {
    let policy = good("1.0.0");
    let mut run = Run::new();
    let gateway = Gateway::start(&policy);
    let worst = odd::worst(&policy);
    let few = [0, 1, 3, 6].map(|place| &worst[place]);
    let mut first: Vec<&Odd> = if run.is_long() {
        worst.iter().collect()
    } else {
        few.into()
    };
    first.reverse();
    while run.goes_on() {
        match first.pop() {
            Some(odd) => run.tries(odd, &gateway),
            None => {
                let most = if run.is_long() { usize::MAX } else { FEW };
                let odd = odd::any(&policy, most, &mut run.dice);
                run.tries(&odd, &gateway);
            }
        }
    }
    println!("{}", run.report());
}

fn good(version: &str) -> Vec<u8> {
    Guest::that(allows()).version(version).build()
}

struct Run {
    dice: Dice,
    seed: u64,
    began: Instant,
    seconds: Option<u64>,
    rounds: u32,
    rejected: u32,
    longest: (Duration, String),
    most: (usize, String),
}

impl Run {
    fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(1, |time| time.as_secs());
        let seed = variable("PORTREEVE_ODD_SEED").unwrap_or(now);
        println!("PORTREEVE_ODD_SEED={seed}");
        Self {
            dice: Dice(seed),
            seed,
            began: Instant::now(),
            seconds: variable("PORTREEVE_ODD_SECONDS"),
            rounds: 0,
            rejected: 0,
            longest: (Duration::ZERO, String::new()),
            most: (0, String::new()),
        }
    }

    fn is_long(&self) -> bool {
        self.seconds.is_some()
    }

    fn goes_on(&self) -> bool {
        match self.seconds {
            Some(seconds) => self.began.elapsed() < Duration::from_secs(seconds),
            None => self.rounds < ROUNDS,
        }
    }

    /// One component in the gateway, then in a tool, then a good one.
    fn tries(&mut self, odd: &Odd, gateway: &Gateway) {
        self.rounds += 1;
        let label = format!(
            "round {} of PORTREEVE_ODD_SEED={}: {}",
            self.rounds,
            self.seed,
            shortened(&odd.name)
        );
        let version = format!("{}.0.0", 2 + self.rounds % 2);
        let next = good(&version);
        if odd.bytes == next {
            return;
        }
        let began = Instant::now();
        let event = gateway.swap(&odd.bytes, &label);
        let took = began.elapsed();
        self.rejected += u32::from(event["event"] == "policy-rejected");
        if self.is_long() {
            println!("{label}: {} in {took:?}: {}", event["event"], event["reason"]);
        }
        if took > self.longest.0 {
            self.longest = (took, label.clone());
        }
        let most = gateway.memory();
        if most > self.most.0 {
            self.most = (most, label.clone());
        }
        assert!(most < MOST_MEMORY, "{label}: the gateway holds {} MiB", most >> 20);
        let tool: &[&str] = self
            .dice
            .one_of(&[&["plugin", "check"], &["plugin", "inspect", "--json"]]);
        let code = gateway.tool(tool);
        assert!(matches!(code, Some(0 | 1)), "{label}: {tool:?} ended with {code:?}");
        let event = gateway.swap(&next, &label);
        assert_eq!(event["event"], "policy-swapped", "after {label}: {event}");
        assert_eq!(event["policy"]["version"], version.as_str(), "after {label}");
    }

    fn report(&self) -> String {
        format!(
            "{} components in {} s, {} of them rejected; the longest took {:?} ({}); at most {} MiB ({})",
            self.rounds,
            self.began.elapsed().as_secs(),
            self.rejected,
            self.longest.0,
            self.longest.1,
            self.most.0 >> 20,
            self.most.1
        )
    }
}

/// The program in a process of its own, with one policy.
struct Gateway {
    child: Child,
    folder: TempDir,
}

impl Gateway {
    fn start(policy: &[u8]) -> Self {
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("policy.wasm"), policy).unwrap();
        let text = "[server]\nlisten = [\"127.0.0.1:0\"]\n[[policy.plugin]]\nname = \"test\"\ncomponent = \"policy.wasm\"\n\
                    [audit]\nfile = \"audit.jsonl\"\n";
        let config = folder.path().join("portreeve.toml");
        fs::write(&config, text).unwrap();
        let mut program = program(&folder);
        program.args(["serve", "--config"]).arg(&config).env("RUST_LOG", "off");
        let mut child = program.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        assert!(
            line.contains("listens on") || fs::metadata(folder.path().join("audit.jsonl")).is_ok(),
            "{line}"
        );
        Self { child, folder }
    }

    /// Swaps a file in and waits for what is recorded of it.
    fn swap(&self, bytes: &[u8], label: &str) -> serde_json::Value {
        let before = self.events().len();
        let next = self.folder.path().join("policy.next");
        fs::write(&next, bytes).unwrap();
        fs::rename(&next, self.path()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.events().into_iter().nth(before) {
                return event;
            }
            assert!(self.is_alive(), "{label}: the gateway is gone");
            assert!(Instant::now() < deadline, "{label}: nothing came of it");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn events(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.folder.path().join("audit.jsonl")).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines
            .filter(|line| line["event"] == "policy-swapped" || line["event"] == "policy-rejected")
            .collect()
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("policy.wasm")
    }

    fn is_alive(&self) -> bool {
        let status = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        !status.is_empty() && !status.contains(") Z ")
    }

    /// The most bytes that it had in memory since this was asked last.
    fn memory(&self) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        let most: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        // Counts from here on.
        let _ = fs::write(format!("/proc/{}/clear_refs", self.child.id()), "5");
        most << 10
    }

    /// The exit code of a tool about the component that lies there now.
    fn tool(&self, arguments: &[&str]) -> Option<i32> {
        let mut program = program(&self.folder);
        program.args(arguments).arg(self.path()).stdout(Stdio::null());
        program.status().unwrap().code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(folder: &TempDir) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    program.env("HOME", folder.path()).current_dir(folder.path());
    for name in ["XDG_STATE_HOME", "RUST_LOG", "NO_COLOR"] {
        program.env_remove(name);
    }
    program.stderr(Stdio::null());
    program
}

fn shortened(name: &str) -> String {
    name.chars().take(160).collect()
}

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} must be a number, found {text:?}")),
    )
}

/// Of a short run: its rounds, and how many of one thing a component of chance has.
const ROUNDS: u32 = 8;
const FEW: usize = 2_000;

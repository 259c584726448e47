//! One hostile user at full rate beside an honest one: what the honest one notices.
//!
//!     cargo build --release && cargo bench --bench hostile -- target/release/portreeve 60
//!
//! Everything happens in namespaces of its own, with a network that has only loopback and a name server that answers some
//! names and is silent on all others. For a quarter of the time the honest user is alone; then the hostile one comes and
//! asks for names that are not answered, with and without the grant `names`, for thousands of things that are refused, and
//! for all tunnels that there are. In the middle of that a file of rules is replaced by one that means the same. It fails if
//! a forward of the honest user is refused, one of their tunnels is closed, or the 99th percentile is not under 50 ms.
//! Needs Linux, `unshare`, `mount`, `ip`, `nice` and `ssh-keygen`, and ends by itself.
#![allow(
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod attack;
mod client;
mod gateway;
mod honest;
mod names;

use std::process::{Command, ExitCode};
use std::time::Duration;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| !one.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["inside", program, seconds] => inside(program, number(seconds)),
        ["attack", port, key, target, seconds] => attack::run(number(port), key, number(target), number(seconds)),
        [program, seconds] => outside(program, number(seconds)),
        _ => {
            println!("usage: hostile PROGRAM SECONDS (a release build of portreeve, and at most 600)");
            ExitCode::SUCCESS
        }
    }
}

fn number<T: std::str::FromStr>(word: &str) -> T {
    word.parse()
        .unwrap_or_else(|_| panic!("`{word}` is no number that can be used here"))
}

fn outside(program: &str, seconds: u64) -> ExitCode {
    let program = std::fs::canonicalize(program).unwrap();
    let status = Command::new("unshare")
        .args(["-r", "-m", "-n"])
        .arg(std::env::current_exe().unwrap())
        .arg("inside")
        .arg(program)
        .arg(seconds.min(MOST_SECONDS).to_string())
        .status()
        .expect("unshare");
    ExitCode::from(u8::from(!status.success()))
}

fn inside(program: &str, seconds: u64) -> ExitCode {
    let loopback = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    assert!(loopback.is_ok_and(|status| status.success()), "ip link set lo up");
    let folder = tempfile::tempdir().unwrap();
    names::serve(folder.path());
    let target = honest::echo();
    let gateway = gateway::Running::start(program, folder.path(), target);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let alone = runtime.block_on(honest::work(&gateway, target, Duration::from_secs(seconds / 4)));
    println!("{:<24} {alone}", "alone");
    let mut hostile = attack::start(&gateway, target, seconds);
    let half = Duration::from_secs(seconds / 2);
    let beside = runtime.block_on(async {
        let (beside, ()) = tokio::join!(honest::work(&gateway, target, Duration::from_secs(seconds)), async {
            tokio::time::sleep(half).await;
            gateway.change_rules();
        });
        beside
    });
    println!("{:<24} {beside}", "beside the hostile one");
    let _ = hostile.wait();
    println!("{:<24} {}", "the gateway", gateway.costs());
    ExitCode::from(u8::from(!(alone.is_well() && beside.is_well())))
}

const MOST_SECONDS: u64 = 600;

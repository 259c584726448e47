//! What misbehaving policies leave behind: nothing. A program of its own, so that nobody else's memory is counted.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    dead_code,
    unused_imports,
    reason = "a test that cannot go on should say so and stop; the harness serves two suites"
)]

#[path = "../gateway/abi.rs"]
mod abi;
#[path = "../gateway/guests.rs"]
mod guests;
#[path = "../gateway/harness/mod.rs"]
mod harness;
#[path = "../gateway/misdeeds.rs"]
mod misdeeds;

use harness::{Server, Setup, eventually, hear};
use misdeeds::{FIRST, doing_all, misdeeds};

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kibibytes: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kibibytes << 10
}

#[test]
fn hundreds_of_misdeeds_leave_the_memory_where_it_was() {
    let target = Server::named("the target");
    let setup = Setup::asking(&doing_all())
        .policy("deadline = \"5ms\"\nmemory = \"8MiB\"")
        .audit_file("/dev/null");
    let gateway = setup.start();
    let proxy = gateway.dynamic();
    let round = || {
        for (port, _) in (FIRST..).zip(misdeeds()) {
            assert!(proxy.socks5("db", port).is_none(), "port {port}");
        }
    };
    (0..20).for_each(|_| round());
    let before = resident();
    (0..100).for_each(|_| round());
    eventually("the memory back where it was", || {
        (resident() < before + (16 << 20)).then_some(())
    });
    assert_eq!(hear(proxy.socks5("127.0.0.1", target.port).unwrap()), "the target");
    eventually("all closed", || (gateway.open() == 0).then_some(()));
}

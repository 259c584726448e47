//! Policies that break their word. None of them is ever an allow, and none is felt by anybody else.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::guests::{Does, Guest, When, allows, denies, rewrites};
use crate::harness::{Server, Setup, eventually, hear};
use crate::misdeeds::{FIRST, doing_all, misdeeds};

#[test]
fn a_misdeed_refuses_its_own_request_and_no_other() {
    let target = Server::named("the target");
    let gateway = Setup::asking(&doing_all())
        .policy("deadline = \"30ms\"\nmemory = \"8MiB\"")
        .start();
    let proxy = gateway.dynamic();
    for (port, (_, code)) in (FIRST..).zip(misdeeds()) {
        assert!(proxy.socks5("db", port).is_none(), "port {port}: {code}");
        let decision = gateway.decision(&format!("db:{port}"));
        let found = (&decision["verdict"], &decision["code"], &decision["by"]);
        assert_eq!(
            found,
            (&"failed".into(), &code.into(), &"policy".into()),
            "port {port}: {decision}"
        );
        let reference = decision["forward"].as_str().unwrap();
        proxy.client.says(&format!(
            "open failed: resource shortage: the policy could not decide [ref {reference}]"
        ));
        assert_eq!(
            hear(proxy.socks5("127.0.0.1", target.port).unwrap()),
            "the target",
            "after {code}"
        );
    }
    gateway.stop();
}

#[test]
fn a_misdeed_about_a_listener_is_a_refusal() {
    for (does, code) in [
        (Does::Traps, "trap"),
        (Does::Spins, "deadline"),
        (rewrites("unix:/run/app.sock"), "bad-target"),
    ] {
        let gateway = Setup::asking(&Guest::that(allows()).on(When::Listen, does))
            .policy("deadline = \"30ms\"")
            .start();
        let client = gateway.ssh().args(["-v", "-N", "-R", "0:localhost:1"]).start();
        client.says("Remote: the policy could not decide [ref f-");
        client.says("remote port forwarding failed for listen port 0");
        assert_eq!(gateway.event("forward-decided")["code"], code);
        assert_eq!(gateway.open(), 0);
    }
}

#[test]
fn a_misdeed_about_a_visitor_is_a_refusal() {
    let target = Server::named("the target");
    for (does, code) in [(Does::Traps, "trap"), (rewrites("127.0.0.1:80"), "bad-target")] {
        let gateway = Setup::asking(&Guest::that(allows()).on(When::Accept, does)).start();
        let path = gateway.path("remote.sock");
        let _client = gateway.remote(&format!("{}:{}", path.display(), target.address()));
        assert_eq!(hear(std::os::unix::net::UnixStream::connect(&path).unwrap()), "");
        gateway.audited(code, |line| line["action"] == "accept" && line["code"] == code);
    }
}

#[test]
fn a_rewrite_that_was_not_granted_is_a_failure() {
    let target = Server::named("the target");
    let guest = Guest::that(allows()).on(When::Port(80), rewrites(&target.address()));
    let gateway = Setup::asking(&guest).without_rewrite().start();
    let answer = gateway.through("db:80");
    assert!(
        answer.errors.contains("resource shortage: the policy could not decide"),
        "{}",
        answer.errors
    );
    assert_eq!(gateway.decision("db:80")["code"], "rewrite-not-granted");
    assert_eq!(gateway.through(&target.address()).stdout, "the target");
}

#[test]
fn a_policy_that_chatters_still_decides() {
    let target = Server::named("the target");
    let guest = Guest::that(allows()).on(When::Port(target.port), Does::Chatters);
    let gateway = Setup::asking(&guest).policy("deadline = \"1s\"").start();
    assert_eq!(gateway.through(&target.address()).stdout, "the target");
}

#[test]
fn what_a_policy_says_cannot_forge_a_terminal() {
    let guest = Guest::that(allows()).on(When::Port(80), denies("no\u{1b}[2J\r\n\u{202e}yes"));
    let answer = Setup::asking(&guest).start().through("db:80");
    assert!(
        answer.errors.contains("prohibited: no [2J   yes [ref f-"),
        "{:?}",
        answer.errors
    );
}

#[test]
fn twenty_decisions_that_spin_hold_up_no_good_one() {
    let target = Server::named("the target");
    let guest = Guest::that(allows()).on(When::Port(FIRST), Does::Spins);
    let gateway = Setup::asking(&guest).policy("deadline = \"300ms\"").start();
    let proxy = gateway.dynamic();
    let asked = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let stream = proxy.ask5("db", FIRST);
                asked.fetch_add(1, Ordering::SeqCst);
                assert!(proxy.granted5(stream).is_none());
            });
        }
        eventually("twenty questions", || {
            (asked.load(Ordering::SeqCst) == 20).then_some(())
        });
        assert_eq!(hear(proxy.socks5("127.0.0.1", target.port).unwrap()), "the target");
        let spun = gateway
            .events("forward-decided")
            .iter()
            .filter(|line| line["code"] == "deadline")
            .count();
        assert!(spun < 20, "the good decision waited for all the others");
    });
    // Those that are equal are counted.
    eventually("twenty failed decisions in the log", || {
        let decided = gateway.events("forward-decided");
        let spun = decided.iter().filter(|line| line["code"] == "deadline");
        let spun: u64 = spun.map(|line| line["repeated"].as_u64().unwrap_or(1)).sum();
        (spun == 20).then_some(())
    });
}

/// What is no policy at all, and why it is not taken.
pub fn impostors() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let good = || Guest::that(allows());
    vec![
        ("garbage", b"garbage".to_vec(), "it is not WebAssembly"),
        ("nothing", Vec::new(), "it is not WebAssembly"),
        ("half a component", half(good().build()), "it does not compile"),
        ("a core module", good().core(), "it is a core module, not a component"),
        (
            "another version",
            good().for_world("0.3.0").build(),
            "it was built for portreeve:policy 0.3.0; this gateway speaks 0.2.0",
        ),
        (
            "a stranger's import",
            good().importing_a_stranger().build(),
            "it imports `stranger`, which this gateway does not offer",
        ),
        (
            "an import that is not granted",
            good().importing_names().build(),
            "which is not granted: add \"names\"",
        ),
        (
            "traps at once",
            Guest::that(Does::Traps).build(),
            "the test decision failed: the policy trapped",
        ),
        (
            "spins at once",
            Guest::that(Does::Spins).build(),
            "the test decision failed: the policy did not decide within",
        ),
        (
            "traps in its start",
            good().starting(Does::Traps).build(),
            "the test decision failed: the policy trapped",
        ),
        (
            "spins in its start",
            good().starting(Does::Spins).build(),
            "the test decision failed: the policy did not decide within",
        ),
        (
            "traps in configure",
            good().configuring(Does::Traps).build(),
            "the test decision failed: the policy trapped",
        ),
        (
            "spins in configure",
            good().configuring(Does::Spins).build(),
            "the test decision failed: the policy did not decide within",
        ),
        (
            "hoards in configure",
            good().configuring(Does::Hoards).build(),
            "the test decision failed: the policy needs more memory",
        ),
    ]
}

pub fn half(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() / 2);
    bytes
}

#[test]
fn no_gateway_starts_with_an_impostor() {
    for (name, bytes, reason) in impostors() {
        let setup = Setup::allowing().policy("deadline = \"10ms\"");
        std::fs::write(setup.path("policy.wasm"), bytes).unwrap();
        let words = setup.try_start().err().expect(name).to_string();
        assert!(words.contains(reason), "{name}: {words}");
        assert!(words.contains("policy.plugin[0]"), "{name}: {words}");
    }
}

#[test]
fn an_impostor_does_not_take_the_place_of_a_policy() {
    let target = Server::named("the target");
    let gateway = Setup::allowing().policy("deadline = \"10ms\"").start();
    let proxy = gateway.dynamic();
    let mut stays = proxy.socks5("127.0.0.1", target.port).unwrap();
    let before = gateway.decision(&target.address());
    for (name, bytes, reason) in impostors() {
        let rejected = gateway.swap_bytes(&bytes);
        assert_eq!(
            (&rejected["event"], &rejected["name"]),
            (&"policy-rejected".into(), &"test".into()),
            "{name}"
        );
        assert!(
            rejected["reason"].as_str().unwrap().contains(reason),
            "{name}: {rejected}"
        );
        assert_eq!(
            hear(proxy.socks5("localhost", target.port).unwrap()),
            "the target",
            "{name}"
        );
    }
    for decision in gateway.events("forward-decided") {
        assert_eq!(decision["policy"], before["policy"]);
    }
    let mut name = [0; 10];
    std::io::Read::read_exact(&mut stays, &mut name).unwrap();
    assert!(crate::harness::ping(&mut stays));
    gateway.stop();
}

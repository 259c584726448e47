//! What a reload takes away applies at once, what it gives waits for its policies, and what it does not concern is left alone.

use std::fs;
use std::net::{SocketAddr, TcpStream};

use serde_json::Value;

use crate::guests::{Guest, allows, denies};
use crate::harness::{Running, Server, Setup, eventually, ping};

fn edit(gateway: &Running, from: &str, to: &str) {
    let file = gateway.path("portreeve.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(&file, text.replace(from, to)).unwrap();
}

/// Decisions on what was open.
fn again(gateway: &Running) -> Vec<Value> {
    let mut lines = gateway.events("forward-decided");
    lines.retain(|line| line["again"] == "swap");
    lines
}

#[test]
fn a_user_is_removed_although_the_policies_are_faulty() {
    for fault in ["component", "settings"] {
        let setup = match fault {
            "component" => Setup::allowing(),
            _ => {
                let setup = Setup::allowing().plugin("settings-file = \"settings.toml\"");
                fs::write(setup.path("settings.toml"), "one = 1").unwrap();
                setup
            }
        };
        let gateway = setup.plugin("watch = false").start();
        let target = Server::echo();
        let proxy = gateway.dynamic();
        let mut tunnel = proxy.socks5("127.0.0.1", target.port).unwrap();
        match fault {
            "component" => fs::write(gateway.path("policy.wasm"), "garbage").unwrap(),
            _ => fs::write(gateway.path("settings.toml"), "this is no TOML").unwrap(),
        }
        edit(&gateway, "name = \"alice\"", "name = \"bob\"");
        gateway.reload().unwrap_err();
        eventually("alice is out", || (gateway.sessions() == 0).then_some(()));
        assert!(!ping(&mut tunnel));
        assert_eq!(gateway.event("tunnel-closed")["cause"], "revoked");
        for user in ["alice", "bob"] {
            let answer = gateway
                .ssh()
                .to(&format!("{user}@127.0.0.1"))
                .args(["-W", "localhost:1"])
                .run(b"");
            assert!(
                answer.errors.contains("Permission denied"),
                "{fault}, {user}: {answer:?}"
            );
        }
        let line = gateway.event("config-reloaded");
        assert_eq!(
            (&line["ok"], &line["applied"]),
            (&false.into(), &serde_json::json!(["user"])),
            "{line}"
        );
        assert!(
            line["reason"]
                .as_str()
                .unwrap()
                .contains("in the new configuration already apply (user)"),
            "{line}"
        );
        // Once the policy is whole, so is the configuration.
        match fault {
            "component" => fs::write(gateway.path("policy.wasm"), Guest::that(allows()).build()).unwrap(),
            _ => fs::write(gateway.path("settings.toml"), "one = 1").unwrap(),
        }
        gateway.reload().unwrap();
        let answer = gateway
            .ssh()
            .to("bob@127.0.0.1")
            .args(["-W", &target.address()])
            .run(b"");
        assert!(!answer.errors.contains("Permission denied"), "{answer:?}");
    }
}

#[test]
fn a_user_is_removed_while_a_component_compiles() {
    let gateway = Setup::allowing().plugin("watch = false").start();
    let target = Server::echo();
    let proxy = gateway.dynamic();
    let mut tunnel = proxy.socks5("127.0.0.1", target.port).unwrap();
    fs::write(
        gateway.path("policy.wasm"),
        Guest::that(allows()).hard_to_compile().build(),
    )
    .unwrap();
    gateway.reload_in_background();
    assert!(ping(&mut tunnel));
    edit(&gateway, "name = \"alice\"", "name = \"bob\"");
    gateway.reload_in_background();
    assert_eq!(gateway.event("tunnel-closed")["cause"], "revoked");
    assert!(
        gateway.events("config-reloaded").is_empty(),
        "the component still compiles"
    );
}

#[test]
fn floors_and_limits_that_take_away_do_not_wait_and_those_that_give_do() {
    let [near, far] = [Server::named("x"), Server::named("x")];
    let setup = Setup::allowing()
        .plugin("watch = false")
        .tables("[floors]\ndeny = [\"127.0.0.2/32\"]\n[forwarding]\nremote = false");
    let gateway = setup.start();
    fs::write(gateway.path("policy.wasm"), "garbage").unwrap();
    edit(&gateway, "deny = [\"127.0.0.2/32\"]", "deny = [\"127.0.0.1/32\"]");
    edit(&gateway, "remote = false", "remote = true");
    gateway.reload().unwrap_err();
    assert_ne!(gateway.through(&near.address()).stdout, "x");
    let refused = gateway.decision(&near.address());
    assert_eq!(refused["by"], "floor", "{refused}");
    let elsewhere = format!("127.0.0.2:{}", far.port);
    gateway.through(&elsewhere);
    assert_eq!(gateway.decision(&elsewhere)["by"], "floor");
    let remote = gateway
        .ssh()
        .option("ExitOnForwardFailure=yes")
        .args(["-N", "-R", "0:localhost:1"])
        .run(b"");
    assert!(remote.errors.contains("remote port forwarding failed"), "{remote:?}");
    let line = gateway.event("config-reloaded");
    assert_eq!(line["applied"], serde_json::json!(["forwarding.remote", "floors.deny"]));
}

#[test]
fn a_reload_that_changes_nothing_judges_nothing_again() {
    let target = Server::echo();
    let gateway = Setup::allowing().start();
    let proxy = gateway.dynamic();
    let mut tunnel = proxy.socks5("127.0.0.1", target.port).unwrap();
    for _ in 0..3 {
        gateway.reload().unwrap();
    }
    // Limits and users who have nothing open concern nothing that is open, either.
    edit(&gateway, "[audit]", "[limits]\nsessions = 77\n[audit]");
    gateway.reload().unwrap();
    edit(&gateway, "[[user]]", "[[user]]\nname = \"bob\"\n[[user]]");
    gateway.reload().unwrap();
    assert!(ping(&mut tunnel));
    gateway.swap(&Guest::that(allows()).version("2.0.0"));
    eventually("the swap is judged", || (again(&gateway).len() == 1).then_some(()));
    let lines = gateway.events("config-reloaded");
    let applied: Vec<_> = lines.iter().map(|line| line["applied"].clone()).collect();
    let expected = [
        Value::Null,
        Value::Null,
        Value::Null,
        serde_json::json!(["limits.sessions"]),
        serde_json::json!(["user"]),
    ];
    assert_eq!(applied, expected);
}

#[test]
fn a_floor_concerns_what_it_refuses_and_nothing_else() {
    let [near, far] = [Server::echo(), Server::echo()];
    let gateway = Setup::allowing().tables("[floors]\ndeny = [\"10.0.0.0/8\"]").start();
    let proxy = gateway.dynamic();
    let mut near = proxy.socks5("127.0.0.1", near.port).unwrap();
    // A server on 127.0.0.1 is not reached by another address of loopback, so both are told apart by ports no floor knows.
    let mut far = proxy.socks5("localhost", far.port).unwrap();
    edit(
        &gateway,
        "deny = [\"10.0.0.0/8\"]",
        "deny = [\"10.0.0.0/8\", \"192.168.0.0/16\"]",
    );
    gateway.reload().unwrap();
    assert!(ping(&mut near) && ping(&mut far));
    assert!(again(&gateway).is_empty());
    edit(&gateway, "\"192.168.0.0/16\"]", "\"127.0.0.0/8\"]");
    gateway.reload().unwrap();
    eventually("both are closed", || (gateway.open() == 0).then_some(()));
    let closed = gateway.events("tunnel-closed");
    assert!(closed.iter().all(|line| line["cause"] == "revoked"), "{closed:?}");
}

#[test]
fn a_switch_concerns_its_own_kind_of_forward() {
    let target = Server::echo();
    let gateway = Setup::allowing().tables("[forwarding]\nremote = true").start();
    let proxy = gateway.dynamic();
    let mut tunnel = proxy.socks5("127.0.0.1", target.port).unwrap();
    let _remote = gateway.remote(&format!("0:{}", target.address()));
    edit(&gateway, "remote = true", "remote = false");
    gateway.reload().unwrap();
    assert_eq!(gateway.event("listener-closed")["cause"], "revoked");
    assert!(ping(&mut tunnel));
    assert_eq!(again(&gateway).len(), 1);
}

#[test]
fn what_takes_a_restart_is_named() {
    let gateway = Setup::allowing().start();
    edit(
        &gateway,
        "file = \"audit.jsonl\"",
        "file = \"other.jsonl\"\nrequired = false",
    );
    edit(
        &gateway,
        "listen = [\"127.0.0.1:0\"]",
        "listen = [\"127.0.0.1:0\", \"127.0.0.2:0\"]",
    );
    gateway.reload().unwrap();
    let line = gateway.event("config-reloaded");
    let expected = serde_json::json!(["server.listen", "audit.file", "audit.required"]);
    assert_eq!((&line["ok"], &line["needs_restart"]), (&true.into(), &expected));
}

#[test]
fn the_number_of_sessions_follows_the_configuration() {
    let gateway = Setup::allowing().tables("[limits]\nsessions = 1").start();
    let _first = gateway.dynamic();
    let refused = |gateway: &Running| {
        let answer = gateway.through("localhost:1");
        !answer.errors.contains("open failed")
    };
    assert!(refused(&gateway));
    edit(&gateway, "sessions = 1", "sessions = 2");
    gateway.reload().unwrap();
    assert!(!refused(&gateway));
    edit(&gateway, "sessions = 2", "sessions = 1");
    gateway.reload().unwrap();
    assert!(refused(&gateway));
    let line: SocketAddr = gateway.address();
    assert!(TcpStream::connect(line).is_ok());
}

#[test]
fn a_new_policy_is_not_asked_about_old_users() {
    let gateway = Setup::allowing().plugin("watch = false").start();
    let target = Server::echo();
    let proxy = gateway.dynamic();
    let _tunnel = proxy.socks5("127.0.0.1", target.port).unwrap();
    fs::write(gateway.path("policy.wasm"), Guest::that(denies("no")).build()).unwrap();
    edit(&gateway, "name = \"alice\"", "name = \"bob\"");
    gateway.reload().unwrap();
    eventually("alice is out", || (gateway.sessions() == 0).then_some(()));
    assert!(again(&gateway).is_empty(), "a session that is over is judged by nobody");
}

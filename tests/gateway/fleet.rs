//! Gateways that share a real Redis: one rate limit, one count of sessions, and what becomes of users when Redis goes away.

use std::thread;

use serde_json::Value;

use crate::admin::{Events, asked, ctl, get};
use crate::guests::{Does, Guest, allows};
use crate::harness::{Running, Server, Setup, eventually, ping};
use crate::redis::Server as Redis;

/// A policy that allows so many requests in an hour.
fn counts_to(most: u32) -> Guest {
    Guest::that(Does::CountsTo(most)).importing_state()
}

fn shares(setup: Setup, redis: &Redis, more: &str) -> Setup {
    let tables = format!(
        "[fleet]\nredis = \"{}\"\n{more}\n[admin]\nsocket = \"admin.sock\"\nhttp = \"127.0.0.1:0\"",
        redis.url()
    );
    // On a busy machine a call may take longer than usual.
    let setup = setup.policy("deadline = \"1s\"");
    setup.plugin("grants = [\"state\"]").tables(&tables)
}

fn connected(gateway: &Running) {
    eventually("redis is reachable", || {
        let (status, text) = readiness(gateway);
        (status == "HTTP/1.1 200 OK" && text == "ready\n").then_some(())
    });
}

/// The status line and the text of `/readyz`.
fn readiness(gateway: &Running) -> (String, String) {
    get(gateway.monitored().unwrap(), "/readyz")
}

fn calls(gateway: &Running, result: &str) -> u64 {
    let (_, text) = get(gateway.monitored().unwrap(), "/metrics");
    let name = format!("portreeve_redis_calls_total{{result=\"{result}\"}} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("{result}: {text}")).parse().unwrap()
}

/// The exit code of an `ssh` that asks for a command: that is refused after the login.
fn login(gateway: &Running) -> Option<i32> {
    gateway.ssh().start_with(&["true"]).finish(b"").code
}

const ADMITTED: Option<i32> = Some(1);
const REFUSED: Option<i32> = Some(255);

/// Asks so often for a forward at once; how many were allowed.
fn allowed(gateways: &[&Running], each: usize) -> usize {
    let target = Server::named("there");
    let (address, allowed) = (target.address(), std::sync::atomic::AtomicUsize::new(0));
    // One after the other: each looks for a free port.
    let proxies: Vec<_> = gateways.iter().map(|gateway| gateway.dynamic()).collect();
    thread::scope(|scope| {
        for proxy in &proxies {
            scope.spawn(|| {
                let (host, port) = address.rsplit_once(':').unwrap();
                for _ in 0..each {
                    let there = proxy.socks5(host, port.parse().unwrap()).is_some();
                    allowed.fetch_add(usize::from(there), std::sync::atomic::Ordering::Relaxed);
                }
            });
        }
    });
    allowed.into_inner()
}

#[test]
fn a_rate_limit_is_one_over_all_gateways() {
    let redis = Redis::start();
    let start = || {
        let gateway = shares(Setup::asking(&counts_to(10)), &redis, "timeout = \"1s\"").start();
        connected(&gateway);
        gateway
    };
    let (one, two) = (start(), start());
    assert_eq!(allowed(&[&one, &two], 10), 10);
    assert!(calls(&one, "ok") >= 10 && calls(&two, "ok") >= 10);
}

#[test]
fn sessions_of_a_user_are_counted_over_all_gateways() {
    let redis = Redis::start();
    let start = || {
        let setup = shares(Setup::allowing(), &redis, "timeout = \"1s\"\nlease = \"2s\"");
        let gateway = setup.tables("[limits]\nsessions-per-user = 2").start();
        connected(&gateway);
        gateway
    };
    let (one, two) = (start(), start());
    let _first = one.dynamic();
    let second = two.dynamic();
    assert_eq!(login(&one), REFUSED);
    let line = one.event("auth-failed");
    assert!(
        line["reason"].as_str().unwrap().contains("limits.sessions-per-user"),
        "{line}"
    );
    drop(second);
    eventually("a place", || (two.sessions() == 0).then_some(()));
    eventually("the others know of it", || (login(&one) == ADMITTED).then_some(()));
}

#[test]
fn redis_may_stop_and_come_back_and_the_gateway_says_so_and_goes_on() {
    let mut redis = Redis::start();
    let gateway = shares(Setup::asking(&counts_to(1000)), &redis, "timeout = \"50ms\"").start();
    connected(&gateway);
    assert_eq!(allowed(&[&gateway], 3), 3);
    redis.pause();
    // The policy denies what it cannot count; the gateway answers all the same.
    assert_eq!(allowed(&[&gateway], 3), 0);
    assert!(calls(&gateway, "timed-out") + calls(&gateway, "away") >= 3);
    for line in gateway.events("forward-decided").iter().skip(3) {
        assert_eq!(line["verdict"], "deny", "{line}");
    }
    let away = eventually("redis is away", || {
        let (status, text) = readiness(&gateway);
        text.contains("redis is not reachable").then_some((status, text))
    });
    assert_eq!(away.0, "HTTP/1.1 200 OK", "it serves: {away:?}");
    redis.resume();
    connected(&gateway);
    assert_eq!(allowed(&[&gateway], 3), 3);
    redis.end();
    eventually("redis is away", || {
        readiness(&gateway).1.contains("not reachable").then_some(())
    });
    redis.begin();
    connected(&gateway);
    assert_eq!(allowed(&[&gateway], 3), 3);
}

#[test]
fn a_gateway_that_is_told_to_refuses_what_is_new_while_redis_is_away() {
    let mut redis = Redis::start();
    redis.end();
    let gateway = shares(Setup::allowing(), &redis, "when-cut-off = \"refuse-new\"").start();
    let refused = eventually("it tried", || {
        let (status, text) = readiness(&gateway);
        (text.contains("redis is not reachable") && status.contains("503")).then_some(text)
    });
    assert!(!refused.contains("ready\n"), "{refused}");
    assert_eq!(login(&gateway), REFUSED);
    assert!(
        gateway.event("auth-failed")["reason"]
            .as_str()
            .unwrap()
            .contains("fleet.when-cut-off")
    );
    redis.begin();
    connected(&gateway);
    let proxy = gateway.dynamic();
    let target = Server::named("there");
    let address = target.address();
    let (host, port) = address.rsplit_once(':').unwrap();
    let port = port.parse().unwrap();
    assert!(proxy.socks5(host, port).is_some());
    redis.end();
    eventually("it is cut off", || readiness(&gateway).0.contains("503").then_some(()));
    assert!(proxy.socks5(host, port).is_none());
    let line = gateway.audited("the refusal", |line| line["code"] == "cut-off");
    assert_eq!(line["by"], "limit", "{line}");
}

#[test]
fn a_shadow_writes_nothing_that_others_see() {
    let redis = Redis::start();
    let gateway = shares(
        Setup::asking(&Guest::that(allows()).importing_state()),
        &redis,
        "timeout = \"1s\"",
    )
    .start();
    connected(&gateway);
    let file = gateway.path("candidate.wasm");
    std::fs::write(&file, counts_to(2).version("2.0.0").build()).unwrap();
    asked(&gateway, &["policy", "shadow", "test", file.to_str().unwrap()]);
    assert_eq!(allowed(&[&gateway], 5), 5);
    eventually("the shadow was asked", || {
        let line = asked(&gateway, &["policy", "show", "test"]);
        let shadow = line["generations"].as_array().unwrap().last().unwrap().clone();
        (shadow["decisions"].as_u64() >= Some(5)).then_some(())
    });
    assert_eq!(redis.cli(&["--scan", "--pattern", "portreeve:state:*"]), "");
    asked(&gateway, &["policy", "promote", "test"]);
    assert_eq!(allowed(&[&gateway], 5), 2, "what it counted as a shadow counts no more");
    assert_ne!(redis.cli(&["--scan", "--pattern", "portreeve:state:*"]), "");
}

/// A gateway that keeps what it knows, such as who is locked out, in a folder of its own.
fn alone() -> Setup {
    let setup = Setup::allowing();
    let directory = setup.path("policies");
    setup.directory(&directory)
}

/// Two gateways of one fleet.
fn two_gateways(redis: &Redis) -> [Running; 2] {
    ["gw-1", "gw-2"].map(|name| {
        let more = format!("name = \"{name}\"\ntimeout = \"1s\"\nlease = \"2s\"");
        let gateway = shares(alone(), redis, &more).start();
        connected(&gateway);
        gateway
    })
}

#[test]
fn a_lock_holds_on_all_gateways_also_on_one_that_starts_later() {
    let redis = Redis::start();
    let [one, two] = two_gateways(&redis);
    let target = Server::echo();
    let tunnel = two.local(&target.address());
    let mut stream = tunnel.connect();
    assert!(ping(&mut stream));
    let locked = asked(&one, &["lock", "alice", "--reason", "a test", "--fleet"]);
    assert_eq!(locked["user"], "alice");
    let closed = two.audited("the end of the tunnel", |line| line["event"] == "tunnel-closed");
    assert_eq!(closed["cause"], "killed", "{closed}");
    let action = two.event("admin-action");
    assert_eq!(
        (&action["action"], &action["detail"]["fleet"]),
        (&"lock".into(), &true.into()),
        "{action}"
    );
    for gateway in [&one, &two] {
        assert_eq!(login(gateway), REFUSED);
    }
    let three = shares(alone(), &redis, "name = \"gw-3\"\ntimeout = \"1s\"").start();
    eventually("the third knows of it", || {
        let locks = asked(&three, &["locks"]);
        (locks.as_array().unwrap().len() == 1).then_some(())
    });
    // What was said on one gateway alone is not taken back from another.
    asked(&one, &["lock", "bob", "--reason", "on one"]);
    asked(&two, &["unlock", "bob", "--fleet"]);
    asked(&two, &["unlock", "alice", "--fleet"]);
    for gateway in [&one, &two, &three] {
        eventually("alice is in again", || (login(gateway) == ADMITTED).then_some(()));
    }
    let left = asked(&one, &["locks"]);
    assert_eq!(
        (&left[0]["user"], left.as_array().unwrap().len()),
        (&"bob".into(), 1),
        "{left}"
    );
}

#[test]
fn what_is_open_on_all_gateways_is_listed_and_closed_from_one() {
    let redis = Redis::start();
    let [one, two] = two_gateways(&redis);
    let target = Server::echo();
    let tunnels = [one.local(&target.address()), two.local(&target.address())];
    let mut streams = tunnels.each_ref().map(|tunnel| tunnel.connect());
    streams.iter_mut().for_each(|stream| assert!(ping(stream)));
    let names = |listed: &serde_json::Value, key: &str| -> Vec<String> {
        let entries = listed[key].as_array().unwrap().iter();
        entries
            .map(|entry| entry["gateway"].as_str().unwrap().to_owned())
            .collect()
    };
    for (command, key) in [("status", "status"), ("sessions", "sessions"), ("tunnels", "tunnels")] {
        let listed = asked(&one, &[command, "--fleet"]);
        assert_eq!(names(&listed, key), ["gw-1", "gw-2"], "{listed}");
        assert_eq!(listed["missing"].as_array().unwrap().len(), 0, "{listed}");
    }
    let close = ["close", "--user", "alice", "--fleet", "--reason", "a test"];
    let would = asked(&two, &["close", "--user", "alice", "--fleet", "--dry-run"]);
    assert_eq!(would["closed"].as_array().unwrap().len(), 2, "{would}");
    assert_eq!((one.open(), two.open()), (1, 1));
    let closed = asked(&two, &close);
    assert_eq!(closed["closed"].as_array().unwrap().len(), 2, "{closed}");
    for gateway in [&one, &two] {
        assert_eq!(gateway.event("tunnel-closed")["cause"], "killed");
    }
    let told = ctl(&one, &["reload", "--fleet"]);
    assert!(told.code == 2 && told.err.contains("--fleet is for"), "{}", told.err);
}

/// Reads until there is a line like this one.
fn told(reader: &mut Events, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || reader.told().filter(|line| is_it(line)))
}

/// Reads until it is said that these gateways are followed, and no other one is there.
fn follows(reader: &mut Events, gateways: &[&str]) {
    told(reader, &format!("{gateways:?} are followed"), |line| {
        line["following"] == Value::from(gateways) && line["missing"] == Value::Array(Vec::new())
    });
}

/// The key of the one stream that is read.
fn stream(redis: &Redis) -> String {
    redis.cli(&["--scan", "--pattern", "portreeve:{events:*"])
}

#[test]
fn events_of_all_gateways_are_followed_from_one_also_of_one_that_starts_later() {
    let redis = Redis::start();
    let [one, two] = two_gateways(&redis);
    assert_eq!(login(&two), ADMITTED);
    assert_eq!(stream(&redis), "", "nothing is published where nobody reads");
    let mut all = Events::of(&one, &["--fleet"]);
    let [target, other] = [(), ()].map(|()| Server::echo());
    let mut some = Events::of(&two, &["--fleet", "--target", &other.address()]);
    for reader in [&mut all, &mut some] {
        follows(reader, &["gw-1", "gw-2"]);
    }
    for (gateway, name) in [(&one, "gw-1"), (&two, "gw-2")] {
        assert!(ping(&mut gateway.local(&target.address()).connect()));
        for event in [
            "auth-succeeded",
            "forward-decided",
            "tunnel-opened",
            "tunnel-closed",
            "session-closed",
        ] {
            let line = told(&mut all, event, |line| line["event"] == event);
            assert_eq!(
                (&line["gateway"], &line["user"]),
                (&name.into(), &"alice".into()),
                "{line}"
            );
        }
    }
    // What went to another target comes before this, and is not wanted.
    assert!(ping(&mut one.local(&other.address()).connect()));
    let first = told(&mut some, "what is wanted", |_| true);
    assert_eq!(
        (&first["gateway"], &first["requested"]),
        (&"gw-1".into(), &other.address().into()),
        "{first}"
    );
    let three = shares(alone(), &redis, "name = \"gw-3\"\ntimeout = \"1s\"").start();
    follows(&mut all, &["gw-1", "gw-2", "gw-3"]);
    assert_eq!(login(&three), ADMITTED);
    told(&mut all, "a login on the third", |line| {
        line["gateway"] == "gw-3" && line["event"] == "auth-succeeded"
    });
}

#[test]
fn who_follows_all_gateways_hears_of_what_was_lost_and_goes_on() {
    let redis = Redis::start();
    let [one, two] = two_gateways(&redis);
    let mut reader = Events::of(&one, &["--fleet"]);
    follows(&mut reader, &["gw-1", "gw-2"]);
    redis.cli(&["FLUSHALL"]);
    told(&mut reader, "what was lost", |line| line["interrupted"].is_string());
    follows(&mut reader, &["gw-1", "gw-2"]);
    assert_eq!(login(&two), ADMITTED);
    told(&mut reader, "a login", |line| {
        line["gateway"] == "gw-2" && line["event"] == "auth-succeeded"
    });
}

#[test]
fn what_others_write_to_a_stream_is_bounded_and_printable() {
    let redis = Redis::start();
    let [one, two] = two_gateways(&redis);
    let mut reader = Events::of(&one, &["--fleet"]);
    follows(&mut reader, &["gw-1", "gw-2"]);
    let key = stream(&redis);
    let long = format!(
        "{{\"gateway\":\"x/1\",\"missed\":0,\"events\":[{{\"event\":\"{}\"}}]}}",
        "a".repeat(10_000)
    );
    for entry in [
        "",
        "no JSON",
        "[]",
        "{\"gateway\":7}",
        &long,
        r#"{"gateway":"x/1","missed":0,"events":[{"event":"a\nb"},{"event":"data: x"},{"event":7},{}]}"#,
        r#"{"gateway":"ev\u001bil/1","missed":3,"events":[{"event":"tunnel-opened","gateway":"gw-1","user":"\u009b2Jx"}]}"#,
    ] {
        assert!(redis.cli(&["XADD", &key, "*", "o", entry]).contains('-'), "{entry}");
    }
    let missed = told(&mut reader, "what is understood", |line| {
        line.get("following").is_none()
    });
    assert_eq!(
        (&missed["missed"], &missed["gateway"]),
        (&3.into(), &"ev il".into()),
        "{missed}"
    );
    let event = told(&mut reader, "its event", |line| line.get("following").is_none());
    assert_eq!(
        (&event["gateway"], &event["user"]),
        (&"ev il".into(), &" 2Jx".into()),
        "{event}"
    );
    assert_eq!(login(&two), ADMITTED);
    told(&mut reader, "a login", |line| {
        line["gateway"] == "gw-2" && line["event"] == "auth-succeeded"
    });
}

#[test]
fn a_gateway_without_a_fleet_says_so() {
    let gateway = alone().tables("[admin]\nsocket = \"admin.sock\"").start();
    for command in [
        &["sessions"][..],
        &["events"],
        &["lock", "alice", "--reason", "x"],
        &["unlock", "alice"],
    ] {
        let told = ctl(&gateway, &[command, &["--fleet"]].concat());
        assert!(
            told.code == 1 && told.err.contains("set fleet.redis"),
            "{command:?}: {}",
            told.err
        );
    }
    assert_eq!(login(&gateway), ADMITTED, "nothing was done");
}

#[test]
fn redis_is_reached_through_tls_with_an_authority_of_the_administrator() {
    let (redis, port) = Redis::with_tls();
    let authority = redis.folder.path().join("cert");
    let tables = format!("[fleet]\nredis = \"rediss://localhost:{port}\"\ntimeout = \"1s\"");
    let setup = Setup::allowing().tables(&tables);
    let _gateway = setup
        .variable("SSL_CERT_FILE", authority.to_str().unwrap())
        .start_program();
    eventually("it takes part", || {
        (redis.cli(&["ZCARD", "portreeve:{gateways}"]) == "1").then_some(())
    });
}

/// The others cannot be told, but a restart must not let the user in again here.
#[test]
fn a_lock_for_all_that_only_this_gateway_hears_of_is_kept_all_the_same() {
    let redis = Redis::start();
    let gateway = shares(alone(), &redis, "timeout = \"1s\"").start();
    connected(&gateway);
    let kept = |gateway: &Running| std::fs::read_to_string(gateway.path("policies/locks.json")).unwrap_or_default();
    drop(redis);
    let told = ctl(&gateway, &["lock", "alice", "--fleet", "--reason", "a test"]);
    assert!(told.code == 1 && told.err.contains("could not be told"), "{}", told.err);
    assert!(kept(&gateway).contains("alice"), "{}", kept(&gateway));
    assert_eq!(login(&gateway), REFUSED);
    let told = ctl(&gateway, &["unlock", "alice", "--fleet"]);
    assert!(told.code == 1 && told.err.contains("could not be told"), "{}", told.err);
    assert!(!kept(&gateway).contains("alice"), "{}", kept(&gateway));
    assert_eq!(login(&gateway), ADMITTED);
}

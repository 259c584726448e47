//! A staged rollout: what is new decides on the canaries of a fleet first, and the others follow or stop by what became of it there.

use std::fs;

use serde_json::Value;

use crate::admin::{asked, ctl, get};
use crate::guests::{Does, Guest, When, allows, denies};
use crate::harness::{Process, Reached, Running, Setup, eventually};
use crate::redis::Server as Redis;

/// A gateway of a fleet whose canary is `gw-1`.
fn member(redis: &Redis, name: &str, more: &str) -> Setup {
    let tables = format!(
        "[fleet]\nname = \"{name}\"\nredis = \"{}\"\ntimeout = \"1s\"\n[policy.rollout]\ncanary = [\"gw-1\"]\nwait = \"1s\"\n\
         [admin]\nsocket = \"admin.sock\"\nhttp = \"127.0.0.1:0\"\n{more}",
        redis.url()
    );
    Setup::allowing().policy("deadline = \"1s\"").tables(&tables)
}

fn started(setup: Setup) -> Running {
    let gateway = setup.start();
    eventually("redis is reachable", || {
        let (status, text) = get(gateway.monitored().unwrap(), "/readyz");
        (status == "HTTP/1.1 200 OK" && text == "ready\n").then_some(())
    });
    gateway
}

fn second() -> Guest {
    Guest::that(denies("the new policy says no")).version("2.0.0")
}

/// The gate for the last candidate.
fn gate(gateway: &Reached) -> Value {
    let shown = asked(gateway, &["policy", "show", "test"]);
    let gates = shown["gates"]["gates"].as_array().cloned().unwrap_or_default();
    gates
        .into_iter()
        .find(|one| one["gate"] == "canary")
        .unwrap_or_default()
}

fn waits_for(gateway: &Reached, words: &str) {
    eventually(words, || {
        let gate = gate(gateway);
        let said = gate["words"].as_str().unwrap_or_default().contains(words);
        (gate["result"] == "waiting" && said).then_some(())
    });
}

#[test]
fn what_changes_decides_on_the_canary_first_and_the_others_follow() {
    let redis = Redis::start();
    // Longer than `wait`: the others follow when it has passed, and not before.
    let burn_in = "[policy.gates]\nburn-in = { for = \"3s\", min-decisions = 1 }\n";
    let canary = started(member(&redis, "gw-1", burn_in));
    let other = started(member(&redis, "gw-2", burn_in));
    let waits = other.swap(&second());
    assert_eq!(waits["event"], "policy-rejected", "{waits}");
    assert!(
        waits["reason"].as_str().unwrap().contains("waits at the gate `canary`"),
        "{waits}"
    );
    waits_for(&other, "gw-1 does not serve it");
    assert!(other.allows_new());
    let followed = other.after_swap(|| {
        assert_eq!(canary.swap(&second())["event"], "policy-swapped");
    });
    assert_eq!(
        (&followed["event"], &followed["policy"]["version"]),
        (&"policy-swapped".into(), &"2.0.0".into()),
        "{followed}"
    );
    assert!(!other.allows_new());
    let gate = gate(&other);
    assert_eq!(gate["result"], "passed", "{gate}");
    assert!(
        gate["words"].as_str().unwrap().contains("gw-1 has served it for"),
        "{gate}"
    );
    let shown = asked(&canary, &["policy", "show", "test"]);
    let gates = shown["gates"]["gates"].as_array().unwrap();
    let burned_in = gates.iter().find(|one| one["gate"] == "burn-in").unwrap();
    assert_eq!(burned_in["result"], "passed", "{shown}");
}

#[test]
fn what_the_canary_takes_back_stops_there() {
    let redis = Redis::start();
    let burn_in = "[policy.gates]\nburn-in = { for = \"1h\", min-decisions = 2, max-failed = \"10%\" }\n";
    let (canary, other) = (
        started(member(&redis, "gw-1", burn_in)),
        started(member(&redis, "gw-2", burn_in)),
    );
    let bad = Guest::that(allows()).version("2.0.0").on(When::Port(9), Does::Traps);
    assert_eq!(canary.swap(&bad)["event"], "policy-swapped");
    other.swap(&bad);
    waits_for(&other, "gw-1 serves it and may still take it back");
    let stopped = other.after_swap(|| {
        for _ in 0..2 {
            canary.through("127.0.0.1:9");
        }
    });
    let reason = stopped["reason"].as_str().unwrap_or_default();
    assert!(
        reason.contains("stopped at the gate `canary`: not on gw-1: 2 of 2 decisions failed"),
        "{stopped}"
    );
    assert_eq!(gate(&other)["result"], "refused");
    assert!(other.allows_new());
    // An administrator may pass the gate, on record.
    let file = other.path("forced.wasm");
    fs::write(&file, bad.build()).unwrap();
    let file = file.display().to_string();
    let told = ctl(&other, &["policy", "load", "test", &file]);
    assert!(
        told.code == 1 && told.err.contains("gate `canary`"),
        "{} {}",
        told.out,
        told.err
    );
    asked(&other, &["policy", "load", "test", &file, "--force"]);
    assert_eq!(gate(&other)["result"], "forced");
}

#[test]
fn a_reload_waits_for_the_canary_and_is_then_done() {
    let redis = Redis::start();
    let (canary, other) = (
        started(member(&redis, "gw-1", "")),
        started(member(&redis, "gw-2", "").plugin("watch = false")),
    );
    fs::write(other.path("policy.wasm"), second().build()).unwrap();
    let refused = other.reload().unwrap_err();
    assert!(
        refused.contains("policy.rollout") && refused.contains("waits at the gate `canary`"),
        "{refused}"
    );
    assert!(other.allows_new());
    canary.swap(&second());
    let reloaded = other.audited("the reload", |line| {
        line["event"] == "config-reloaded" && line["ok"] == true
    });
    assert!(reloaded["reason"].is_null(), "{reloaded}");
    assert!(!other.allows_new());
}

#[test]
fn a_start_does_not_get_past_the_canary() {
    let redis = Redis::start();
    let canary = started(member(&redis, "gw-1", ""));
    let setup = member(&redis, "gw-2", "");
    let directory = setup.path("policies");
    let mut other: Process = setup.directory(&directory).start_program();
    assert!(other.allows_new());
    other.kill();
    fs::write(other.path("policy.wasm"), second().build()).unwrap();
    other.start_again();
    assert!(other.allows_new());
    waits_for(&other, "gw-1 does not serve it");
    let followed = other.after_swap(|| {
        canary.swap(&second());
    });
    assert_eq!(followed["event"], "policy-swapped", "{followed}");
    assert!(!other.allows_new());
}

#[test]
fn nothing_follows_while_redis_is_away() {
    let mut redis = Redis::start();
    let (canary, other) = (started(member(&redis, "gw-1", "")), started(member(&redis, "gw-2", "")));
    redis.end();
    canary.swap(&second());
    assert!(!canary.allows_new(), "a canary needs nobody");
    other.swap(&second());
    waits_for(&other, "redis is not reachable");
    assert!(other.allows_new());
    let followed = other.after_swap(|| redis.begin());
    assert_eq!(followed["event"], "policy-swapped", "{followed}");
}

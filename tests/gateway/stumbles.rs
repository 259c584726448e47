//! Components over which the tools fail: each is rejected, and the next good one is swapped in all the same.

use std::fs;

use crate::guests::{Guest, allows, denies};
use crate::harness::Setup;
use crate::odd::text;

/// Modules beside a policy over which the tool that takes snapshots panics: it expects that they export something.
const UNFORESEEN: [&str; 3] = [
    "(module (global (mut v128) (v128.const i32x4 0 0 0 0)))",
    "(module (global (mut i32) (i32.const 0)))",
    "(module (memory 1))",
];

/// Modules that it knows to have no snapshot of, or that have one.
const FORESEEN: [&str; 3] = [
    "(module (global (mut v128) (v128.const i32x4 0 0 0 0)) (func (export \"f\")))",
    "(module (global (mut funcref) (ref.null func)) (func (export \"f\")))",
    "(module (global (mut f64) (f64.const nan)) (memory 2) (func (export \"f\")))",
];

fn beside(guest: &Guest, module: &str) -> Vec<u8> {
    text::beside(&guest.build(), module).expect("the text of a module")
}

#[test]
fn a_component_over_which_a_tool_fails_is_rejected_and_the_next_good_one_serves() {
    let gateway = Setup::allowing().start();
    for (round, module) in UNFORESEEN.into_iter().enumerate() {
        let answer = gateway.swap_bytes(&beside(&Guest::that(allows()), module));
        assert_eq!(answer["event"], "policy-rejected", "{module}: {answer}");
        let reason = answer["reason"].as_str().unwrap();
        assert!(reason.contains("failed with a panic"), "{module}: {reason}");
        assert!(!reason.contains('\n') && reason.len() < 1000, "{module}: {reason}");
        assert_eq!(gateway.absent(), [], "{module}");
        let version = format!("2.0.{round}");
        let next = gateway.swap(&Guest::that(allows()).version(&version));
        assert_eq!(next["event"], "policy-swapped", "after {module}: {next}");
        assert_eq!(next["policy"]["version"], version.as_str());
    }
}

#[test]
fn a_component_without_a_snapshot_is_configured_for_each_decision() {
    let gateway = Setup::allowing().start();
    for (round, module) in FORESEEN.into_iter().enumerate() {
        let guest = Guest::that(allows()).version(&format!("2.0.{round}"));
        let answer = gateway.swap_bytes(&beside(&guest, module));
        assert_eq!(answer["event"], "policy-swapped", "{module}: {answer}");
    }
}

#[test]
fn a_reload_with_such_a_component_is_recorded_and_the_next_one_works() {
    let gateway = Setup::allowing().start();
    let answer = gateway.swap_bytes(&beside(&Guest::that(denies("no")), UNFORESEEN[0]));
    assert_eq!(answer["event"], "policy-rejected", "{answer}");
    let words = gateway.reload().expect_err("the component is bad");
    assert!(words.contains("policy.plugin[0]"), "{words}");
    assert_eq!(gateway.event("config-reloaded")["ok"], false);
    fs::write(
        gateway.path("policy.wasm"),
        Guest::that(allows()).version("3.0.0").build(),
    )
    .unwrap();
    gateway.reload().expect("all is well again");
    let reloaded = gateway.audited("a good reload", |line| line["ok"] == true);
    assert_eq!(reloaded["event"], "config-reloaded");
    assert_eq!(gateway.absent(), []);
}

//! Each track of the contract that is served: its guests are understood, and what they never set refuses.

use crate::abi::V;
use crate::guests::{Does, Guest, When, allows, allows_with, denies, rewrites};
use crate::program::Home;

/// What `plugin run` says of a component that is asked for db:5432.
fn asked(guest: &Guest) -> (i32, serde_json::Value) {
    let home = Home::new();
    let file = home.file("policy.wasm", guest.build());
    let ran = home.run(&["plugin", "run", "--json", "--rewrite", &file, "connect", "db:5432"]);
    (
        ran.code,
        serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:?}")),
    )
}

fn tracks(does: Does) -> [Guest; 2] {
    [Guest::that(does.clone()), Guest::that(does).of_track_0_1()]
}

#[test]
fn verdicts_of_both_tracks_mean_the_same() {
    let rule = |effect| V::Record(vec![("cidr", V::text("10.0.0.0/8")), ("effect", V::Case(effect, None))]);
    let rules = |effect| allows_with(vec![("address-rules", V::List(vec![rule(effect)]))]);
    #[rustfmt::skip]
    let table = [
        (allows(),              0,  "/verdict",                          "allow"),
        (denies("no"),          10, "/code",                             "test-rule"),
        (denies("no"),          10, "/tell-user",                        "no"),
        (rewrites("other:22"),  0,  "/to",                               "other:22"),
        (rules("permit"),       0,  "/terms/address-rules/0/effect",     "permit"),
        (rules("refuse"),       0,  "/terms/address-rules/0/effect",     "refuse"),
    ];
    for (does, code, at, expected) in table {
        for guest in tracks(does) {
            let (found, answer) = asked(&guest);
            assert_eq!((found, answer.pointer(at)), (code, Some(&expected.into())), "{answer}");
        }
    }
}

#[test]
fn a_verdict_that_was_never_set_is_refused_and_said() {
    // All zeros are the first case of `verdict`, with the empty value of what it holds.
    let (code, answer) = asked(&Guest::that(Does::Answers(V::case("deny", V::Record(Vec::new())))));
    assert_eq!((code, &answer["code"]), (10, &"no-verdict".into()), "{answer}");
    let reason = answer["reason"].as_str().unwrap();
    assert!(
        reason.contains("without setting a verdict") && answer["tell-user"].is_null(),
        "{answer}"
    );
    // The same denial in the other track, where it is no zero.
    let denial = Guest::that(Does::Answers(V::case("deny", V::Record(Vec::new())))).of_track_0_1();
    assert_eq!(asked(&denial).1["code"], "no-verdict");
}

#[test]
fn an_effect_that_was_never_set_refuses() {
    let rule = V::Record(vec![("cidr", V::text("10.0.0.0/8"))]);
    let allowed = allows_with(vec![("address-rules", V::List(vec![rule]))]);
    let (_, answer) = asked(&Guest::that(allowed));
    assert_eq!(answer["terms"]["address-rules"][0]["effect"], "refuse", "{answer}");
}

#[test]
fn a_denial_with_words_and_no_code_stays_a_fault() {
    for part in ["reason", "tell-user"] {
        let words = if part == "reason" {
            V::text("words")
        } else {
            V::some(V::text("words"))
        };
        let denial = Does::Answers(V::case("deny", V::Record(vec![(part, words)])));
        let (code, answer) = asked(&Guest::that(allows()).on(When::Port(5432), denial));
        assert_eq!((code, &answer["code"]), (11, &"malformed-verdict".into()), "{answer}");
    }
}

#[test]
fn a_decision_that_was_cut_off_has_no_fuel() {
    for does in [Does::Spins, Does::Traps, Does::Recurses] {
        let home = Home::new();
        let guest = Guest::that(allows()).on(When::Port(7), does);
        let file = home.file("policy.wasm", guest.build());
        let ran = home.run(&["plugin", "run", "--json", &file, "connect", "db:7"]);
        let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert_eq!((ran.code, &answer["fuel"]), (11, &serde_json::Value::Null), "{answer}");
        let ran = home.run(&["plugin", "run", "--json", &file, "connect", "db:2"]);
        let answer: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert!(answer["fuel"].as_u64().is_some_and(|fuel| fuel > 0), "{answer}");
    }
}

#[test]
fn a_trap_says_where_and_what_was_asked() {
    let home = Home::new();
    let recursing = home.file("policy.wasm", Guest::that(Does::Recurses).build());
    let ran = home.run(&["plugin", "check", &recursing]);
    for words in [
        "the policy overflowed its stack, in deep",
        "the test request was: connect probe.portreeve.invalid:1",
    ] {
        assert!(ran.code == 1 && ran.out.contains(words), "{words}: {ran:?}");
    }
    let spinning = home.file("policy.wasm", Guest::that(Does::Spins).build());
    let ran = home.run(&["plugin", "check", &spinning]);
    assert!(
        ran.out.contains("within its deadline") && ran.out.contains("the test request was"),
        "{ran:?}"
    );
}

#[test]
fn the_program_carries_its_contract_and_its_adapter() {
    let home = Home::new();
    for (arguments, words) in [
        (&["plugin", "wit"][..], "package portreeve:policy@0.2.0;"),
        (&["plugin", "wit", "--contract", "0.2.0"], "interface calendar {"),
        (
            &["plugin", "wit", "--contract", "0.1.0"],
            "package portreeve:policy@0.1.0;",
        ),
        (&["plugin", "wit", "--adapter"], "\"fd_write\""),
    ] {
        let ran = home.run(arguments);
        assert!(ran.code == 0 && ran.out.contains(words), "{arguments:?}: {ran:?}");
    }
    let ran = home.run(&["plugin", "wit", "--contract", "0.3.0"]);
    assert!(ran.code == 2 && ran.err.contains("0.1.0, 0.2.0"), "{ran:?}");
}

//! A policy is proved before it decides, put in force, and taken back: by an administrator, by itself, and over restarts.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::admin::{asked, ctl, get};
use crate::guests::{Does, Guest, When, allows, denies};
use crate::harness::{Process, Reached, Running, Server, Setup, eventually, ping};

const ADMIN: &str = "[admin]\nsocket = \"admin.sock\"\n";

fn refusing() -> Guest {
    Guest::that(denies("the new policy says no")).version("2.0.0")
}

/// Puts a component beside the one that serves, and answers where.
fn candidate(gateway: &Reached, guest: &Guest) -> String {
    let path = gateway.path("candidate.wasm");
    fs::write(&path, guest.build()).unwrap();
    path.display().to_string()
}

fn show(gateway: &Reached) -> Value {
    asked(gateway, &["policy", "show", "test"])
}

/// Generation and state of each, in order.
fn states(gateway: &Reached) -> Vec<(u64, String)> {
    let shown = show(gateway);
    let all = shown["generations"].as_array().unwrap().iter();
    all.map(|one| {
        (
            one["generation"].as_u64().unwrap_or(0),
            one["state"].as_str().unwrap().to_owned(),
        )
    })
    .collect()
}

fn state(generation: u64, state: &str) -> (u64, String) {
    (generation, state.to_owned())
}

/// What came of a gate for the last candidate.
fn gate(gateway: &Reached, name: &str) -> Value {
    let shown = show(gateway);
    let gates = shown["gates"]["gates"].as_array().unwrap();
    gates
        .iter()
        .find(|one| one["gate"] == name)
        .cloned()
        .unwrap_or_default()
}

fn administered() -> Running {
    Setup::allowing().tables(ADMIN).start()
}

/// The program, with a folder of its own for what it keeps.
fn program(policy: &str) -> Process {
    let setup = Setup::allowing().tables(ADMIN).policy(policy);
    let directory = setup.path("policies");
    setup.directory(&directory).start_program()
}

#[test]
fn a_policy_is_loaded_and_taken_back_and_does_not_come_back_by_itself() {
    let gateway = administered();
    let file = candidate(&gateway, &refusing());
    let loaded = asked(&gateway, &["policy", "load", "test", &file, "--reason", "a test"]);
    assert_eq!(loaded["generations"][1]["loaded_by"], "root", "{loaded}");
    assert!(!gateway.allows_new());
    assert_eq!(states(&gateway), [state(1, "previous"), state(2, "active")]);
    let swapped = gateway.event("policy-swapped");
    assert_eq!((&swapped["generation"], &swapped["by"]), (&2.into(), &"root".into()));
    let action = gateway.event("admin-action");
    assert_eq!(
        (&action["action"], &action["reason"]),
        (&"policy-load".into(), &"a test".into())
    );

    asked(&gateway, &["policy", "rollback", "test", "--reason", "it says no"]);
    assert!(gateway.allows_new());
    assert_eq!(states(&gateway), [state(2, "quarantined"), state(1, "active")]);
    // Neither the watched file nor a reload brings it back.
    let rejected = gateway.swap(&refusing());
    assert_eq!(rejected["event"], "policy-rejected");
    assert!(
        rejected["reason"].as_str().unwrap().contains("it was rolled back"),
        "{rejected}"
    );
    gateway.reload().unwrap();
    assert!(gateway.allows_new());
    // Whoever names it in the configuration is told that it does not serve; the rest of the file does.
    let config = gateway.path("portreeve.toml");
    let text = fs::read_to_string(&config).unwrap();
    let named = text.replace("policy.wasm", "candidate.wasm") + "\n[limits]\ndial-timeout = \"9s\"\n";
    fs::write(&config, named).unwrap();
    let told = ctl(&gateway, &["reload"]);
    assert!(
        told.code == 1 && told.err.contains("it was rolled back") && told.err.contains("the rest of the configuration"),
        "{} {}",
        told.out,
        told.err
    );
    let reloaded = gateway.audited("the reload", |line| {
        line["event"] == "config-reloaded" && line["ok"] == false
    });
    assert_eq!(reloaded["applied"], serde_json::json!(["limits.dial-timeout"]));
    fs::write(&config, text).unwrap();
    assert!(
        gateway.reload().unwrap_err().contains("it was rolled back"),
        "the file holds it, too"
    );
    // By its name it comes, and then it may also be named by the configuration.
    asked(&gateway, &["policy", "load", "test", &file]);
    assert!(!gateway.allows_new());
    let told = ctl(&gateway, &["policy", "rollback", "test", "--to", "7"]);
    assert_eq!(told.code, 1);
    assert!(told.err.contains("there is no generation 7"), "{}", told.err);
    asked(&gateway, &["policy", "rollback", "test", "--to", "1"]);
    assert!(gateway.allows_new());
}

#[test]
fn what_nobody_confirms_is_taken_back_and_what_is_confirmed_stays() {
    let gateway = administered();
    let file = candidate(&gateway, &refusing());
    let load = ["policy", "load", "test", &file, "--confirm-within", "1s"];
    assert!(asked(&gateway, &load)["confirm_by"].is_string());
    let back = gateway.audited("the way back", |line| line["by"] == "rollback");
    assert!(
        back["reason"].as_str().unwrap().contains("nobody confirmed it"),
        "{back}"
    );
    assert!(gateway.allows_new());

    let load = ["policy", "load", "test", &file, "--confirm-within", "1h"];
    asked(&gateway, &load);
    let confirmed = asked(&gateway, &["policy", "confirm", "test"]);
    assert!(confirmed["confirm_by"].is_null(), "{confirmed}");
    assert_eq!(gate(&gateway, "confirm")["result"], "passed");
    assert!(!gateway.allows_new());
    let told = ctl(&gateway, &["policy", "confirm", "test"]);
    assert!(
        told.code == 1 && told.err.contains("waits for no confirmation"),
        "{}",
        told.err
    );
}

#[test]
fn a_shadow_decides_nothing_and_shows_what_it_would() {
    let gateway = Setup::allowing()
        .tables("[admin]\nsocket = \"admin.sock\"\nhttp = \"127.0.0.1:0\"\n")
        .start();
    let file = candidate(&gateway, &refusing());
    asked(&gateway, &["policy", "shadow", "test", &file]);
    for _ in 0..3 {
        assert!(gateway.allows_new());
    }
    let found = eventually("the differences", || {
        Some(asked(&gateway, &["policy", "differences", "test"])).filter(|found| found["different"] == 3)
    });
    assert_eq!((&found["asked"], &found["skipped"]), (&3.into(), &0.into()));
    let group = &found["groups"][0];
    assert_eq!(
        (&group["change"], &group["after"]),
        (&"allow → deny".into(), &"test-rule".into())
    );
    assert_eq!(found["users"][0]["user"], "alice");
    let line = gateway.event("policy-differs");
    assert_eq!((&line["user"], &line["served"]), (&"alice".into(), &"allow".into()));
    assert!(line["shadow"].as_str().unwrap().contains("deny test-rule"), "{line}");
    let (_, metrics) = get(gateway.monitored().unwrap(), "/metrics");
    assert!(
        metrics.contains("portreeve_policy_differences_total{plugin=\"test\"} 3"),
        "{metrics}"
    );
    assert_eq!(states(&gateway), [state(1, "active"), state(0, "shadow")]);
    let told = ctl(&gateway, &["policy", "differences", "test"]);
    assert!(
        told.out.contains("3 of 3 decisions would have differed"),
        "{}",
        told.out
    );

    asked(&gateway, &["policy", "promote", "test"]);
    assert!(!gateway.allows_new());
    let told = ctl(&gateway, &["policy", "promote", "test"]);
    assert!(told.code == 1 && told.err.contains("has no shadow"), "{}", told.err);
    asked(&gateway, &["policy", "shadow", "test", &file]);
    asked(&gateway, &["policy", "shadow", "test", "--stop"]);
    assert_eq!(states(&gateway).len(), 2);
}

#[test]
fn a_watched_file_can_be_told_to_stop_at_the_shadow() {
    let gateway = Setup::allowing().plugin("watch = \"shadow\"").tables(ADMIN).start();
    fs::write(gateway.path("policy.next"), refusing().build()).unwrap();
    fs::rename(gateway.path("policy.next"), gateway.path("policy.wasm")).unwrap();
    eventually("the shadow", || {
        states(&gateway).contains(&state(0, "shadow")).then_some(())
    });
    gateway.reload().unwrap();
    assert!(gateway.allows_new(), "a reload does not promote it");
    asked(&gateway, &["policy", "promote", "test"]);
    assert!(!gateway.allows_new());
}

#[test]
fn a_shadow_is_promoted_by_the_configuration_of_now() {
    let gateway = Setup::allowing().plugin("grants = [\"names\"]").tables(ADMIN).start();
    let file = candidate(&gateway, &Guest::that(allows()).version("2.0.0").importing_names());
    asked(&gateway, &["policy", "shadow", "test", &file]);
    let config = gateway.path("portreeve.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("grants = [\"names\"]", "")).unwrap();
    gateway.reload().unwrap();
    let told = ctl(&gateway, &["policy", "promote", "test"]);
    assert_eq!(told.code, 1, "{}", told.out);
    assert!(told.err.contains("configuration has changed since"), "{}", told.err);
    assert_eq!(states(&gateway).last(), Some(&state(0, "shadow")));
}

#[test]
fn a_file_that_was_put_in_force_by_name_before_may_be_taken_back_by_its_file() {
    let gateway = Setup::allowing().plugin("watch = false").tables(ADMIN).start();
    let first = fs::read(gateway.path("policy.wasm")).unwrap();
    asked(&gateway, &["policy", "load", "test", &candidate(&gateway, &refusing())]);
    gateway.reload().unwrap();
    assert!(!gateway.allows_new(), "the file has not changed");
    // The file follows, and then goes back: that is a new wish.
    fs::write(gateway.path("policy.wasm"), refusing().build()).unwrap();
    gateway.reload().unwrap();
    fs::write(gateway.path("policy.wasm"), first).unwrap();
    gateway.reload().unwrap();
    assert!(gateway.allows_new());
}

/// The ways in which a candidate may come.
#[derive(Clone, Copy, Debug)]
enum By {
    File,
    Reload,
    Ctl,
}

/// Lets a candidate come, and answers why it did not serve.
fn refused(gateway: &Process, guest: &Guest, by: By) -> String {
    let lines = || {
        let mut lines = gateway.audit();
        lines.retain(|line| line["event"] == "policy-rejected");
        lines
    };
    let before = lines().len();
    let line = || eventually("the refusal", || lines().into_iter().nth(before));
    let reason = match by {
        By::File | By::Reload => {
            fs::write(gateway.path("policy.next"), guest.build()).unwrap();
            fs::rename(gateway.path("policy.next"), gateway.path("policy.wasm")).unwrap();
            if let By::Reload = by {
                gateway.signal("HUP");
            }
            line()["reason"].as_str().unwrap().to_owned()
        }
        By::Ctl => {
            let told = ctl(gateway, &["policy", "load", "test", &candidate(gateway, guest)]);
            assert_eq!(told.code, 1, "{}", told.out);
            line();
            told.err
        }
    };
    assert!(gateway.allows_new(), "{by:?}: {reason}");
    reason
}

fn each_way(policy: &str, watched: bool, prepare: impl Fn(&Process), guest: &Guest, words: &[&str]) {
    for by in [By::File, By::Reload, By::Ctl] {
        let watch = if matches!(by, By::Reload) && watched {
            "watch = false"
        } else {
            ""
        };
        let setup = Setup::allowing().plugin(watch).tables(ADMIN).tables(policy);
        let (directory, cases) = (setup.path("policies"), setup.path("invariants"));
        fs::create_dir(&cases).unwrap();
        fs::write(cases.join("all.toml"), CASES).unwrap();
        let gateway = setup.directory(&directory).start_program();
        prepare(&gateway);
        let reason = refused(&gateway, guest, by);
        for part in words {
            assert!(reason.contains(part), "{by:?}: {reason}");
        }
    }
}

const CASES: &str = r#"
[[case]]
name = "the bastion is reached"
request = { user = "alice", action = "connect", target = "bastion.example:22" }
expect = { verdict = "allow" }
"#;

#[test]
fn a_candidate_that_breaks_an_invariant_is_stopped_whichever_way_it_comes() {
    let policy = "[policy.gates]\ncases = [\"invariants\"]\n";
    let words = ["invariants", "the bastion is reached", "expected allow, found deny"];
    each_way(policy, true, |_| {}, &refusing(), &words);
}

#[test]
fn a_candidate_that_wants_more_than_is_granted_is_stopped_whichever_way_it_comes() {
    let words = ["portreeve:policy/names", "which is not granted"];
    each_way(
        "",
        true,
        |_| {},
        &Guest::that(allows()).version("2.0.0").importing_names(),
        &words,
    );
}

#[test]
fn a_candidate_that_decides_too_much_otherwise_is_stopped_whichever_way_it_comes() {
    let policy = "[policy.gates]\nreplay = { max-differences = \"50%\" }\n";
    let words = [
        "replay",
        "2 of the last 2 decisions would differ",
        "more than the 50%",
        "allow → deny test-rule",
    ];
    let decide = |gateway: &Process| {
        for _ in 0..2 {
            assert!(gateway.allows_new());
        }
    };
    each_way(policy, true, decide, &refusing(), &words);
}

#[test]
fn a_candidate_that_would_close_too_much_is_stopped_unless_it_is_forced() {
    let gateway = Setup::allowing()
        .tables(ADMIN)
        .tables("[policy.gates]\nmax-closed = \"25%\"\n")
        .start();
    let target = Server::echo();
    let local = gateway.local(&target.address());
    let mut near = local.connect();
    assert!(ping(&mut near));
    let file = candidate(&gateway, &refusing());
    let told = ctl(&gateway, &["policy", "load", "test", &file]);
    assert_eq!(told.code, 1, "{}", told.out);
    assert!(
        told.err.contains("1 of 1 open tunnels and listeners would be closed"),
        "{}",
        told.err
    );
    assert!(ping(&mut near), "nothing was closed");
    assert!(
        gateway
            .events("forward-decided")
            .iter()
            .all(|line| line["again"].is_null()),
        "nothing was recorded"
    );
    let rejected = gateway.swap(&refusing());
    assert!(
        rejected["reason"].as_str().unwrap().contains("max-closed"),
        "{rejected}"
    );
    // To try it changes nothing either.
    let told = ctl(&gateway, &["policy", "load", "test", &file, "--dry-run", "--force"]);
    assert!(
        told.code == 0 && told.out.contains("forced"),
        "{} {}",
        told.out,
        told.err
    );
    assert!(ping(&mut near));
    asked(
        &gateway,
        &["policy", "load", "test", &file, "--force", "--reason", "it must be"],
    );
    assert_eq!(gateway.event("tunnel-closed")["cause"], "revoked");
    assert_eq!(gate(&gateway, "max-closed")["result"], "forced");
    let forced = gateway.audited("the force", |line| line["detail"]["force"] == true);
    assert_eq!(forced["reason"], "it must be");
}

#[test]
fn a_candidate_that_decides_nothing_would_close_what_doubt_closes() {
    #[rustfmt::skip]
    let table = [
        ("close", 1, "1 of 1 open tunnels and listeners would be closed, more than the 0% of `max-closed`"),
        ("keep",  0, "in force"),
    ];
    for (on_doubt, code, words) in table {
        let gateway = Setup::allowing()
            .policy(&format!("on-doubt = \"{on_doubt}\""))
            .tables(ADMIN)
            .tables("[policy.gates]\nmax-closed = \"0%\"\n")
            .start();
        let target = Server::echo();
        let local = gateway.local(&target.address());
        let mut near = local.connect();
        assert!(ping(&mut near));
        let guest = Guest::that(allows())
            .version("2.0.0")
            .on(When::Port(target.port), Does::Traps);
        let file = candidate(&gateway, &guest);
        let told = ctl(&gateway, &["policy", "load", "test", &file]);
        assert_eq!(told.code, code, "{on_doubt}: {} {}", told.out, told.err);
        let said = told.out + &told.err;
        assert!(said.contains(words), "{on_doubt}: {said}");
        assert!(ping(&mut near), "{on_doubt}");
    }
}

#[test]
fn a_policy_that_begins_to_fail_is_taken_back_by_itself() {
    let gateway = Setup::allowing()
        .tables(ADMIN)
        .tables("[policy.gates]\nburn-in = { for = \"1h\", min-decisions = 4, max-failed = \"30%\" }\n")
        .start();
    let bad = Guest::that(allows()).version("2.0.0").on(When::Port(9), Does::Traps);
    assert_eq!(gateway.swap(&bad)["event"], "policy-swapped");
    assert_eq!(gate(&gateway, "burn-in")["result"], "waiting");
    for _ in 0..2 {
        assert!(gateway.allows_new());
        gateway.through("127.0.0.1:9");
    }
    let back = gateway.audited("the way back", |line| line["by"] == "rollback");
    assert!(
        back["reason"].as_str().unwrap().contains("2 of 4 decisions failed"),
        "{back}"
    );
    assert_eq!(states(&gateway), [state(2, "quarantined"), state(1, "active")]);
    // Its file still names what fails.
    gateway.reload().unwrap();
    let decided = gateway.through("127.0.0.1:9");
    assert!(decided.errors.contains("Connection refused"), "{decided:?}");
    // Denials are no failures.
    asked(&gateway, &["policy", "load", "test", &candidate(&gateway, &refusing())]);
    for _ in 0..6 {
        assert!(!gateway.allows_new());
    }
    assert_eq!(states(&gateway).last(), Some(&state(3, "active")));
}

#[test]
fn what_was_put_in_force_or_taken_back_holds_over_a_restart() {
    let mut gateway = program("");
    // Loaded by name: what the configuration names has not changed, so that stays.
    asked(&gateway, &["policy", "load", "test", &candidate(&gateway, &refusing())]);
    gateway.killed_and_started();
    assert!(!gateway.allows_new());
    assert_eq!(states(&gateway), [state(1, "previous"), state(2, "active")]);
    asked(&gateway, &["policy", "rollback", "test"]);
    gateway.killed_and_started();
    assert!(gateway.allows_new());

    // The file names what was rolled back, and is broken afterwards: what served last serves.
    for (told, bytes) in (1..).zip([refusing().build(), b"garbage".to_vec()]) {
        fs::write(gateway.path("policy.wasm"), bytes).unwrap();
        gateway.killed_and_started();
        assert!(gateway.allows_new());
        eventually("what serves instead", || {
            let lines = gateway.events("policy-rejected");
            let says = |line: &&Value| line["reason"].as_str().unwrap().contains("generation 1");
            (lines.iter().filter(says).count() == told).then_some(())
        });
    }
    // A new file is new.
    fs::write(gateway.path("policy.wasm"), refusing().version("3.0.0").build()).unwrap();
    gateway.killed_and_started();
    assert!(!gateway.allows_new());

    // Nobody confirmed it.
    asked(&gateway, &["policy", "rollback", "test"]);
    let third = Guest::that(denies("the new policy says no")).version("4.0.0");
    asked(
        &gateway,
        &[
            "policy",
            "load",
            "test",
            &candidate(&gateway, &third),
            "--confirm-within",
            "1h",
        ],
    );
    assert!(!gateway.allows_new());
    gateway.killed_and_started();
    assert!(gateway.allows_new());
    let shown = show(&gateway);
    let last = shown["generations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["version"] == "4.0.0");
    assert_eq!(last.unwrap()["state"], "quarantined", "{shown}");
}

#[test]
fn a_start_says_which_generation_does_not_load_any_more() {
    let setup = Setup::allowing().plugin("grants = [\"names\"]").tables(ADMIN);
    let directory = setup.path("policies");
    let mut gateway = setup.directory(&directory).start_program();
    let file = candidate(&gateway, &Guest::that(allows()).version("2.0.0").importing_names());
    asked(&gateway, &["policy", "load", "test", &file]);
    gateway.kill();
    let config = gateway.path("portreeve.toml");
    let text = fs::read_to_string(&config).unwrap();
    fs::write(&config, text.replace("grants = [\"names\"]", "")).unwrap();
    let mut serve = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    let started = serve.args(["serve", "--config"]).arg(&config).output().unwrap();
    let words = String::from_utf8(started.stderr).unwrap();
    assert_eq!(started.status.code(), Some(2), "{words}");
    for part in [
        "generation 2, which was in force, does not load",
        "which is not granted",
    ] {
        assert!(words.contains(part), "{words}");
    }
}

#[test]
fn an_upgrade_is_refused_while_a_policy_waits_for_its_confirmation() {
    let gateway = program("");
    let file = candidate(&gateway, &refusing());
    asked(&gateway, &["policy", "load", "test", &file, "--confirm-within", "1h"]);
    gateway.signal("USR2");
    let refused = gateway.event("gateway-upgraded");
    assert_eq!(refused["ok"], false, "{refused}");
    let reason = refused["reason"].as_str().unwrap();
    assert!(reason.contains("`test` waits for a confirmation"), "{reason}");
    // Once it is confirmed, the next process serves it, and what is recorded is its business.
    asked(&gateway, &["policy", "confirm", "test"]);
    gateway.signal("USR2");
    gateway.audited("the upgrade", |line| {
        line["event"] == "gateway-upgraded" && line["ok"] == true
    });
    assert!(!gateway.allows_new());
    assert_eq!(states(&gateway), [state(1, "previous"), state(2, "active")]);
}

#[test]
fn two_generations_are_compared_by_imports_settings_and_answers() {
    let rules = "settings = { rules = [{ name = \"all\", outcome = \"allow\" }] }\ngrants = [\"names\"]";
    let gateway = Setup::allowing()
        .component("builtin:rules")
        .plugin(rules)
        .tables(ADMIN)
        .start();
    assert!(gateway.allows_new());
    let settings = gateway.path("next.toml");
    fs::write(
        &settings,
        "[[rules]]\nname = \"none\"\noutcome = \"deny\"\ntell-user = \"the new policy says no\"\n",
    )
    .unwrap();
    let path: PathBuf = settings.clone();
    asked(
        &gateway,
        &["policy", "load", "test", "--settings", path.to_str().unwrap()],
    );
    assert!(!gateway.allows_new());
    let diff = asked(&gateway, &["policy", "diff", "test", "1", "2"]);
    assert_eq!(diff["same_component"], true, "{diff}");
    let changed: Vec<_> = diff["settings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["at"].as_str().unwrap())
        .collect();
    assert_eq!(changed, ["/rules/0/name", "/rules/0/outcome", "/rules/0/tell-user"]);
    assert_eq!(
        (&diff["differences"]["asked"], &diff["differences"]["different"]),
        (&2.into(), &2.into())
    );
    let told = ctl(&gateway, &["policy", "diff", "test", "1", "2"]);
    assert!(
        told.out.contains("/rules/0/outcome") && told.out.contains("allow → deny"),
        "{}",
        told.out
    );
}

#[test]
fn what_cannot_be_done_with_a_policy_is_told_with_its_reason() {
    let gateway = administered();
    #[rustfmt::skip]
    let table: [(&[&str], &str); 7] = [
        (&["policy", "show", "other"],                        "no plugin is called `other`: there are test"),
        (&["policy", "load", "other", "/x.wasm"],             "no plugin is called `other`"),
        (&["policy", "load", "test", "/nowhere.wasm"],        "/nowhere.wasm"),
        (&["policy", "load", "test", "--settings", "/no.toml"], "/no.toml"),
        (&["policy", "rollback", "test"],                     "there is no earlier generation"),
        (&["policy", "differences", "test"],                  "has no shadow"),
        (&["policy", "diff", "test", "1", "9"],               "there is no generation 9"),
    ];
    for (arguments, words) in table {
        let told = ctl(&gateway, arguments);
        assert!(
            told.code == 1 && told.err.contains(words),
            "{arguments:?}: {} {}",
            told.code,
            told.err
        );
    }
    assert!(gateway.allows_new());
    assert_eq!(states(&gateway), [state(1, "active")]);
}

/// How often the gateway is killed.
fn kills() -> usize {
    std::env::var("PORTREEVE_KILLS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(8)
}

#[test]
fn a_gateway_that_is_killed_at_any_moment_of_a_change_serves_what_is_whole() {
    let mut gateway = program("[policy.generations]\nkeep = 3\n");
    let (yes, no) = (Guest::that(allows()), refusing());
    for number in 0..kills() {
        let versions = [yes.clone(), no.clone()].map(|guest| guest.version(&format!("{number}.0.0")));
        let [yes, no] = versions.each_ref().map(|guest| guest.build());
        let socket = gateway.path("admin.sock");
        let (file, candidate) = (gateway.path("policy.wasm"), gateway.path("candidate.wasm"));
        let changes = thread::spawn(move || {
            let named = candidate.display().to_string();
            let ctl = |arguments: &[&str]| {
                let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
                command
                    .args(["ctl", "--socket"])
                    .arg(&socket)
                    .arg("policy")
                    .args(arguments);
                command.output().unwrap().status.code() == Some(4)
            };
            for turn in 0.. {
                let bytes = if turn % 2 == 0 { &no } else { &yes };
                fs::write(candidate.with_extension("next"), bytes).unwrap();
                fs::rename(candidate.with_extension("next"), &candidate).unwrap();
                let gone = match turn % 4 {
                    0 => ctl(&["load", "test", &named, "--confirm-within", "1h"]),
                    1 => ctl(&["rollback", "test"]),
                    2 => ctl(&["shadow", "test", &named]) || ctl(&["promote", "test"]),
                    _ => {
                        fs::rename(&candidate, &file).unwrap();
                        ctl(&["load", "test", &file.display().to_string()])
                    }
                };
                if gone {
                    return;
                }
            }
        });
        // At any moment: this is no wait for something.
        thread::sleep(Duration::from_millis(50 + (number as u64 * 7919) % 600));
        gateway.kill();
        changes.join().unwrap();
        gateway.start_again();
        gateway.allows_new();
        let active = states(&gateway)
            .into_iter()
            .filter(|(_, state)| state == "active")
            .count();
        assert_eq!(active, 1, "{:?}", states(&gateway));
        assert!(show(&gateway)["confirm_by"].is_null(), "nobody will confirm it");
        gateway.killed_and_started();
        gateway.allows_new();
    }
    let log = gateway.path("audit.jsonl");
    let replayed = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args(["plugin", "replay", "builtin:rules", "--skip-broken", "--against"])
        .arg(&log)
        .output()
        .unwrap();
    assert!(
        matches!(replayed.status.code(), Some(0 | 10)),
        "{}",
        String::from_utf8_lossy(&replayed.stderr)
    );
}

//! The log of a real gateway, asked again: what it says of a decision is all that a policy was told.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Running, Server, Setup};

/// `portreeve plugin replay` of this gateway's log, with these settings of the rules policy.
fn replay(gateway: &Running, settings: &str, more: &[&str]) -> (i32, Value, String) {
    let file = gateway.path("candidate.toml");
    std::fs::write(&file, settings).unwrap();
    let ran = Command::new(env!("CARGO_BIN_EXE_portreeve"))
        .args([
            "plugin",
            "replay",
            "builtin:rules",
            "--json",
            "--grant",
            "names",
            "--rewrite",
            "--against",
        ])
        .arg(gateway.path("audit.jsonl"))
        .arg("--settings")
        .arg(&file)
        .args(more)
        .env("XDG_STATE_HOME", gateway.path("state"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&ran.stderr).into_owned();
    let answer = serde_json::from_slice(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {errors}"));
    (ran.status.code().unwrap(), answer, errors)
}

const RULES: &str = r#"
[[rules]]
name = "away"
ports = 1
outcome = "deny"
tell-user = "not this one"

[[rules]]
name = "moved"
hosts = "moved.invalid"
to = "TARGET"
outcome = "rewrite"

[[rules]]
name = "known"
groups = "dba"
addresses = ["127.0.0.0/8", "::1"]
outcome = "allow"
terms = { max-seconds = 60, recheck-seconds = 3600, tags = { ticket = "OPS-17" } }
"#;

#[test]
fn the_log_of_a_gateway_is_all_that_is_needed_to_ask_again() {
    let target = Server::named("the target");
    let rules = RULES.replace("TARGET", &target.address());
    let setup = Setup::allowing()
        .component("builtin:rules")
        .user("claims = { team = \"payments\", level = 3 }")
        .plugin("settings-file = \"rules.toml\"\ngrants = [\"names\"]");
    std::fs::write(setup.path("rules.toml"), &rules).unwrap();
    let gateway = setup.start();
    let port = target.port;
    for asked in [
        &format!("localhost:{port}"),
        &target.address(),
        "moved.invalid:5",
        "no-such-name.invalid:80",
        "127.0.0.1:1",
    ] {
        gateway.through(asked);
    }
    let login = gateway.event("auth-succeeded");
    assert_eq!(login["groups"], serde_json::json!(["dba"]));
    assert_eq!(login["claims"], serde_json::json!({ "team": "payments", "level": 3 }));
    assert_eq!(login["server"], gateway.address().to_string());
    assert!(
        login["software"].as_str().unwrap().starts_with("SSH-2.0-OpenSSH"),
        "{login}"
    );
    let unknown = gateway.decision("no-such-name.invalid:80");
    assert!(unknown["asked"].is_string(), "{unknown}");
    assert!(unknown["names"]["no-such-name.invalid"].is_string(), "{unknown}");

    let (code, answer, errors) = replay(&gateway, &rules, &[]);
    assert_eq!(
        (code, &answer["asked"], &answer["incomplete"]),
        (0, &5.into(), &0.into()),
        "{answer:#}{errors}"
    );

    // Each of these changes what exactly one kind of request comes to.
    #[rustfmt::skip]
    let table = [
        // from                     to                        change            how many
        ("ports = 1\n",             "ports = 2\n",            "deny → allow",        1),
        ("max-seconds = 60",        "max-seconds = 61",       "other terms",         2),
        ("\"dba\"",                 "\"dbas\"",               "allow → deny",        2),
        ("127.0.0.0/8",             "10.0.0.0/8",             "allow → deny",        2),
        ("name = \"away\"",         "name = \"gone\"",        "deny with another code", 1),
        ("to = \"127",              "to = \"10.9.9.9:1\" #",  "another target",      1),
    ];
    for (from, to, change, count) in table {
        let (code, answer, errors) = replay(&gateway, &rules.replacen(from, to, 1), &[]);
        assert_eq!(
            (code, &answer["different"]),
            (10, &count.into()),
            "{from} → {to}: {answer:#}{errors}"
        );
        assert_eq!(answer["groups"][0]["change"], change, "{from} → {to}: {answer:#}");
        assert_eq!(answer["users"][0]["user"], "alice");
    }
    gateway.stop();
}

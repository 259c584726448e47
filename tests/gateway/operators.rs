//! What operators read of a running gateway, and how they say what they want to read.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::harness::{Process, Server, Setup, eventually, ping};
use crate::upgrade::heard;

fn said(gateway: &Process) -> String {
    fs::read_to_string(gateway.path("errors")).unwrap()
}

/// `portreeve ctl`: its exit code, and what it says.
fn ctl(gateway: &Process, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    command
        .arg("ctl")
        .arg("--socket")
        .arg(gateway.path("portreeve/admin.sock"));
    let output = command.args(arguments).output().unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(words).unwrap())
}

#[test]
fn a_log_in_json_has_one_object_on_each_line() {
    let target = Server::named("x");
    let mut gateway = heard(Setup::allowing().arguments(&["--log-format", "json", "--log-level", "info"]));
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    fs::write(gateway.path("portreeve.toml"), "[server]\nlisten = 3\n").unwrap();
    gateway.signal("HUP");
    gateway.event("config-reloaded");
    gateway.signal("TERM");
    assert_eq!(gateway.ended(), Some(0));
    let said = said(&gateway);
    let lines: Vec<Value> = said
        .lines()
        .map(|line| serde_json::from_str(line).expect(line))
        .collect();
    for line in &lines {
        let keys: Vec<_> = line.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["fields", "level", "message", "target", "time"], "{line}");
    }
    let line = |message: &str| {
        lines
            .iter()
            .find(|line| line["message"].as_str().unwrap().contains(message))
            .expect(message)
    };
    let login = line("logged in");
    assert_eq!(
        (&login["level"], &login["fields"]["user"]),
        (&"info".into(), &"alice".into())
    );
    let fault = line("configuration not reloaded");
    assert!(
        fault["level"] == "error" && fault["message"].as_str().unwrap().contains("portreeve.toml:2:10"),
        "{fault}"
    );
}

#[test]
fn the_log_level_is_shown_and_changed_while_the_gateway_runs() {
    let target = Server::named("x");
    let gateway = heard(Setup::allowing());
    assert_eq!(ctl(&gateway, &["log-level"]), (0, "warn\n".to_owned()));
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    assert_eq!(ctl(&gateway, &["log-level", "inof"]).0, 1);
    let (_, words) = ctl(&gateway, &["log-level", "info,policy=loud"]);
    assert!(
        words.contains("`policy=loud` is no log level: expected one of"),
        "{words}"
    );
    assert_eq!(ctl(&gateway, &["log-level"]), (0, "warn\n".to_owned()));
    assert_eq!(gateway.events("admin-action").len(), 0, "nothing has changed");
    assert!(!said(&gateway).contains("logged in"));
    assert_eq!(ctl(&gateway, &["log-level", "INFO"]), (0, "info\n".to_owned()));
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    eventually("a line at that level", || {
        said(&gateway).contains("logged in").then_some(())
    });
    let change = gateway.event("admin-action");
    assert_eq!(
        (&change["action"], &change["detail"]["filter"]),
        (&"log-level".into(), &"info".into())
    );
    assert_eq!(ctl(&gateway, &["log-level", "off"]).0, 0);
    let before = said(&gateway).matches("logged in").count();
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    assert_eq!(said(&gateway).matches("logged in").count(), before);
}

/// As in a pod, or with `ExecStop=` in a unit: a hook drains, and then the service manager sends its signal.
#[test]
fn a_signal_after_a_drain_by_an_administrator_cuts_nothing() {
    let target = Server::echo();
    let mut gateway = heard(Setup::allowing());
    let open = gateway.local(&target.address());
    let mut near = open.connect();
    assert!(ping(&mut near));
    assert_eq!(ctl(&gateway, &["drain", "--timeout", "10m"]).0, 0);
    gateway.signal("TERM");
    for _ in 0..20 {
        assert!(ping(&mut near), "the first signal cuts nothing");
        let (code, words) = ctl(&gateway, &["tunnels"]);
        assert!(code == 0 && words.contains("alice"), "{words}");
    }
    assert_eq!(gateway.ended_by("TERM"), Some(1), "a second one does");
}

//! What changes together is put in force together: policies of a chain by one rename, policies with floors and limits by
//! one reload.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::Value;

use crate::guests::{Guest, allows, denies};
use crate::harness::{Reached, Running, Server, Setup, eventually, free_port};

/// A machine that has much to do must not be the reason of a refusal.
const UNHURRIED: &str = "deadline = \"5s\"";
const ALLOW: &str = "[[rules]]\nname = \"rest\"\noutcome = \"allow\"\n";

/// Rules that deny a port and allow the rest.
fn denying(port: u16) -> String {
    format!("[[rules]]\nname = \"closed\"\nports = [{port}]\noutcome = \"deny\"\n{ALLOW}")
}

/// Two policies with settings files behind one link, as Kubernetes mounts them: `a.toml` is `..data/a.toml`, and `..data` a
/// folder that is exchanged by one rename.
fn chain(a: &str, b: &str) -> Setup {
    let setup = Setup::allowing()
        .component("builtin:rules")
        .policy(UNHURRIED)
        .plugin("settings-file = \"a.toml\"\ngrants = [\"names\"]")
        .tables("[[policy.plugin]]\nname = \"b\"\ncomponent = \"builtin:rules\"\nsettings-file = \"b.toml\"\ngrants = [\"names\"]");
    write_both(&setup.path("v0"), a, b);
    symlink("v0", setup.path("..data")).unwrap();
    for name in ["a.toml", "b.toml"] {
        symlink(Path::new("..data").join(name), setup.path(name)).unwrap();
    }
    setup
}

fn write_both(folder: &Path, a: &str, b: &str) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("a.toml"), a).unwrap();
    fs::write(folder.join("b.toml"), b).unwrap();
}

/// Exchanges both settings files by one rename.
fn exchange(gateway: &Reached, version: &str, a: &str, b: &str) {
    write_both(&gateway.path(version), a, b);
    symlink(version, gateway.path("next")).unwrap();
    fs::rename(gateway.path("next"), gateway.path("..data")).unwrap();
}

fn swapped(gateway: &Reached, times: usize) -> Vec<Value> {
    eventually(format!("swap {times}"), || {
        Some(gateway.events("policy-swapped")).filter(|lines| lines.len() >= times)
    })
}

/// Asks for connections through these ports until `over`.
fn hammer<T>(gateway: &Running, ports: &[(&str, u16)], work: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    let proxy = gateway.dynamic();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    for (host, port) in ports {
                        drop(proxy.socks5(host, *port));
                    }
                }
            });
        }
        let _end = End(&over);
        work()
    })
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn verdicts(lines: &[Value], requested: &str) -> HashSet<String> {
    let decided = lines.iter().filter(|line| line["event"] == "forward-decided");
    let asked = decided.filter(|line| line["requested"] == requested);
    asked.map(|line| line["verdict"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_denial_that_moves_from_one_policy_to_another_never_lapses() {
    let closed = free_port();
    let gateway = chain(&denying(closed), ALLOW).start();
    hammer(&gateway, &[("127.0.0.1", closed)], || {
        exchange(&gateway, "v1", ALLOW, &denying(closed));
        swapped(&gateway, 2);
        exchange(&gateway, "v2", &denying(closed), ALLOW);
        swapped(&gateway, 4);
    });
    let lines = gateway.stop();
    let verdicts = verdicts(&lines, &format!("127.0.0.1:{closed}"));
    assert_eq!(verdicts, HashSet::from(["deny".to_owned()]));
    let deciders: HashSet<_> = lines
        .iter()
        .filter_map(|line| line["policy"]["name"].as_str())
        .collect();
    assert!(deciders.is_superset(&HashSet::from(["test", "b"])), "{deciders:?}");
}

#[test]
fn where_one_of_those_that_changed_together_is_faulty_none_is_swapped() {
    let closed = free_port();
    let gateway = chain(&denying(closed), ALLOW).start();
    exchange(
        &gateway,
        "v1",
        ALLOW,
        "[[rules]]\nname = \"closed\"\noutcome = \"dney\"\n",
    );
    let rejected = eventually("two rejections", || {
        Some(gateway.events("policy-rejected")).filter(|lines| lines.len() == 2)
    });
    let reasons: Vec<_> = rejected
        .iter()
        .map(|line| (line["name"].as_str().unwrap(), line["reason"].as_str().unwrap()))
        .collect();
    assert!(
        reasons[0].0 == "test" && reasons[0].1.contains("together with b"),
        "{reasons:?}"
    );
    assert!(reasons[1].0 == "b" && reasons[1].1.contains("dney"), "{reasons:?}");
    let target = format!("127.0.0.1:{closed}");
    gateway.through(&target);
    assert_eq!(gateway.decision(&target)["policy"]["name"], "test", "a is as it was");
    // Once b is whole, a comes with it, although it has not changed again.
    fs::write(gateway.path("v1/b.toml"), denying(closed)).unwrap();
    let swapped = swapped(&gateway, 2);
    let names: HashSet<_> = swapped
        .iter()
        .map(|line| line["policy"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, HashSet::from(["test", "b"]));
    gateway.through(&target);
    gateway.audited("a decision of b", |line| {
        line["event"] == "forward-decided" && line["policy"]["name"] == "b"
    });
}

#[test]
fn a_component_and_the_settings_of_another_policy_are_swapped_together() {
    let setup = Setup::allowing().component("now/policy.wasm").policy(UNHURRIED).tables(
        "[[policy.plugin]]\nname = \"b\"\ncomponent = \"builtin:rules\"\nsettings-file = \"now/b.toml\"\ngrants = [\"names\"]",
    );
    // One rename of a link changes both.
    let versions = [
        (Guest::that(allows()), ALLOW),
        (Guest::that(denies("no")).version("2.0.0"), "[[rules]]\nname = 7\n"),
    ];
    for (number, (guest, settings)) in versions.into_iter().enumerate() {
        let folder = setup.path(&format!("v{number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("policy.wasm"), guest.build()).unwrap();
        fs::write(folder.join("b.toml"), settings).unwrap();
    }
    symlink("v0", setup.path("now")).unwrap();
    let gateway = setup.start();
    symlink("v1", gateway.path("next")).unwrap();
    fs::rename(gateway.path("next"), gateway.path("now")).unwrap();
    let rejected = eventually("two rejections", || {
        Some(gateway.events("policy-rejected")).filter(|lines| lines.len() == 2)
    });
    assert!(rejected.iter().any(|line| line["name"] == "test"), "{rejected:?}");
    let target = Server::named("x");
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    assert!(gateway.events("policy-swapped").is_empty());
}

#[test]
fn a_policy_that_was_rejected_before_holds_up_no_other() {
    let closed = free_port();
    let gateway = chain(ALLOW, ALLOW).start();
    let own = |name: &str, text: &str| {
        let file = gateway.path(name);
        let next = gateway.path("next.toml");
        fs::write(&next, text).unwrap();
        fs::rename(next, file).unwrap();
    };
    own("a.toml", "nonsense");
    gateway.event("policy-rejected");
    own("b.toml", &denying(closed));
    let line = gateway.event("policy-swapped");
    assert_eq!(line["policy"]["name"], "b");
}

#[test]
fn the_settings_that_decide_are_named_by_their_digest() {
    let closed = free_port();
    let gateway = chain(&denying(closed), ALLOW).start();
    let started = gateway.event("gateway-started");
    let [a, b] = [0, 1].map(|index| started["policies"][index].clone());
    assert_eq!(a["sha256"], b["sha256"], "one component, and two settings");
    assert_ne!(a["settings_sha256"], b["settings_sha256"]);
    let text = serde_json::json!({ "rules": [{ "name": "rest", "outcome": "allow" }] }).to_string();
    assert_eq!(
        b["settings_sha256"],
        portreeve::policy::digest(text.as_bytes()),
        "of the JSON that is handed over"
    );
    exchange(&gateway, "v1", &denying(closed), &denying(closed));
    let swapped = gateway.event("policy-swapped");
    assert_eq!((&swapped["policy"]["name"], &swapped["previous"]), (&"b".into(), &b));
    assert_eq!(swapped["policy"]["settings_sha256"], a["settings_sha256"]);
    let target = format!("127.0.0.1:{closed}");
    gateway.through(&target);
    assert_eq!(gateway.decision(&target)["policy"], a);
}

#[test]
fn a_component_that_is_gone_is_told_once_and_goes_on_serving() {
    let gateway = Setup::allowing().start();
    // After a swap the watcher is surely at work, and the file is not missed while it is read for the first time.
    gateway.swap(&Guest::that(allows()).version("1.5.0"));
    let kept = gateway.path("kept.wasm");
    fs::rename(gateway.path("policy.wasm"), &kept).unwrap();
    let rejected = gateway.event("policy-rejected");
    let reason = rejected["reason"].as_str().unwrap();
    assert!(reason.contains("policy.wasm: No such file"), "{reason}");
    let target = Server::named("x");
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    // It is back, and later replaced: the one that was gone was told of once.
    fs::rename(&kept, gateway.path("policy.wasm")).unwrap();
    gateway.swap(&Guest::that(allows()).version("2.0.0"));
    assert_eq!(gateway.events("policy-rejected").len(), 1);
}

/// A configuration whose policy states this version, and whose floors close the other of two addresses.
fn versioned(text: &str, number: usize) -> String {
    let (deny, timeout) = match number.is_multiple_of(2) {
        true => ("127.0.0.3/32", "8s"),
        false => ("127.0.0.2/32", "9s"),
    };
    let base = text.split("[floors]").next().unwrap();
    format!("{base}[floors]\ndeny = [\"{deny}\"]\n[limits]\ndial-timeout = \"{timeout}\"\n")
}

#[test]
fn no_decision_is_made_by_new_policies_and_old_floors() {
    let setup = Setup::asking(&Guest::that(allows()).version("0.0.0"))
        .policy(UNHURRIED)
        .plugin("watch = false")
        .tables(&versioned("", 0));
    let gateway = setup.start();
    let file = gateway.path("portreeve.toml");
    let closed = free_port();
    let text = fs::read_to_string(&file).unwrap();
    hammer(&gateway, &[("127.0.0.2", closed), ("127.0.0.3", closed)], || {
        for number in 1..=20 {
            let guest = Guest::that(allows()).version(&format!("{number}.0.0"));
            fs::write(gateway.path("policy.wasm"), guest.build()).unwrap();
            fs::write(&file, versioned(&text, number)).unwrap();
            let decided = gateway.events("forward-decided").len();
            gateway.reload().unwrap();
            eventually("more decisions", || {
                (gateway.events("forward-decided").len() > decided + 4).then_some(())
            });
        }
    });
    let lines = gateway.stop();
    let mut allowed = 0;
    for line in lines
        .iter()
        .filter(|line| line["verdict"] == "allow" && line["by"] == "policy")
    {
        let version = line["policy"]["version"].as_str().unwrap();
        let number: usize = version.split('.').next().unwrap().parse().unwrap();
        let open = if number.is_multiple_of(2) {
            "127.0.0.2"
        } else {
            "127.0.0.3"
        };
        assert_eq!(line["requested"], format!("{open}:{closed}"), "{line}");
        allowed += 1;
    }
    assert!(allowed > 20, "{allowed}");
}

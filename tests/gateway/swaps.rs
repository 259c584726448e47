//! Another policy takes the place of the one in force, while people work.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::guests::{Does, Guest, When, allows, denies};
use crate::harness::{Server, Setup, eventually, ping};
use crate::misbehaving::half;

fn refusing() -> Guest {
    Guest::that(denies("the new policy says no"))
}

#[test]
fn a_file_that_is_replaced_is_swapped_in() {
    let gateway = Setup::allowing().start();
    assert!(gateway.allows_new());
    let swapped = gateway.swap(&refusing().version("2.0.0"));
    assert_eq!(
        (&swapped["event"], &swapped["policy"]["version"]),
        (&"policy-swapped".into(), &"2.0.0".into())
    );
    assert_eq!(swapped["previous"]["version"], "1.0.0");
    assert!(!gateway.allows_new());
    let last = gateway.audited("the refusal", |line| line["verdict"] == "deny");
    assert_eq!(last["policy"], swapped["policy"]);
    gateway.stop();
}

#[test]
fn a_file_that_is_written_slowly_is_swapped_in_once_it_is_whole() {
    let gateway = Setup::allowing().start();
    let bytes = refusing().build();
    let path = gateway.path("policy.wasm");
    let rejected = gateway.after_swap(|| fs::write(&path, half(bytes.clone())).unwrap());
    assert_eq!(rejected["event"], "policy-rejected");
    assert!(gateway.allows_new(), "half a policy changes nothing");
    let swapped = gateway.after_swap(|| fs::write(&path, bytes).unwrap());
    assert_eq!(swapped["event"], "policy-swapped", "{swapped}");
    assert!(!gateway.allows_new());
}

#[test]
fn a_link_that_is_moved_is_followed() {
    let setup = Setup::allowing();
    let [first, second, link] = ["first", "second", "current"].map(|name| setup.path(name));
    for folder in [&first, &second] {
        fs::create_dir(folder).unwrap();
    }
    fs::rename(setup.path("policy.wasm"), first.join("policy.wasm")).unwrap();
    fs::write(second.join("policy.wasm"), refusing().build()).unwrap();
    symlink(&first, &link).unwrap();
    symlink(link.join("policy.wasm"), setup.path("policy.wasm")).unwrap();
    let gateway = setup.start();
    assert!(gateway.allows_new());
    let swapped = gateway.after_swap(|| {
        symlink(&second, gateway.path("next")).unwrap();
        fs::rename(gateway.path("next"), &link).unwrap();
    });
    assert_eq!(swapped["event"], "policy-swapped");
    assert!(!gateway.allows_new());
}

#[test]
fn a_settings_file_that_changes_is_applied() {
    let settings = |outcome: &str| format!("[[rules]]\nname = \"all\"\n{outcome}\n");
    let setup = Setup::allowing()
        .component("builtin:rules")
        .plugin("settings-file = \"rules.toml\"\ngrants = [\"names\"]");
    let path = setup.path("rules.toml");
    fs::write(&path, settings("outcome = \"allow\"")).unwrap();
    let gateway = setup.start();
    assert!(gateway.allows_new());
    let rejected = gateway.after_swap(|| fs::write(&path, settings("outcome = \"alow\"")).unwrap());
    assert_eq!(rejected["event"], "policy-rejected");
    assert!(rejected["reason"].as_str().unwrap().contains("alow"), "{rejected}");
    assert!(gateway.allows_new());
    let rejected = gateway.after_swap(|| fs::write(&path, "").unwrap());
    assert_eq!(rejected["event"], "policy-rejected", "an empty file: {rejected}");
    assert!(
        rejected["reason"].as_str().unwrap().contains("contains no settings"),
        "{rejected}"
    );
    assert!(gateway.allows_new());
    let deny = settings("outcome = \"deny\"\ntell-user = \"the new policy says no\"");
    let swapped = gateway.after_swap(|| fs::write(&path, deny).unwrap());
    assert_eq!(swapped["event"], "policy-swapped", "{swapped}");
    assert!(!gateway.allows_new());
}

#[test]
fn a_reload_reads_configuration_and_policies_again() {
    let gateway = Setup::allowing().plugin("watch = false").start();
    fs::write(gateway.path("policy.wasm"), refusing().build()).unwrap();
    assert!(gateway.allows_new(), "it does not watch");
    gateway.reload().unwrap();
    assert!(!gateway.allows_new());
    assert_eq!(gateway.event("config-reloaded")["ok"], true);
    gateway.stop();
}

#[test]
fn a_reload_with_a_fault_changes_nothing() {
    let gateway = Setup::allowing().start();
    let file = gateway.path("portreeve.toml");
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, good.replace("[audit]", "[audits]")).unwrap();
    assert!(gateway.reload().unwrap_err().contains("audits"));
    assert_eq!(gateway.event("config-reloaded")["ok"], false);
    assert!(gateway.allows_new());
    fs::write(&file, good).unwrap();
    fs::write(gateway.path("policy.wasm"), "garbage").unwrap();
    assert!(gateway.reload().unwrap_err().contains("it is not WebAssembly"));
    assert!(gateway.allows_new());
}

#[test]
fn a_reload_admits_and_refuses_users_anew() {
    let gateway = Setup::allowing().start();
    assert!(gateway.allows_new());
    let file = gateway.path("portreeve.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("name = \"alice\"", "name = \"bob\"")).unwrap();
    gateway.reload().unwrap();
    let answer = gateway.through("localhost:1");
    assert!(
        answer.errors.contains("Permission denied (publickey)"),
        "{}",
        answer.errors
    );
}

#[test]
fn fifty_swaps_lose_no_forward_and_cut_no_tunnel() {
    let target = Server::echo();
    let gateway = Setup::allowing().start();
    let proxy = gateway.dynamic();
    let mut long = [(); 2].map(|()| proxy.socks5("127.0.0.1", target.port).unwrap());
    let over = AtomicBool::new(false);
    let (kept, lost) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        // Ends the loops also where an assertion ends the test.
        let _end = End(&over);
        for _ in 0..4 {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let answered = proxy
                        .socks5("127.0.0.1", target.port)
                        .is_some_and(|mut one| ping(&mut one));
                    let count = if answered { &kept } else { &lost };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for round in 1..=50 {
            let before = kept.load(Ordering::Relaxed);
            let next = Guest::that(allows()).version(&format!("{}.0.0", round + 1));
            if round % 10 == 0 {
                gateway.swap(&next);
            } else {
                fs::write(gateway.path("policy.wasm"), next.build()).unwrap();
                gateway.reload().unwrap();
            }
            let all = long.iter_mut().all(ping);
            assert!(
                all,
                "round {round}: {:?}",
                gateway
                    .events("tunnel-closed")
                    .iter()
                    .filter(|line| line["cause"] != "closed")
                    .collect::<Vec<_>>()
            );
            eventually("a new forward", || {
                (kept.load(Ordering::Relaxed) > before).then_some(())
            });
        }
    });
    assert_eq!(lost.load(Ordering::Relaxed), 0, "of {}", kept.load(Ordering::Relaxed));
    assert!(long.iter_mut().all(ping));
    drop((long, proxy));
    let lines = gateway.stop();
    let swaps: Vec<_> = lines.iter().filter(|line| line["event"] == "policy-swapped").collect();
    let served: HashSet<_> = swaps.iter().map(|line| line["policy"]["version"].as_str()).collect();
    assert_eq!(served.len(), 50, "{swaps:?}");
    let known: Vec<_> = swaps
        .iter()
        .flat_map(|line| [&line["policy"], &line["previous"]])
        .collect();
    for line in lines.iter().filter(|line| line["event"] == "forward-decided") {
        assert_eq!(line["verdict"], "allow", "{line}");
        assert!(known.contains(&&line["policy"]), "{line}");
    }
    assert!(lines.iter().all(|line| line["cause"] != "revoked"));
}

struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Takes long to allow what goes to this port.
fn slow(port: u16) -> Guest {
    Guest::that(allows()).on(When::Port(port), Does::Ponders)
}

#[test]
fn a_decision_ends_on_the_policy_with_which_it_began() {
    let target = Server::echo();
    let gateway = Setup::asking(&slow(target.port))
        .policy("deadline = \"10s\"\non-swap = \"keep\"")
        .start();
    let proxy = gateway.dynamic();
    let asked = proxy.ask5("127.0.0.1", target.port);
    let swapped = gateway.swap(&refusing());
    assert!(
        gateway.events("forward-decided").is_empty(),
        "it is still being decided"
    );
    assert!(proxy.socks5("127.0.0.1", 1).is_none(), "the new policy decides already");
    let mut stream = proxy.granted5(asked).expect("the old policy allows");
    assert!(ping(&mut stream));
    let decision = gateway.decision(&target.address());
    assert_eq!(
        (&decision["verdict"], &decision["policy"]),
        (&"allow".into(), &swapped["previous"])
    );
}

#[test]
fn what_was_decided_by_the_old_policy_is_judged_again_by_the_new_one() {
    let target = Server::echo();
    let gateway = Setup::asking(&slow(target.port)).policy("deadline = \"10s\"").start();
    let proxy = gateway.dynamic();
    let asked = proxy.ask5("127.0.0.1", target.port);
    gateway.swap(&refusing());
    let closed = gateway.event("tunnel-closed");
    assert_eq!(closed["cause"], "revoked");
    assert!(!proxy.granted5(asked).is_some_and(|mut stream| ping(&mut stream)));
}

/// Two tunnels and two listeners, of which one each is not to the liking of the next policy.
fn swap_under_what_is_open(on_swap: &str) -> Vec<(&'static str, bool)> {
    let [good, bad] = [(); 2].map(|()| Server::echo());
    let gateway = Setup::allowing().policy(&format!("on-swap = \"{on_swap}\"")).start();
    let sockets = gateway.path("remote.sock");
    let proxy = gateway.dynamic();
    let mut good_tunnel = proxy.socks5("127.0.0.1", good.port).unwrap();
    let mut bad_tunnel = proxy.socks5("127.0.0.1", bad.port).unwrap();
    let _good_listener = gateway.remote(&format!("{}:{}", sockets.display(), good.address()));
    let port = crate::harness::free_port();
    let _bad_listener = gateway.remote(&format!("{port}:{}", good.address()));
    let next = Guest::that(allows())
        .on(When::Port(bad.port), denies("the new policy says no"))
        .on(When::Port(port), denies("the new policy says no"));
    gateway.swap(&next);
    if on_swap == "re-evaluate" {
        let revoked = |event| move |line: &serde_json::Value| line["event"] == event && line["cause"] == "revoked";
        gateway.audited("a closed tunnel", revoked("tunnel-closed"));
        gateway.audited("a closed listener", revoked("listener-closed"));
    }
    let open = vec![
        ("good tunnel", ping(&mut good_tunnel)),
        ("bad tunnel", ping(&mut bad_tunnel)),
        (
            "good listener",
            std::os::unix::net::UnixStream::connect(&sockets).is_ok_and(|mut one| ping(&mut one)),
        ),
        (
            "bad listener",
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok(),
        ),
    ];
    drop((good_tunnel, bad_tunnel, proxy));
    gateway.stop();
    open
}

#[test]
fn a_swap_closes_what_the_new_policy_refuses_and_nothing_else() {
    let open = swap_under_what_is_open("re-evaluate");
    let expected = [
        ("good tunnel", true),
        ("bad tunnel", false),
        ("good listener", true),
        ("bad listener", false),
    ];
    assert_eq!(open, expected);
}

#[test]
fn a_policy_knows_what_it_is_asked_again() {
    let target = Server::echo();
    let gateway = Setup::allowing().start();
    let proxy = gateway.dynamic();
    let _tunnel = proxy.socks5("127.0.0.1", target.port).unwrap();
    gateway.swap(&Guest::that(allows()).on(When::Again, denies("not once more")));
    assert_eq!(gateway.event("tunnel-closed")["cause"], "revoked");
    assert!(
        proxy.socks5("127.0.0.1", target.port).is_some(),
        "what is new is allowed"
    );
}

#[test]
fn where_doubt_closes_a_decision_that_comes_too_late_is_asked_for_three_times() {
    for (does, code, times) in [(Does::Spins, "deadline", 3), (Does::Traps, "trap", 1)] {
        let target = Server::echo();
        let gateway = Setup::allowing().policy("on-doubt = \"close\"").start();
        let proxy = gateway.dynamic();
        let _tunnel = proxy.socks5("127.0.0.1", target.port).unwrap();
        gateway.swap(&Guest::that(allows()).on(When::Again, does));
        assert_eq!(gateway.event("tunnel-closed")["cause"], "revoked");
        let mut asked = gateway.events("forward-decided");
        asked.retain(|line| line["again"] == "swap");
        let codes: Vec<_> = asked.iter().map(|line| line["code"].clone()).collect();
        assert_eq!(codes, vec![code; times]);
    }
}

#[test]
fn what_cannot_be_decided_again_stays_open_and_is_asked_about_again() {
    let [traps, spins] = [(); 2].map(|()| Server::echo());
    let gateway = Setup::allowing().start();
    let proxy = gateway.dynamic();
    let mut open = [&traps, &spins].map(|target| proxy.socks5("127.0.0.1", target.port).unwrap());
    let failing = Guest::that(allows())
        .on(When::Port(traps.port), Does::Traps)
        .on(When::Port(spins.port), Does::Spins);
    gateway.swap(&failing);
    for (target, code) in [(&traps, "trap"), (&spins, "deadline")] {
        eventually("a second question", || {
            let mut asked = gateway.events("forward-decided");
            let address = target.address();
            asked.retain(|line| line["again"] == "swap" && line["requested"] == address && line["code"] == code);
            (asked.len() >= 2).then_some(())
        });
    }
    assert!(open.iter_mut().all(ping), "a failure says nothing about what is open");
    gateway.swap(&refusing());
    eventually("both closed", || {
        let closed = gateway.events("tunnel-closed");
        (closed.len() == 2 && closed.iter().all(|line| line["cause"] == "revoked")).then_some(())
    });
}

#[test]
fn what_waits_for_a_verdict_after_a_swap_keeps_nothing_else_open() {
    let [slow, quick] = [(); 2].map(|()| Server::echo());
    let gateway = Setup::allowing().policy("on-doubt = \"close\"").start();
    let proxy = gateway.dynamic();
    let ports = std::iter::once(slow.port).chain([quick.port; 12]);
    let _tunnels: Vec<_> = ports.map(|port| proxy.socks5("127.0.0.1", port).unwrap()).collect();
    gateway.swap(&refusing().on(When::Port(slow.port), Does::Spins));
    let closed = eventually("all closed", || {
        Some(gateway.events("tunnel-closed")).filter(|lines| lines.len() == 13)
    });
    let last = closed.last().map(|line| line["dialled"].clone());
    assert_eq!(last, Some(slow.address().into()), "{closed:?}");
}

#[test]
fn a_swap_keeps_what_is_open_where_that_is_configured() {
    let open = swap_under_what_is_open("keep");
    assert!(open.iter().all(|(_, open)| *open), "{open:?}");
}

#[test]
fn a_fifo_in_the_place_of_a_component_holds_up_nobody() {
    let gateway = Setup::allowing().start();
    let path = gateway.path("policy.wasm");
    let fifo = gateway.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let rejected = gateway.after_swap(|| fs::rename(&fifo, &path).unwrap());
    assert_eq!(rejected["event"], "policy-rejected", "{rejected}");
    let reason = rejected["reason"].as_str().unwrap();
    assert!(reason.ends_with("it is not a regular file"), "{reason}");
    assert!(gateway.reload().unwrap_err().contains("it is not a regular file"));
    fs::remove_file(&path).unwrap();
    let next = Guest::that(allows()).version("2.0.0");
    fs::write(&path, next.build()).unwrap();
    gateway.audited("the swap after it", |line| {
        line["event"] == "policy-swapped" && line["policy"]["version"] == "2.0.0"
    });
}

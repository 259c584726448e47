//! What a login gives is what the configuration and the key files say now, not what they said when it took place.

use std::fs;
use std::net::TcpStream;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use portreeve::policy::Compiler;

use crate::guests::{Guest, allows};
use crate::harness::{Dynamic, Running, Server, Setup, eventually, install_script, make_key, ping, ssh_keygen, wire};

/// Everything is for the group `dba`, and nothing for others.
fn for_dba() -> Setup {
    let rules = "settings = { rules = [{ name = \"dba\", groups = [\"dba\"], outcome = \"allow\" }] }";
    Setup::allowing()
        .component("builtin:rules")
        .plugin(&format!("{rules}\ngrants = [\"names\"]"))
}

/// A session with a tunnel to an echo server.
struct Inside {
    proxy: Dynamic,
    tunnel: TcpStream,
    target: Server,
}

impl Inside {
    fn of(gateway: &Running) -> Self {
        let target = Server::echo();
        let proxy = gateway.dynamic();
        let mut tunnel = proxy.socks5("127.0.0.1", target.port).expect("it is allowed");
        assert!(ping(&mut tunnel));
        Self { proxy, tunnel, target }
    }

    /// Whether a new tunnel is allowed.
    fn may(&self) -> bool {
        self.proxy.socks5("127.0.0.1", self.target.port).is_some()
    }
}

/// Waits until the session is ended because its user may no longer log in, and answers why.
fn ended(gateway: &Running, what: &str) -> String {
    let closed = eventually(format!("the end: {what}"), || {
        let lines = gateway.events("session-closed");
        let of_this = |line: &serde_json::Value| {
            line["reason"]
                .as_str()
                .is_some_and(|why| why.contains("may no longer log in"))
        };
        lines.into_iter().find(of_this)
    });
    let tunnel = gateway.event("tunnel-closed");
    assert_eq!(tunnel["cause"], "revoked", "{what}: {tunnel}");
    closed["reason"].as_str().unwrap().to_owned()
}

/// Changes the configuration file, and reloads.
fn reconfigure(gateway: &Running, from: &str, to: &str) {
    let file = gateway.path("portreeve.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    fs::write(&file, text.replace(from, to)).unwrap();
    gateway.reload().unwrap();
}

/// Puts alice into another group; the rules stay as they are.
fn regroup(gateway: &Running, from: &str, to: &str) {
    let groups = |group: &str| format!("name = \"alice\"\ngroups = [\"{group}\"]");
    reconfigure(gateway, &groups(from), &groups(to));
}

#[test]
fn a_group_that_is_lost_counts_at_once_and_for_what_is_open() {
    let gateway = for_dba().start();
    let mut inside = Inside::of(&gateway);
    regroup(&gateway, "dba", "web");
    assert!(!inside.may(), "only dba may");
    assert_eq!(gateway.event("tunnel-closed")["cause"], "revoked");
    assert!(!ping(&mut inside.tunnel));
    assert!(gateway.events("session-closed").is_empty(), "she may still log in");
    let renewed = gateway.events("auth-renewed");
    assert_eq!(
        (renewed.len(), &renewed[0]["groups"]),
        (1, &serde_json::json!(["web"])),
        "{renewed:?}"
    );
    regroup(&gateway, "web", "dba");
    assert!(inside.may(), "in the same session");
}

#[test]
fn a_group_that_is_lost_leaves_open_what_a_swap_leaves_open() {
    let gateway = for_dba().policy("on-swap = \"keep\"").start();
    let mut inside = Inside::of(&gateway);
    regroup(&gateway, "dba", "web");
    assert!(!inside.may());
    assert!(ping(&mut inside.tunnel));
}

#[test]
fn a_user_who_is_removed_is_out() {
    let gateway = for_dba().start();
    let _inside = Inside::of(&gateway);
    reconfigure(&gateway, "name = \"alice\"", "name = \"bob\"");
    let reason = ended(&gateway, "no such user");
    assert!(reason.ends_with("the key is not listed for this user"), "{reason}");
    eventually("nobody is in", || (gateway.sessions() == 0).then_some(()));
    assert_eq!(gateway.open(), 0);
}

#[test]
fn a_listener_goes_with_its_session() {
    let gateway = Setup::allowing().start();
    let socket = gateway.path("remote.sock");
    let _remote = gateway.remote(&format!("{}:localhost:1", socket.display()));
    reconfigure(&gateway, "name = \"alice\"", "name = \"bob\"");
    assert_eq!(gateway.event("listener-closed")["cause"], "revoked");
}

/// A gateway that lets alice in by a key file, with a list of what is revoked.
fn by_file() -> Setup {
    let setup = Setup::allowing().without_listed_key().tables(
        "[auth]\nauthorized-keys = [\"keys/%u\"]\nrevoked-keys = \"revoked\"\ntrusted-user-ca-keys = [\"ca.pub\"]",
    );
    make_key(&setup.path("ca"), "ed25519");
    make_key(&setup.path("other"), "ed25519");
    fs::create_dir(setup.path("keys")).unwrap();
    fs::copy(setup.path("id.pub"), setup.path("keys/alice")).unwrap();
    fs::write(setup.path("revoked"), "").unwrap();
    setup
}

/// Puts a file in the place of another by rename.
fn put(gateway: &Running, name: &str, text: &str) {
    let next = gateway.path("next");
    fs::write(&next, text).unwrap();
    fs::rename(next, gateway.path(name)).unwrap();
}

#[test]
fn a_key_that_is_gone_from_its_file_lets_nobody_stay() {
    for (number, what) in ["another key", "nothing", "no file", "expired", "not from here"]
        .iter()
        .enumerate()
    {
        let gateway = by_file().start();
        let _inside = Inside::of(&gateway);
        let key = fs::read_to_string(gateway.path("id.pub")).unwrap();
        match number {
            0 => put(
                &gateway,
                "keys/alice",
                &fs::read_to_string(gateway.path("other.pub")).unwrap(),
            ),
            1 => fs::write(gateway.path("keys/alice"), "").unwrap(),
            2 => fs::remove_file(gateway.path("keys/alice")).unwrap(),
            3 => put(&gateway, "keys/alice", &format!("expiry-time=\"20200101\" {key}")),
            _ => put(&gateway, "keys/alice", &format!("from=\"10.0.0.0/8\" {key}")),
        }
        ended(&gateway, what);
    }
}

#[test]
fn a_key_that_is_revoked_lets_nobody_stay() {
    let gateway = by_file().start();
    let _inside = Inside::of(&gateway);
    put(
        &gateway,
        "revoked",
        &fs::read_to_string(gateway.path("id.pub")).unwrap(),
    );
    let reason = ended(&gateway, "the key");
    assert!(reason.ends_with("the key is revoked"), "{reason}");
}

#[test]
fn options_that_are_added_to_a_key_count_for_its_session() {
    let gateway = by_file().start();
    let mut inside = Inside::of(&gateway);
    let key = fs::read_to_string(gateway.path("id.pub")).unwrap();
    put(&gateway, "keys/alice", &format!("permitopen=\"localhost:1\" {key}"));
    assert_eq!(gateway.event("tunnel-closed")["cause"], "revoked");
    assert!(!ping(&mut inside.tunnel));
    assert!(!inside.may());
    let refused = gateway.audited("the refusal", |line| {
        line["verdict"] == "deny" && line["again"].is_null()
    });
    assert_eq!(
        (&refused["by"], &refused["code"]),
        (&"key".into(), &"permitopen".into())
    );
    put(&gateway, "keys/alice", &key);
    eventually("the session may again", || inside.may().then_some(()));
}

/// Signs the user's key; the client then shows the certificate.
fn sign(setup: &Setup, options: &[&str]) {
    sign_by("ca", setup, options);
}

fn sign_by(authority: &str, setup: &Setup, options: &[&str]) {
    let [authority, key] = [authority, "id.pub"].map(|name| setup.path(name).display().to_string());
    let fixed = ["-q", "-s", &authority, "-I", "the test", "-n", "alice"];
    ssh_keygen(&[&fixed, options, &[&key]].concat());
}

#[test]
fn a_certificate_that_is_void_lets_nobody_stay() {
    for what in ["revoked by serial", "the authority is gone", "the authority is revoked"] {
        let setup = by_file();
        fs::write(setup.path("keys/alice"), "").unwrap();
        sign(&setup, &["-z", "7"]);
        let gateway = setup.start();
        let _inside = Inside::of(&gateway);
        match what {
            "revoked by serial" => {
                let [list, key] = ["list", "id-cert.pub"].map(|name| gateway.path(name).display().to_string());
                ssh_keygen(&["-q", "-k", "-f", &list, &key]);
                fs::rename(list, gateway.path("revoked")).unwrap();
            }
            "the authority is gone" => put(
                &gateway,
                "ca.pub",
                &fs::read_to_string(gateway.path("other.pub")).unwrap(),
            ),
            _ => put(
                &gateway,
                "revoked",
                &fs::read_to_string(gateway.path("ca.pub")).unwrap(),
            ),
        }
        ended(&gateway, what);
    }
}

#[test]
fn an_authority_that_is_added_while_a_reload_compiles_counts_then_and_afterwards() {
    let setup = by_file().plugin("watch = false");
    fs::write(setup.path("keys/alice"), "").unwrap();
    sign_by("other", &setup, &[]);
    let (held, begun, compiler) = (setup.path("held"), setup.path("begun"), setup.path("compiler"));
    let program = env!("CARGO_BIN_EXE_portreeve");
    let (file, begins) = (held.display(), begun.display());
    let waits = format!("if [ -e {file} ]; then : > {begins}; fi\nwhile [ -e {file} ]; do sleep 0.02; done");
    install_script(&format!("{waits}\nexec {program} \"$@\""), &compiler);
    let gateway = setup.compiler(Compiler::program(compiler)).start();
    assert_eq!(gateway.through("localhost:1").code, Some(255));
    fs::write(&held, "").unwrap();
    // Nothing else has this name, so nothing compiled it before.
    let next = Guest::that(allows()).named("held").build();
    fs::write(gateway.path("policy.wasm"), next).unwrap();
    gateway.reload_in_background();
    // By then the files of authorities have been read.
    eventually("the compiler", || begun.exists().then_some(()));
    let both = ["ca.pub", "other.pub"].map(|name| fs::read_to_string(gateway.path(name)).unwrap());
    put(&gateway, "ca.pub", &both.concat());
    let lets_in = |when: &str| {
        let target = Server::named("x");
        eventually(when, || {
            (gateway.through(&target.address()).stdout == "x").then_some(())
        });
    };
    lets_in("a login while the policy compiles");
    assert!(
        gateway.events("config-reloaded").is_empty(),
        "the policy still compiles"
    );
    fs::remove_file(held).unwrap();
    assert_eq!(gateway.event("config-reloaded")["ok"], true);
    lets_in("a login after the reload");
}

#[test]
fn a_session_lasts_no_longer_than_its_key_or_certificate() {
    let soon = Timestamp::now() + Duration::from_secs(3);
    let utc = soon.strftime("%Y%m%d%H%M%SZ").to_string();
    let by_key = by_file();
    let key = fs::read_to_string(by_key.path("id.pub")).unwrap();
    fs::write(by_key.path("keys/alice"), format!("expiry-time=\"{utc}\" {key}")).unwrap();
    let by_certificate = by_file();
    fs::write(by_certificate.path("keys/alice"), "").unwrap();
    sign(&by_certificate, &["-V", &format!("-1d:{utc}")]);
    let gateways = [by_key.start(), by_certificate.start()];
    let inside: Vec<_> = gateways.iter().map(Inside::of).collect();
    assert!(
        SystemTime::from(soon) > SystemTime::now(),
        "this machine is too slow for this test"
    );
    for gateway in &gateways {
        ended(gateway, "expired");
    }
    drop(inside);
}

#[test]
fn a_password_that_is_changed_lets_nobody_stay() {
    let hash = crate::login::argon2_of("correct horse");
    let gateway = Setup::allowing().user(&format!("password-hash = \"{hash}\"")).start();
    let mut client = gateway.block_on(wire::connect(&gateway));
    let answer = gateway.block_on(client.authenticate_password("alice", "correct horse"));
    assert!(answer.unwrap().success());
    reconfigure(&gateway, &hash, &crate::login::argon2_of("battery staple"));
    let reason = eventually("the end", || gateway.events("session-closed").pop());
    assert!(
        reason["reason"].as_str().unwrap().contains("the password has changed"),
        "{reason}"
    );
    drop(client);
}

#[test]
fn what_cannot_be_found_out_ends_nothing_and_lets_nothing_in() {
    let gateway = by_file().start();
    let mut inside = Inside::of(&gateway);
    put(&gateway, "revoked", "this is no list of keys");
    gateway.reload().unwrap_err();
    let answer = gateway.through(&inside.target.address());
    assert!(answer.errors.contains("Permission denied"), "{answer:?}");
    assert!(ping(&mut inside.tunnel));
    put(&gateway, "ca.pub", "");
    gateway.reload().unwrap_err();
    put(&gateway, "revoked", "");
    eventually("the session may again", || inside.may().then_some(()));
    assert!(ping(&mut inside.tunnel));
    assert!(gateway.events("session-closed").is_empty());
}

#[test]
fn another_user_is_not_concerned() {
    let setup = by_file();
    fs::copy(setup.path("id.pub"), setup.path("keys/bob")).unwrap();
    let gateway = setup.start();
    let mut inside = Inside::of(&gateway);
    let target = Server::echo();
    let socket = gateway.path("bob.sock");
    let forward = format!("{}:{}", socket.display(), target.address());
    let _bob = gateway.ssh().to("bob@127.0.0.1").args(["-N", "-L", &forward]).start();
    let mut tunnel = eventually("bob's forward", || {
        std::os::unix::net::UnixStream::connect(&socket).ok()
    });
    assert!(ping(&mut tunnel));
    fs::remove_file(gateway.path("keys/alice")).unwrap();
    ended(&gateway, "alice");
    assert!(ping(&mut tunnel));
    assert!(!ping(&mut inside.tunnel));
}

#[test]
fn a_verdict_is_not_used_again_for_another_group() {
    // The guest of the tests cannot look at groups; the built-in rules can, and let verdicts be used again.
    let rules = "settings = { rules = [{ name = \"dba\", groups = [\"dba\"], outcome = \"allow\", terms = { reuse-seconds = 600 } }] }";
    let gateway = Setup::asking(&Guest::that(crate::guests::allows()))
        .component("builtin:rules")
        .plugin(&format!("{rules}\ngrants = [\"names\"]"))
        .start();
    let inside = Inside::of(&gateway);
    assert!(inside.may());
    regroup(&gateway, "dba", "web");
    assert!(!inside.may());
}

#[test]
fn access_is_taken_away_also_while_the_gateway_drains() {
    let mut gateway = by_file().tables("[limits]\ndrain-timeout = \"5m\"").start_program();
    let target = Server::echo();
    let proxy = gateway.dynamic();
    let mut tunnel = proxy.socks5("127.0.0.1", target.port).expect("it is allowed");
    assert!(ping(&mut tunnel));
    gateway.signal("TERM");
    // It drains once nothing new is forwarded.
    eventually("the drain", || {
        proxy.socks5("127.0.0.1", target.port).is_none().then_some(())
    });
    assert!(ping(&mut tunnel));
    fs::write(gateway.path("keys/alice"), "").unwrap();
    let closed = gateway.event("session-closed");
    assert!(
        closed["reason"].as_str().unwrap().contains("may no longer log in"),
        "{closed}"
    );
    assert_eq!(gateway.ended(), Some(0));
    // What asked whether it drains yet may have been let through before it did.
    let lines = gateway.events("tunnel-closed");
    let revoked: Vec<_> = lines.iter().filter(|line| line["cause"] == "revoked").collect();
    assert_eq!(revoked.len(), 1, "{lines:?}");
    assert_eq!(revoked[0]["bytes_up"], 10);
}

#[test]
fn a_name_that_cannot_be_seen_does_not_log_in() {
    let setup = by_file();
    let table = [("carol", true), ("ca\u{202e}rol", false), ("carol\u{200b}", false)];
    for (name, _) in table {
        fs::copy(setup.path("id.pub"), setup.path(&format!("keys/{name}"))).unwrap();
    }
    let gateway = setup.start();
    let target = Server::echo();
    for (number, (name, is_in)) in table.into_iter().enumerate() {
        let answer = gateway.ssh().args(["-l", name, "-W", &target.address()]).run(b"x");
        assert_eq!(answer.stdout == "x", is_in, "{number}: {}", answer.errors);
    }
    let reasons: Vec<_> = gateway
        .events("auth-failed")
        .iter()
        .map(|line| line["reason"].clone())
        .collect();
    assert_eq!(reasons, ["the user name has a character that cannot be seen"; 2]);
}

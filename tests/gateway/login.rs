//! Who may log in, and what their key or certificate lets them ask for.

use std::fs;
use std::io::Read;
use std::net::TcpStream;

use crate::harness::{Answer, PATIENCE, Running, Server, Setup, make_key, ssh_keygen, wire};

const DENIED: &str = "Permission denied (publickey)";

fn enters(answer: &Answer) -> bool {
    let inside = !answer.errors.contains("Permission denied");
    assert!(inside || answer.errors.contains(DENIED), "{answer:?}");
    inside
}

#[test]
fn the_options_of_a_key_decide_whether_it_lets_in() {
    #[rustfmt::skip]
    let table = [
        // options                                       lets in   reason in the log
        ("",                                             true,     ""),
        ("restrict",                                     true,     ""),
        ("no-pty,command=\"true\",no-agent-forwarding",  true,     ""),
        ("from=\"127.0.0.0/8\"",                         true,     ""),
        ("from=\"10.0.0.0/8\"",                          false,    "from"),
        ("from=\"!127.0.0.1,127.0.0.0/8\"",              false,    "from"),
        ("expiry-time=\"20991231\"",                     true,     ""),
        ("expiry-time=\"20200101\"",                     false,    "expired"),
        ("cert-authority",                               false,    "not listed"),
    ];
    let target = Server::named("the target");
    for (options, lets_in, reason) in table {
        let gateway = Setup::allowing().key_options(options).start();
        assert_eq!(enters(&gateway.through(&target.address())), lets_in, "{options}");
        let event = gateway.event(if lets_in { "auth-succeeded" } else { "auth-failed" });
        assert_eq!(
            (&event["user"], &event["method"]),
            (&"alice".into(), &"publickey".into()),
            "{options}"
        );
        assert!(event["fingerprint"].as_str().unwrap().starts_with("SHA256:"), "{event}");
        let found = event["reason"].as_str().unwrap_or_default();
        assert!(found.contains(reason), "{options}: {found}");
    }
}

#[test]
fn the_options_of_a_key_decide_what_it_may_ask_for() {
    let (one, other) = (Server::named("x"), Server::named("x"));
    let open = format!("permitopen=\"127.0.0.1:{}\"", one.port);
    #[rustfmt::skip]
    let table = [
        // options                               one     other   remote
        (String::new(),                          true,   true,   true),
        ("restrict".to_owned(),                  false,  false,  false),
        ("no-port-forwarding".to_owned(),        false,  false,  false),
        ("restrict,port-forwarding".to_owned(),  true,   true,   true),
        (open.clone(),                           true,   false,  true),
        (format!("restrict,{open}"),             false,  false,  false),
        ("permitlisten=\"1234\"".to_owned(),     true,   true,   false),
        ("permitlisten=\"localhost:*\"".to_owned(), true, true,  true),
        ("permitopen=\"*:1\"".to_owned(),        false,  false,  true),
    ];
    for (options, to_one, to_other, remote) in table {
        let gateway = Setup::allowing().key_options(&options).start();
        assert_eq!(gateway.through(&one.address()).stdout == "x", to_one, "{options}");
        assert_eq!(gateway.through(&other.address()).stdout == "x", to_other, "{options}");
        let insisting = gateway
            .ssh()
            .option("ExitOnForwardFailure=yes")
            .args(["-v", "-N", "-R", "0:localhost:1"])
            .start();
        insisting.says(if remote {
            "remote forward success"
        } else {
            "remote port forwarding failed"
        });
        for refused in gateway
            .events("forward-decided")
            .iter()
            .filter(|line| line["verdict"] == "deny")
        {
            assert_eq!(refused["by"], "key", "{options}: {refused}");
        }
    }
}

#[test]
fn an_option_that_is_unknown_makes_the_key_a_fault() {
    let words = Setup::allowing()
        .key_options("permit-everything")
        .try_start()
        .err()
        .expect("a fault")
        .to_string();
    assert!(
        words.contains("user[0].authorized-keys[0]") && words.contains("permit-everything"),
        "{words}"
    );
}

#[test]
fn an_option_that_is_unknown_voids_its_line_of_a_key_file() {
    let setup = Setup::allowing().tables("[auth]\nauthorized-keys = [\"keys/%u\"]");
    make_key(&setup.path("other"), "ed25519");
    let key = fs::read_to_string(setup.path("other.pub")).unwrap();
    fs::create_dir(setup.path("keys")).unwrap();
    let file = setup.path("keys/alice");
    let gateway = setup.start();
    for (line, lets_in) in [
        (format!("permit-everything {key}"), false),
        (key.clone(), true),
        (String::new(), false),
    ] {
        fs::write(&file, line).unwrap();
        assert_eq!(
            enters(&with_key(&gateway, "other")),
            lets_in,
            "{:?}",
            fs::read_to_string(&file)
        );
    }
}

#[test]
fn a_relative_path_of_key_files_starts_at_the_folder_of_the_configuration() {
    let target = Server::named("x");
    let setup = Setup::allowing()
        .without_listed_key()
        .tables("[auth]\nauthorized-keys = [\"keys/%u\"]");
    fs::create_dir(setup.path("keys")).unwrap();
    fs::copy(setup.path("id.pub"), setup.path("keys/alice")).unwrap();
    assert!(enters(&setup.start().through(&target.address())));
}

fn with_key(gateway: &Running, name: &str) -> Answer {
    let target = Server::named("x");
    let ssh = gateway.ssh_with_key(&gateway.path(name));
    ssh.args(["-W", &target.address()]).run(b"")
}

#[test]
fn every_usual_kind_of_key_lets_in() {
    let setup = Setup::allowing().tables("[auth]\nauthorized-keys = [\"keys/%u\"]");
    fs::create_dir(setup.path("keys")).unwrap();
    let kinds = ["ed25519", "ecdsa", "rsa"];
    for kind in kinds {
        make_key(&setup.path(kind), kind);
    }
    let lines: String = kinds
        .iter()
        .map(|kind| fs::read_to_string(setup.path(&format!("{kind}.pub"))).unwrap())
        .collect();
    fs::write(setup.path("keys/alice"), lines).unwrap();
    let gateway = setup.start();
    for kind in kinds {
        assert_eq!(with_key(&gateway, kind).stdout, "x", "{kind}");
    }
}

#[test]
fn a_key_that_nobody_listed_does_not_let_in() {
    let setup = Setup::allowing();
    make_key(&setup.path("other"), "ed25519");
    let gateway = setup.start();
    assert!(!enters(&with_key(&gateway, "other")));
    let answer = gateway.ssh().to("bob@127.0.0.1").args(["-W", "localhost:1"]).run(b"");
    assert!(!enters(&answer), "alice's key for bob");
    assert!(gateway.events("auth-succeeded").is_empty());
    assert_eq!(gateway.events("auth-failed").len(), 2);
    gateway.stop();
}

/// Signs the user's key.
fn sign(gateway: &Running, options: &[&str]) {
    let [authority, key] = ["ca", "id.pub"].map(|name| gateway.path(name).display().to_string());
    let fixed = ["-q", "-s", &authority, "-I", "the test"];
    ssh_keygen(&[&fixed, options, &[&key]].concat());
}

#[test]
fn a_certificate_lets_in_whom_it_names_for_what_it_permits() {
    let setup = Setup::allowing()
        .without_listed_key()
        .tables("[auth]\ntrusted-user-ca-keys = [\"ca.pub\"]\nrevoked-keys = \"revoked\"");
    make_key(&setup.path("ca"), "ed25519");
    make_key(&setup.path("stranger"), "ed25519");
    fs::write(setup.path("revoked"), "").unwrap();
    let gateway = setup.start();
    let target = Server::named("x");
    #[rustfmt::skip]
    let table: [(&[&str], bool, bool); 8] = [
        // signed with                                                          lets in  forwards
        (&["-n", "alice"],                                                      true,    true),
        (&["-n", "alice,bob", "-V", "-1d:+1d"],                                 true,    true),
        (&["-n", "alice", "-O", "clear"],                                       true,    false),
        (&["-n", "alice", "-O", "clear", "-O", "permit-port-forwarding"],       true,    true),
        (&["-n", "bob"],                                                        false,   false),
        (&["-n", "alice", "-V", "-2d:-1d"],                                     false,   false),
        (&["-n", "alice", "-O", "source-address=10.0.0.0/8"],                   false,   false),
        (&["-n", "alice", "-O", "critical:made-up@test=1"],                     false,   false),
    ];
    for (options, lets_in, forwards) in table {
        sign(&gateway, options);
        let answer = gateway.through(&target.address());
        assert_eq!(enters(&answer), lets_in, "{options:?}");
        assert_eq!(answer.stdout == "x", forwards, "{options:?}: {answer:?}");
    }
    assert_eq!(gateway.event("auth-succeeded")["method"], "certificate");
    let refused = gateway.audited("a refusal", |line| line["verdict"] == "deny");
    assert_eq!(refused["by"], "key");
    sign(&gateway, &["-n", "alice", "-z", "7"]);
    ssh_keygen(&[
        "-q",
        "-k",
        "-f",
        gateway.path("revoked").to_str().unwrap(),
        gateway.path("id-cert.pub").to_str().unwrap(),
    ]);
    assert!(!enters(&gateway.through(&target.address())), "revoked");
}

#[test]
fn a_strangers_certificate_does_not_let_in() {
    let setup = Setup::allowing()
        .without_listed_key()
        .tables("[auth]\ntrusted-user-ca-keys = [\"other.pub\"]");
    make_key(&setup.path("ca"), "ed25519");
    make_key(&setup.path("other"), "ed25519");
    let gateway = setup.start();
    sign(&gateway, &["-n", "alice"]);
    assert!(!enters(&gateway.through("localhost:1")));
    let failed = gateway.audited("the failure", |line| line["method"] == "certificate");
    assert!(
        failed["reason"].as_str().unwrap().contains("authority is not trusted"),
        "{failed}"
    );
}

#[test]
fn nobody_may_take_longer_than_the_login_grace() {
    let gateway = Setup::allowing().tables("[auth]\nlogin-grace = \"1s\"").start();
    for greeting in [b"".as_slice(), b"SSH-2.0-slow\r\n"] {
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        std::io::Write::write_all(&mut stream, greeting).unwrap();
        let mut rest = Vec::new();
        stream
            .read_to_end(&mut rest)
            .expect("the gateway hangs up, and does not leave us waiting");
    }
    gateway.stop();
}

#[test]
fn too_many_attempts_end_the_connection() {
    let setup = Setup::allowing().tables("[auth]\nmax-attempts = 2");
    for name in ["a", "b", "c", "d"] {
        make_key(&setup.path(name), "ed25519");
    }
    let gateway = setup.start();
    let mut ssh = gateway.ssh_with_key(&gateway.path("a"));
    for name in ["b", "c", "d", "id"] {
        ssh = ssh.args(["-i", gateway.path(name).to_str().unwrap()]);
    }
    let answer = ssh.args(["-W", "localhost:1"]).run(b"");
    assert_eq!(answer.code, Some(255));
    assert!(
        gateway.events("auth-succeeded").is_empty(),
        "the fifth key was not reached"
    );
    assert!(gateway.events("auth-failed").len() <= 3);
}

#[test]
fn a_password_lets_in_whom_it_is_configured_for() {
    let hash = argon2_of("correct horse");
    let gateway = Setup::allowing().user(&format!("password-hash = \"{hash}\"")).start();
    gateway.block_on(async {
        for (user, password, lets_in) in [
            ("alice", "correct horse", true),
            ("alice", "wrong", false),
            ("bob", "correct horse", false),
        ] {
            let mut client = wire::connect(&gateway).await;
            let answer = client.authenticate_password(user, password).await.expect("an answer");
            assert_eq!(answer.success(), lets_in, "{user} {password}");
        }
    });
    assert_eq!(gateway.event("auth-succeeded")["method"], "password");
}

#[test]
fn whoever_was_sent_away_does_not_wait_for_a_turn_to_be_hashed() {
    const CROWD: usize = 16;
    // It takes long, and no password has it.
    let hash = format!("$argon2id$v=19$m=65536,t=4,p=1$c2FsdHNhbHQ${}", "A".repeat(43));
    let gateway = Setup::allowing()
        .user(&format!("password-hash = \"{hash}\""))
        .tables("[limits]\nunauthenticated-per-source = 4")
        .start();
    gateway.block_on(async {
        let mut asked = Vec::new();
        for _ in 0..CROWD {
            let mut client = wire::connect(&gateway).await;
            asked.push(tokio::spawn(async move {
                let _ = client.authenticate_password("alice", "wrong").await;
            }));
        }
        let mut last = wire::connect(&gateway).await;
        let answer = last.authenticate_password("alice", "wrong").await.expect("an answer");
        assert!(!answer.success());
        asked.iter().for_each(tokio::task::JoinHandle::abort);
    });
    let hashed = gateway.events("auth-failed").len();
    assert!(hashed < CROWD * 3 / 4, "{hashed} of {CROWD} who were gone");
}

pub fn argon2_of(password: &str) -> String {
    use argon2::password_hash::{PasswordHasher, SaltString};
    use argon2::{Algorithm, Argon2, Params, Version};
    let cheap = Params::new(64, 1, 1, None).unwrap();
    let hasher = Argon2::new(Algorithm::Argon2id, Version::V0x13, cheap);
    let salt = SaltString::from_b64("c2FsdHNhbHQ").unwrap();
    let hash = hasher.hash_password(password.as_bytes(), &salt).unwrap();
    hash.to_string()
}

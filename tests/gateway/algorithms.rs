//! Which algorithms a client may have, and what is said of one that has none of them.

use crate::harness::{Server, Setup};

const OLDER: [&str; 6] = [
    "-c",
    "aes128-ctr",
    "-m",
    "hmac-sha2-256-etm@openssh.com",
    "-o",
    "KexAlgorithms=ecdh-sha2-nistp256",
];

#[test]
fn a_client_without_modern_algorithms_is_refused_and_both_sides_are_on_record() {
    let gateway = Setup::allowing().start();
    #[rustfmt::skip]
    let rows: [(&[&str], &str, &str, &str); 4] = [
        (&OLDER,                                            "kex",      "curve25519-sha256",      "ecdh-sha2-nistp256"),
        (&["-o", "KexAlgorithms=curve25519-sha256", "-c", "aes128-ctr"], "cipher", "aes256-gcm@openssh.com", "aes128-ctr"),
        (&["-o", "KexAlgorithms=diffie-hellman-group14-sha256"], "kex", "mlkem768x25519-sha256",  "diffie-hellman-group14-sha256"),
        (&["-o", "HostKeyAlgorithms=ecdsa-sha2-nistp256"],  "host-key", "ssh-ed25519",            "ecdsa-sha2-nistp256"),
    ];
    for (number, (options, kind, ours, theirs)) in rows.into_iter().enumerate() {
        let answer = gateway.ssh().args(["-N"]).args(options.iter().copied()).run(b"");
        assert!(answer.errors.contains("no matching"), "{}", answer.errors);
        let lines = crate::harness::eventually("a line", || {
            let lines = gateway.events("negotiation-failed");
            (lines.len() > number).then_some(lines)
        });
        let line = &lines[number];
        let has = |key: &str, name: &str| line[key].as_array().unwrap().iter().any(|one| one == name);
        assert_eq!(line["kind"], kind, "{line}");
        assert!(has("ours", ours) && has("theirs", theirs), "{line}");
        assert!(line["client"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    }
}

#[test]
fn with_the_compatible_preset_older_clients_come_in_and_others_have_what_they_had() {
    let target = Server::named("x");
    let gateway = Setup::allowing()
        .tables("[algorithms]\npreset = \"compatible\"")
        .start();
    for options in [
        &OLDER[..],
        &["-c", "aes256-ctr"],
        &["-c", "aes256-gcm@openssh.com"],
        &[],
    ] {
        let answer = gateway
            .ssh()
            .args(["-W", &target.address()])
            .args(options.iter().copied())
            .run(b"");
        assert_eq!(answer.stdout, "x", "{options:?}: {}", answer.errors);
    }
    // A MAC must be one of encrypt-then-MAC.
    let answer = gateway
        .ssh()
        .args(["-N", "-c", "aes128-ctr", "-m", "hmac-sha2-256"])
        .run(b"");
    assert!(answer.errors.contains("no matching MAC found"), "{}", answer.errors);
    assert_eq!(gateway.event("negotiation-failed")["kind"], "mac");
}

//! Which algorithms a client may have, and what is said of one that has none of them.

use std::io::Write;
use std::net::TcpStream;

use crate::harness::{Running, Server, Setup, eventually, hear};

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
        let lines = eventually("a line", || {
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

/// A client that has nothing in common with anybody, and asks for much: RFC 4253, section 7.1.
fn offer_nothing_known(gateway: &Running) {
    let long = (0..200)
        .map(|number| format!("{number:064}"))
        .collect::<Vec<_>>()
        .join(",");
    let mut payload = vec![20];
    payload.extend([0; 16]);
    for names in [&long, "x", "x", "x", "x", "x", "none", "none", "", ""] {
        payload.extend(u32::try_from(names.len()).unwrap().to_be_bytes());
        payload.extend(names.as_bytes());
    }
    payload.extend([0; 5]);
    let padding = 8 - (payload.len() + 5) % 8 + 8;
    let mut packet = u32::try_from(payload.len() + 1 + padding)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    packet.push(u8::try_from(padding).unwrap());
    packet.extend(payload);
    packet.resize(packet.len() + padding, 0);
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(b"SSH-2.0-odd\r\n").unwrap();
    stream.write_all(&packet).unwrap();
    hear(stream);
}

#[test]
fn whoever_offers_nothing_again_and_again_fills_no_log() {
    const CROWD: u64 = 60;
    let gateway = Setup::allowing().start();
    (0..CROWD).for_each(|_| offer_nothing_known(&gateway));
    let lines = eventually("a line for each", || {
        let lines = gateway.events("negotiation-failed");
        let count = lines.iter().map(|line| line["repeated"].as_u64().unwrap_or(1));
        (count.sum::<u64>() == CROWD).then_some(lines)
    });
    assert!(lines.len() < 30, "{} lines", lines.len());
    let bytes = lines[0].to_string().len();
    assert!(bytes < 4096, "{bytes} bytes");
}

//! Keys and certificates that a list revokes.

use super::*;
use crate::auth::keygen::{Keygen, blob, read};

/// One list per way of naming a key; each revokes exactly that key.
#[test]
fn a_key_is_revoked_by_every_kind_of_list() {
    let keygen = Keygen::new();
    let (good, bad) = (keygen.ed25519("good"), keygen.ed25519("bad"));
    let line = read(&keygen.path("bad.pub"));
    let fingerprint = bad.fingerprint();
    #[rustfmt::skip]
    let specifications = [
        ("explicit", format!("key: {line}")),
        ("sha1",     format!("sha1: {line}")),
        ("sha256",   format!("sha256: {line}")),
        ("hash",     format!("hash: {fingerprint}\n")),
    ];
    let mut lists = vec![
        keygen.write("plain", &format!("# revoked\r\n\r\n{line}")),
        keygen.write("digest", &format!("  {fingerprint} lost laptop\n")),
        keygen.write("padded", &format!("{fingerprint}=\n")),
    ];
    for (name, specification) in specifications {
        keygen.write(&format!("{name}.txt"), &specification);
        keygen.run(&["-q", "-k", "-f", name, &format!("{name}.txt")]);
        lists.push(keygen.path(name));
    }
    for list in lists {
        let revoked = RevokedKeys::read(&list).expect("a readable list");
        assert!(revoked.key(&bad), "{list:?}");
        assert!(!revoked.key(&good), "{list:?}");
        assert!(revoked.certificate(&good, 1, "id", &bad), "the certified key, {list:?}");
        assert!(revoked.certificate(&bad, 1, "id", &good), "the authority, {list:?}");
        assert!(!revoked.certificate(&good, 1, "id", &good), "{list:?}");
    }
}

/// `ssh-keygen` chooses lists, ranges and bitmaps by what is shortest; `ssh-keygen -Q` is the judge of each serial.
#[test]
fn certificates_are_revoked_as_ssh_keygen_says() {
    let keygen = Keygen::new();
    let (ca, other, key) = (keygen.ed25519("ca"), keygen.ed25519("other"), keygen.ed25519("key"));
    let odd: String = (100..200)
        .step_by(3)
        .map(|serial| format!("serial: {serial}\n"))
        .collect();
    keygen.write(
        "serials.txt",
        &format!("serial: 1\nserial: 5000-6000\nserial: 0xffffffffffffffff\nid: mallory\n{odd}"),
    );
    keygen.run(&["-q", "-k", "-f", "krl", "-s", "ca.pub", "serials.txt"]);
    let revoked = RevokedKeys::read(&keygen.path("krl")).expect("a valid list");
    #[rustfmt::skip]
    let table = [
        (0, "alice", false), (1, "alice", true), (2, "alice", false), (99, "alice", false), (100, "alice", true),
        (101, "alice", false), (103, "alice", true), (199, "alice", true), (200, "alice", false), (4999, "alice", false),
        (5000, "alice", true), (5500, "alice", true), (6000, "alice", true), (6001, "alice", false),
        (u64::MAX, "alice", true), (u64::MAX - 1, "alice", false), (2, "mallory", true), (0, "mallory", true),
        (2, "Mallory", false),
    ];
    for (serial, id, expected) in table {
        assert_eq!(
            revoked.certificate(&ca, serial, id, &key),
            expected,
            "serial {serial} id {id}"
        );
        assert!(
            !revoked.certificate(&other, serial, id, &key),
            "another authority's {serial} {id}"
        );
        keygen.run(&[
            "-q",
            "-s",
            "ca",
            "-I",
            id,
            "-z",
            &serial.to_string(),
            "-n",
            "u",
            "key.pub",
        ]);
        let accepted = keygen.accepts(&["-Q", "-f", "krl", "key-cert.pub"]);
        assert_eq!(!accepted, expected, "ssh-keygen on serial {serial} id {id}");
    }
}

#[test]
fn a_list_for_any_authority_covers_each() {
    let keygen = Keygen::new();
    let (ca, key) = (keygen.ed25519("ca"), keygen.ed25519("key"));
    keygen.write("ids.txt", "id: mallory\nserial: 7\n");
    keygen.run(&["-q", "-k", "-f", "krl", "-s", "NONE", "ids.txt"]);
    let revoked = RevokedKeys::read(&keygen.path("krl")).expect("a valid list");
    for (serial, id, expected) in [(1, "mallory", true), (7, "alice", true), (8, "alice", false)] {
        assert_eq!(
            revoked.certificate(&ca, serial, id, &key),
            expected,
            "serial {serial} id {id}"
        );
        assert_eq!(
            revoked.certificate(&key, serial, id, &ca),
            expected,
            "serial {serial} id {id}"
        );
    }
}

#[test]
fn a_list_that_cannot_be_read_is_an_error() {
    let keygen = Keygen::new();
    let line = keygen.key("key", &["ed25519"]);
    let missing = RevokedKeys::read(&keygen.path("missing")).expect_err("no such file");
    assert!(matches!(missing, RevokedError::Io { .. }));
    #[rustfmt::skip]
    let table = [
        (format!("{line}nonsense\n"),              2),
        (format!("\n\nrestrict {line}"),           3),
        (format!("{line}SHA256:AAAA\n"),           2),
        ("MD5:00:11\n".to_owned(),                 1),
        ("ssh-ed25519 AAAA\n".to_owned(),          1),
        ("ssh-ed25519\n".to_owned(),               1),
        ("SSHKRL\n".to_owned(),                    1),
        ("serial: 1\n".to_owned(),                 1),
    ];
    for (text, expected) in table {
        match RevokedKeys::read(&keygen.write("list", &text)) {
            Err(RevokedError::Line { line, .. }) => assert_eq!(line, expected, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    let krl = RevokedKeys::read(&keygen.write("krl", "SSHKRL\n\0\0\0\0\u{1}")).expect_err("cut short");
    assert!(
        matches!(
            krl,
            RevokedError::Krl {
                source: KrlError::Truncated(_),
                ..
            }
        ),
        "{krl}"
    );
}

#[test]
fn an_empty_list_and_keys_never_accepted_revoke_nothing() {
    let keygen = Keygen::new();
    let short = keygen.key("short", &["rsa", "-b", "1024"]);
    let key = keygen.ed25519("key");
    for text in ["", "# nothing\n", &short, "ssh-dss AAAA\n"] {
        let revoked = RevokedKeys::read(&keygen.write("list", text)).expect(text);
        assert!(!revoked.key(&key), "{text}");
    }
}

/// As `sshd` does with `RevokedKeys`: the key in the certificate is what no longer counts.
#[test]
fn a_certificate_in_a_list_revokes_its_key_and_nobody_elses() {
    let keygen = Keygen::new();
    let ca = keygen.ed25519("ca");
    #[rustfmt::skip]
    let kinds: [(&str, &[&str]); 4] = [
        ("ed25519", &["ed25519"]),
        ("ecdsa",   &["ecdsa", "-b", "256"]),
        ("p521",    &["ecdsa", "-b", "521"]),
        ("rsa",     &["rsa", "-b", "2048"]),
    ];
    let other = keygen.ed25519("other");
    for (name, kind) in kinds {
        let key = blob(&keygen.key(name, kind));
        keygen.run(&[
            "-q",
            "-s",
            "ca",
            "-I",
            "id",
            "-z",
            "7",
            "-n",
            "u",
            &format!("{name}.pub"),
        ]);
        let certificate = read(&keygen.path(&format!("{name}-cert.pub")));
        let revoked = RevokedKeys::read(&keygen.write("list", &format!("# left\n\n{certificate}"))).expect(name);
        assert!(revoked.certificate(&ca, 7, "id", &key), "{name}: the certificate");
        assert!(revoked.key(&key), "{name}: its key");
        assert!(
            !revoked.certificate(&ca, 7, "id", &other),
            "{name}: another's certificate"
        );
        assert!(!revoked.key(&ca), "{name}: the authority");
    }
}

#[test]
fn a_certificate_in_a_list_that_cannot_be_read_is_an_error() {
    let keygen = Keygen::new();
    keygen.ed25519("ca");
    keygen.ed25519("key");
    keygen.run(&["-q", "-s", "ca", "-I", "id", "-n", "u", "key.pub"]);
    let certificate = read(&keygen.path("key-cert.pub"));
    let cut: String = certificate.chars().take(90).collect();
    #[rustfmt::skip]
    let table = [
        (cut.as_str(),                                        "line 1"),
        ("ssh-ed25519-cert-v01@openssh.com",                  "line 1"),
        ("ssh-ed25519-cert-v01@openssh.com AAAA",             "middle of a field"),
        ("ssh-ed25519-cert-v01@openssh.com ?",                "base64"),
        ("ssh-ed448-cert-v01@openssh.com AAAAHnNzaC1lZDQ0OC1jZXJ0LXYwMUBvcGVuc3NoLmNvbQ==", "ssh-ed448"),
    ];
    for (text, named) in table {
        let refused = RevokedKeys::read(&keygen.write("list", text))
            .expect_err(text)
            .to_string();
        assert!(refused.contains(named), "{text}: {refused}");
    }
}

//! What a login gives after the configuration, a key file or the list of revoked keys has changed.

use std::path::Path;

use super::*;
use crate::auth::{KeyBlob, Presented, parse_line};
use crate::config;
use crate::request::Certificate;

const ALICE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINeq1q2UHWOiofHWo3o7mlNRgIcRSGImWFtTdN+oza4v";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOlc7FeycKdFzxABJSglaP2svMguZNJ9FMjMO9IcrfeN";
const CA: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFazxweXFmS910yPeJG8MmojgY3VWxclGe9G0qZzLDo2";
const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$Zm9yIG5vYm9keSwgb25seSB0byBjb3N0IHRoZSBzYW1l";
const HASH_OF_ANOTHER: &str =
    "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx1$Zm9yIG5vYm9keSwgb25seSB0byBjb3N0IHRoZSBzYW1l";

const POLICY: &str = "[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n";

fn key(line: &str) -> KeyBlob {
    parse_line(line).unwrap().unwrap().key
}

/// The accounts of a configuration in `folder`, of which the tables besides the policy are given.
fn accounts(folder: &Path, text: &str) -> Arc<Accounts> {
    let file = folder.join("portreeve.toml");
    let text = format!("{POLICY}{text}");
    let config = config::parse(&text, &file).unwrap_or_else(|faults| panic!("{faults}"));
    let accounts = Accounts::new(&config, &file);
    Arc::new(accounts.unwrap_or_else(|faults| panic!("{faults:?}")))
}

fn alice(lines: &str) -> String {
    format!("[[user]]\nname = \"alice\"\n{lines}\n")
}

fn by_key(accounts: &Arc<Accounts>) -> Arc<Standing> {
    let admitted = accounts.judge("alice", &Proof::Key(key(ALICE)), client()).unwrap();
    Arc::new(Standing::new(admitted, client(), Arc::downgrade(accounts)))
}

fn client() -> IpAddr {
    [127, 0, 0, 1].into()
}

fn certificate() -> Presented {
    Presented {
        certificate: Certificate {
            key_id: "the test".to_owned(),
            serial: 7,
            issuer: key(CA).fingerprint(),
            principals: vec!["alice".to_owned()],
            valid_after: 0,
            valid_before: u64::MAX,
            critical_options: Vec::new(),
            extensions: vec![("permit-port-forwarding".to_owned(), String::new())],
        },
        key: key(ALICE),
        authority: key(CA),
        signed_with: "ssh-ed25519".to_owned(),
    }
}

/// In one word, what asking again came to.
fn word(answer: &Recheck) -> &'static str {
    match answer {
        Recheck::Stands(false) => "same",
        Recheck::Stands(true) => "changed",
        Recheck::Gone(_) => "gone",
        Recheck::Unsure(_) => "unsure",
    }
}

#[tokio::test]
async fn a_login_by_key_follows_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let listed = format!("authorized-keys = [\"{ALICE}\"]");
    let before = accounts(folder.path(), &alice(&format!("groups = [\"dba\"]\n{listed}")));
    #[rustfmt::skip]
    let table = [
        // the configuration now                                                        the login
        (alice(&format!("groups = [\"dba\"]\n{listed}")),                               "same"),
        (alice(&format!("groups = [\"web\"]\n{listed}")),                               "changed"),
        (alice(&listed),                                                                "changed"),
        (alice(&format!("groups = [\"dba\"]\nclaims = {{ team = \"x\" }}\n{listed}")),  "changed"),
        (alice(&format!("groups = [\"dba\"]\nauthorized-keys = ['restrict {ALICE}']")), "changed"),
        (alice(&format!("groups = [\"dba\"]\nauthorized-keys = ['permitopen=\"db:1\" {ALICE}']")), "changed"),
        (alice(&format!("groups = [\"dba\"]\nauthorized-keys = ['no-pty {ALICE}']")),   "same"),
        (alice(&format!("groups = [\"dba\"]\nauthorized-keys = [\"{OTHER}\", \"{ALICE}\"]")), "same"),
        (alice(&format!("authorized-keys = [\"{OTHER}\"]")),                            "gone"),
        (alice(&format!("authorized-keys = ['from=\"10.0.0.0/8\" {ALICE}']")),          "gone"),
        (alice(&format!("authorized-keys = ['expiry-time=\"20200101\" {ALICE}']")),     "gone"),
        (alice(&format!("authorized-keys = ['cert-authority {ALICE}']")),               "gone"),
        (alice("password-hash = \"$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$Zm9yIG5vYm9keSwgb25seSB0byBjb3N0IHRoZSBzYW1l\""), "gone"),
        (format!("[[user]]\nname = \"bob\"\n{listed}"),                                 "gone"),
        (String::new(),                                                                 "gone"),
    ];
    for (text, expected) in table {
        let standing = by_key(&before);
        let now = accounts(folder.path(), &text);
        assert!(!standing.is_current(&now));
        let answer = standing.ask(&now).await;
        assert_eq!(word(&answer), expected, "{text}: {answer:?}");
        assert_eq!(standing.is_current(&now), expected != "gone", "{text}");
        if expected == "same" {
            let rights = by_key(&now).rights();
            assert_eq!(standing.rights().principal, rights.principal);
        }
    }
}

#[tokio::test]
async fn a_login_follows_key_files_and_the_list_of_revoked_keys() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    #[rustfmt::skip]
    let table = [
        // the key file                       the list of revoked keys   the login
        (ALICE.to_owned(),                    String::new(),             "same"),
        (format!("{OTHER}\n{ALICE}"),         OTHER.to_owned(),          "same"),
        (format!("no-port-forwarding {ALICE}"), String::new(),           "changed"),
        (OTHER.to_owned(),                    String::new(),             "gone"),
        (String::new(),                       String::new(),             "gone"),
        (format!("unheard-of {ALICE}"),       String::new(),             "gone"),
        (ALICE.to_owned(),                    ALICE.to_owned(),          "gone"),
        (ALICE.to_owned(),                    key(ALICE).fingerprint(),  "gone"),
        (ALICE.to_owned(),                    "nonsense".to_owned(),     "unsure"),
    ];
    for (keys, revoked, expected) in table {
        write("alice", ALICE);
        write("revoked", "");
        let accounts = accounts(
            folder.path(),
            "[auth]\nauthorized-keys = [\"%u\"]\nrevoked-keys = \"revoked\"",
        );
        let standing = by_key(&accounts);
        write("alice", &keys);
        write("revoked", &revoked);
        let answer = standing.ask_again(&accounts).await;
        assert_eq!(word(&answer), expected, "{keys} {revoked}: {answer:?}");
        assert_eq!(standing.is_in_doubt(), expected == "unsure");
    }
}

#[tokio::test]
async fn a_login_by_certificate_follows_authorities_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let tables = "[auth]\ntrusted-user-ca-keys = [\"ca\"]\nrevoked-keys = \"revoked\"";
    #[rustfmt::skip]
    let table = [
        // authorities              revoked            valid before  the login
        (CA.to_owned(),             String::new(),     u64::MAX,     "same"),
        (format!("{OTHER}\n{CA}"),  String::new(),     u64::MAX,     "same"),
        (OTHER.to_owned(),          String::new(),     u64::MAX,     "gone"),
        (CA.to_owned(),             CA.to_owned(),     u64::MAX,     "gone"),
        (CA.to_owned(),             ALICE.to_owned(),  u64::MAX,     "gone"),
        (CA.to_owned(),             String::new(),     1,            "gone"),
    ];
    for (authorities, revoked, valid_before, expected) in table {
        write("ca", CA);
        write("revoked", "");
        let before = accounts(folder.path(), tables);
        let proof = Proof::Certificate(Box::new(certificate()));
        let mut admitted = before.judge("alice", &proof, client()).unwrap();
        if let Proof::Certificate(presented) = &mut admitted.proof {
            presented.certificate.valid_before = valid_before;
        }
        let standing = Arc::new(Standing::new(admitted, client(), Arc::downgrade(&before)));
        write("ca", &authorities);
        write("revoked", &revoked);
        let now = Arc::new(before.with_authorities_again().unwrap());
        let answer = standing.ask(&now).await;
        assert_eq!(word(&answer), expected, "{authorities} {revoked}: {answer:?}");
    }
}

#[tokio::test]
async fn a_login_by_password_lasts_as_long_as_its_hash() {
    let folder = tempfile::tempdir().unwrap();
    let before = accounts(folder.path(), &alice(&format!("password-hash = \"{HASH}\"")));
    #[rustfmt::skip]
    let table = [
        (alice(&format!("password-hash = \"{HASH}\"")),                           "same"),
        (alice(&format!("groups = [\"x\"]\npassword-hash = \"{HASH}\"")),         "changed"),
        (alice(&format!("password-hash = \"{HASH_OF_ANOTHER}\"")),                "gone"),
        (alice(""),                                                               "gone"),
        (String::new(),                                                           "gone"),
    ];
    let configured = config::parse(
        &format!("{POLICY}{}", alice(&format!("password-hash = \"{HASH}\""))),
        folder.path(),
    );
    let password = Proof::Password(configured.unwrap().users[0].password_hash.clone().unwrap());
    for (text, expected) in table {
        let admitted = before.judge("alice", &password, client()).unwrap();
        let standing = Arc::new(Standing::new(admitted, client(), Arc::downgrade(&before)));
        let answer = standing.ask(&accounts(folder.path(), &text)).await;
        assert_eq!(word(&answer), expected, "{text}: {answer:?}");
    }
}

#[test]
fn of_two_configurations_both_must_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let old = accounts(
        folder.path(),
        &alice(&format!(
            "groups = [\"a\"]\nauthorized-keys = ['permitopen=\"db:1\" {ALICE}']"
        )),
    );
    #[rustfmt::skip]
    let table = [
        // the new configuration                                                     alice's key  another key  bob
        (alice(&format!("authorized-keys = [\"{ALICE}\", \"{OTHER}\"]")),            true,        false,       false),
        (alice(&format!("authorized-keys = [\"{OTHER}\"]")),                         false,       false,       false),
        (format!("[[user]]\nname = \"bob\"\nauthorized-keys = [\"{ALICE}\"]"),       false,       false,       false),
    ];
    for (text, own, another, bob) in table {
        let narrowed = accounts(folder.path(), &text).narrowed_by(&old);
        let enters = |user: &str, line: &str| narrowed.judge(user, &Proof::Key(key(line)), client()).is_ok();
        assert_eq!(
            (enters("alice", ALICE), enters("alice", OTHER), enters("bob", ALICE)),
            (own, another, bob),
            "{text}"
        );
    }
    let text = alice(&format!(
        "groups = [\"b\"]\nauthorized-keys = ['permitopen=\"db:1\",permitopen=\"db:2\" {ALICE}']"
    ));
    let narrowed = accounts(folder.path(), &text).narrowed_by(&old);
    let admitted = narrowed.judge("alice", &Proof::Key(key(ALICE)), client()).unwrap();
    assert_eq!(admitted.principal.groups, ["b"], "groups are those of now");
    assert!(admitted.limits.connect_tcp("db", 1).is_ok());
    assert!(
        admitted.limits.connect_tcp("db", 2).is_err(),
        "the old line permits one destination"
    );
}

#[tokio::test]
async fn what_a_new_request_finds_out_is_still_to_be_judged() {
    let folder = tempfile::tempdir().unwrap();
    let with_group = |group: &str| {
        let lines = format!("groups = [\"{group}\"]\nauthorized-keys = [\"{ALICE}\"]");
        accounts(folder.path(), &alice(&lines))
    };
    let before = with_group("dba");
    let standing = by_key(&before);
    assert!(!standing.is_to_be_judged(), "nothing was open before");
    let now = with_group("web");
    // A request comes first.
    assert_eq!(standing.ask(&now).await, Recheck::Stands(true));
    assert_eq!(
        standing.ask_again(&now).await,
        Recheck::Stands(false),
        "whoever asks next hears nothing new"
    );
    assert!(standing.is_to_be_judged());
    assert!(standing.takes_up_judging(), "and judges what is open all the same");
    assert!(!standing.takes_up_judging(), "once");
    assert_eq!(standing.ask_again(&with_group("web")).await, Recheck::Stands(false));
    assert!(!standing.is_to_be_judged(), "nothing changed");
}

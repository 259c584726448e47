//! Who is let in and, in the words of the log, why not.

use std::path::Path;

use super::*;
use crate::auth::parse_line;
use crate::config;

const ALICE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINeq1q2UHWOiofHWo3o7mlNRgIcRSGImWFtTdN+oza4v";
const OTHER: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOlc7FeycKdFzxABJSglaP2svMguZNJ9FMjMO9IcrfeN";
const HASH: &str = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$Zm9yIG5vYm9keSwgb25seSB0byBjb3N0IHRoZSBzYW1l";

fn key(line: &str) -> KeyBlob {
    parse_line(line).unwrap().unwrap().key
}

fn accounts(folder: &Path, text: &str) -> Accounts {
    let text = format!("{text}\n[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n");
    let file = folder.join("portreeve.toml");
    let config = config::parse(&text, &file).unwrap_or_else(|faults| panic!("{faults}"));
    Accounts::new(&config, &file).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn alice(lines: &str) -> String {
    format!("[[user]]\nname = \"alice\"\n{lines}\n")
}

fn listed(options: &str) -> String {
    alice(&format!("authorized-keys = ['''{options} {ALICE}''']"))
}

/// What the accounts of this configuration say to alice's key; the files of the folder are part of it.
fn says(folder: &Path, text: &str, user: &str) -> Result<Admitted, NotIn> {
    let client = [127, 0, 0, 1].into();
    accounts(folder, text).judge(user, &Proof::Key(key(ALICE)), client)
}

#[test]
fn each_reason_has_a_case_and_the_words_of_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let revoked = "[auth]\nrevoked-keys = \"revoked\"\n";
    std::fs::write(folder.path().join("revoked"), ALICE).unwrap();
    let name = "n".repeat(256);
    let long = format!("the user name has {} bytes, more than 255", name.len());
    let credential = |refusal: Refusal| Refused::Credential(refusal);
    #[rustfmt::skip]
    let table = [
        // the configuration                        the user   why not                                         in words
        (alice(""),                                 "alice",   credential(Refusal::NotListed),                 "the key is not listed for this user"),
        (listed(""),                                "bob",     credential(Refusal::NotListed),                 "the key is not listed for this user"),
        (listed("cert-authority"),                  "alice",   credential(Refusal::NotListed),                 "the key is not listed for this user"),
        (format!("{revoked}{}", listed("")),        "alice",   Refused::KeyRevoked,                            "the key is revoked"),
        (listed(""),                                &name,     Refused::Name { bytes: 256 },                   &long),
    ];
    for (text, user, case, words) in table {
        let Err(NotIn::Refused(refused)) = says(folder.path(), &text, user) else {
            panic!("{text}");
        };
        assert_eq!((refused.to_string().as_str(), &refused), (words, &case), "{text}");
    }
    for (options, begins) in [
        (
            "from=\"10.0.0.0/8\"",
            "this key or certificate may not be used from 127.0.0.1; it is limited to 10.0.0.0/8",
        ),
        ("expiry-time=\"20200101Z\"", "this key expired at 2020-01-01T00:00:00Z"),
    ] {
        let refused = says(folder.path(), &listed(options), "alice").err().unwrap();
        assert_eq!(refused.to_string(), begins, "{options}");
    }
}

#[test]
fn a_password_lets_in_whom_it_belongs_to() {
    let folder = tempfile::tempdir().unwrap();
    let with = accounts(folder.path(), &alice(&format!("password-hash = \"{HASH}\"")));
    let without = accounts(folder.path(), &alice(""));
    let nobody = accounts(folder.path(), "");
    let hash = config::parse(
        &format!(
            "{}[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"",
            alice(&format!("password-hash = \"{HASH}\""))
        ),
        folder.path(),
    );
    let proof = Proof::Password(hash.unwrap().users[0].password_hash.clone().unwrap());
    let judge = |accounts: &Accounts, user: &str| {
        let judged = accounts.judge(user, &proof, [127, 0, 0, 1].into());
        judged
            .map(|admitted| admitted.principal().credential.method.clone())
            .map_err(|error| error.to_string())
    };
    #[rustfmt::skip]
    let table = [
        (&with,     "alice",  Ok("password")),
        (&with,     "bob",    Err("the user is not configured")),
        (&without,  "alice",  Err("the password has changed")),
        (&nobody,   "alice",  Err("the user is not configured")),
    ];
    for (accounts, user, expected) in table {
        let expected = expected.map(str::to_owned).map_err(str::to_owned);
        assert_eq!(judge(accounts, user), expected, "{user}");
    }
    let wrong = with.check_password("alice", "wrong").err().unwrap();
    assert_eq!(wrong, NotIn::Refused(Refused::WrongPassword));
    assert_eq!(wrong.to_string(), "wrong password, or the user has no password");
    assert_eq!(
        with.check_password("nobody", "wrong").err(),
        Some(wrong),
        "who exists does not show"
    );
}

#[test]
fn while_a_new_configuration_waits_both_must_let_in() {
    let folder = tempfile::tempdir().unwrap();
    let old = Arc::new(accounts(
        folder.path(),
        &alice(&format!("authorized-keys = [\"{OTHER}\"]")),
    ));
    let narrowed = accounts(folder.path(), &listed("")).narrowed_by(&old);
    let refused = narrowed
        .judge("alice", &Proof::Key(key(ALICE)), [127, 0, 0, 1].into())
        .err()
        .unwrap();
    let inner = Box::new(Refused::Credential(Refusal::NotListed));
    assert_eq!(refused, NotIn::Refused(Refused::NotYet(inner)));
    assert_eq!(
        refused.to_string(),
        "the new configuration lets this user in once its policies are in force; until then: the key is not listed for this user"
    );
}

#[test]
fn a_list_that_cannot_be_read_refuses_every_login_and_is_no_denial() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("revoked"), "").unwrap();
    let text = format!("[auth]\nrevoked-keys = \"revoked\"\n{}", listed(""));
    let accounts = accounts(folder.path(), &text);
    let judge = || accounts.judge("alice", &Proof::Key(key(ALICE)), [127, 0, 0, 1].into());
    assert!(judge().is_ok());
    std::fs::write(folder.path().join("revoked"), "nonsense").unwrap();
    let Err(NotIn::Unsure(words)) = judge() else {
        panic!("it was decided")
    };
    assert!(words.starts_with("every login is refused: "), "{words}");
}

#[test]
fn what_is_known_of_a_user_comes_from_the_configuration_alone() {
    let folder = tempfile::tempdir().unwrap();
    let text = alice(&format!(
        "groups = [\"dba\"]\nclaims = {{ team = \"payments\" }}\nauthorized-keys = [\"{ALICE}\"]"
    ));
    let admitted = says(folder.path(), &text, "alice").ok().unwrap();
    let principal = admitted.principal();
    assert_eq!(
        (principal.user.as_str(), principal.groups.as_slice()),
        ("alice", &["dba".to_owned()][..])
    );
    assert_eq!(
        principal.claims,
        [("team".to_owned(), Fact::Text("payments".to_owned()))]
    );
    assert_eq!(principal.credential.fingerprint, Some(key(ALICE).fingerprint()));
}

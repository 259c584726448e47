//! Which keys and certificates let in, and with what rights.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::auth::line::parse_line;

/// A key of this kind, told from others by its number.
fn key(kind: &str, number: u8) -> KeyBlob {
    let string = |bytes: &[u8]| [&(bytes.len() as u32).to_be_bytes(), bytes].concat();
    let point = [&[4][..], &[number; 64]].concat();
    let fields: &[&[u8]] = match kind {
        "sk-ssh-ed25519@openssh.com" => &[&[number; 32], b"ssh:"],
        "sk-ecdsa-sha2-nistp256@openssh.com" => &[b"nistp256", &point, b"ssh:"],
        _ => &[&[number; 32]],
    };
    let bytes = fields
        .iter()
        .fold(string(kind.as_bytes()), |all, field| [all, string(field)].concat());
    KeyBlob::from_bytes(&bytes).expect(kind)
}

fn plain(number: u8) -> KeyBlob {
    key("ssh-ed25519", number)
}

fn fido(number: u8) -> KeyBlob {
    key("sk-ssh-ed25519@openssh.com", number)
}

fn line(options: &str, key: &KeyBlob) -> KeyLine {
    let text = format!("{options} {} {}", key.algorithm(), STANDARD.encode(key.as_bytes()));
    parse_line(text.trim()).expect(&text).expect(&text)
}

fn visitor<'a>() -> Visitor<'a> {
    Visitor {
        user: "alice",
        client: IpAddr::from([10, 0, 0, 1]),
        now: "2030-01-01T00:00:00Z".parse().expect("a time"),
    }
}

/// What a certificate of the authority 9 for `key` says: principals, critical options, extensions; each list with commas.
fn certificate(key: KeyBlob, principals: &str, critical: &str, extensions: &str) -> Presented {
    let list = |text: &str| -> Vec<String> {
        text.split(',')
            .filter(|word| !word.is_empty())
            .map(str::to_owned)
            .collect()
    };
    let pairs = |text: &str| -> Vec<(String, String)> {
        list(text)
            .into_iter()
            .map(|word| match word.split_once('=') {
                Some((name, value)) => (name.to_owned(), value.to_owned()),
                None => (word, String::new()),
            })
            .collect()
    };
    Presented {
        certificate: Certificate {
            key_id: "the test".to_owned(),
            serial: 7,
            issuer: plain(9).fingerprint(),
            principals: list(principals),
            valid_after: 0,
            valid_before: u64::MAX,
            critical_options: pairs(critical),
            extensions: pairs(extensions),
        },
        key,
        authority: plain(9),
        signed_with: "ssh-ed25519".to_owned(),
    }
}

/// The answer in one word, and whether port 5432 of `db` may be reached.
fn told(answer: Result<Permitted, Refusal>) -> String {
    match answer {
        Ok(permitted) if permitted.limits.connect_tcp("db", 5432).is_ok() => "in".to_owned(),
        Ok(_) => "in, not to db".to_owned(),
        Err(refusal) => refusal.to_string(),
    }
}

#[test]
fn each_line_of_a_key_is_tried_and_the_first_that_permits_counts() {
    #[rustfmt::skip]
    let table: &[(&[&str], &str)] = &[
        // options of the lines of this key                                   the answer
        (&[],                                                                 "not listed"),
        (&[""],                                                               "in"),
        (&["cert-authority"],                                                 "not listed"),
        (&["cert-authority", ""],                                             "in"),
        (&["from=\"10.0.0.0/8\""],                                            "in"),
        (&["from=\"11.0.0.0/8\""],                                            "limited to 11.0.0.0/8"),
        (&["from=\"11.0.0.0/8\"", ""],                                        "in"),
        (&["from=\"11.0.0.0/8\"", "restrict"],                                "in, not to db"),
        (&["restrict", ""],                                                   "in, not to db"),
        (&["", "restrict"],                                                   "in"),
        (&["expiry-time=\"20291231Z\""],                                      "expired"),
        (&["expiry-time=\"20291231Z\"", "permitopen=\"db:5432\""],            "in"),
        (&["expiry-time=\"20291231Z\"", "permitopen=\"web:80\""],             "in, not to db"),
        (&["expiry-time=\"99991231\""],                                       "in"),
        // Of several refusals the last is told.
        (&["from=\"11.0.0.0/8\"", "expiry-time=\"20291231Z\""],               "expired"),
        // Both concern FIDO keys only.
        (&["verify-required"],                                                "in"),
        (&["touch-required"],                                                 "in"),
        (&["no-touch-required"],                                              "in"),
    ];
    for (options, expected) in table {
        let lines: Vec<_> = options.iter().map(|options| line(options, &plain(1))).collect();
        let answer = told(admit_key(&plain(1), &lines, &visitor()));
        assert!(answer.contains(expected), "{options:?}: {answer}");
        assert_eq!(
            admit_key(&plain(2), &lines, &visitor()).err(),
            Some(Refusal::NotListed),
            "{options:?}"
        );
    }
}

#[test]
fn a_fido_key_logs_in_only_where_nothing_has_to_be_seen_of_it() {
    #[rustfmt::skip]
    let table: &[(&[&str], &str)] = &[
        (&[""],                                           "cannot verify"),
        (&["touch-required"],                             "cannot verify"),
        (&["no-touch-required"],                          "in"),
        (&["no-touch-required,restrict"],                 "in, not to db"),
        (&["no-touch-required,touch-required"],           "cannot verify"),
        (&["no-touch-required,verify-required"],          "ask for a PIN"),
        (&["verify-required"],                            "ask for a PIN"),
        (&["no-touch-required,no-verify-required"],       "in"),
        // The first line that permits counts, as in OpenSSH.
        (&["", "no-touch-required"],                      "cannot verify"),
        (&["no-touch-required", ""],                      "in"),
        (&["from=\"11.0.0.0/8\"", "no-touch-required"],   "in"),
        (&["cert-authority,no-touch-required"],           "not listed"),
    ];
    for kind in ["sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"] {
        for (options, expected) in table {
            let lines: Vec<_> = options.iter().map(|options| line(options, &key(kind, 1))).collect();
            let answer = told(admit_key(&key(kind, 1), &lines, &visitor()));
            assert!(answer.contains(expected), "{kind} {options:?}: {answer}");
        }
    }
}

#[test]
fn each_line_of_an_authority_is_tried_and_the_first_that_permits_counts() {
    let dev = "cert-authority,principals=\"dev\"";
    let ops = "cert-authority,principals=\"ops\"";
    #[rustfmt::skip]
    let table: &[(&[&str], &[&str], &str, &str)] = &[
        // trusted lines                      lines of the user                             principals   the answer
        (&[],                                 &[],                                          "alice",     "authority is not trusted"),
        (&[],                                 &[""],                                        "alice",     "authority is not trusted"),
        (&[],                                 &["cert-authority"],                          "alice",     "in"),
        (&[],                                 &["cert-authority"],                          "bob,alice", "in"),
        (&[],                                 &["cert-authority"],                          "bob",       "does not list this user"),
        (&[],                                 &["cert-authority"],                          "",          "does not list this user"),
        (&[],                                 &[dev, ops],                                  "dev",       "in"),
        (&[],                                 &[dev, ops],                                  "ops",       "in"),
        (&[],                                 &[dev, ops],                                  "alice",     "does not list this user"),
        (&[],                                 &[ops, "cert-authority"],                     "alice",     "in"),
        (&[],                                 &["cert-authority,principals=\"dev\",restrict", ops],  "ops",   "in"),
        (&[],                                 &["cert-authority,principals=\"dev\",restrict", ops],  "dev",   "in, not to db"),
        (&[],                                 &["cert-authority,principals=\"dev\",restrict", ops],  "dev,ops", "in, not to db"),
        (&[],                                 &["cert-authority,from=\"11.0.0.0/8\"", "cert-authority"], "alice", "in"),
        (&[],                                 &["cert-authority,from=\"11.0.0.0/8\""],      "alice",     "limited to 11.0.0.0/8"),
        (&[],                                 &["cert-authority,expiry-time=\"20291231Z\""], "alice",    "expired"),
        (&["cert-authority"],                 &[],                                          "alice",     "in"),
        (&["cert-authority"],                 &[],                                          "dev",       "does not list this user"),
        (&["cert-authority"],                 &[dev],                                       "dev",       "in"),
        (&["cert-authority"],                 &["cert-authority,restrict"],                 "alice",     "in"),
        (&["cert-authority,restrict"],        &["cert-authority"],                          "alice",     "in, not to db"),
        (&["cert-authority,permitopen=\"web:80\""], &[],                                    "alice",     "in, not to db"),
        (&["cert-authority,permitopen=\"db:5432\""], &[],                                   "alice",     "in"),
        (&["cert-authority,from=\"11.0.0.0/8\""], &[],                                      "alice",     "limited to 11.0.0.0/8"),
        (&["cert-authority,from=\"11.0.0.0/8\""], &["cert-authority"],                      "alice",     "in"),
        (&["cert-authority,from=\"11.0.0.0/8\"", "cert-authority"], &[],                    "alice",     "in"),
        (&["cert-authority,expiry-time=\"20291231Z\""], &[],                                "alice",     "expired"),
    ];
    for (trusted, lines, principals, expected) in table {
        let of = |options: &[&str]| -> Vec<_> { options.iter().map(|options| line(options, &plain(9))).collect() };
        let presented = certificate(plain(1), principals, "", "permit-port-forwarding");
        let answer = told(admit_certificate(&presented, &of(trusted), || of(lines), &visitor()));
        assert!(
            answer.contains(expected),
            "{trusted:?} {lines:?} {principals}: {answer}"
        );
    }
}

#[test]
fn another_authoritys_lines_count_for_nothing() {
    let lines = [
        line("cert-authority", &plain(8)),
        line("", &plain(9)),
        line("", &plain(1)),
    ];
    let presented = certificate(plain(1), "alice", "", "");
    let answer = admit_certificate(&presented, &lines, || lines.to_vec(), &visitor());
    assert_eq!(answer.err(), Some(Refusal::Authority));
}

#[test]
fn what_a_certificate_says_of_itself_is_kept_to() {
    #[rustfmt::skip]
    let table = [
        // critical options                       extensions                         the answer
        ("",                                      "permit-port-forwarding",          "in"),
        ("",                                      "",                                "in, not to db"),
        ("",                                      "permit-pty,made-up@test",         "in, not to db"),
        ("force-command=/bin/false",              "permit-port-forwarding",          "in"),
        ("source-address=10.0.0.0/8",             "permit-port-forwarding",          "in"),
        ("source-address=11.0.0.0/8",             "permit-port-forwarding",          "limited to 11.0.0.0/8"),
        ("source-address=*",                      "permit-port-forwarding",          "is not valid"),
        ("made-up@test=1",                        "permit-port-forwarding",          "is not supported"),
        ("verify-required",                       "permit-port-forwarding",          "in"),
        ("verify-required,made-up@test",          "permit-port-forwarding",          "is not supported"),
    ];
    for (critical, extensions, expected) in table {
        let presented = certificate(plain(1), "alice", critical, extensions);
        let trusted = [line("cert-authority", &plain(9))];
        let answer = told(admit_certificate(&presented, &trusted, Vec::new, &visitor()));
        assert!(answer.contains(expected), "{critical} {extensions}: {answer}");
    }
}

/// The extension has to permit it, and so has a line of a key file; for an authority of every user the extension is enough
/// unless its line says otherwise. As in OpenSSH.
#[test]
fn a_fido_key_in_a_certificate_logs_in_only_where_both_ask_for_no_touch() {
    #[rustfmt::skip]
    let table = [
        // trusted for all  options               critical           extensions                                   the answer
        (true,              "",                   "",                "permit-port-forwarding",                    "cannot verify"),
        (true,              "",                   "",                "permit-port-forwarding,no-touch-required",  "in"),
        (true,              "no-touch-required",  "",                "permit-port-forwarding",                    "cannot verify"),
        (true,              "no-touch-required",  "",                "permit-port-forwarding,no-touch-required",  "in"),
        (true,              "touch-required",     "",                "permit-port-forwarding,no-touch-required",  "cannot verify"),
        (true,              "verify-required",    "",                "permit-port-forwarding,no-touch-required",  "ask for a PIN"),
        (true,              "",                   "verify-required", "permit-port-forwarding,no-touch-required",  "ask for a PIN"),
        (false,             "",                   "",                "permit-port-forwarding,no-touch-required",  "cannot verify"),
        (false,             "no-touch-required",  "",                "permit-port-forwarding",                    "cannot verify"),
        (false,             "no-touch-required",  "",                "permit-port-forwarding,no-touch-required",  "in"),
        (false,             "no-touch-required",  "verify-required", "permit-port-forwarding,no-touch-required",  "ask for a PIN"),
        (false,             "no-touch-required,verify-required", "", "permit-port-forwarding,no-touch-required",  "ask for a PIN"),
        (false,             "no-touch-required",  "",                "no-touch-required",                         "in, not to db"),
    ];
    for (for_all, options, critical, extensions, expected) in table {
        let comma = if options.is_empty() { "" } else { "," };
        let lines = vec![line(&format!("cert-authority{comma}{options}"), &plain(9))];
        let (trusted, lines) = if for_all {
            (lines, Vec::new())
        } else {
            (Vec::new(), lines)
        };
        let presented = certificate(fido(1), "alice", critical, extensions);
        let answer = told(admit_certificate(&presented, &trusted, || lines.clone(), &visitor()));
        assert!(
            answer.contains(expected),
            "{for_all} {options} {critical} {extensions}: {answer}"
        );
        let presented = certificate(plain(1), "alice", critical, extensions);
        let answer = told(admit_certificate(&presented, &trusted, || lines, &visitor()));
        assert!(answer.starts_with("in"), "a key that is none: {answer}");
    }
}

#[test]
fn a_certificate_is_valid_from_its_first_second_until_before_its_last() {
    let now = u64::try_from(visitor().now.as_second()).expect("after 1970");
    #[rustfmt::skip]
    let table = [
        (0,       u64::MAX,  "in"),
        (now,     now + 1,   "in"),
        (now + 1, u64::MAX,  "not valid before"),
        (0,       now,       "expired at"),
        (0,       0,         "expired at"),
        (u64::MAX, u64::MAX, "not valid before"),
    ];
    for (after, before, expected) in table {
        let mut presented = certificate(plain(1), "alice", "", "permit-port-forwarding");
        (presented.certificate.valid_after, presented.certificate.valid_before) = (after, before);
        let trusted = [line("cert-authority", &plain(9))];
        let answer = told(admit_certificate(&presented, &trusted, Vec::new, &visitor()));
        assert!(answer.contains(expected), "{after} {before}: {answer}");
    }
}

#[test]
fn only_sound_signatures_of_an_authority_count() {
    #[rustfmt::skip]
    let table = [
        ("ssh-ed25519",                         true),
        ("ecdsa-sha2-nistp256",                 true),
        ("ecdsa-sha2-nistp384",                 true),
        ("ecdsa-sha2-nistp521",                 true),
        ("rsa-sha2-256",                        true),
        ("rsa-sha2-512",                        true),
        ("sk-ssh-ed25519@openssh.com",          true),
        ("sk-ecdsa-sha2-nistp256@openssh.com",  true),
        ("ssh-rsa",                             false),
        ("ssh-dss",                             false),
        ("SSH-ED25519",                         false),
        ("",                                    false),
        ("made-up@test",                        false),
    ];
    for (algorithm, sound) in table {
        assert_eq!(is_sound_signature(algorithm), sound, "{algorithm}");
        let mut presented = certificate(plain(1), "alice", "", "permit-port-forwarding");
        presented.signed_with = algorithm.to_owned();
        let trusted = [line("cert-authority", &plain(9))];
        let answer = admit_certificate(&presented, &trusted, Vec::new, &visitor());
        assert_eq!(answer.is_ok(), sound, "{algorithm}");
    }
}

#[test]
fn what_is_permitted_ends_with_the_first_of_its_ends() {
    let at = |text: &str| text.parse::<Timestamp>().expect(text);
    #[rustfmt::skip]
    let table = [
        // the certificate's end   options of the line                                until
        (u64::MAX,                 "cert-authority",                                  None),
        (u64::MAX - 1,             "cert-authority",                                  None),
        (1_900_000_000,            "cert-authority",                                  Some("2030-03-17T17:46:40Z")),
        (1_900_000_000,            "cert-authority,expiry-time=\"20400101Z\"",        Some("2030-03-17T17:46:40Z")),
        (1_900_000_000,            "cert-authority,expiry-time=\"20300201Z\"",        Some("2030-02-01T00:00:00Z")),
        (u64::MAX,                 "cert-authority,expiry-time=\"20300201Z\"",        Some("2030-02-01T00:00:00Z")),
    ];
    for (end, options, until) in table {
        let mut presented = certificate(plain(1), "alice", "", "");
        presented.certificate.valid_before = end;
        let trusted = [line(options, &plain(9))];
        let permitted = admit_certificate(&presented, &trusted, Vec::new, &visitor()).expect(options);
        assert_eq!(permitted.until, until.map(at), "{end} {options}");
    }
    let lines = [line("expiry-time=\"20300201Z\"", &plain(1))];
    let permitted = admit_key(&plain(1), &lines, &visitor()).expect("a key");
    assert_eq!(permitted.until, Some(at("2030-02-01T00:00:00Z")));
}

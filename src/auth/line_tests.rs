//! The lines of `authorized_keys` and their options.

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;

use super::*;
use crate::auth::options::Touch;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";

fn parsed(line: &str) -> KeyLine {
    parse_line(line).expect(line).expect(line)
}

fn with(options: &str) -> KeyOptions {
    parsed(&format!("{options} {KEY} someone")).options
}

fn void(line: &str) -> LineError {
    parse_line(line).expect_err(line)
}

#[test]
fn blank_lines_and_comments_are_no_keys() {
    for line in ["", "   ", "\t", "# ssh-ed25519", "  # x", "\r", "\n"] {
        assert!(parse_line(line).expect(line).is_none(), "{line:?}");
    }
}

#[test]
fn a_line_is_options_key_and_comment() {
    for (line, comment) in [
        (KEY.to_owned(), ""),
        (format!("  {KEY} me@host  and more \r"), "me@host  and more"),
        (format!("restrict\t \t{KEY}\tx"), "x"),
        (
            format!("command=\"echo \\\"a b\\\", c\",pty {KEY} # not a comment mark"),
            "# not a comment mark",
        ),
    ] {
        let line = parsed(&line);
        assert_eq!((line.key.algorithm(), line.comment.as_str()), ("ssh-ed25519", comment));
    }
}

#[test]
fn flags_apply_from_left_to_right() {
    #[rustfmt::skip]
    let table = [
        // options                                      may forward
        ("pty",                                         true),
        ("no-port-forwarding",                          false),
        ("No-Port-Forwarding",                          false),
        ("restrict",                                    false),
        ("restrict,port-forwarding",                    true),
        ("RESTRICT,Port-Forwarding",                    true),
        ("port-forwarding,restrict",                    false),
        ("no-port-forwarding,port-forwarding",          true),
        ("restrict,pty,agent-forwarding",               false),
        ("restrict,permitopen=\"*:*\"",                 false),
    ];
    for (options, forwards) in table {
        let limits = with(options).limits();
        assert_eq!(limits.connect_tcp("db", 5432).is_ok(), forwards, "{options}");
        assert_eq!(limits.listen_socket().is_ok(), forwards, "{options}");
    }
}

#[test]
fn options_about_what_this_server_never_does_are_accepted() {
    let options = "no-agent-forwarding,no-pty,no-user-rc,no-X11-forwarding,agent-forwarding,pty,user-rc,X11-forwarding,\
        no-touch-required,touch-required,no-verify-required,command=\"id\",environment=\"A_1=b\",environment=\"A_1=c\",\
        tunnel=\"0\",tunnel=\"any\"";
    let limits = with(options).limits();
    assert_eq!(limits.connect_tcp("db", 1), Ok(()));
    assert_eq!(limits.listen_tcp("", 0), Ok(()));
}

#[test]
fn permits_are_listed_one_option_each() {
    let limits =
        with(r#"permitopen="db:5432",PermitOpen="[::1]:80",permitlisten="8080",permitlisten="localhost:*""#).limits();
    assert!(limits.connect_tcp("db", 5432).is_ok() && limits.connect_tcp("::1", 80).is_ok());
    assert_eq!(limits.connect_tcp("db", 80).expect_err("not listed").code, "permitopen");
    assert!(limits.listen_tcp("", 8080).is_ok() && limits.listen_tcp("localhost", 0).is_ok());
    assert_eq!(limits.listen_tcp("", 0).expect_err("not listed").code, "permitlisten");
}

#[test]
fn the_earliest_expiry_and_every_from_apply() {
    let options = with(r#"expiry-time="20300101Z",expiry-time="20290101Z",expiry-time="20310101Z",from="10.0.0.0/8""#);
    let inside = IpAddr::from(Ipv4Addr::new(10, 0, 0, 1));
    let at = |text: &str| text.parse::<Timestamp>().expect(text);
    #[rustfmt::skip]
    let table = [
        (inside,                              "2028-12-31T23:59:59Z", true),
        (inside,                              "2029-01-01T00:00:00Z", true),
        (inside,                              "2029-01-01T00:00:01Z", false),
        (Ipv4Addr::new(11, 0, 0, 1).into(),   "2028-12-31T23:59:59Z", false),
    ];
    for (client, now, admitted) in table {
        assert_eq!(options.admits(client, at(now)).is_ok(), admitted, "{client} at {now}");
    }
    assert_eq!(KeyOptions::default().admits(inside, at("2999-01-01T00:00:00Z")), Ok(()));
}

#[test]
fn principals_replace_the_user_name() {
    #[rustfmt::skip]
    let table: [(&str, &[&str], bool); 7] = [
        ("cert-authority",                         &["alice"],          true),
        ("cert-authority",                         &["bob", "alice"],   true),
        ("cert-authority",                         &["bob"],            false),
        ("cert-authority",                         &[],                 false),
        ("cert-authority,principals=\"ops,dba\"",  &["dba"],            true),
        ("principals=\"ops,dba\",cert-authority",  &["alice"],          false),
        ("cert-authority,principals=\"ops,dba\"",  &[],                 false),
    ];
    for (options, principals, admitted) in table {
        let options = with(options);
        assert!(options.cert_authority);
        assert_eq!(
            options.admits_principal("alice", principals),
            admitted,
            "{options:?} {principals:?}"
        );
    }
}

#[test]
fn one_option_that_does_not_hold_makes_the_line_void() {
    #[rustfmt::skip]
    let table = [
        // options                               what the error names
        ("permit-open=\"db:1\"",                 "column 1: unknown option `permit-open=`"),
        ("restrict,restricted",                  "column 10: unknown option `restricted`"),
        ("no-restrict",                          "unknown option `no-restrict`"),
        ("no-cert-authority",                    "unknown option `no-cert-authority`"),
        ("restrict=\"yes\"",                     "unknown option `restrict=`"),
        ("pty\"x\"",                             "unknown option"),
        ("no-from=\"*\"",                        "unknown option `no-from=`"),
        (",restrict",                            "column 1: expected an option"),
        ("restrict,",                            "column 10: expected an option"),
        ("restrict,,pty",                        "column 10: expected an option"),
        ("permitopen",                           "column 1: `permitopen` needs a value"),
        ("pty,permitopen=db:1",                  "column 16: `permitopen` needs a value"),
        ("from=\"10.0.0.1\"x",                   "`from` needs a value"),
        ("from=\"10.0.0.1",                      "column 6: the value of `from` has no closing quote"),
        ("from=\"10.0.0.1\\\"",                  "no closing quote"),
        ("from=\"*\",from=\"*\"",                "column 10: `from` may be given only once"),
        ("command=\"a\",command=\"a\"",          "`command` may be given only once"),
        ("cert-authority,principals=\"a\",principals=\"a\"", "`principals` may be given only once"),
        ("from=\"\"",                            "`from=\"\"` cannot be used"),
        ("from=\"10.0.0.1/8\"",                  "bits beyond its prefix"),
        ("from=\"*,!evil.example\"",             "would have no effect"),
        ("from=\"\u{fffd}\"",                    "UTF-8"),
        ("expiry-time=\"tomorrow\"",             "YYYYMMDD"),
        ("permitopen=\"db\"",                    "`host:port`"),
        ("permitopen=\"db:0\"",                  "1 to 65535"),
        ("permitopen=\"db:1-2\"",                "number from 1 to 65535"),
        ("permitopen=\"db:1,web:1\"",            "number from 1 to 65535"),
        ("permitlisten=\"localhost\"",           "number from 1 to 65535"),
        ("permitlisten=\"0\"",                   "1 to 65535"),
        ("environment=\"A\"",                    "NAME=value"),
        ("environment=\"A-B=c\"",                "NAME=value"),
        ("tunnel=\"x\"",                         "device number"),
        ("principals=\"a\"",                     "add `cert-authority`"),
        ("cert-authority,principals=\"\"",       "at least one principal"),
        ("cert-authority,principals=\"a,,b\"",   "at least one principal"),
        ("expiry-time=\"20300230\"",             "no such date"),
        ("expiry-time=\"19691231\"",             "after 1970"),
        ("no-touch-required=\"yes\"",            "unknown option `no-touch-required=`"),
    ];
    for (options, named) in table {
        let error = void(&format!("{options} {KEY} x")).to_string();
        assert!(error.contains(named), "{options}: {error}");
    }
}

#[test]
fn the_last_word_on_touch_and_verification_counts() {
    #[rustfmt::skip]
    let table = [
        // options                                touch                 verification
        ("pty",                                   Touch::Unsaid,        false),
        ("touch-required",                        Touch::Required,      false),
        ("no-touch-required",                     Touch::NotRequired,   false),
        ("No-Touch-Required",                     Touch::NotRequired,   false),
        ("no-touch-required,touch-required",      Touch::Required,      false),
        ("touch-required,no-touch-required",      Touch::NotRequired,   false),
        ("restrict,no-touch-required",            Touch::NotRequired,   false),
        ("no-touch-required,restrict",            Touch::NotRequired,   false),
        ("verify-required",                       Touch::Unsaid,        true),
        ("no-verify-required,verify-required",    Touch::Unsaid,        true),
        ("verify-required,no-verify-required",    Touch::Unsaid,        false),
        ("no-touch-required,verify-required",     Touch::NotRequired,   true),
    ];
    for (options, touch, verification) in table {
        let found = with(options);
        assert_eq!((found.touch, found.verify_required), (touch, verification), "{options}");
    }
}

#[test]
fn more_permits_than_openssh_takes_make_the_line_void() {
    let many = |count: usize| vec!["permitopen=\"a:1\""; count].join(",");
    assert_eq!(with(&many(4096)).permit_open.len(), 4096);
    assert!(
        void(&format!("{} {KEY}", many(4097)))
            .to_string()
            .contains("at most 4096")
    );
}

#[test]
fn a_key_that_does_not_hold_makes_the_line_void() {
    let base64 = KEY.strip_prefix("ssh-ed25519 ").expect("the type");
    #[rustfmt::skip]
    let table = [
        ("ssh-ed25519".to_owned(),                              "column 12: expected a public key"),
        ("restrict".to_owned(),                                 "column 9: expected a public key"),
        (format!("restrict  {base64}"),                         "column 11: key type `AAAA"),
        (format!("{base64} x"),                                 "unknown option `AAAA"),
        (format!("ssh-rsa {base64} x"),                         "column 9: the line says `ssh-rsa`, but its key is `ssh-ed25519`"),
        (format!("restrict ssh-dss {base64}"),                  "column 10: DSA keys"),
        (format!("ssh-dss {base64}"),                           "DSA keys"),
        (format!("ssh-ed448 {base64}"),                         "key type `ssh-ed448` is not accepted"),
        (format!("rsa-sha2-256 {base64}"),                      "key type `rsa-sha2-256` is not accepted"),
        (format!("SSH-ED25519 {base64}"),                       "unknown option"),
        (format!("ssh-ed25519-cert-v01@openssh.com {base64}"),  "is a certificate"),
        (format!("ssh-ed25519 {base64}AAAA"),                   "3 bytes after the end"),
        (format!("ssh-ed25519 {base64}A"),                      "not valid base64"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5".to_owned(),         "in the middle of a field"),
    ];
    for (line, named) in table {
        let error = void(&line).to_string();
        assert!(error.contains(named), "{line}: {error}");
    }
}

#[test]
fn columns_count_characters() {
    let error = void(&format!("command=\"grüße\",nonsense {KEY}"));
    assert_eq!(
        error,
        LineError::UnknownOption {
            option: "nonsense".into(),
            column: 17
        }
    );
}

#[test]
fn a_file_keeps_its_good_lines_and_numbers_the_void_ones() {
    let text = format!("\u{feff}# keys\r\n{KEY} one\r\n\r\nnonsense {KEY} two\r\nrestrict {KEY} three\r\nssh-dss x");
    let (keys, void) = parse_file(&text);
    let comments: Vec<_> = keys.iter().map(|line| line.comment.as_str()).collect();
    assert_eq!(comments, ["one", "three"]);
    let numbers: Vec<_> = void.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [4, 6]);
}

//! Decisions on whole requests, settings written in TOML as an administrator writes them.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use std::cell::Cell;

use portreeve_rules::outcome::Target;
use portreeve_rules::request::{Action, Endpoint, Identity};
use portreeve_rules::{Request, RuleSet, Verdict};

/// 2026-11-20T12:00:00Z, a Friday.
const NOW: u64 = 1_795_176_000_000;
const KEY: &str = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
const AUTHORITY: &str = "SHA256:CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC";

fn rules(toml: &str) -> RuleSet {
    let settings: serde_json::Value = toml::from_str(toml).unwrap_or_else(|error| panic!("{error}"));
    RuleSet::new(&settings.to_string()).unwrap_or_else(|faults| panic!("{faults:#?}"))
}

/// A request by alice of the groups dba and staff, with a key and a certificate, from 10.1.2.3.
struct Ask {
    request: Request<'static>,
    addresses: Option<&'static [&'static str]>,
}

fn ask(action: &str, endpoint: &'static str) -> Ask {
    let target = match endpoint.strip_prefix("unix:") {
        Some(path) => Endpoint::Socket(path),
        None => {
            let (host, port) = endpoint.rsplit_once(':').unwrap();
            Endpoint::Tcp(host.trim_matches(['[', ']']), port.parse().unwrap())
        }
    };
    let address = match target {
        Endpoint::Tcp(host, _) if host.parse::<std::net::IpAddr>().is_ok() => Some(host),
        _ => None,
    };
    let action = match action {
        "connect" => Action::Connect,
        "listen" => Action::Listen,
        _ => Action::Accept,
    };
    let groups: &'static [String] = Vec::leak(vec!["dba".into(), "staff".into()]);
    let principals: &'static [String] = Vec::leak(vec!["alice".into(), "ops-vienna".into()]);
    let identity = Identity {
        user: "alice",
        groups,
        method: "certificate",
        key: Some(KEY),
        issuer: Some(AUTHORITY),
        principals,
    };
    Ask {
        request: Request {
            now: NOW,
            action,
            target,
            address,
            peer: None,
            client: "10.1.2.3",
            identity,
        },
        addresses: None,
    }
}

impl Ask {
    fn of(self, rules: &RuleSet) -> String {
        let addresses = self
            .addresses
            .map(|list| list.iter().map(|text| text.to_string()).collect());
        let resolve = |_: &str| addresses.clone();
        short(&rules.decide(self.request, &resolve))
    }
}

/// `allow`, `deny CODE` or `rewrite ENDPOINT`.
fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow(_) => "allow".into(),
        Verdict::Deny(denial) => format!("deny {}", denial.code),
        Verdict::Rewrite {
            to: Target::Tcp(host, port),
            ..
        } => format!("rewrite {host}:{port}"),
        Verdict::Rewrite {
            to: Target::Socket(path),
            ..
        } => format!("rewrite unix:{path}"),
    }
}

#[test]
fn first_matching_rule_decides_and_none_denies() {
    let rules = rules(
        r#"
        rules = [
            { name = "no-ssh", ports = 22, outcome = "deny" },
            { name = "db", hosts = "*.db", outcome = "allow" },
            { name = "moved", hosts = "old.web", outcome = "rewrite", to = "new.web" },
            { name = "closed", hosts = "*.web", outcome = "deny", code = "web-closed" },
        ]"#,
    );
    for (endpoint, expected) in [
        ("a.db:5432", "allow"),
        ("a.db:22", "deny no-ssh"),
        ("A.DB.:5432", "allow"),
        ("old.web:80", "rewrite new.web:80"),
        ("old.web:22", "deny no-ssh"),
        ("new.web:80", "deny web-closed"),
        ("elsewhere:80", "deny no-rule"),
        ("unix:/run/x", "deny no-rule"),
    ] {
        assert_eq!(ask("connect", endpoint).of(&rules), expected, "{endpoint}");
    }
}

#[test]
fn each_condition_decides_alone() {
    let table = [
        (r#"actions = "connect""#, "connect", "h:1", true),
        (r#"actions = ["listen", "accept"]"#, "connect", "h:1", false),
        (r#"actions = ["listen", "accept"]"#, "listen", "h:1", true),
        (r#"users = ["bob", "al*"]"#, "connect", "h:1", true),
        (r#"users = ["*", "!alice"]"#, "connect", "h:1", false),
        (r#"users = "Alice""#, "connect", "h:1", false),
        (r#"groups = "dba""#, "connect", "h:1", true),
        (r#"groups = ["dba", "!staff"]"#, "connect", "h:1", false),
        (r#"groups = "db""#, "connect", "h:1", false),
        (r#"methods = "certificate""#, "connect", "h:1", true),
        (r#"methods = ["*", "!certificate"]"#, "connect", "h:1", false),
        (
            r#"keys = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#,
            "connect",
            "h:1",
            true,
        ),
        (
            r#"keys = "SHA256:BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB""#,
            "connect",
            "h:1",
            false,
        ),
        (
            r#"issuers = "SHA256:CCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCCC""#,
            "connect",
            "h:1",
            true,
        ),
        (
            r#"issuers = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA""#,
            "connect",
            "h:1",
            false,
        ),
        (r#"principals = "ops-*""#, "connect", "h:1", true),
        (r#"principals = ["*", "!ops-*"]"#, "connect", "h:1", false),
        (r#"clients = ["10.0.0.0/8", "!10.1.0.0/16"]"#, "connect", "h:1", false),
        (r#"clients = ["10.0.0.0/8"]"#, "connect", "h:1", true),
        (r#"clients = "10.1.2.3-10.1.2.4""#, "connect", "h:1", true),
        (r#"hosts = "H""#, "connect", "h:1", true),
        (r#"hosts = "*""#, "connect", "unix:/x", false),
        (r#"hosts = ["::1"]"#, "connect", "[::1]:1", true),
        (r#"hosts = ["0:0::1"]"#, "connect", "[::1]:1", true),
        (r#"ports = [1, "8000-8999", "!8080"]"#, "connect", "h:8079", true),
        (r#"ports = [1, "8000-8999", "!8080"]"#, "connect", "h:8080", false),
        (r#"ports = "*""#, "connect", "unix:/x", false),
        (r#"ports = 0"#, "listen", "localhost:0", true),
        (r#"sockets = "/run/*.sock""#, "connect", "unix:/run/a.sock", true),
        (r#"sockets = "/run/*.sock""#, "connect", "unix:/run/a/b.sock", false),
        (r#"sockets = "/run/**""#, "connect", "h:1", false),
        (r#"targets = ["db:5432", "h:1"]"#, "connect", "h:1", true),
        (r#"targets = ["db:5432", "h:1"]"#, "connect", "h:5432", false),
        (r#"targets = ["*:*", "!h:1"]"#, "connect", "h:1", false),
        (r#"targets = ["*:*", "!h:1"]"#, "connect", "h:2", true),
        (r#"targets = ["[::1]:*"]"#, "connect", "[::1]:7", true),
        (r#"targets = ["8080"]"#, "listen", "localhost:8080", true),
        (r#"targets = ["h:1", "unix:/run/*"]"#, "connect", "unix:/run/x", true),
        (r#"when = { days = "fri", from = "12:00" }"#, "connect", "h:1", true),
        (
            r#"when = { days = "fri", from = "12:00", zone = "America/New_York" }"#,
            "connect",
            "h:1",
            false,
        ),
        (
            r#"when = [{ days = "sat-sun" }, { from = "11:59", to = "12:01" }]"#,
            "connect",
            "h:1",
            true,
        ),
        (r#"starts = "2026-11-20T12:00:00Z""#, "connect", "h:1", true),
        (r#"starts = "2026-11-20T12:00:01Z""#, "connect", "h:1", false),
        (r#"expires = "2026-11-20T12:00:01Z""#, "connect", "h:1", true),
        (r#"expires = "2026-11-20T12:00:00Z""#, "connect", "h:1", false),
    ];
    for (condition, action, endpoint, matches) in table {
        for (outcome, expected) in [("allow", "allow"), ("deny", "deny hit")] {
            let rules = rules(&format!(
                "[[rules]]\nname = \"hit\"\noutcome = \"{outcome}\"\n{condition}"
            ));
            let expected = if matches { expected } else { "deny no-rule" };
            assert_eq!(
                ask(action, endpoint).of(&rules),
                expected,
                "{condition} {action} {endpoint}"
            );
        }
    }
}

/// What a rule cannot know helps no request: all addresses must be inside to allow, one is enough to deny.
#[test]
fn unknown_and_mixed_addresses_deny_but_never_allow() {
    type Row = (&'static str, &'static str, Option<&'static [&'static str]>, bool, bool);
    let table: &[Row] = &[
        ("connect", "10.9.9.9:1", None, true, true),
        ("connect", "192.0.2.1:1", None, false, false),
        ("connect", "[::ffff:10.9.9.9]:1", None, true, true),
        ("connect", "db:1", Some(&["10.0.0.1", "10.0.0.2"]), true, true),
        ("connect", "db:1", Some(&["10.0.0.1", "192.0.2.1"]), false, true),
        ("connect", "db:1", Some(&["192.0.2.1", "2001:db8::1"]), false, false),
        ("connect", "db:1", Some(&["::ffff:10.0.0.1"]), true, true),
        ("connect", "db:1", None, false, true),
        ("connect", "db:1", Some(&[]), false, true),
        ("connect", "db:1", Some(&["10.0.0.1", "nonsense"]), false, true),
        ("connect", "unix:/run/x", None, false, false),
        ("listen", "10.0.0.1:1", None, true, true),
        ("listen", "localhost:1", None, false, false),
        ("listen", "*:1", None, false, true),
        ("listen", "0.0.0.0:1", None, false, true),
        ("accept", "*:1", None, false, true),
    ];
    for &(action, endpoint, addresses, allows, denies) in table {
        for (outcome, matches, hit) in [("allow", allows, "allow"), ("deny", denies, "deny hit")] {
            let rules = rules(&format!(
                "[[rules]]\nname = \"hit\"\naddresses = \"10.0.0.0/8\"\noutcome = \"{outcome}\""
            ));
            let ask = Ask {
                addresses,
                ..ask(action, endpoint)
            };
            assert_eq!(
                ask.of(&rules),
                if matches { hit } else { "deny no-rule" },
                "{outcome} {action} {endpoint} {addresses:?}"
            );
        }
    }
}

#[test]
fn listener_on_every_address_is_allowed_where_the_wildcard_addresses_are_listed() {
    let rules = rules("[[rules]]\naddresses = [\"0.0.0.0\", \"::\"]\nactions = \"listen\"\noutcome = \"allow\"");
    assert_eq!(ask("listen", "*:8080").of(&rules), "allow");
    assert_eq!(ask("listen", "10.0.0.1:8080").of(&rules), "deny no-rule");
}

#[test]
fn localhost_to_listen_on_is_the_loopback_addresses() {
    let rules = rules("[[rules]]\naddresses = [\"127.0.0.0/8\", \"::1\"]\noutcome = \"allow\"");
    assert_eq!(ask("listen", "localhost:8080").of(&rules), "allow");
    assert_eq!(
        ask("connect", "localhost:8080").of(&rules),
        "deny no-rule",
        "for a connect the gateway's own look-up counts"
    );
}

#[test]
fn name_is_looked_up_once_and_only_for_a_rule_that_needs_it() {
    let rules = rules(
        r#"
        rules = [
            { users = "bob", addresses = "10.0.0.0/8", outcome = "deny" },
            { ports = 22, addresses = "10.0.0.0/8", outcome = "deny" },
            { ports = 22, addresses = "172.16.0.0/12", outcome = "deny" },
            { ports = 80, outcome = "allow" },
        ]"#,
    );
    for (endpoint, look_ups) in [("web:80", 0), ("web:22", 1), ("10.0.0.1:22", 0)] {
        let count = Cell::new(0);
        let resolve = |_: &str| {
            count.set(count.get() + 1);
            Some(vec!["192.0.2.1".to_string()])
        };
        rules.decide(ask("connect", endpoint).request, &resolve);
        assert_eq!(count.get(), look_ups, "{endpoint}");
    }
}

#[test]
fn peer_counts_for_an_accept_and_an_unknown_one_only_denies() {
    let table = [
        ("accept", Some("192.0.2.7"), true, true),
        ("accept", Some("198.51.100.1"), false, false),
        ("accept", Some("nonsense"), false, true),
        ("accept", None, false, true),
        ("connect", Some("192.0.2.7"), false, false),
    ];
    for (action, peer, allows, denies) in table {
        for (outcome, matches, hit) in [("allow", allows, "allow"), ("deny", denies, "deny hit")] {
            let rules = rules(&format!(
                "[[rules]]\nname = \"hit\"\nactions = \"accept\"\npeers = \"192.0.2.0/24\"\noutcome = \"{outcome}\""
            ));
            let mut ask = ask(action, "localhost:8080");
            ask.request.peer = peer;
            assert_eq!(
                ask.of(&rules),
                if matches { hit } else { "deny no-rule" },
                "{outcome} {action} {peer:?}"
            );
        }
    }
}

#[test]
fn rewrite_leads_where_it_says_and_keeps_the_rest() {
    let table = [
        ("10.0.0.5:5432", "connect", "db:1", "rewrite 10.0.0.5:5432"),
        ("db2", "connect", "db:1", "rewrite db2:1"),
        (":5433", "connect", "db:1", "rewrite db:5433"),
        ("DB2.", "connect", "db:1", "rewrite db2:1"),
        ("[2001:db8::1]:22", "connect", "db:1", "rewrite 2001:db8::1:22"),
        ("2001:db8::1", "connect", "db:1", "rewrite 2001:db8::1:1"),
        ("unix:/run/db.sock", "connect", "db:1", "rewrite unix:/run/db.sock"),
        ("db:5432", "connect", "unix:/run/db.sock", "rewrite db:5432"),
        ("db2", "connect", "unix:/run/db.sock", "deny no-rule"),
        (":5433", "connect", "unix:/run/db.sock", "deny no-rule"),
        ("localhost:8080", "listen", "*:80", "rewrite localhost:8080"),
        ("localhost:8080", "accept", "*:80", "deny no-rule"),
    ];
    for (to, action, endpoint, expected) in table {
        let rules = rules(&format!("[[rules]]\noutcome = \"rewrite\"\nto = \"{to}\""));
        assert_eq!(ask(action, endpoint).of(&rules), expected, "{to} {action} {endpoint}");
    }
}

#[test]
fn request_that_cannot_be_read_is_denied_by_every_rule_set() {
    let rules = rules("[[rules]]\noutcome = \"allow\"");
    for path in ["unix:/run/../etc/x", "unix:run/x", "unix:/run//x", "unix:"] {
        assert_eq!(ask("connect", path).of(&rules), "deny malformed-request", "{path}");
    }
    let mut ask = ask("connect", "db:1");
    ask.request.client = "somewhere";
    assert_eq!(ask.of(&rules), "deny malformed-request");
}

#[test]
fn denial_and_terms_are_those_of_the_rule() {
    let rules = rules(
        r#"
        rules = [
            { name = "a", hosts = "a", outcome = "deny", code = "c", reason = "r", tell-user = "t" },
            { name = "b", hosts = "b", outcome = "deny" },
            { hosts = "c", outcome = "allow", reason = "because", terms = { max-seconds = 5, reuse-seconds = 0, tags = { ticket = "T-1" }, address-rules = [{ cidr = "10.0.0.1", effect = "refuse" }] } },
        ]
        default = { code = "closed", reason = "nothing here", tell-user = "ask ops" }"#,
    );
    let denied = |host| match rules.decide(ask("connect", host).request, &|_| None) {
        Verdict::Deny(denial) => (
            denial.code.to_string(),
            denial.reason.to_string(),
            denial.tell_user.as_deref().unwrap_or("").to_string(),
        ),
        other => panic!("{other:?}"),
    };
    let texts = |code: &str, reason: &str, tell: &str| (code.to_string(), reason.to_string(), tell.to_string());
    assert_eq!(denied("a:1"), texts("c", "r", "t"));
    assert_eq!(denied("b:1"), texts("b", "rule b", ""));
    assert_eq!(denied("z:1"), texts("closed", "nothing here", "ask ops"));
    let Verdict::Allow(terms) = rules.decide(ask("connect", "c:1").request, &|_| None) else {
        panic!("denied")
    };
    assert_eq!(
        (terms.max_seconds, terms.idle_seconds, terms.reuse_seconds),
        (Some(5), None, Some(0))
    );
    assert_eq!(terms.address_rules, [("10.0.0.1/32".to_string(), false)]);
    let tags: Vec<_> = terms
        .tags
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    assert_eq!(tags, [("ticket", "T-1"), ("rule", "rule-3"), ("reason", "because")]);
}

#[test]
fn embedded_default_allows_denies_and_rewrites() {
    let rules = rules(include_str!("../examples/default-settings.toml"));
    let table = [
        ("connect", "localhost:8000", "allow"),
        ("connect", "127.0.0.1:1024", "allow"),
        ("connect", "[::1]:65535", "allow"),
        ("connect", "localhost:2525", "deny no-mail"),
        ("connect", "localhost:25", "deny no-mail"),
        ("connect", "localhost:80", "deny no-rule"),
        ("connect", "example.org:8000", "deny no-rule"),
        ("connect", "10.0.0.1:8000", "deny no-rule"),
        ("connect", "unix:/run/docker.sock", "deny no-rule"),
        ("connect", "hello.portreeve:8000", "rewrite 127.0.0.1:8000"),
        ("connect", "hello.portreeve:80", "rewrite 127.0.0.1:80"),
        ("listen", "localhost:0", "allow"),
        ("listen", "localhost:8080", "allow"),
        ("listen", "localhost:80", "deny no-rule"),
        ("listen", "*:8080", "deny no-rule"),
        ("listen", "hello.portreeve:8080", "deny no-rule"),
        ("accept", "localhost:8080", "allow"),
        ("accept", "*:8080", "deny no-rule"),
    ];
    for (action, endpoint, expected) in table {
        assert_eq!(ask(action, endpoint).of(&rules), expected, "{action} {endpoint}");
    }
}

#[test]
fn every_example_of_the_readme_is_valid() {
    let readme = include_str!("../README.md");
    let blocks: Vec<&str> = readme
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split_once("```"))
        .map(|(block, _)| block)
        .collect();
    assert!(!blocks.is_empty(), "the examples moved");
    for block in blocks {
        rules(block);
    }
}

//! What a ruleset means, and what is said of a wrong one.

use serde_json::{Value, json};

use super::*;

/// Settings that are in order.
fn good() -> Vec<Value> {
    let rule = |rule: Value| json!({ "rules": [rule] });
    vec![
        json!({}),
        json!({ "rules": [] }),
        json!({ "rules": [], "count": 0 }),
        json!({ "rules": [{ "outcome": "allow" }], "count": 1 }),
        json!({ "zone": "Europe/Vienna", "default": { "code": "closed", "reason": "closed", "tell-user": "closed" } }),
        rule(json!({ "outcome": "allow" })),
        rule(json!({ "outcome": "deny", "name": "x", "code": "y", "reason": "z", "tell-user": "no" })),
        rule(json!({ "outcome": "rewrite", "to": "db2", "reason": "moved", "terms": {} })),
        rule(json!({ "outcome": "rewrite", "to": ":5433", "actions": "listen" })),
        rule(json!({ "outcome": "rewrite", "to": "unix:/run/app.sock" })),
        rule(json!({ "outcome": "rewrite", "to": "[::1]:0", "actions": ["listen"] })),
        rule(
            json!({ "outcome": "allow", "actions": ["connect", "listen"], "users": "alice", "groups": ["dba", "!guests"], "methods": "publickey" }),
        ),
        rule(
            json!({ "outcome": "allow", "keys": ["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"], "principals": ["p*"] }),
        ),
        rule(json!({ "outcome": "allow", "issuers": "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" })),
        rule(
            json!({ "outcome": "allow", "clients": ["10.0.0.0/8", "!10.1.0.0/16", "2001:db8::1"], "hosts": ["*.DB.internal.", "[::1]"], "addresses": "10.0.0.1-10.0.0.9" }),
        ),
        rule(json!({ "outcome": "allow", "ports": [0, 22, "8000-8999", "!8080"] })),
        rule(json!({ "outcome": "allow", "ports": 22 })),
        rule(json!({ "outcome": "allow", "ports": "*" })),
        rule(json!({ "outcome": "allow", "sockets": ["/run/app/*.sock", "unix:/run/b"] })),
        rule(
            json!({ "outcome": "allow", "targets": ["db:5432", "*.web:80", "[::1]:*", ":8080", "9000-9010", "unix:/run/x", "!db:22"] }),
        ),
        rule(json!({ "outcome": "deny", "actions": ["accept"], "peers": ["0.0.0.0/0", "::/0"] })),
        rule(
            json!({ "outcome": "allow", "when": { "days": ["mon-fri"], "from": "08:00", "to": "18:00", "zone": "Europe/Vienna" } }),
        ),
        rule(json!({ "outcome": "allow", "when": [{ "days": "sat..sun" }, { "from": "22:00", "to": "06:00" }] })),
        rule(json!({ "outcome": "allow", "starts": "2026-01-01", "expires": "2027-01-01T00:00:00Z" })),
        rule(json!({ "outcome": "allow", "terms": {
            "max-seconds": 28800, "idle-seconds": 1, "max-bytes": 18446744073709551615u64, "bytes-per-second": 1000000,
            "address-rules": [{ "cidr": "10.0.0.0/8", "effect": "permit" }, { "cidr": "::1", "effect": "refuse" }],
            "recheck-seconds": 60, "reuse-seconds": 0, "tags": { "ticket": "T-1" },
            "obligations": { "replace-socket": true }, "hints": { "a": "text", "b": ["x", "y"], "c": -1, "d": true, "e": [] },
        } })),
        rule(
            json!({ "outcome": "allow", "actions": "connect", "terms": { "obligations": {
            "proxy-protocol": "v2", "source-address": "10.0.0.5", "mark": 4294967295u32, "dscp": "af41", "via": "office",
        } } }),
        ),
        rule(
            json!({ "outcome": "rewrite", "to": "db:5432", "actions": ["connect"], "terms": { "obligations": {
            "proxy-protocol": "none", "source-address": "2001:db8::5", "mark": 0, "dscp": 63, "via": "direct",
        } } }),
        ),
    ]
}

/// One fault each: where it is, what the message must say, and the settings.
fn bad() -> Vec<(&'static str, &'static str, Value)> {
    let rule = |rule: Value| {
        let mut rule = rule;
        if let Some(rule) = rule.as_object_mut() {
            rule.entry("outcome").or_insert_with(|| json!("allow"));
        }
        json!({ "rules": [rule] })
    };
    let terms = |terms: Value| json!({ "rules": [{ "outcome": "allow", "terms": terms }] });
    let oblige = |obligations: Value| json!({ "rules": [{ "outcome": "allow", "actions": "connect", "terms": { "obligations": obligations } }] });
    vec![
        ("", "expected the settings to be a table, found a list", json!([])),
        ("/ruls", "did you mean `rules`?", json!({ "ruls": [], "default": {} })),
        (
            "/users",
            "`users` belongs in `rules`",
            json!({ "users": [], "rules": [] }),
        ),
        (
            "/count",
            "expected the number of rules, found -1",
            json!({ "rules": [], "count": -1 }),
        ),
        (
            "/colour",
            "can have `rules`, `count`, `zone` and `default`",
            json!({ "colour": 1, "rules": [] }),
        ),
        (
            "/rules",
            "expected a list of rules, found a table",
            json!({ "rules": {} }),
        ),
        (
            "/rules/0",
            "expected a rule to be a table, found 1",
            json!({ "rules": [1] }),
        ),
        (
            "/rules/0",
            "a rule needs an `outcome`: `allow`, `deny` or `rewrite`",
            json!({ "rules": [{}] }),
        ),
        ("/zone", "expected a text, found 1", json!({ "zone": 1, "rules": [] })),
        ("/default", "to be a table", json!({ "default": "deny" })),
        (
            "/default/tell_user",
            "did you mean `tell-user`?",
            json!({ "default": { "tell_user": "x" } }),
        ),
        (
            "/default/code",
            "expected a text, found \"\"",
            json!({ "default": { "code": "" } }),
        ),
        (
            "/rules/0/outcome",
            "did you mean `allow`?",
            rule(json!({ "outcome": "Alow" })),
        ),
        (
            "/rules/0/outcome",
            "write `allow`, `deny` or `rewrite`",
            rule(json!({ "outcome": 7 })),
        ),
        ("/rules/0/host", "did you mean `hosts`?", rule(json!({ "host": "db" }))),
        (
            "/rules/0/max-seconds",
            "`max-seconds` belongs in `terms`",
            rule(json!({ "max-seconds": 5 })),
        ),
        (
            "/rules/0/days",
            "`days` belongs in `when`",
            rule(json!({ "days": "mon" })),
        ),
        (
            "/rules/0/actions/1",
            "did you mean `listen`?",
            rule(json!({ "actions": ["connect", "listn"] })),
        ),
        (
            "/rules/0/actions",
            "an empty list matches nothing",
            rule(json!({ "actions": [] })),
        ),
        (
            "/rules/0/users",
            "an empty list matches nothing",
            rule(json!({ "users": [] })),
        ),
        (
            "/rules/0/users/1",
            "expected a text, found 5",
            rule(json!({ "users": ["a", 5] })),
        ),
        (
            "/rules/0/groups/0",
            "expected a text, found \"\"",
            rule(json!({ "groups": [""] })),
        ),
        ("/rules/0/ports/0", "from 0 to 65535", rule(json!({ "ports": [65536] }))),
        ("/rules/0/ports", "from 0 to 65535", rule(json!({ "ports": -1 }))),
        ("/rules/0/ports/0", "found 1.5", rule(json!({ "ports": [1.5] }))),
        ("/rules/0/to", "only a rewrite has `to`", rule(json!({ "to": "db:1" }))),
        (
            "/rules/0/code",
            "only a denial has `code`",
            rule(json!({ "code": "x" })),
        ),
        (
            "/rules/0/terms",
            "a denial has no `terms`",
            rule(json!({ "outcome": "deny", "terms": {} })),
        ),
        (
            "/rules/0/tell-user",
            "only a denial has `tell-user`",
            rule(json!({ "outcome": "rewrite", "to": "a:1", "tell-user": "x" })),
        ),
        (
            "/rules/0",
            "a rewrite needs `to`",
            rule(json!({ "outcome": "rewrite" })),
        ),
        (
            "/rules/0/when",
            "a window needs `days`, `from` or `to`",
            rule(json!({ "when": {} })),
        ),
        (
            "/rules/0/when/0/untl",
            "unknown key `untl`",
            rule(json!({ "when": [{ "untl": "x", "days": "mon" }] })),
        ),
        (
            "/rules/0/terms/max-secs",
            "did you mean `max-seconds`?",
            terms(json!({ "max-secs": 1 })),
        ),
        (
            "/rules/0/terms/max-seconds",
            "from 1 to 4294967295, found 0",
            terms(json!({ "max-seconds": 0 })),
        ),
        (
            "/rules/0/terms/idle-seconds",
            "found \"5m\"",
            terms(json!({ "idle-seconds": "5m" })),
        ),
        (
            "/rules/0/terms/address-rules",
            "expected a list of address rules",
            terms(json!({ "address-rules": "10.0.0.0/8" })),
        ),
        (
            "/rules/0/terms/address-rules/0",
            "needs `effect`",
            terms(json!({ "address-rules": [{ "cidr": "10.0.0.0/8" }] })),
        ),
        (
            "/rules/0/terms/address-rules/0/effect",
            "\"permit\" or \"refuse\"",
            terms(json!({ "address-rules": [{ "cidr": "10.0.0.0/8", "effect": "allow" }] })),
        ),
        (
            "/rules/0/terms/tags/a",
            "expected a text, found 1",
            terms(json!({ "tags": { "a": 1 } })),
        ),
        (
            "/rules/0/terms/hints/a",
            "expected a text, a list of texts",
            terms(json!({ "hints": { "a": {} } })),
        ),
        (
            "/rules/0/terms/obligations/proxy-protocl",
            "did you mean `proxy-protocol`?",
            terms(json!({ "obligations": { "proxy-protocl": "v2" } })),
        ),
        (
            "/rules/0/terms/obligations/record~1session",
            "unknown key `record/session`, the obligations can have `replace-socket`",
            terms(json!({ "obligations": { "record/session": true } })),
        ),
        (
            "/rules/0/terms/obligations/replace-socket",
            "expected true or false, found 1",
            terms(json!({ "obligations": { "replace-socket": 1 } })),
        ),
        (
            "/rules/0/terms/obligations/proxy-protocol",
            "expected \"v1\", \"v2\" or \"none\"",
            oblige(json!({ "proxy-protocol": "v3" })),
        ),
        (
            "/rules/0/terms/obligations/mark",
            "expected a whole number from 0 to 4294967295, found 1.5",
            oblige(json!({ "mark": 1.5 })),
        ),
        (
            "/rules/0/terms/obligations/dscp",
            "from 0 to 63",
            oblige(json!({ "dscp": 64 })),
        ),
        (
            "/rules/0/terms/obligations/dscp",
            "a name such as \"ef\"",
            oblige(json!({ "dscp": "af44" })),
        ),
    ]
}

/// Faults that lie in the meaning of a text, where a schema cannot see them.
fn meaningless() -> Vec<(&'static str, &'static str, Value)> {
    let rule = |rule: Value| {
        let mut rule = rule;
        if let Some(rule) = rule.as_object_mut() {
            rule.entry("outcome").or_insert_with(|| json!("allow"));
        }
        json!({ "rules": [rule] })
    };
    let rewrite = |to: &str| json!({ "rules": [{ "outcome": "rewrite", "to": to }] });
    vec![
        (
            "/rules/0/terms/obligations/source-address",
            "an IP address of the gateway",
            rule(json!({ "actions": "connect", "terms": { "obligations": { "source-address": "0.0.0.0" } } })),
        ),
        (
            "/rules/0/terms/obligations/via",
            "`via` is for connections only, add `actions = [\"connect\"]`",
            rule(json!({ "terms": { "obligations": { "via": "office" } } })),
        ),
        (
            "/rules/0/terms/obligations/mark",
            "`mark` is for connections only",
            rule(json!({ "actions": ["connect", "listen"], "terms": { "obligations": { "mark": 7 } } })),
        ),
        (
            "/rules/0/terms/obligations/via",
            "the name of a proxy under [[via]]",
            rule(json!({ "actions": "connect", "terms": { "obligations": { "via": "a b" } } })),
        ),
        (
            "/zone",
            "did you mean `Europe/Vienna`?",
            json!({ "zone": "Europe/Viena", "rules": [] }),
        ),
        ("/zone", "write an IANA name", json!({ "zone": "CEWT-X", "rules": [] })),
        ("/default/code", "one line", json!({ "default": { "code": "a\nb" } })),
        (
            "/rules/1/name",
            "rule 0 (counted from 0) has the name `a` too",
            json!({ "rules": [{ "name": "a", "outcome": "deny" }, { "name": "a", "outcome": "deny" }] }),
        ),
        (
            "/rules/0/users",
            "a list of exceptions alone matches nothing, add \"*\"",
            rule(json!({ "users": ["!root"] })),
        ),
        (
            "/rules/0/users/0",
            "is one name, write a list",
            rule(json!({ "users": ["a,b"] })),
        ),
        (
            "/rules/0/users/1",
            "a name is missing",
            rule(json!({ "users": ["a", "!"] })),
        ),
        (
            "/rules/0/clients",
            "add \"0.0.0.0/0\" and \"::/0\"",
            rule(json!({ "clients": "!10.0.0.0/8" })),
        ),
        (
            "/rules/0/clients",
            "the exceptions leave nothing",
            rule(json!({ "clients": ["10.0.0.0/8", "!0.0.0.0/0"] })),
        ),
        (
            "/rules/0/clients/0",
            "write `10.0.0.0/8` for the network",
            rule(json!({ "clients": ["10.0.0.1/8"] })),
        ),
        (
            "/rules/0/addresses",
            "is no network",
            rule(json!({ "addresses": "db" })),
        ),
        ("/rules/0/ports", "add \"0-65535\"", rule(json!({ "ports": ["!22"] }))),
        (
            "/rules/0/ports/1",
            "found \"9000-8000\"",
            rule(json!({ "ports": [22, "9000-8000"] })),
        ),
        ("/rules/0/ports/0", "found \"ssh\"", rule(json!({ "ports": ["ssh"] }))),
        (
            "/rules/0/keys/0",
            "ssh-keygen -lf",
            rule(json!({ "keys": ["SHA256:short"] })),
        ),
        (
            "/rules/0/keys/0",
            "is no fingerprint",
            rule(json!({ "keys": ["SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA*"] })),
        ),
        (
            "/rules/0/hosts/0",
            "networks belong in `addresses`",
            rule(json!({ "hosts": ["10.0.0.0/8"] })),
        ),
        (
            "/rules/0/hosts/0",
            "belongs in `targets`",
            rule(json!({ "hosts": ["db:5432"] })),
        ),
        (
            "/rules/0/hosts/0",
            "socket paths belong in `sockets`",
            rule(json!({ "hosts": ["/run/x"] })),
        ),
        (
            "/rules/0/hosts/0",
            "`xn--`",
            rule(json!({ "hosts": ["bücher.example"] })),
        ),
        (
            "/rules/0/hosts/0",
            "is no whole address",
            rule(json!({ "hosts": ["10.0.0"] })),
        ),
        ("/rules/0/hosts/0", "is no host", rule(json!({ "hosts": ["a b"] }))),
        (
            "/rules/0/sockets/0",
            "write an absolute path",
            rule(json!({ "sockets": ["run/x"] })),
        ),
        (
            "/rules/0/sockets/0",
            "can match no socket",
            rule(json!({ "sockets": ["/run/../x"] })),
        ),
        (
            "/rules/0",
            "`ports` and `sockets` match nothing together",
            rule(json!({ "ports": 22, "sockets": "/x" })),
        ),
        (
            "/rules/0",
            "`hosts` and `targets` match nothing together",
            rule(json!({ "hosts": "a", "targets": "unix:/x" })),
        ),
        (
            "/rules/0/targets/0",
            "write `db:443`, or `db:*`",
            rule(json!({ "targets": ["db"] })),
        ),
        (
            "/rules/0/targets/0",
            "write `[::1]:443`",
            rule(json!({ "targets": ["::1"] })),
        ),
        (
            "/rules/0/targets/0",
            "is no target",
            rule(json!({ "targets": ["db:http"] })),
        ),
        (
            "/rules/0/peers",
            "`peers` needs `actions = [\"accept\"]`",
            rule(json!({ "peers": "10.0.0.0/8" })),
        ),
        (
            "/rules/0/peers",
            "`peers` needs",
            rule(json!({ "actions": ["connect", "accept"], "peers": "10.0.0.0/8" })),
        ),
        (
            "/rules/0/when/days/0",
            "did you mean `wednesday`?",
            rule(json!({ "when": { "days": ["wendesday"] } })),
        ),
        (
            "/rules/0/when/days/0",
            "write `mon` to `sun`",
            rule(json!({ "when": { "days": ["mon-x"] } })),
        ),
        (
            "/rules/0/when/from",
            "found \"8am\"",
            rule(json!({ "when": { "from": "8am" } })),
        ),
        (
            "/rules/0/when/to",
            "ends when it begins",
            rule(json!({ "when": { "from": "08:00", "to": "08:00" } })),
        ),
        (
            "/rules/0/when/from",
            "a day begins at \"00:00\"",
            rule(json!({ "when": { "from": "24:00", "to": "08:00" } })),
        ),
        (
            "/rules/0/when/zone",
            "unknown time zone",
            rule(json!({ "when": { "days": "mon", "zone": "Mars" } })),
        ),
        (
            "/rules/0/expires",
            "expected a date",
            rule(json!({ "expires": "soon" })),
        ),
        (
            "/rules/0/expires",
            "expires before it starts",
            rule(json!({ "starts": "2027-01-01", "expires": "2026-01-01" })),
        ),
        ("", "there are no `rules`", json!({ "zone": "UTC" })),
        ("", "write `rules = []`", json!({ "count": 0 })),
        (
            "/count",
            "there are 1 rules and there should be 2",
            json!({ "rules": [{ "outcome": "allow" }], "count": 2 }),
        ),
        (
            "/rules/0/hosts/0",
            "write `*.internal`",
            rule(json!({ "hosts": [".internal"] })),
        ),
        (
            "/rules/0/hosts/0",
            "write `*.internal`",
            rule(json!({ "hosts": ["!.internal", "*"] })),
        ),
        ("/rules/0/hosts", "two dots", rule(json!({ "hosts": "db..internal" }))),
        ("/rules/0/hosts", "two dots", rule(json!({ "hosts": "db.." }))),
        ("/rules/0/hosts", "ends in the number", rule(json!({ "hosts": "db.1" }))),
        (
            "/rules/0/hosts",
            "four decimal numbers",
            rule(json!({ "hosts": "0x7f000001" })),
        ),
        (
            "/rules/0/hosts",
            "write the host alone, such as `db`",
            rule(json!({ "hosts": "https://db/x" })),
        ),
        (
            "/rules/0/targets/0",
            "write `*.internal`",
            rule(json!({ "targets": [".internal:22"] })),
        ),
        (
            "/rules/0/targets/0",
            "swap the two ports",
            rule(json!({ "targets": ["db:90-80"] })),
        ),
        (
            "/rules/0/targets",
            "fits `ports` too",
            rule(json!({ "targets": ["db:80"], "ports": 22 })),
        ),
        (
            "/rules/0/targets",
            "fits `hosts` too",
            rule(json!({ "targets": ["db:80"], "hosts": "*.web" })),
        ),
        (
            "/rules/0/targets",
            "fits `sockets` too",
            rule(json!({ "targets": ["unix:/run/a"], "sockets": "/run/b" })),
        ),
        (
            "/rules/0/targets",
            "leave nothing to match",
            rule(json!({ "targets": ["db:80", "!d*:*"] })),
        ),
        (
            "/rules/0/ports/0",
            "swap the two ports",
            rule(json!({ "ports": ["9000-8000"] })),
        ),
        (
            "/rules/0/ports",
            "needs `listen`",
            rule(json!({ "ports": 0, "actions": "connect" })),
        ),
        (
            "/rules/0/targets",
            "needs `listen`",
            rule(json!({ "targets": ["db:0"], "actions": ["connect", "accept"] })),
        ),
        (
            "/rules/0/hosts",
            "leave nothing to match",
            rule(json!({ "hosts": ["db", "!d*"] })),
        ),
        (
            "/rules/0/users",
            "leave nothing to match",
            rule(json!({ "users": ["a*", "!*"] })),
        ),
        (
            "/rules/0/users",
            "leave out the spaces",
            rule(json!({ "users": "alice " })),
        ),
        (
            "/rules/0/groups/0",
            "leave out the spaces",
            rule(json!({ "groups": ["a\tb"] })),
        ),
        (
            "/rules/0/methods",
            "did you mean `publickey`?",
            rule(json!({ "methods": "public-key" })),
        ),
        (
            "/rules/0/methods/1",
            "unknown method",
            rule(json!({ "methods": ["*", "!none"] })),
        ),
        (
            "/rules/0/addresses",
            "none of the addresses in `hosts`",
            rule(json!({ "hosts": "10.0.0.1", "addresses": "192.168.0.0/16" })),
        ),
        (
            "/rules/0/peers",
            "has no address",
            rule(json!({ "actions": "accept", "peers": "10.0.0.0/8", "sockets": "/run/a" })),
        ),
        (
            "/rules/0/sockets",
            "at most 107 bytes",
            rule(json!({ "sockets": format!("/{}", "a".repeat(107)) })),
        ),
        (
            "/rules/0/sockets",
            "control character",
            rule(json!({ "sockets": "/run/a\n" })),
        ),
        (
            "/rules/0/sockets",
            "empty components",
            rule(json!({ "sockets": "/run/a/" })),
        ),
        (
            "/rules/0/keys",
            "has a `=` at its end",
            rule(json!({ "keys": "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=" })),
        ),
        ("/rules/0/to", "two dots", rewrite("db..internal:1")),
        ("/rules/0/to", "without a wildcard", rewrite("*.db:1")),
        ("/rules/0/to", "write `:5433` for the port", rewrite("5433")),
        ("/rules/0/to", "is no endpoint", rewrite("db:")),
        ("/rules/0/to", "is no endpoint", rewrite("db:99999")),
        ("/rules/0/to", "port 0 means any free port", rewrite("localhost:0")),
        ("/rules/0/to", "networks belong in `addresses`", rewrite("10.0.0.0/8")),
        (
            "/rules/0/to",
            "cannot be sent elsewhere",
            json!({ "rules": [{ "outcome": "rewrite", "to": "a:1", "actions": "accept" }] }),
        ),
        (
            "/rules/0/terms/address-rules/0/cidr",
            "must be one network",
            rule(json!({ "terms": { "address-rules": [{ "cidr": "10.0.0.1-10.0.0.2", "effect": "permit" }] } })),
        ),
        (
            "/rules/0/terms/address-rules/0/cidr",
            "is no network",
            rule(json!({ "terms": { "address-rules": [{ "cidr": "db", "effect": "permit" }] } })),
        ),
    ]
}

#[test]
fn settings_that_mean_something_else_than_is_written_mean_it() {
    for (settings, same) in [
        (
            json!({ "addresses": "::ffff:10.0.0.0/104" }),
            json!({ "addresses": "10.0.0.0/8" }),
        ),
        (json!({ "hosts": "DB.Internal." }), json!({ "hosts": "db.internal" })),
        (json!({ "hosts": "[::ffff:10.0.0.1]" }), json!({ "hosts": "10.0.0.1" })),
        (json!({ "hosts": "2001:DB8::0:1" }), json!({ "hosts": "[2001:db8::1]" })),
    ] {
        let conditions = |rule: &Value| {
            let mut rule = rule.clone();
            rule["outcome"] = json!("deny");
            let (rules, _) = read(&json!({ "rules": [rule] }).to_string()).unwrap();
            format!("{:?}", rules[0].conditions)
        };
        assert_eq!(conditions(&settings), conditions(&same), "{settings}");
    }
}

#[test]
fn good_settings_are_accepted() {
    for settings in good() {
        assert_eq!(read(&settings.to_string()).err(), None, "{settings}");
    }
}

#[test]
fn each_fault_has_its_place_and_says_what_is_wrong() {
    for (at, message, settings) in bad().into_iter().chain(meaningless()) {
        let faults = read(&settings.to_string()).err().unwrap_or_default();
        let [fault] = faults.as_slice() else {
            panic!("{settings}: {faults:?}")
        };
        assert_eq!(fault.at, at, "{settings}: {}", fault.message);
        assert!(fault.message.contains(message), "{settings}: {}", fault.message);
    }
}

#[test]
fn all_faults_are_reported_at_once() {
    let settings = json!({
        "zonne": "UTC",
        "rules": [
            { "outcome": "allow", "ports": [1, 70000, "x"], "usres": "a" },
            { "outcome": "perhaps", "hosts": "a/b" },
            { "outcome": "rewrite", "to": "", "when": [{ "days": "m" }, {}] },
        ],
    });
    let faults = read(&settings.to_string()).err().unwrap_or_default();
    let places: Vec<&str> = faults.iter().map(|fault| fault.at.as_str()).collect();
    assert_eq!(
        places,
        [
            "/zonne",
            "/rules/0/usres",
            "/rules/0/ports/1",
            "/rules/0/ports/2",
            "/rules/1/hosts",
            "/rules/1/outcome",
            "/rules/2/when/0/days",
            "/rules/2/when/1",
            "/rules/2/to"
        ]
    );
}

#[test]
fn text_that_is_not_json_is_one_fault() {
    let faults = read("{").err().unwrap_or_default();
    assert_eq!(faults.len(), 1);
    assert!(faults[0].message.starts_with("not JSON: EOF"), "{}", faults[0].message);
    let deep = "[".repeat(100_000);
    assert!(
        read(&deep).err().unwrap_or_default()[0]
            .message
            .contains("recursion limit")
    );
}

#[test]
fn schema_and_validator_agree() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    for settings in good()
        .into_iter()
        .chain(meaningless().into_iter().map(|(_, _, settings)| settings))
    {
        assert!(schema::accepts(&schema, &schema, &settings), "{settings}");
    }
    for (_, _, settings) in bad() {
        assert!(!schema::accepts(&schema, &schema, &settings), "{settings}");
    }
}

#[test]
fn schema_names_every_key() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let table = [
        ("", KEYS),
        ("/properties/default", DEFAULT_KEYS),
        ("/$defs/rule", rule::KEYS),
        ("/$defs/terms", terms::KEYS),
        ("/$defs/window", times::KEYS),
    ];
    for (place, keys) in table {
        let mut listed: Vec<&String> = schema
            .pointer(&format!("{place}/properties"))
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .collect();
        let mut keys = keys.to_vec();
        listed.sort();
        keys.sort();
        assert_eq!(listed, keys, "{place}");
    }
}

/// As much of JSON Schema as ours uses; an unknown keyword is an error, so that the schema cannot outgrow the check.
mod schema {
    use serde_json::Value;

    pub fn accepts(root: &Value, schema: &Value, value: &Value) -> bool {
        let Some(keywords) = schema.as_object() else {
            return schema == &Value::Bool(true);
        };
        keywords.iter().all(|(keyword, argument)| {
            let each = |list: &Value| {
                list.as_array()
                    .unwrap()
                    .iter()
                    .filter(|schema| accepts(root, schema, value))
                    .count()
            };
            let length = |least: bool, size: Option<usize>| {
                size.is_none_or(|size| {
                    if least {
                        size as u64 >= argument.as_u64().unwrap()
                    } else {
                        size as u64 <= argument.as_u64().unwrap()
                    }
                })
            };
            match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" => true,
                "$ref" => accepts(
                    root,
                    root.pointer(argument.as_str().unwrap().strip_prefix('#').unwrap())
                        .unwrap(),
                    value,
                ),
                "type" => match argument.as_str().unwrap() {
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "integer" => value.is_i64() || value.is_u64(),
                    other => panic!("unknown type {other}"),
                },
                "enum" => argument.as_array().unwrap().contains(value),
                "const" => argument == value,
                "anyOf" => each(argument) > 0,
                "oneOf" => each(argument) == 1,
                "required" => value.as_object().is_none_or(|object| {
                    argument
                        .as_array()
                        .unwrap()
                        .iter()
                        .all(|key| object.contains_key(key.as_str().unwrap()))
                }),
                "properties" => value.as_object().is_none_or(|object| {
                    argument
                        .as_object()
                        .unwrap()
                        .iter()
                        .all(|(key, schema)| object.get(key).is_none_or(|value| accepts(root, schema, value)))
                }),
                "additionalProperties" => value.as_object().is_none_or(|object| {
                    let known = keywords.get("properties").and_then(Value::as_object);
                    object
                        .iter()
                        .filter(|(key, _)| known.is_none_or(|known| !known.contains_key(*key)))
                        .all(|(_, value)| accepts(root, argument, value))
                }),
                "items" => value
                    .as_array()
                    .is_none_or(|list| list.iter().all(|item| accepts(root, argument, item))),
                "minItems" => length(true, value.as_array().map(Vec::len)),
                "minProperties" => length(true, value.as_object().map(serde_json::Map::len)),
                "minLength" => length(true, value.as_str().map(|text| text.chars().count())),
                "maxLength" => length(false, value.as_str().map(|text| text.chars().count())),
                "minimum" => value.as_f64().is_none_or(|number| number >= argument.as_f64().unwrap()),
                "maximum" => value.as_f64().is_none_or(|number| number <= argument.as_f64().unwrap()),
                other => panic!("the schema uses `{other}`, which the test does not know"),
            }
        })
    }
}

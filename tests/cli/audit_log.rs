//! Audit logs as a gateway writes them, of any length, of which it is known what a changed policy would change.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

/// The settings of the rules policy by which the decisions of [`write`] were made.
pub const RULES: &str = r#"
[default]
code = "no-rule"

[[rules]]
name = "databases"
actions = "connect"
groups = "dba"
hosts = "db*.internal"
ports = 5432
outcome = "allow"
terms = { max-seconds = 28800 }

[[rules]]
name = "moved"
hosts = "old.internal"
outcome = "rewrite"
to = "new.internal"
"#;

/// Those of a change: contractors lose one database, and what has moved moves on.
pub fn changed() -> String {
    let rule = "[[rules]]\nname = \"no-contractors\"\ngroups = \"contractors\"\nhosts = \"db3.internal\"\noutcome = \"deny\"\n\n[[rules]]\nname = \"databases\"";
    RULES
        .replace("[[rules]]\nname = \"databases\"", rule)
        .replace("new.internal", "newer.internal")
}

/// What is in a log, and what the change does to it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Written {
    pub asked: u64,
    pub by_key: u64,
    pub denied: u64,
    pub moved: u64,
}

/// The time of the decision of this number.
pub fn time(number: u64) -> String {
    let start: Timestamp = "2026-11-01T00:00:00Z".parse().unwrap();
    let at = start + SignedDuration::from_millis(i64::try_from(number).unwrap() * 137);
    format!("{at:.6}")
}

pub fn login(session: u64, user: &str, groups: &[&str]) -> Value {
    json!({
        "v": 1, "time": time(session * 20), "session": format!("s-{session:026}"), "user": user, "client": "192.0.2.7:50000",
        "event": "auth-succeeded", "method": "publickey", "fingerprint": "SHA256:h2+bJ7xL7SExq1WbrRH3uHVELh6ub0gwmTZzs8Qbatk",
        "groups": groups, "claims": { "team": "payments" }, "server": "192.0.2.2:2222", "software": "SSH-2.0-OpenSSH_9.9",
    })
}

/// A decision of this session, to be completed with what was decided.
pub fn decision(number: u64, session: u64, user: &str, target: &str, decided: Value) -> Value {
    let mut line = json!({
        "v": 1, "time": time(number), "session": format!("s-{session:026}"), "user": user, "client": "192.0.2.7:50000",
        "forward": format!("f-{number:026}"), "event": "forward-decided", "action": "connect", "requested": target, "target": target,
        "originator": "127.0.0.1:37658", "asked": time(number), "by": "policy",
        "policy": { "name": "rules", "version": "0.1.0", "sha256": "5dc00afa1804" }, "micros": 40,
    });
    line.as_object_mut()
        .unwrap()
        .extend(decided.as_object().unwrap().clone());
    line
}

/// Writes a log of so many decisions, twenty in a session.
pub fn write(path: &Path, decisions: u64) -> Written {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path).unwrap());
    let mut say = |line: Value| writeln!(out, "{line}").unwrap();
    let mut written = Written::default();
    for number in 0..decisions {
        let session = number / 20;
        let user = format!("user{}", session % 50);
        let contractor = session % 5 == 0;
        if number % 20 == 0 {
            say(login(
                session,
                &user,
                if contractor { &["contractors", "dba"] } else { &["dba"] },
            ));
        }
        let (target, decided) = match number % 20 {
            19 => {
                written.by_key += 1;
                let limited = json!({ "verdict": "deny", "by": "key", "code": "permitopen", "reason": "the key", "policy": null });
                ("db1.internal:22".to_owned(), limited)
            }
            18 => {
                written.moved += 1;
                let moved = json!({ "verdict": "rewrite", "effective": "new.internal:80", "resolved": ["10.0.0.8"], "reason": "", "terms": {}, "tags": { "rule": "moved" } });
                ("old.internal:80".to_owned(), moved)
            }
            16 | 17 => {
                let denied = json!({ "verdict": "deny", "code": "no-rule", "reason": "no rule matches" });
                (format!("mail{}.internal:25", number % 3), denied)
            }
            _ => {
                let database = (session + number) % 10;
                written.denied += u64::from(contractor && database == 3);
                let allowed = json!({ "verdict": "allow", "resolved": [format!("10.0.0.{database}")], "terms": { "max-seconds": 28800 }, "tags": { "rule": "databases" } });
                (format!("db{database}.internal:5432"), allowed)
            }
        };
        say(decision(number, session, &user, &target, decided));
        if number % 20 == 19 {
            let id = format!("s-{session:026}");
            say(
                json!({ "v": 1, "time": time(number), "session": id, "user": user, "event": "session-closed", "millis": 2740 }),
            );
        }
    }
    out.flush().unwrap();
    written.asked = decisions - written.by_key;
    written
}

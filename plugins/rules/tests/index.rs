//! The index finds what a walk over all the rules finds.
#![allow(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "tests")]

use portreeve_rules::request::{Action, Endpoint, Identity};
use portreeve_rules::{Request, RuleSet, Verdict};
use serde_json::{Value, json};

/// Xorshift: the same numbers on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'a>(&mut self, faces: &[&'a str]) -> &'a str {
        faces[self.roll(faces.len())]
    }
}

const USERS: &[&str] = &["alice", "bob", "carol", "dave"];
const GROUPS: &[&str] = &["dba", "ops", "web"];
const HOSTS: &[&str] = &[
    "db",
    "a.db",
    "a.b.db",
    "web",
    "10.0.0.1",
    "10.0.3.1",
    "2001:db8::1",
    "localhost",
    "*",
    "::",
];
const CLIENTS: &[&str] = &["10.0.0.1", "10.0.3.9", "192.0.2.1", "2001:db8:1::5"];
const PATHS: &[&str] = &["/run/a.sock", "/run/b/c.sock", "/x"];

fn rule(dice: &mut Dice) -> Value {
    let mut rule = json!({ "outcome": dice.pick(&["allow", "deny"]) });
    for _ in 0..=dice.roll(3) {
        let mut texts = |faces: &[&str]| {
            let mut list: Vec<&str> = (0..=dice.roll(2)).map(|_| dice.pick(faces)).collect();
            list.sort_by_key(|text| text.starts_with('!'));
            if list[0].starts_with('!') {
                json!(["*:*", list[0]])
            } else {
                json!(list)
            }
        };
        let (key, value) = match dice_key(&mut texts) {
            (key, Some(value)) => (key, value),
            _ => continue,
        };
        rule[key] = value;
    }
    if rule.get("sockets").is_some() {
        for key in ["hosts", "ports", "addresses", "targets"] {
            rule.as_object_mut().unwrap().remove(key);
        }
    }
    rule
}

/// Kept apart so that `texts` can borrow the dice.
fn dice_key(texts: &mut dyn FnMut(&[&str]) -> Value) -> (&'static str, Option<Value>) {
    let choice = texts(&["0", "1", "2", "3", "4", "5", "6", "7", "8"])[0]
        .as_str()
        .unwrap()
        .to_string();
    match choice.as_str() {
        "0" => ("users", Some(texts(&["alice", "bob", "carol", "d*"]))),
        "1" => ("groups", Some(texts(&["dba", "ops", "w?b"]))),
        "2" => (
            "hosts",
            Some(texts(&[
                "db",
                "*.db",
                "web",
                "10.0.0.1",
                "*b",
                "localhost",
                "2001:db8::1",
            ])),
        ),
        "3" => ("ports", Some(texts(&["22", "80", "8000-8010", "1-65535"]))),
        "4" => (
            "clients",
            Some(texts(&[
                "10.0.0.0/24",
                "10.0.0.0/8",
                "10.0.3.9",
                "2001:db8::/32",
                "::/0",
            ])),
        ),
        "5" => (
            "addresses",
            Some(texts(&[
                "10.0.0.0/24",
                "10.0.0.0/8",
                "127.0.0.0/8",
                "::/0",
                "10.0.0.1-10.0.3.7",
            ])),
        ),
        "6" => ("sockets", Some(texts(&["/run/a.sock", "/run/**", "/x"]))),
        "7" => (
            "targets",
            Some(texts(&[
                "db:22",
                "*.db:80",
                ":80",
                "*:*",
                "!db:22",
                "[2001:db8::1]:*",
                "unix:/x",
            ])),
        ),
        _ => ("actions", Some(texts(&["connect", "listen", "accept"]))),
    }
}

fn short(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Allow(terms) => terms
            .tags
            .iter()
            .find(|(key, _)| key == "rule")
            .map_or(String::new(), |(_, name)| name.clone()),
        Verdict::Deny(denial) => denial.code.to_string(),
        Verdict::Rewrite { .. } => "rewrite".into(),
    }
}

#[test]
fn index_finds_the_rule_that_a_walk_finds() {
    let mut dice = Dice(0x5EED_CAFE);
    let mut hits = 0;
    for round in 0..300 {
        let mut rules: Vec<Value> = Vec::new();
        let mut alone: Vec<RuleSet> = Vec::new();
        while rules.len() < 1 + round / 4 {
            let mut rule = rule(&mut dice);
            rule["name"] = json!(format!("r{}", rules.len()));
            // Some rolls of the dice contradict themselves, and the settings say so.
            if let Ok(set) = RuleSet::new(&json!({ "rules": [rule] }).to_string()) {
                rules.push(rule);
                alone.push(set);
            }
        }
        let all = RuleSet::new(&json!({ "rules": rules }).to_string()).unwrap();
        for _ in 0..200 {
            let groups: Vec<String> = (0..dice.roll(3)).map(|_| dice.pick(GROUPS).to_string()).collect();
            let host = dice.pick(HOSTS);
            let target = if dice.roll(4) == 0 {
                Endpoint::Socket(dice.pick(PATHS))
            } else {
                Endpoint::Tcp(host, [22, 80, 8005, 0][dice.roll(4)])
            };
            let request = Request {
                now: 1_795_176_000_000,
                action: [Action::Connect, Action::Listen, Action::Accept][dice.roll(3)],
                target,
                address: host.parse::<std::net::IpAddr>().is_ok().then_some(host),
                peer: None,
                client: dice.pick(CLIENTS),
                identity: Identity {
                    user: dice.pick(USERS),
                    groups: &groups,
                    method: "publickey",
                    key: None,
                    issuer: None,
                    principals: &[],
                },
            };
            let answer = [
                None,
                Some(vec!["10.0.0.1".to_string()]),
                Some(vec!["10.0.0.1".to_string(), "192.0.2.1".to_string()]),
            ][dice.roll(3)]
            .clone();
            let resolve = |_: &str| answer.clone();
            let walked = alone
                .iter()
                .map(|set| short(&set.decide(request, &resolve)))
                .find(|name| name != "no-rule");
            hits += usize::from(walked.is_some());
            let found = short(&all.decide(request, &resolve));
            assert_eq!(
                found,
                walked.unwrap_or_else(|| "no-rule".into()),
                "{request:?} {answer:?} {rules:#?}"
            );
        }
    }
    assert!((10_000..59_000).contains(&hits), "{hits} hits do not say much");
}

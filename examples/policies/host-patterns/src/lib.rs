//! Hosts by regular expressions: a group may connect to what one of its patterns matches.

use portreeve_policy::settings::problem;
use portreeve_policy::{Problem, Request, Verdict, policy, sample};
use regex::bytes::{RegexBuilder, RegexSet, RegexSetBuilder};
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    patterns: Vec<Pattern>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Pattern {
    name: String,
    /// Must match the whole name.
    host: String,
    ports: Vec<u16>,
    groups: Vec<String>,
}

/// The patterns, and all their expressions in one that is matched once.
#[derive(Deserialize)]
#[serde(from = "Written")]
struct Settings {
    patterns: Vec<Pattern>,
    /// None if one of them is wrong: `check` says which.
    hosts: Option<RegexSet>,
}

impl From<Written> for Settings {
    fn from(Written { patterns }: Written) -> Self {
        let whole = patterns.iter().map(|pattern| whole(&pattern.host));
        let hosts = RegexSetBuilder::new(whole).unicode(false).build().ok();
        Self { patterns, hosts }
    }
}

fn whole(pattern: &str) -> String {
    format!("^(?:{pattern})$")
}

fn decide(request: &Request, settings: &Settings) -> Verdict {
    let (true, Some(host), Some(port)) = (request.is_connect(), request.host(), request.port()) else {
        return Verdict::deny("not-a-host", "only connections to hosts have patterns");
    };
    let matching = settings.hosts.iter().flat_map(|hosts| hosts.matches(host.as_bytes()));
    let mut matching = matching.filter_map(|index| settings.patterns.get(index));
    match matching.find(|pattern| pattern.ports.contains(&port) && request.in_any_group(&pattern.groups)) {
        Some(pattern) => Verdict::allow().tag("rule", &pattern.name),
        None => Verdict::deny("no-pattern", "no pattern of the user's groups matches")
            .tell_user("you may not connect to this host and port"),
    }
}

/// What the types cannot say.
fn check(settings: &Settings) -> Vec<Problem> {
    let each = settings.patterns.iter().enumerate();
    let mut wrong: Vec<_> = each
        .filter_map(|(index, pattern)| {
            let tried = RegexBuilder::new(&whole(&pattern.host)).unicode(false).build();
            let error = tried.err()?;
            Some(problem(format!("/patterns/{index}/host"), error.to_string()))
        })
        .collect();
    if wrong.is_empty() && settings.hosts.is_none() {
        wrong.push(problem("/patterns", "the patterns are too large together"));
    }
    wrong
}

/// Matching builds the automaton of the patterns. Here it is built once, for all decisions.
fn warm(settings: &Settings) {
    for host in ["db-orders-1.internal", "web01.eu-north-1.internal", "192.0.2.1"] {
        let _ = decide(&sample::connect(&format!("{host}:22")).build(), settings);
    }
}

policy!(
    name: "host-patterns",
    summary: "hosts by regular expressions",
    settings: Settings,
    schema: include_str!("../settings.schema.json"),
    check: check,
    warm: warm,
    decide: decide,
);

#[cfg(test)]
mod tests {
    use super::{Settings, check, decide, warm};
    use portreeve_policy::{sample, settings};

    fn read(host: &str) -> Settings {
        let text =
            format!(r#"{{ "patterns": [{{ "name": "a", "host": "{host}", "ports": [22], "groups": ["dba"] }}] }}"#);
        settings::read(&text).expect("settings")
    }

    #[test]
    fn a_pattern_is_for_the_whole_name() {
        let settings = read("db-[0-9]+|cache");
        warm(&settings);
        for (host, allowed) in [
            ("db-1", true),
            ("cache", true),
            ("xdb-1", false),
            ("db-1x", false),
            ("cachet", false),
        ] {
            let request = sample::connect(&format!("{host}:22")).group("dba");
            assert_eq!(
                decide(&request.clone().build(), &settings).is_allow(),
                allowed,
                "{host}"
            );
            assert!(
                !decide(
                    &request.with(|request| request.principal.groups.clear()).build(),
                    &settings
                )
                .is_allow()
            );
        }
    }

    #[test]
    fn a_pattern_that_is_none_is_named() {
        let problems = check(&read("db-(1"));
        assert_eq!(problems[0].at, "/patterns/0/host");
        assert!(
            problems[0].message.contains("unclosed group"),
            "{}",
            problems[0].message
        );
        assert!(check(&read("db-(1)")).is_empty());
    }
}

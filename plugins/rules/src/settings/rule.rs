//! One rule.

use std::collections::BTreeMap;

use serde_json::Value;

use super::reader::{Object, Place, Reader, closest, join, show};
use super::{contradiction, endpoint, lists, obligations, terms, times};
use crate::condition::{Condition, EndpointPattern, Text};
use crate::outcome::{Denial, Destination, Outcome, Rewrite, Terms};
use crate::request::Action;
use crate::rules::{Actions, Kinds, Rule};

pub const KEYS: &[&str] = &[
    "name",
    "actions",
    "users",
    "groups",
    "methods",
    "keys",
    "issuers",
    "principals",
    "clients",
    "peers",
    "hosts",
    "addresses",
    "ports",
    "sockets",
    "targets",
    "when",
    "starts",
    "expires",
    "outcome",
    "to",
    "code",
    "reason",
    "tell-user",
    "terms",
];
const ACTIONS: [(&str, Action); 3] = [
    ("connect", Action::Connect),
    ("listen", Action::Listen),
    ("accept", Action::Accept),
];
const OUTCOMES: [&str; 3] = ["allow", "deny", "rewrite"];

pub fn read_all(list: &[Value], place: &Place, reader: &mut Reader) -> Vec<Rule> {
    let mut names = BTreeMap::new();
    let read = list.iter().enumerate().filter_map(|(number, value)| {
        let place = Place::Item(place, number);
        let object = reader.object(value, &place, KEYS, "a rule")?;
        let name = object.read("name", reader, Reader::label);
        if let Some(name) = &name
            && let Some(earlier) = names.insert(name.clone(), number)
        {
            reader.fault(
                &object.at("name"),
                format!(
                    "rule {earlier} (counted from 0) has the name `{name}` too, names tell rules apart in the audit log"
                ),
            );
        }
        rule(&object, name.unwrap_or_else(|| format!("rule-{}", number + 1)), reader)
    });
    read.collect()
}

fn rule(object: &Object, name: String, reader: &mut Reader) -> Option<Rule> {
    let actions = object.read("actions", reader, actions);
    let conditions = conditions(object, reader);
    let kinds = kinds(object, &conditions, reader);
    check_peers(object, actions, reader);
    check_life(object, &conditions, reader);
    obligations::check(object, actions, reader);
    let is_denial = object.entries.get("outcome").and_then(Value::as_str) == Some("deny");
    contradiction::check(object, &conditions, actions.unwrap_or(Actions::ALL), is_denial, reader);
    let outcome = outcome(object, name.clone(), actions, reader)?;

    let mut rule = Rule {
        actions: actions.unwrap_or(Actions::ALL),
        kinds,
        ports: (0, u16::MAX),
        conditions: Box::new([]),
        outcome,
        name: name.into(),
    };
    if let Outcome::Rewrite(rewrite) = &rule.outcome {
        rule.actions = rule.actions.without(Action::Accept);
        if !matches!(rewrite.to, Destination::Tcp(Some(_), Some(_)) | Destination::Socket(_)) {
            rule.kinds.sockets = false;
        }
    }
    if let Some(hull) = conditions.iter().find_map(ports_hull) {
        rule.ports = hull;
    }
    let mut conditions = conditions;
    conditions.retain(|condition| !is_settled(condition));
    conditions.sort_by_key(Condition::cost);
    rule.conditions = conditions.into();
    Some(rule)
}

fn ports_hull(condition: &Condition) -> Option<(u16, u16)> {
    match condition {
        Condition::Ports(ports) => ports.hull(),
        _ => None,
    }
}

/// Whether a rule's kinds and its lowest and highest port say all that the condition says. Every request has a user and a
/// method, and every TCP target has a host; but not every request has, for example, a group.
fn is_settled(condition: &Condition) -> bool {
    match condition {
        Condition::Text(Text::User | Text::Method | Text::Host, list) => list.is_everything(),
        Condition::Ports(ports) => ports.ranges().len() == 1 && ports.hull() == Some((0, u16::MAX)),
        _ => false,
    }
}

fn conditions(object: &Object, reader: &mut Reader) -> Vec<Condition> {
    let names = [
        ("users", Text::User),
        ("groups", Text::Groups),
        ("methods", Text::Method),
        ("principals", Text::Principals),
    ];
    let fingerprints = [("keys", Text::Key), ("issuers", Text::Issuer)];
    let mut found = Vec::new();
    for (key, text) in names {
        found.extend(
            object
                .read(
                    key,
                    reader,
                    if text == Text::Method {
                        lists::methods
                    } else {
                        lists::names
                    },
                )
                .map(|list| Condition::Text(text, list)),
        );
    }
    for (key, text) in fingerprints {
        found.extend(
            object
                .read(key, reader, lists::fingerprints)
                .map(|list| Condition::Text(text, list)),
        );
    }
    found.extend(object.read("clients", reader, lists::networks).map(Condition::Clients));
    found.extend(object.read("peers", reader, lists::networks).map(Condition::Peers));
    found.extend(
        object
            .read("hosts", reader, lists::hosts)
            .map(|list| Condition::Text(Text::Host, list)),
    );
    found.extend(
        object
            .read("addresses", reader, lists::networks)
            .map(Condition::Addresses),
    );
    found.extend(object.read("ports", reader, lists::ports).map(Condition::Ports));
    found.extend(
        object
            .read("sockets", reader, lists::sockets)
            .map(|list| Condition::Text(Text::Socket, list)),
    );
    found.extend(object.read("targets", reader, lists::targets).map(Condition::Targets));
    found.extend(object.read("when", reader, times::windows).map(Condition::When));
    found.extend(object.read("starts", reader, times::instant).map(Condition::Starts));
    found.extend(object.read("expires", reader, times::instant).map(Condition::Expires));
    found
}

fn actions(value: &Value, place: &Place, reader: &mut Reader) -> Option<Actions> {
    let mut actions = Actions::NONE;
    reader.one_or_more(value, place, |item, place, reader| {
        match ACTIONS.iter().find(|(name, _)| item.as_str() == Some(name)) {
            Some((_, action)) => actions = actions.with(*action),
            None => unknown_word(item, place, "action", &ACTIONS.map(|(name, _)| name), reader),
        }
    });
    Some(actions)
}

/// Which endpoints can satisfy all the conditions.
fn kinds(object: &Object, conditions: &[Condition], reader: &mut Reader) -> Kinds {
    let tcp: Vec<&str> = ["hosts", "addresses", "ports"]
        .into_iter()
        .filter(|key| object.has(key))
        .collect();
    let mut kinds = Kinds {
        tcp: !object.has("sockets"),
        sockets: tcp.is_empty(),
    };
    for condition in conditions {
        if let Condition::Targets(patterns) = condition {
            let mut listed = patterns
                .iter()
                .filter(|pattern| !pattern.is_exception)
                .map(|pattern| matches!(pattern.endpoint, EndpointPattern::Tcp(..)));
            let any_tcp = listed.clone().any(|is_tcp| is_tcp);
            let any_socket = listed.any(|is_tcp| !is_tcp);
            kinds = Kinds {
                tcp: kinds.tcp && any_tcp,
                sockets: kinds.sockets && any_socket,
            };
        }
    }
    if !kinds.tcp && !kinds.sockets {
        let keys: Vec<&str> = tcp
            .into_iter()
            .chain(["sockets", "targets"].into_iter().filter(|key| object.has(key)))
            .collect();
        reader.fault(
            object.place,
            format!(
                "no endpoint is a host and a socket at once, so {} match nothing together, write two rules",
                join(&keys, "and")
            ),
        );
    }
    kinds
}

fn check_peers(object: &Object, actions: Option<Actions>, reader: &mut Reader) {
    if object.has("peers") && actions != Some(Actions::NONE.with(Action::Accept)) {
        reader.fault(&object.at("peers"), "`peers` needs `actions = [\"accept\"]`, for every other action the peer is unknown or only claimed by the client");
    }
}

fn check_life(object: &Object, conditions: &[Condition], reader: &mut Reader) {
    let start = conditions.iter().find_map(|condition| {
        if let Condition::Starts(second) = condition {
            Some(*second)
        } else {
            None
        }
    });
    let end = conditions.iter().find_map(|condition| {
        if let Condition::Expires(second) = condition {
            Some(*second)
        } else {
            None
        }
    });
    if start.zip(end).is_some_and(|(start, end)| start >= end) {
        reader.fault(&object.at("expires"), "the rule expires before it starts");
    }
}

fn outcome(object: &Object, name: String, actions: Option<Actions>, reader: &mut Reader) -> Option<Outcome> {
    if !object.has("outcome") {
        reader.fault(
            object.place,
            format!("a rule needs an `outcome`: {}", join(&OUTCOMES, "or")),
        );
        return None;
    }
    let outcome = object.read("outcome", reader, |value, place, reader| {
        let outcome = OUTCOMES.into_iter().find(|outcome| value.as_str() == Some(outcome));
        if outcome.is_none() {
            unknown_word(value, place, "outcome", &OUTCOMES, reader);
        }
        outcome
    })?;
    let strangers: &[(&str, &str)] = match outcome {
        "allow" => &[
            ("to", "only a rewrite has"),
            ("code", "only a denial has"),
            ("tell-user", "only a denial has"),
        ],
        "rewrite" => &[("code", "only a denial has"), ("tell-user", "only a denial has")],
        _ => &[("to", "only a rewrite has"), ("terms", "a denial has no")],
    };
    for (key, why) in strangers.iter().filter(|(key, _)| object.has(key)) {
        reader.fault(
            &object.at(key),
            format!("{why} `{key}`, and this rule's outcome is `{outcome}`"),
        );
    }
    let reason = object.read("reason", reader, Reader::text);
    if outcome == "deny" {
        let code = object
            .read("code", reader, Reader::label)
            .unwrap_or_else(|| name.clone());
        let reason = reason.unwrap_or_else(|| format!("rule {name}"));
        return Some(Outcome::Deny(Box::new(Denial {
            code: code.into(),
            reason: reason.into(),
            tell_user: object.read("tell-user", reader, Reader::text).map(Into::into),
        })));
    }
    let terms = tagged(
        object.read("terms", reader, terms::read).unwrap_or_default(),
        "rule",
        &name,
    );
    if outcome == "allow" {
        // The contract's plain allow has no place for a reason.
        let terms = match reason {
            Some(reason) => tagged(terms, "reason", &reason),
            None => terms,
        };
        return Some(Outcome::Allow(Box::new(terms)));
    }
    if !object.has("to") {
        reader.fault(
            object.place,
            "a rewrite needs `to`, such as \"10.0.0.5:5432\", \"db2\", \":5433\" or \"unix:/path\"",
        );
    }
    let to = object.read("to", reader, |value, place, reader| {
        destination(value, place, actions, reader)
    })?;
    Some(Outcome::Rewrite(Box::new(Rewrite {
        to,
        reason: reason.unwrap_or_else(|| format!("rule {name}")),
        terms,
    })))
}

/// Tags bring the rule's name into the audit record of what is allowed; a tag of the same name in the settings stays.
fn tagged(mut terms: Terms, key: &str, value: &str) -> Terms {
    if terms.tags.iter().all(|(tag, _)| tag != key) {
        terms.tags.push((key.into(), value.into()));
    }
    terms
}

fn destination(value: &Value, place: &Place, actions: Option<Actions>, reader: &mut Reader) -> Option<Destination> {
    let text = Reader::text(value, place, reader)?;
    let destination = endpoint::destination(&text)
        .map_err(|message| reader.fault(place, message))
        .ok()?;
    if matches!(destination, Destination::Tcp(_, Some(0))) && actions != Some(Actions::NONE.with(Action::Listen)) {
        reader.fault(
            place,
            "port 0 means any free port, so it needs `actions = [\"listen\"]`",
        );
    }
    if actions == Some(Actions::NONE.with(Action::Accept)) {
        reader.fault(
            place,
            "a peer that has connected cannot be sent elsewhere, rewrite the `connect` or the `listen`",
        );
    }
    Some(destination)
}

fn unknown_word(value: &Value, place: &Place, what: &str, words: &[&str], reader: &mut Reader) {
    let near = value.as_str().and_then(|text| closest(text, words.iter().copied()));
    let hint = near.map_or_else(
        || format!("write {}", join(words, "or")),
        |near| format!("did you mean `{near}`?"),
    );
    reader.fault(place, format!("unknown {what} {}, {hint}", show(value)));
}

//! Obligations of an allowed request: what this version of the gateway knows, so that a misspelt one is found at load.

use serde_json::Value as Json;

use super::reader::{Object, Place, Reader};
use crate::network;
use crate::outcome::Value;
use crate::request::Action;
use crate::rules::Actions;

const KEYS: &[&str] = &[
    "replace-socket",
    "proxy-protocol",
    "source-address",
    "mark",
    "dscp",
    "via",
];
/// How a target is connected to: there is none to connect to where a client listens.
const OF_CONNECTIONS: &[&str] = &["proxy-protocol", "source-address", "mark", "dscp", "via"];
const HEADERS: [&str; 3] = ["v1", "v2", "none"];
/// RFC 2474, 2597, 3246, 5865 and 8622.
const CLASSES: [&str; 23] = [
    "cs0", "cs1", "cs2", "cs3", "cs4", "cs5", "cs6", "cs7", "af11", "af12", "af13", "af21", "af22", "af23", "af31",
    "af32", "af33", "af41", "af42", "af43", "ef", "va", "le",
];

pub fn read(value: &Json, place: &Place, reader: &mut Reader) -> Option<Vec<(String, Value)>> {
    let object = reader.object(value, place, KEYS, "the obligations")?;
    let mut found = Vec::new();
    for (key, value) in object.entries {
        let place = Place::Key(place, key);
        let read = match key.as_str() {
            "replace-socket" => value.as_bool().map(Value::Flag),
            "proxy-protocol" => text(value).filter(|text| HEADERS.contains(text)).map(owned),
            "source-address" => text(value).filter(|text| is_source(text)).map(owned),
            "mark" => value.as_u64().filter(|mark| *mark <= u32::MAX.into()).and_then(number),
            "dscp" => match value.as_u64() {
                Some(code) => Some(code).filter(|code| *code < 64).and_then(number),
                None => text(value).filter(|text| CLASSES.contains(text)).map(owned),
            },
            "via" => text(value).filter(|text| is_name(text)).map(owned),
            // Reported already.
            _ => continue,
        };
        let read = read.or_else(|| reader.expected(&place, expected(key), value));
        found.extend(read.map(|read| (key.clone(), read)));
    }
    Some(found)
}

/// A rule that demands a way to the target must be about connections to one: on anything else the gateway would refuse it.
pub fn check(rule: &Object, actions: Option<Actions>, reader: &mut Reader) {
    if actions == Some(Actions::NONE.with(Action::Connect)) {
        return;
    }
    let terms = rule.at("terms");
    let obligations = Place::Key(&terms, "obligations");
    let given = rule.entries.get("terms").and_then(|terms| terms.get("obligations"));
    let given = given
        .and_then(Json::as_object)
        .into_iter()
        .flat_map(|given| given.keys());
    for name in given.filter(|name| OF_CONNECTIONS.contains(&name.as_str())) {
        let words = format!("`{name}` is for connections only, add `actions = [\"connect\"]` to the rule");
        reader.fault(&Place::Key(&obligations, name), words);
    }
}

fn expected(key: &str) -> &'static str {
    match key {
        "replace-socket" => "true or false",
        "proxy-protocol" => "\"v1\", \"v2\" or \"none\"",
        "source-address" => "an IP address of the gateway, as in \"10.0.0.5\"",
        "mark" => "a whole number from 0 to 4294967295",
        "dscp" => "a whole number from 0 to 63 or a name such as \"ef\", \"cs1\" or \"af41\"",
        _ => "the name of a proxy under [[via]], or \"direct\"",
    }
}

fn text(value: &Json) -> Option<&str> {
    value.as_str()
}

fn owned(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn number(number: u64) -> Option<Value> {
    i64::try_from(number).ok().map(Value::Number)
}

fn is_source(text: &str) -> bool {
    network::address(text).is_some_and(|address| !(address.is_unspecified() || address.is_multicast()))
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=64).contains(&text.len()) && text.bytes().all(plain)
}

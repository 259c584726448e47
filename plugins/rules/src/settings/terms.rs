//! The terms of an allowed request.

use serde_json::Value as Json;

use super::obligations;
use super::reader::{Object, Place, Reader, show};
use crate::network::{self, Network};
use crate::outcome::{Terms, Value};

pub const KEYS: &[&str] = &[
    "max-seconds",
    "idle-seconds",
    "max-bytes",
    "bytes-per-second",
    "address-rules",
    "recheck-seconds",
    "reuse-seconds",
    "tags",
    "obligations",
    "hints",
];
const ADDRESS_RULE_KEYS: &[&str] = &["cidr", "effect"];

pub fn read(value: &Json, place: &Place, reader: &mut Reader) -> Option<Terms> {
    let object = reader.object(value, place, KEYS, "the terms")?;
    Some(Terms {
        max_seconds: seconds(&object, "max-seconds", 1, reader),
        idle_seconds: seconds(&object, "idle-seconds", 1, reader),
        max_bytes: object.read("max-bytes", reader, |value, place, reader| {
            whole(value, place, 1, u64::MAX, reader)
        }),
        bytes_per_second: object.read("bytes-per-second", reader, |value, place, reader| {
            whole(value, place, 1, u64::MAX, reader)
        }),
        address_rules: object.read("address-rules", reader, address_rules).unwrap_or_default(),
        recheck_seconds: seconds(&object, "recheck-seconds", 1, reader),
        reuse_seconds: seconds(&object, "reuse-seconds", 0, reader),
        tags: object
            .read("tags", reader, |value, place, reader| {
                entries(value, place, reader, Reader::text)
            })
            .unwrap_or_default(),
        obligations: object
            .read("obligations", reader, obligations::read)
            .unwrap_or_default(),
        hints: object
            .read("hints", reader, |json, place, reader| {
                entries(json, place, reader, open_value)
            })
            .unwrap_or_default(),
    })
}

fn seconds(object: &Object, key: &str, least: u64, reader: &mut Reader) -> Option<u32> {
    object.read(key, reader, |value, place, reader| {
        whole(value, place, least, u32::MAX.into(), reader).and_then(|number| u32::try_from(number).ok())
    })
}

fn whole(value: &Json, place: &Place, least: u64, most: u64, reader: &mut Reader) -> Option<u64> {
    let number = value.as_u64().filter(|number| (least..=most).contains(number));
    if number.is_none() {
        let found = show(value);
        reader.fault(place, format!("expected a whole number from {least} to {most}, found {found}; leave the key out for the gateway's default"));
    }
    number
}

fn address_rules(value: &Json, place: &Place, reader: &mut Reader) -> Option<Vec<(String, bool)>> {
    let list = reader.list(
        value,
        place,
        "a list of address rules such as { cidr = \"10.0.0.0/8\", effect = \"permit\" }",
    )?;
    let mut rules = Vec::new();
    for (number, item) in list.iter().enumerate() {
        let place = Place::Item(place, number);
        let Some(object) = reader.object(item, &place, ADDRESS_RULE_KEYS, "an address rule") else {
            continue;
        };
        for key in ADDRESS_RULE_KEYS.iter().filter(|key| !object.has(key)) {
            reader.fault(&place, format!("an address rule needs `{key}`"));
        }
        let cidr = object.read("cidr", reader, cidr);
        let permits = object.read("effect", reader, |value, place, reader| match value.as_str() {
            Some("permit") => Some(true),
            Some("refuse") => Some(false),
            _ => reader.expected(place, "\"permit\" or \"refuse\"", value),
        });
        rules.extend(cidr.zip(permits));
    }
    Some(rules)
}

fn cidr(value: &Json, place: &Place, reader: &mut Reader) -> Option<String> {
    let text = Reader::text(value, place, reader)?;
    if let Some(address) = network::address(&text) {
        return Some(format!("{address}/{}", if address.is_ipv4() { 32 } else { 128 }));
    }
    let checked = if text.contains('-') {
        Err(format!("`{text}` must be one network in CIDR form"))
    } else {
        Network::parse(&text)
    };
    match checked {
        Ok(_) => Some(text),
        Err(message) => {
            reader.fault(place, message);
            None
        }
    }
}

fn entries<T>(
    value: &Json,
    place: &Place,
    reader: &mut Reader,
    read: fn(&Json, &Place, &mut Reader) -> Option<T>,
) -> Option<Vec<(String, T)>> {
    let Json::Object(entries) = value else {
        return reader.expected(place, "a table", value);
    };
    Some(
        entries
            .iter()
            .filter_map(|(key, value)| Some((key.clone(), read(value, &Place::Key(place, key), reader)?)))
            .collect(),
    )
}

fn open_value(value: &Json, place: &Place, reader: &mut Reader) -> Option<Value> {
    let texts = |list: &[Json]| {
        list.iter()
            .map(|item| item.as_str().map(String::from))
            .collect::<Option<Vec<_>>>()
    };
    let found = match value {
        Json::String(text) => Some(Value::Text(text.clone())),
        Json::Array(list) => texts(list).map(Value::Texts),
        Json::Number(number) => number.as_i64().map(Value::Number),
        Json::Bool(flag) => Some(Value::Flag(*flag)),
        Json::Null | Json::Object(_) => None,
    };
    found.or_else(|| reader.expected(place, "a text, a list of texts, a whole number, true or false", value))
}

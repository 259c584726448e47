//! Settings: read by hand from JSON, so that everything that is wrong is said at once, with its place and a way to mend it.
//!
//! `settings.schema.json` beside this crate describes the same shape for editors; a test holds the two together.

mod endpoint;
mod lists;
mod reader;
mod rule;
mod terms;
mod times;

use std::borrow::Cow;

use serde_json::Value;

use crate::outcome::Denial;
use crate::rules::Rule;
use reader::{Place, Reader};

/// The JSON Schema of the settings, draft 2020-12.
pub const SCHEMA: &str = include_str!("../../settings.schema.json");

/// Something wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// A JSON pointer; the empty one is the whole document.
    pub at: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

const KEYS: &[&str] = &["rules", "zone", "default"];
const DEFAULT_KEYS: &[&str] = &["code", "reason", "tell-user"];

/// The rules in order, and the answer where none of them matches.
pub(crate) fn read(text: &str) -> Result<(Vec<Rule>, Denial), Vec<Fault>> {
    let settings: Value = serde_json::from_str(text).map_err(|error| {
        vec![Fault {
            at: String::new(),
            message: format!("not JSON: {error}"),
        }]
    })?;
    let mut reader = Reader::new();
    let mut rules = Vec::new();
    let mut otherwise = default_denial();
    let root = Place::Root;
    if let Some(settings) = reader.object(&settings, &root, KEYS, "the settings") {
        if let Some(zone) = settings.read("zone", &mut reader, Reader::zone) {
            reader.default_zone = zone;
        }
        if let Some(denial) = settings.read("default", &mut reader, read_default) {
            otherwise = denial;
        }
        settings.read("rules", &mut reader, |value, place, reader| {
            reader
                .list(value, place, "a list of rules")
                .map(|list| rules = rule::read_all(list, place, reader))
        });
    }
    if reader.faults.is_empty() {
        Ok((rules, otherwise))
    } else {
        Err(reader.faults)
    }
}

fn read_default(value: &Value, place: &Place, reader: &mut Reader) -> Option<Denial> {
    let object = reader.object(value, place, DEFAULT_KEYS, "the default")?;
    let standard = default_denial();
    Some(Denial {
        code: object
            .read("code", reader, Reader::label)
            .map_or(standard.code, Cow::Owned),
        reason: object
            .read("reason", reader, Reader::text)
            .map_or(standard.reason, Cow::Owned),
        tell_user: object.read("tell-user", reader, Reader::text).map(Cow::Owned),
    })
}

fn default_denial() -> Denial {
    Denial {
        code: "no-rule".into(),
        reason: "no rule matches".into(),
        tell_user: None,
    }
}

#[cfg(test)]
mod tests;

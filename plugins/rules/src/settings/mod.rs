//! Settings: read by hand from JSON, so that everything that is wrong is said at once, with its place and a way to mend it.
//!
//! `settings.schema.json` beside this crate describes the same shape for editors; a test holds the two together.

mod contradiction;
mod endpoint;
mod hostname;
mod lists;
mod obligations;
mod reader;
mod rule;
mod terms;
mod times;

use std::borrow::Cow;

use serde_json::Value;

use crate::outcome::Denial;
use crate::rules::Rule;
use reader::{Object, Place, Reader};

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

const KEYS: &[&str] = &["rules", "count", "zone", "default"];
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
        let mut listed = None;
        settings.read("rules", &mut reader, |value, place, reader| {
            let list = reader.list(value, place, "a list of rules")?;
            listed = Some(list.len());
            rules = rule::read_all(list, place, reader);
            Some(())
        });
        is_whole(&settings, listed, &mut reader);
    }
    if reader.faults.is_empty() {
        Ok((rules, otherwise))
    } else {
        Err(reader.faults)
    }
}

/// A file that was cut off still parses where the cut lies between two rules. Settings without any rule must say that this is
/// meant, and a `count` of the rules finds every other cut.
fn is_whole(settings: &Object, listed: Option<usize>, reader: &mut Reader) {
    if !settings.entries.is_empty() && !settings.has("rules") && !settings.has("default") {
        let message =
            "there are no `rules`, so every request would be denied: add them, or write `rules = []` if that is meant";
        reader.fault(settings.place, message);
    }
    let count = settings.read("count", reader, |value, place, reader| {
        value
            .as_u64()
            .or_else(|| reader.expected(place, "the number of rules", value))
    });
    let listed = if settings.has("rules") { listed } else { Some(0) };
    if let (Some(count), Some(listed)) = (count, listed)
        && u64::try_from(listed) != Ok(count)
    {
        let message =
            format!("there are {listed} rules and there should be {count}: complete them, or correct `count`");
        reader.fault(&settings.at("count"), message);
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

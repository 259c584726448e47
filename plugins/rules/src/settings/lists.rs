//! Lists of patterns, networks, ports and targets, each with `!` exceptions.

use serde_json::Value;

use super::endpoint;
use super::reader::{Place, Reader, closest, join, show};
use crate::condition::TargetPattern;
use crate::network::{Network, Networks};
use crate::pattern::{Pattern, PatternList, Style};
use crate::range::RangeSet;

type Parse<T> = fn(&str) -> Result<T, String>;

/// Names of users, groups and principals.
pub fn names(value: &Value, place: &Place, reader: &mut Reader) -> Option<PatternList> {
    pattern_list(value, place, reader, name)
}

/// Authentication methods.
pub fn methods(value: &Value, place: &Place, reader: &mut Reader) -> Option<PatternList> {
    pattern_list(value, place, reader, method)
}

/// Key fingerprints.
pub fn fingerprints(value: &Value, place: &Place, reader: &mut Reader) -> Option<PatternList> {
    pattern_list(value, place, reader, fingerprint)
}

/// Hosts of a target.
pub fn hosts(value: &Value, place: &Place, reader: &mut Reader) -> Option<PatternList> {
    pattern_list(value, place, reader, endpoint::host)
}

/// Paths of a target.
pub fn sockets(value: &Value, place: &Place, reader: &mut Reader) -> Option<PatternList> {
    pattern_list(value, place, reader, endpoint::socket)
}

/// Networks.
pub fn networks(value: &Value, place: &Place, reader: &mut Reader) -> Option<Networks> {
    let (included, excluded) = split(value, place, reader, Network::parse, "\"0.0.0.0/0\" and \"::/0\"")?;
    let networks = Networks::new(&included, &excluded);
    not_empty(networks, Networks::is_empty, place, reader)
}

/// Ports, as numbers or as texts with a range.
pub fn ports(value: &Value, place: &Place, reader: &mut Reader) -> Option<RangeSet<u16>> {
    let (mut included, mut excluded) = (Vec::new(), Vec::new());
    let before = reader.faults.len();
    reader.one_or_more(value, place, |item, place, reader| {
        let (is_exception, range) = match item {
            Value::Number(number) => (
                false,
                number
                    .as_u64()
                    .and_then(|port| u16::try_from(port).ok())
                    .map(|port| (port, port)),
            ),
            Value::String(text) => (
                text.starts_with('!'),
                endpoint::ports(text.strip_prefix('!').unwrap_or(text)),
            ),
            _ => (false, None),
        };
        match range {
            Some(range) if is_exception => excluded.push(range),
            Some(range) => included.push(range),
            None => {
                let reversed = item.as_str().is_some_and(endpoint::is_reversed);
                let hint = if reversed {
                    ", which ends before it begins: swap the two ports"
                } else {
                    ""
                };
                reader.fault(
                    place,
                    format!(
                        "expected a port from 0 to 65535 or a range such as \"8000-8999\", found {}{hint}",
                        show(item)
                    ),
                );
            }
        }
    });
    only_exceptions(&included, &excluded, before, place, reader, "\"0-65535\"")?;
    not_empty(RangeSet::new(included, excluded), RangeSet::is_empty, place, reader)
}

/// Whole endpoints.
pub fn targets(value: &Value, place: &Place, reader: &mut Reader) -> Option<Box<[TargetPattern]>> {
    let (included, excluded) = split(value, place, reader, endpoint::pattern, "\"*:*\"")?;
    let mark = |is_exception| move |endpoint| TargetPattern { is_exception, endpoint };
    Some(
        excluded
            .into_iter()
            .map(mark(true))
            .chain(included.into_iter().map(mark(false)))
            .collect(),
    )
}

fn pattern_list(value: &Value, place: &Place, reader: &mut Reader, parse: Parse<Pattern>) -> Option<PatternList> {
    let (included, excluded) = split(value, place, reader, parse, "\"*\"")?;
    let list = PatternList::new(included, excluded);
    not_empty(list, PatternList::is_empty, place, reader)
}

fn split<T>(
    value: &Value,
    place: &Place,
    reader: &mut Reader,
    parse: Parse<T>,
    everything: &str,
) -> Option<(Vec<T>, Vec<T>)> {
    let (mut included, mut excluded) = (Vec::new(), Vec::new());
    let before = reader.faults.len();
    reader.one_or_more(value, place, |item, place, reader| {
        let Some(text) = Reader::text(item, place, reader) else {
            return;
        };
        let (list, text) = match text.strip_prefix('!') {
            Some(text) => (&mut excluded, text),
            None => (&mut included, text.as_str()),
        };
        match parse(text) {
            Ok(item) => list.push(item),
            Err(message) => reader.fault(place, message),
        }
    });
    only_exceptions(&included, &excluded, before, place, reader, everything)?;
    Some((included, excluded))
}

fn only_exceptions<T>(
    included: &[T],
    excluded: &[T],
    faults_before: usize,
    place: &Place,
    reader: &mut Reader,
    everything: &str,
) -> Option<()> {
    if reader.faults.len() > faults_before {
        return None;
    }
    if included.is_empty() && !excluded.is_empty() {
        reader.fault(
            place,
            format!("a list of exceptions alone matches nothing, add {everything} to match all the others"),
        );
        return None;
    }
    Some(())
}

fn not_empty<T>(set: T, is_empty: fn(&T) -> bool, place: &Place, reader: &mut Reader) -> Option<T> {
    if is_empty(&set) {
        reader.fault(place, "the exceptions leave nothing to match");
        return None;
    }
    Some(set)
}

fn name(text: &str) -> Result<Pattern, String> {
    if text.is_empty() {
        return Err("a name is missing after the `!`".into());
    }
    if text.contains(',') {
        return Err(format!(
            "`{text}` is one name, write a list such as [\"alice\", \"bob\"]"
        ));
    }
    if text.trim() != text || text.chars().any(char::is_control) {
        return Err(format!(
            "`{}` can match no name, leave out the spaces around it and every control character",
            text.escape_debug()
        ));
    }
    Ok(Pattern::new(text, Style::Name))
}

fn method(text: &str) -> Result<Pattern, String> {
    let pattern = name(text)?;
    if METHODS.iter().any(|method| pattern.matches(method)) {
        return Ok(pattern);
    }
    let hint = closest(text, METHODS.into_iter()).map_or_else(
        || format!("write {}", join(&METHODS, "or")),
        |near| format!("did you mean `{near}`?"),
    );
    Err(format!("unknown method `{text}`, {hint}"))
}

/// What `credential.method` can be.
const METHODS: [&str; 4] = ["publickey", "certificate", "password", "keyboard-interactive"];

fn fingerprint(text: &str) -> Result<Pattern, String> {
    let is_base64 = |text: &str| {
        text.len() == 43
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/')
    };
    if text.strip_prefix("SHA256:").is_some_and(is_base64) {
        return Ok(Pattern::Exact(text.into()));
    }
    if let Some(bare) = text.strip_suffix('=').filter(|bare| fingerprint(bare).is_ok()) {
        return Err(format!(
            "`{text}` has a `=` at its end that no fingerprint has, write `{bare}`"
        ));
    }
    Err(format!(
        "`{text}` is no fingerprint, write `SHA256:` and 43 characters as `ssh-keygen -lf FILE` prints them"
    ))
}

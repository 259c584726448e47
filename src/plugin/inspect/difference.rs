//! The differences between two components.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde::Serialize;
use serde_json::Value as Json;

use super::Inspected;
use crate::say::{bytes, plain};

/// One change.
#[derive(Serialize)]
pub(super) struct Change {
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
}

/// Every change, in the order of what matters.
pub(super) fn between(before: &Inspected, after: &Inspected) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut compare = |what, before: Option<String>, after: Option<String>| {
        if before != after {
            changes.push(Change { what, before, after });
        }
    };
    compare("name", before.name.clone(), after.name.clone());
    compare("version", before.version.clone(), after.version.clone());
    compare("summary", before.summary.clone(), after.summary.clone());
    let digest = |one: &Inspected| Some(one.parts.sha256.clone());
    compare("sha256", digest(before), digest(after));
    let size = |one: &Inspected| Some(bytes(one.parts.size as u64));
    compare("size", size(before), size(after));
    compare("world", before.world.clone(), after.world.clone());
    let memory = |one: &Inspected| Some(bytes(one.parts.initial_memory));
    compare("memory", memory(before), memory(after));
    compare("fault", before.fault.clone(), after.fault.clone());
    let imports = |one: &Inspected| one.parts.imports.iter().map(|import| import.name.clone()).collect();
    sets("import", &imports(before), &imports(after), &mut changes);
    let exports = |one: &Inspected| one.parts.exports.iter().cloned().collect();
    sets("export", &exports(before), &exports(after), &mut changes);
    let schema = |one: &Inspected| one.schema.clone().unwrap_or(Json::Null);
    schemas("settings", &schema(before), &schema(after), &mut changes);
    changes
}

/// What one has and the other has not.
fn sets(what: &'static str, before: &BTreeSet<String>, after: &BTreeSet<String>, changes: &mut Vec<Change>) {
    let lost = before.difference(after).map(|name| Change {
        what,
        before: Some(name.clone()),
        after: None,
    });
    changes.extend(lost);
    let gained = after.difference(before).map(|name| Change {
        what,
        before: None,
        after: Some(name.clone()),
    });
    changes.extend(gained);
}

/// Each place of a schema that is not the same, as a JSON pointer with its value.
fn schemas(pointer: &str, before: &Json, after: &Json, changes: &mut Vec<Change>) {
    if before == after {
        return;
    }
    if let (Json::Object(one), Json::Object(other)) = (before, after) {
        let keys: BTreeSet<_> = one.keys().chain(other.keys()).collect();
        for key in keys {
            let place = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
            let value = |object: &serde_json::Map<String, Json>| object.get(key).cloned().unwrap_or(Json::Null);
            schemas(&place, &value(one), &value(other), changes);
        }
        return;
    }
    let shown = |value: &Json| (!value.is_null()).then(|| format!("{pointer} {}", short(&value.to_string())));
    changes.push(Change {
        what: "settings",
        before: shown(before),
        after: shown(after),
    });
}

fn short(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The changes for people.
pub(super) fn text(before: &Inspected, after: &Inspected, changes: &[Change]) -> String {
    let mut out = format!("{} → {}\n", plain(&before.component), plain(&after.component));
    if changes.is_empty() {
        out.push_str("  nothing changed\n");
    }
    for Change { what, before, after } in changes {
        let line = match (before, after) {
            (Some(before), Some(after)) => format!("{before} → {after}"),
            (None, Some(after)) => format!("+ {after}"),
            (Some(before), None) => format!("- {before}"),
            (None, None) => continue,
        };
        let _ = writeln!(out, "  {what:<11} {}", plain(&line));
    }
    for refused in &after.refused {
        let _ = writeln!(out, "  not granted {}: {}", plain(&refused.import), plain(&refused.why));
    }
    out
}

//! One component for people.

use std::fmt::Write;

use serde_json::Value as Json;

use super::Inspected;
use crate::policy::{Kind, Parts};
use crate::say::{Paint, bytes, plain};

pub(super) fn text(inspected: &Inspected) -> String {
    let paint = Paint::of_stdout();
    let parts = &inspected.parts;
    let mut out = format!("{}\n", plain(&inspected.component));
    let mut say = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<11} {value}");
    };
    if let (Some(name), Some(version)) = (&inspected.name, &inspected.version) {
        say("policy", &plain(&format!("{name} {version}")));
    }
    if let Some(summary) = &inspected.summary {
        say("summary", &plain(summary));
    }
    say("sha256", &parts.sha256);
    let kind = match parts.kind {
        Kind::Component => format!(
            "a component of {}",
            counted(parts.modules, "core module", "core modules")
        ),
        Kind::CoreModule => "a core module".to_owned(),
        Kind::NotWasm => "not WebAssembly".to_owned(),
    };
    say("size", &format!("{}, {kind}", bytes(parts.size as u64)));
    match (&inspected.world, &inspected.track) {
        (Some(world), Some(track)) => say(
            "world",
            &plain(&match Parts::ours() {
                ours if world.ends_with(ours) => format!("{world} (track {track}; this gateway speaks {ours})"),
                ours if parts.is_served() => format!(
                    "{world} (track {track}: supported; this gateway speaks {ours}, docs/versions.md says how to move)"
                ),
                ours => format!("{world} (track {track}; this gateway speaks {ours})"),
            }),
        ),
        _ if parts.kind == Kind::Component => say("world", "none of portreeve:policy"),
        _ => {}
    }
    for import in &parts.imports {
        let refused = inspected.refused.iter().find(|refused| refused.import == import.name);
        let answer = match (refused, &import.grant) {
            (Some(refused), _) => format!("{}: {}", paint.bad("refused"), plain(&refused.why)),
            (None, Some(grant)) => format!("{} ({grant})", paint.good("granted")),
            (None, None) => paint.good("linked"),
        };
        say("imports", &format!("{} {answer}", plain(&import.name)));
    }
    for export in &parts.exports {
        say("exports", &plain(export));
    }
    if parts.kind != Kind::NotWasm {
        say(
            "resources",
            &format!(
                "{} with {} at first, {}",
                counted(parts.memories, "memory", "memories"),
                bytes(parts.initial_memory),
                counted(parts.tables, "table", "tables")
            ),
        );
    }
    for producer in &parts.producers {
        say(
            "made with",
            &plain(&format!("{} {} ({})", producer.name, producer.version, producer.kind)),
        );
    }
    match &inspected.schema {
        Some(Json::String(text)) => say("settings", &format!("a schema that is not JSON: {}", plain(text))),
        Some(schema) => {
            let keys = schema.get("properties").and_then(Json::as_object);
            let keys: Vec<_> = keys.into_iter().flatten().map(|(key, _)| key.as_str()).collect();
            say("settings", &format!("{} (the schema: --json)", plain(&keys.join(", "))));
        }
        None if inspected.name.is_some() => say("settings", "no schema"),
        None => {}
    }
    if let Some(fault) = &inspected.fault {
        say(&paint.bad("fault"), &plain(fault));
    }
    out
}

fn counted(number: u32, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

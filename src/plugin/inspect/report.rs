//! One component for people.

use std::fmt::Write;

use serde_json::Value as Json;

use super::Inspected;
use crate::policy::{Anatomy, Kind};
use crate::say::{Paint, bytes, plain};

pub(super) fn text(inspected: &Inspected) -> String {
    let paint = Paint::of_stdout();
    let anatomy = &inspected.anatomy;
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
    say("sha256", &anatomy.sha256);
    let kind = match anatomy.kind {
        Kind::Component => format!(
            "a component of {}",
            counted(anatomy.modules, "core module", "core modules")
        ),
        Kind::CoreModule => "a core module".to_owned(),
        Kind::NotWasm => "not WebAssembly".to_owned(),
    };
    say("size", &format!("{}, {kind}", bytes(anatomy.size as u64)));
    match (&inspected.world, &inspected.track) {
        (Some(world), Some(track)) => say(
            "world",
            &plain(&match Anatomy::ours() {
                ours if world.ends_with(ours) => format!("{world} (track {track}; this gateway speaks {ours})"),
                ours if anatomy.is_served() => format!(
                    "{world} (track {track}: it is served; this gateway speaks {ours}, docs/versions.md says how to move)"
                ),
                ours => format!("{world} (track {track}; this gateway speaks {ours})"),
            }),
        ),
        _ if anatomy.kind == Kind::Component => say("world", "none of portreeve:policy"),
        _ => {}
    }
    for import in &anatomy.imports {
        let refused = inspected.refused.iter().find(|refused| refused.import == import.name);
        let answer = match (refused, &import.grant) {
            (Some(refused), _) => format!("{}: {}", paint.bad("refused"), plain(&refused.why)),
            (None, Some(grant)) => format!("{} ({grant})", paint.good("granted")),
            (None, None) => paint.good("linked"),
        };
        say("imports", &format!("{} {answer}", plain(&import.name)));
    }
    for export in &anatomy.exports {
        say("exports", &plain(export));
    }
    if anatomy.kind != Kind::NotWasm {
        say(
            "resources",
            &format!(
                "{} with {} at first, {}",
                counted(anatomy.memories, "memory", "memories"),
                bytes(anatomy.initial_memory),
                counted(anatomy.tables, "table", "tables")
            ),
        );
    }
    for producer in &anatomy.producers {
        say(
            "made with",
            &plain(&format!("{} {} ({})", producer.name, producer.version, producer.kind)),
        );
    }
    match &inspected.schema {
        Some(Json::String(text)) => say("settings", &format!("a schema that is no JSON: {}", plain(text))),
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

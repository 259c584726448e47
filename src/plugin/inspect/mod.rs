//! `portreeve plugin inspect`: what a component is, and what changed between two.

mod difference;
mod report;

use clap::Args;
use serde::Serialize;
use serde_json::Value as Json;

use super::loading::Loading;
use super::project::{Setup, shown};
use super::wrong::unread;
use crate::config::{Grant, Plugin, Wasi};
use crate::policy::{Component, Description, Kind, LoadError, Meter, Offline, Parts};
use crate::say::{self, FAILED};

/// Show what a component exports, imports and needs, or compare two.
#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    loading: Loading,
    /// Newer component to compare with the first.
    #[arg(value_name = "FILE2|DIR2")]
    newer: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// One component, as far as it can be read.
#[derive(Serialize)]
struct Inspected {
    component: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    world: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    track: Option<String>,
    #[serde(flatten)]
    parts: Parts,
    /// Imports that would be refused, each with the fix.
    refused: Vec<Refused>,
    #[serde(rename = "settings-schema", skip_serializing_if = "Option::is_none")]
    schema: Option<Json>,
    /// Why it would not load, whatever its settings and grants.
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<String>,
}

#[derive(Serialize)]
struct Refused {
    import: String,
    why: String,
}

pub(super) async fn run(inspect: Inspect) -> u8 {
    let subject = match inspect.loading.subject() {
        Ok(subject) => subject,
        Err(unready) => return unready.report(inspect.json),
    };
    let first = match look(&subject.setup).await {
        Ok(first) => first,
        Err(error) => return unread(&error, inspect.json),
    };
    let (text, ok) = match &inspect.newer {
        None => {
            let text = if inspect.json {
                json(&first)
            } else {
                report::text(&first)
            };
            (text, first.fault.is_none())
        }
        Some(newer) => {
            let setup = match inspect.loading.other(&subject, newer) {
                Ok(setup) => setup,
                Err(unready) => return unready.report(inspect.json),
            };
            let second = match look(&setup).await {
                Ok(second) => second,
                Err(error) => return unread(&error, inspect.json),
            };
            let changes = difference::between(&first, &second);
            let text = if inspect.json {
                json(&serde_json::json!({ "before": first, "after": second, "changes": changes }))
            } else {
                difference::text(&first, &second, &changes)
            };
            (text, first.fault.is_none() && second.fault.is_none())
        }
    };
    match say::print(&text) {
        0 if !ok => FAILED,
        code => code,
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default() + "\n"
}

/// Reads a component, and asks it what it says of itself where it can be asked.
async fn look(setup: &Setup) -> Result<Inspected, LoadError> {
    let plugin = &setup.plugin;
    let component = Component::read(&plugin.component)?;
    let offline = Offline::new(setup.memory, setup.deadline, Meter::Off)?;
    let (parts, unread) = match offline.inspect(&component).await {
        Ok(parts) => (parts, None),
        Err(error) => (Parts::bare(component.bytes()), Some(error)),
    };
    let refused = parts.imports.iter().filter_map(|import| {
        let refused = parts.granted(import, plugin).err()?;
        Some(Refused {
            import: import.name.clone(),
            why: refused.to_string(),
        })
    });
    let refused = refused.collect();
    let described = match unread {
        Some(error) => Err(error),
        None => described(&offline, setup, component).await,
    };
    let (described, fault) = match described {
        Ok(described) => (Some(described), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let (name, version, summary, schema) = match described {
        Some(Description {
            name,
            version,
            summary,
            schema,
        }) => (Some(name), Some(version), Some(summary), schema),
        None => (None, None, None, None),
    };
    let fault = match (parts.kind, &parts.broken) {
        (Kind::Component, Some(broken)) => Some(LoadError::Damaged(broken.clone()).to_string()),
        _ => fault,
    };
    Ok(Inspected {
        component: shown(&plugin.component),
        name,
        version,
        summary,
        world: parts.world(),
        track: parts.track(),
        parts,
        refused,
        // A schema that is no JSON is shown as the text that it is.
        schema: schema.map(|text| serde_json::from_str(&text).unwrap_or(Json::String(text))),
        fault,
    })
}

/// What a component says of itself. With every grant, because one that lacks some can still be looked at.
///
/// # Errors
/// If it cannot be asked.
pub(super) async fn described(
    offline: &Offline,
    setup: &Setup,
    component: Component,
) -> Result<Description, LoadError> {
    let plugin = Plugin {
        grants: vec![Grant::Log, Grant::Names, Grant::State, Grant::View],
        wasi: Wasi::Inert,
        sha256: None,
        ..setup.plugin.clone()
    };
    offline.describe(&plugin, component).await
}

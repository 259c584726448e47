//! `portreeve plugin check`: every check of a swap, offline.

use std::fmt::Write;

use clap::Args;
use serde_json::{Value as Json, json};

use super::loading::Loading;
use super::wrong::{fail, unread};
use crate::policy::{Component, Gate, LoadError, Meter, Offline, Passed};
use crate::say::{self, FAILED, Paint, plain};

/// Check a component as a gateway would before a swap.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    loading: Loading,
    /// Print the checks as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(check: Check) -> u8 {
    let subject = match check.loading.subject() {
        Ok(subject) => subject,
        Err(unready) => return unready.report(check.json),
    };
    let plugin = &subject.setup.plugin;
    let component = match Component::read(&plugin.component) {
        Ok(component) => component,
        Err(error) => return unread(&error, check.json),
    };
    let sha256 = component.sha256().to_owned();
    let offline = match Offline::new(subject.setup.memory, subject.setup.deadline, Meter::Off) {
        Ok(offline) => offline,
        Err(error) => return fail(FAILED, &error.to_string(), check.json),
    };
    let (gates, candidate) = offline.gates(plugin, component, subject.signatures.as_ref()).await;
    let log = candidate.iter().flat_map(|candidate| &candidate.observed.log);
    let log: Vec<_> = log.map(ToString::to_string).collect();
    let ok = candidate.is_some();
    let text = if check.json {
        let gates: Vec<_> = gates.iter().map(gate_json).collect();
        let value = json!({ "ok": ok, "component": subject.shown, "sha256": sha256, "gates": gates, "log": log });
        format!("{value:#}\n")
    } else {
        let mut text = format!(
            "{} (sha256 {}…)\n",
            plain(&subject.shown),
            sha256.get(..12).unwrap_or_default()
        );
        for gate in &gates {
            gate_text(&mut text, gate);
        }
        for line in log {
            let _ = writeln!(text, "  it says   {}", plain(&line));
        }
        text.push_str(if ok {
            "a gateway would accept this component\n"
        } else {
            "a gateway would reject this component\n"
        });
        text
    };
    match say::print(&text) {
        0 if !ok => FAILED,
        code => code,
    }
}

fn gate_text(out: &mut String, gate: &Gate) {
    let paint = Paint::of_stdout();
    let name = gate.name.as_str();
    match &gate.result {
        Passed::Yes(words) => {
            let _ = writeln!(out, "  {}    {name:<10} {}", paint.good("ok"), plain(words));
        }
        Passed::Unknown => {
            let _ = writeln!(out, "  -     {name:<10} not reached");
        }
        Passed::No(errors) => {
            for words in errors.iter().flat_map(words) {
                let _ = writeln!(out, "  {}  {name:<10} {}", paint.bad("FAIL"), plain(&words));
            }
        }
    }
}

/// A sentence for each fault; problems of the settings one by one.
fn words(error: &LoadError) -> Vec<String> {
    match error {
        LoadError::Settings(problems) => problems
            .iter()
            .map(|problem| {
                let at = if problem.at.is_empty() { "/" } else { &problem.at };
                format!("{at}: {}", problem.message)
            })
            .collect(),
        other => vec![other.to_string()],
    }
}

fn gate_json(gate: &Gate) -> Json {
    let name = gate.name.as_str();
    match &gate.result {
        Passed::Yes(words) => json!({ "gate": name, "passed": true, "note": words }),
        Passed::Unknown => json!({ "gate": name }),
        Passed::No(errors) => {
            let all: Vec<_> = errors.iter().map(ToString::to_string).collect();
            let mut value = json!({ "gate": name, "passed": false, "errors": all });
            for error in errors {
                if let (LoadError::Settings(problems), Some(object)) = (error, value.as_object_mut()) {
                    object.insert("problems".to_owned(), json!(problems));
                }
            }
            value
        }
    }
}

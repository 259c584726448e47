//! `portreeve ctl policy`: brings a policy in force, proves it before, and takes it back.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::client::{self, Failure, Response};
use super::table::{self, Column, Shown, columns, list, number, text, word};
use super::{complete, seconds};

/// What can be done with the policies of a running gateway.
#[derive(Subcommand)]
pub(super) enum Policy {
    /// List the generations of every plugin.
    List,
    /// Show the generations of a plugin, and what came of the gates for its last candidate.
    Show {
        /// The plugin's configured name.
        #[arg(add = complete::plugins())]
        plugin: String,
    },
    /// Load a component through the gates, and put it in force.
    Load {
        /// The plugin's configured name.
        #[arg(add = complete::plugins())]
        plugin: String,
        /// The component: a path, or `builtin:rules` [default: the one in force].
        #[arg(value_name = "FILE", required_unless_present = "settings")]
        component: Option<String>,
        #[command(flatten)]
        with: With,
        /// Roll back by itself unless confirmed within this time, as in `5m`.
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        confirm_within: Option<u64>,
        /// Only try the gates.
        #[arg(long)]
        dry_run: bool,
        /// Pass a gate that would stop it, on record.
        #[arg(long)]
        force: bool,
    },
    /// Ask a candidate beside the one in force; it decides nothing.
    Shadow {
        /// The plugin's configured name.
        #[arg(add = complete::plugins())]
        plugin: String,
        /// The component: a path, or `builtin:rules` [default: the one in force].
        #[arg(value_name = "FILE", required_unless_present_any = ["settings", "stop"])]
        component: Option<String>,
        #[command(flatten)]
        with: With,
        /// Ask the candidate no more.
        #[arg(long, conflicts_with_all = ["component", "settings"])]
        stop: bool,
    },
    /// Put the shadow in force, through the gates.
    Promote {
        /// The plugin's configured name.
        #[arg(add = complete::plugins())]
        plugin: String,
        /// Roll back by itself unless confirmed within this time, as in `5m`.
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        confirm_within: Option<u64>,
        /// Pass a gate that would stop it, on record.
        #[arg(long)]
        force: bool,
        /// Reason to record in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Confirm what was loaded with `--confirm-within`.
    Confirm {
        /// The plugin's configured name.
        #[arg(add = complete::plugins())]
        plugin: String,
    },
    /// Put an earlier generation in force, and quarantine the one that is.
    Rollback {
        /// The plugin's configured name.
        #[arg(add = complete::plugins())]
        plugin: String,
        /// The generation to return to [default: the last one that was not rolled back].
        #[arg(long, value_name = "GENERATION")]
        to: Option<u64>,
        /// Reason to record in the audit log.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Show what the shadow would have decided otherwise.
    Differences {
        /// The plugin's configured name.
        #[arg(add = complete::plugins())]
        plugin: String,
    },
    /// Compare two generations: imports, settings, and their answers to the last decisions.
    Diff {
        /// The plugin's configured name.
        #[arg(add = complete::plugins())]
        plugin: String,
        /// A generation.
        from: u64,
        /// Another one.
        to: u64,
    },
}

#[derive(clap::Args)]
pub(super) struct With {
    /// File of settings, TOML or JSON [default: the settings in force].
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Reason to record in the audit log.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Policy {
    /// Sends the request.
    pub(super) async fn send(&self, socket: &Path) -> Result<Response, Failure> {
        let of = |plugin: &str, what: &str| format!("/v1/policies/{}{what}", client::escaped(plugin));
        match self {
            Self::List => client::get(socket, "/v1/policies", &[]).await,
            Self::Show { plugin } => client::get(socket, &of(plugin, ""), &[]).await,
            Self::Load {
                plugin,
                component,
                with,
                confirm_within,
                dry_run,
                force,
            } => {
                let body = json!({
                    "component": component.as_deref().map(whole), "settings": with.settings(), "reason": with.reason,
                    "confirm_within": confirm_within, "dry_run": dry_run, "force": force,
                });
                client::post(socket, &of(plugin, "/load"), &body).await
            }
            Self::Shadow { plugin, stop: true, .. } => client::delete(socket, &of(plugin, "/shadow")).await,
            Self::Shadow {
                plugin,
                component,
                with,
                ..
            } => {
                let body = json!({
                    "component": component.as_deref().map(whole), "settings": with.settings(), "reason": with.reason,
                });
                client::post(socket, &of(plugin, "/shadow"), &body).await
            }
            Self::Promote {
                plugin,
                confirm_within,
                force,
                reason,
            } => {
                let body = json!({ "confirm_within": confirm_within, "force": force, "reason": reason });
                client::post(socket, &of(plugin, "/promote"), &body).await
            }
            Self::Confirm { plugin } => client::post(socket, &of(plugin, "/confirm"), &json!({})).await,
            Self::Rollback { plugin, to, reason } => {
                let body = json!({ "to": to, "reason": reason });
                client::post(socket, &of(plugin, "/rollback"), &body).await
            }
            Self::Differences { plugin } => client::get(socket, &of(plugin, "/differences"), &[]).await,
            Self::Diff { plugin, from, to } => {
                let (from, to) = (from.to_string(), to.to_string());
                client::get(socket, &of(plugin, "/diff"), &[("from", &from), ("to", &to)]).await
            }
        }
    }

    /// The answer as people read it.
    pub(super) fn shown(&self, body: &Value) -> String {
        match self {
            Self::List => {
                let plugins = body.as_array().map(Vec::as_slice).unwrap_or_default();
                let shown = plugins
                    .iter()
                    .map(|plugin| format!("{}\n{}", text(plugin, "plugin"), generations(plugin)));
                shown.collect::<Vec<_>>().join("\n")
            }
            Self::Show { .. } => plugin(body),
            Self::Load { dry_run: true, .. } => format!("{}it would be put in force\n", gates(body)),
            Self::Load { .. } | Self::Promote { .. } => format!("{}{}", gates(body), in_force(body)),
            Self::Shadow { stop: true, plugin, .. } => {
                format!("{}: the shadow is asked no more\n", word(&json!(plugin)))
            }
            Self::Shadow { .. } => generations(body),
            Self::Confirm { .. } => format!("confirmed: {}", in_force(body)),
            Self::Rollback { .. } => in_force(body),
            Self::Differences { .. } => differences(body),
            Self::Diff { .. } => diff(body),
        }
    }
}

impl With {
    fn settings(&self) -> Option<PathBuf> {
        let path = self.settings.as_deref()?;
        Some(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
    }
}

/// The gateway may run elsewhere.
fn whole(component: &str) -> String {
    if component.starts_with("builtin:") {
        return component.to_owned();
    }
    let path = std::path::absolute(component);
    path.map_or_else(|_| component.to_owned(), |path| path.display().to_string())
}

const GENERATIONS: [Column; 9] = [
    ("GENERATION", "generation", Shown::Word),
    ("STATE", "state", Shown::Word),
    ("VERSION", "version", Shown::Word),
    ("SHA-256", "sha256", Shown::Digest),
    ("SETTINGS", "settings_sha256", Shown::Digest),
    ("LOADED BY", "loaded_by", Shown::Word),
    ("AGE", "since", Shown::Age),
    ("DECISIONS", "decisions", Shown::Word),
    ("FAILED", "failures", Shown::Word),
];

const GATES: [Column; 4] = [
    ("GATE", "gate", Shown::Word),
    ("RESULT", "result", Shown::Word),
    ("MS", "millis", Shown::Word),
    ("", "words", Shown::Long),
];

fn array<'a>(body: &'a Value, key: &str) -> &'a [Value] {
    body.get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

fn generations(plugin: &Value) -> String {
    let mut shown = list(plugin.get("generations").unwrap_or(&Value::Null), &GENERATIONS);
    for one in array(plugin, "generations")
        .iter()
        .filter(|one| one.get("reason").is_some())
    {
        shown.push_str(&format!(
            "generation {} was rolled back: {}\n",
            text(one, "generation"),
            text(one, "reason")
        ));
    }
    if plugin.get("confirm_by").is_some() {
        let left = table::left(plugin, "confirm_by");
        shown.push_str(&format!("rolls back by itself in {left} unless it is confirmed\n"));
    }
    shown
}

fn plugin(body: &Value) -> String {
    let mut shown = generations(body);
    if let Some(report) = body.get("gates") {
        let (by, age) = (text(report, "by"), table::age(report, "time"));
        shown.push_str(&format!("\nlast candidate, by {by}, {age} ago\n"));
        shown.push_str(&gates(body));
    }
    shown
}

fn gates(body: &Value) -> String {
    let report = body.get("gates").unwrap_or(&Value::Null);
    list(report.get("gates").unwrap_or(&Value::Null), &GATES)
}

fn in_force(body: &Value) -> String {
    let active = array(body, "generations")
        .iter()
        .find(|one| one.get("state") == Some(&json!("active")));
    let Some(active) = active else { return String::new() };
    let (plugin, generation, version) = (
        text(body, "plugin"),
        text(active, "generation"),
        text(active, "version"),
    );
    let mut shown = format!("{plugin} {version} is in force as generation {generation}\n");
    if body.get("confirm_by").is_some() {
        let left = table::left(body, "confirm_by");
        shown.push_str(&format!(
            "it rolls back by itself in {left}: `portreeve ctl policy confirm {plugin}` keeps it\n"
        ));
    }
    shown
}

fn differences(body: &Value) -> String {
    let (asked, different, skipped) = (
        number(body, "asked"),
        number(body, "different"),
        number(body, "skipped"),
    );
    let mut shown = format!("{different} of {asked} decisions would have differed");
    if skipped > 0 {
        shown.push_str(&format!(
            "; {skipped} more were not asked, because the candidate was behind"
        ));
    }
    shown.push('\n');
    let rows = |key: &str, columns_of: &[Column]| match array(body, key) {
        [] => String::new(),
        _ => format!("\n{}", list(body.get(key).unwrap_or(&Value::Null), columns_of)),
    };
    shown.push_str(&rows("groups", &GROUPS));
    shown.push_str(&rows("users", &USERS));
    shown.push_str(&rows("examples", &EXAMPLES));
    shown
}

const GROUPS: [Column; 5] = [
    ("COUNT", "count", Shown::Word),
    ("CHANGE", "change", Shown::Word),
    ("RULE BEFORE", "before", Shown::Word),
    ("RULE AFTER", "after", Shown::Word),
    ("FIRST", "first", Shown::Word),
];

const USERS: [Column; 2] = [("COUNT", "count", Shown::Word), ("USER", "user", Shown::Word)];

const EXAMPLES: [Column; 5] = [
    ("AGE", "time", Shown::Age),
    ("USER", "user", Shown::Word),
    ("ASKED", "asked", Shown::Word),
    ("BEFORE", "before", Shown::Word),
    ("AFTER", "after", Shown::Word),
];

fn diff(body: &Value) -> String {
    let mut shown = String::new();
    let same = body.get("same_component") == Some(&json!(true));
    shown.push_str(if same {
        "the same component\n"
    } else {
        "another component\n"
    });
    for (key, words) in [
        ("imports_added", "also imports"),
        ("imports_removed", "no longer imports"),
    ] {
        for import in array(body, key) {
            shown.push_str(&format!("{words} {}\n", word(import)));
        }
    }
    let settings = array(body, "settings").iter();
    let rows: Vec<_> = settings
        .map(|one| vec![text(one, "at"), text(one, "before"), "→".to_owned(), text(one, "after")])
        .collect();
    shown.push_str(&columns(&rows));
    shown.push_str(&differences(body.get("differences").unwrap_or(&Value::Null)));
    shown
}

//! `policy.toml`, and how a component is loaded: the keys that it shares with case files.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::contract::Contract;
use super::language::Language;
use super::toolchain::World;
use crate::config::policy::{self, DEADLINE, MEMORY};
use crate::config::{self, Document, Fault, Faults, Grant, OnChange, Plugin, Source, Table, Wasi};

/// The name of the file in a project's folder.
pub(super) const FILE: &str = "policy.toml";

/// A policy project: a folder with a `policy.toml`.
pub(super) struct Project {
    /// What the policy is called, in the log and as the namespace of its state.
    pub(super) name: String,
    /// What it is written in, where `plugin build` builds it.
    pub(super) language: Option<Language>,
    /// The version of the contract that it is built for, if it says so.
    pub(super) contract: Option<Contract>,
    /// Which exports it has.
    pub(super) world: World,
    /// How its component is loaded.
    pub(super) keys: Keys,
}

/// How a component is loaded, as far as one file says so.
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    pub(super) component: Option<Source>,
    pub(super) grants: Option<Vec<Grant>>,
    pub(super) rewrite: Option<bool>,
    pub(super) wasi: Option<Wasi>,
    pub(super) settings: Option<Json>,
    pub(super) deadline: Option<Duration>,
    pub(super) memory: Option<u64>,
}

/// How a component is loaded.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) plugin: Plugin,
    pub(super) deadline: Duration,
    pub(super) memory: u64,
}

impl Project {
    /// Reads the `policy.toml` of a folder.
    ///
    /// # Errors
    /// Every fault of the file.
    pub(super) fn read(folder: &Path) -> Result<Self, Faults> {
        read_file(&folder.join(FILE), |table| {
            let name = table.required("name", "the name of the policy", policy::plugin_name);
            let language = table.read("language", |value| value.one_of(&Language::WORDS));
            let world = table.read("world", |value| value.one_of(&World::WORDS));
            let contract = table.read("contract", |value| value.one_of(&Contract::WORDS));
            let keys = Keys::read(table);
            if keys.component.is_none() && !table.has("component") {
                table.fault("component", "missing: the file that is built, as in \"policy.wasm\"");
            }
            Some(Self {
                name: name?,
                language,
                contract,
                world: world.unwrap_or(World::Policy),
                keys,
            })
        })
    }

    /// The project that a file belongs to: `policy.toml` beside it or in the folder above.
    ///
    /// # Errors
    /// Every fault of the `policy.toml` that was found.
    pub(super) fn of(file: &Path) -> Result<Option<Self>, Faults> {
        let beside = file.parent().unwrap_or(Path::new(""));
        let above = beside.join("..");
        for folder in [beside, &above] {
            if folder.join(FILE).is_file() {
                return Self::read(folder).map(Some);
            }
        }
        Ok(None)
    }
}

impl Keys {
    /// Asks a table for every key.
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        let component = table.read("component", policy::source);
        let grants = table.read("grants", policy::grants);
        let rewrite = table.read("rewrite", |value| value.flag());
        let wasi = table.read("wasi", policy::wasi);
        Self {
            component,
            grants,
            rewrite,
            wasi,
            settings: settings(table),
            deadline: table.read("deadline", policy::deadline),
            memory: table.read("memory", policy::memory),
        }
    }

    /// These keys, and of the others what is missing here.
    pub(super) fn over(self, others: &Self) -> Self {
        Self {
            component: self.component.or_else(|| others.component.clone()),
            grants: self.grants.or_else(|| others.grants.clone()),
            rewrite: self.rewrite.or(others.rewrite),
            wasi: self.wasi.or(others.wasi),
            settings: self.settings.or_else(|| others.settings.clone()),
            deadline: self.deadline.or(others.deadline),
            memory: self.memory.or(others.memory),
        }
    }

    /// With the defaults of the configuration; none where no component is named. Without a name the
    /// policy is called what its component is called.
    pub(super) fn setup(&self, name: Option<String>) -> Option<Setup> {
        let component = self.component.clone()?;
        let plugin = Plugin {
            name: name.unwrap_or_else(|| stem(&component)),
            component,
            component_name: None,
            allow_downgrade: false,
            sha256: None,
            signers: Vec::new(),
            grants: self.grants.clone().unwrap_or_else(|| vec![Grant::Log]),
            rewrite: self.rewrite.unwrap_or(false),
            wasi: self.wasi.unwrap_or(Wasi::Refuse),
            settings: self.settings.clone().unwrap_or_else(|| Json::Object(Map::new())),
            settings_file: None,
            settings_may_be_empty: false,
            watch: OnChange::Wait,
        };
        Some(Setup {
            plugin,
            deadline: self.deadline.unwrap_or(DEADLINE),
            memory: self.memory.unwrap_or(MEMORY),
        })
    }
}

/// `settings` or `settings-file`, where one of them is there.
pub(super) fn settings(table: &mut Table<'_>) -> Option<Json> {
    let there = table.has("settings") || table.has("settings-file");
    let settings = config::settings::settings(table);
    there.then_some(settings.values)
}

/// A component as it is named on the command line: `builtin:rules` or a file.
///
/// # Errors
/// If no policy of that name is built in.
pub(super) fn named(text: &str) -> Result<Source, String> {
    if text.starts_with("oci://") {
        return Err(format!(
            "pull it first, and name the file: portreeve plugin pull {text}"
        ));
    }
    match text.strip_prefix("builtin:") {
        Some("rules") => Ok(Source::Builtin("rules".to_owned())),
        Some(name) => Err(format!(
            "unknown built-in policy `builtin:{name}`: expected builtin:rules"
        )),
        None => Ok(Source::File(PathBuf::from(text))),
    }
}

fn stem(component: &Source) -> String {
    match component {
        Source::Builtin(name) => name.clone(),
        Source::File(path) => path
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned()),
        Source::Oci(artifact) => artifact.image.repository().to_owned(),
    }
}

/// What a component is called in what is printed.
pub(super) fn shown(source: &Source) -> String {
    match source {
        Source::Builtin(name) => format!("builtin:{name}"),
        Source::File(path) => path.display().to_string(),
        Source::Oci(artifact) => artifact.image.to_string(),
    }
}

/// Reads a TOML file from its top.
pub(super) fn read_file<T>(path: &Path, read: impl FnOnce(&mut Table<'_>) -> Option<T>) -> Result<T, Faults> {
    let faults = |faults| Faults {
        file: path.to_owned(),
        faults,
    };
    let text = config::read_text(path).map_err(|fault| faults(vec![fault]))?;
    read_toml(path, &text, read)
}

/// Reads a TOML text from its top; `path` names it in faults.
pub(super) fn read_toml<T>(
    path: &Path,
    text: &str,
    read: impl FnOnce(&mut Table<'_>) -> Option<T>,
) -> Result<T, Faults> {
    let document = Document::new(path, text);
    let meant = document.read(read).flatten();
    let found: Vec<Fault> = document.into_faults();
    match meant {
        Some(meant) if found.is_empty() => Ok(meant),
        _ => Err(Faults {
            file: path.to_owned(),
            faults: found,
        }),
    }
}

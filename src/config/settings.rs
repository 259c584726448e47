//! The settings of a plugin: a table in the configuration, or a separate file; passed on as JSON either way.

use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value as Json};
use toml::de::DeValue;

use super::fault::{Fault, Faults};
use super::json::NoKeyTwice;
use super::policy::Plugin;
use super::read_text;
use super::value::{Value, integer};
use super::walk::{Document, Table};
use crate::files;

/// The settings of a plugin, and where they came from.
pub(crate) struct Settings {
    /// An object.
    pub(crate) values: Json,
    /// The file, if they are one.
    pub(crate) file: Option<PathBuf>,
    /// `settings-may-be-empty`: a file without any setting is meant.
    pub(crate) may_be_empty: bool,
}

/// `settings` or `settings-file`, and `settings-may-be-empty`.
pub(crate) fn settings(table: &mut Table<'_>) -> Settings {
    let inline = table.read("settings", |value| object(value).map(Json::Object));
    let both = table.has("settings");
    let may_be_empty = table.or("settings-may-be-empty", false, |value| value.flag());
    let file = table.read("settings-file", |value| {
        if both {
            return value.fault("`settings` is also set: keep only one of them");
        }
        let path = value.path()?;
        let settings = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => read_toml(&path),
            Some("json") => read_json(&path),
            _ => return value.wrong("a file whose name ends in .toml or .json"),
        };
        match settings.and_then(|settings| not_empty(settings, &path, may_be_empty)) {
            Ok(settings) => Some((settings, path)),
            Err(faults) => value.faults_of_its_file(faults),
        }
    });
    let (values, file) = match file {
        Some((settings, path)) => (settings, Some(path)),
        None => (inline.unwrap_or_else(|| Json::Object(Map::new())), None),
    };
    Settings {
        values,
        file,
        may_be_empty,
    }
}

/// A file that was emptied, or cut off while it was written, still parses: nothing in it is a fault unless that is meant.
fn not_empty(settings: Json, path: &Path, may_be_empty: bool) -> Result<Json, Vec<Fault>> {
    let empty = settings.as_object().is_some_and(Map::is_empty);
    if empty && !may_be_empty {
        let words = "this file contains no settings: add them, or set `settings-may-be-empty = true` for the plugin if that is intended";
        return Err(vec![Fault::whole_file(path, words)]);
    }
    Ok(settings)
}

impl Plugin {
    /// The plugin with its settings file as it is now.
    ///
    /// # Errors
    /// Every fault of the file.
    pub fn settings_again(&self) -> Result<Self, Faults> {
        let Some(path) = &self.settings_file else {
            return Ok(self.clone());
        };
        let settings = settings_from_file(path)?;
        let settings = not_empty(settings, path, self.settings_may_be_empty).map_err(|faults| Faults {
            file: path.to_owned(),
            faults,
        })?;
        Ok(Self {
            settings,
            ..self.clone()
        })
    }
}

/// A settings file, JSON if its name ends in `.json`, otherwise TOML.
///
/// # Errors
/// Every fault of the file.
pub fn settings_from_file(path: &Path) -> Result<Json, Faults> {
    let json = path.extension().is_some_and(|extension| extension == "json");
    let settings = if json { read_json(path) } else { read_toml(path) };
    settings.map_err(|faults| Faults {
        file: path.to_owned(),
        faults,
    })
}

/// Settings that are a TOML text; `file` names it in faults.
///
/// # Errors
/// Every fault of the text.
pub fn settings_from_toml(text: &str, file: &Path) -> Result<Json, Faults> {
    let document = Document::new(file, text);
    let settings = document.read(entries);
    let faults = document.into_faults();
    match settings {
        Some(settings) if faults.is_empty() => Ok(Json::Object(settings)),
        _ => Err(Faults {
            file: file.to_owned(),
            faults,
        }),
    }
}

/// The gateway reads settings while it serves, so a pipe in their place must not hold it up.
fn regular_text(path: &Path) -> Result<String, Fault> {
    let unreadable = |error| Fault::whole_file(path, format_args!("cannot be read: {error}"));
    files::open(path).map_err(unreadable)?;
    read_text(path)
}

fn read_toml(path: &Path) -> Result<Json, Vec<Fault>> {
    let text = regular_text(path).map_err(|fault| vec![fault])?;
    settings_from_toml(&text, path).map_err(|faults| faults.faults)
}

fn read_json(path: &Path) -> Result<Json, Vec<Fault>> {
    let text = regular_text(path).map_err(|fault| vec![fault])?;
    let fault = |line, column, message: &str| {
        vec![Fault {
            line,
            column,
            ..Fault::whole_file(path, message)
        }]
    };
    match serde_json::from_str::<NoKeyTwice>(&text) {
        Ok(NoKeyTwice(settings @ Json::Object(_))) => Ok(settings),
        Ok(_) => Err(fault(1, 1, "must be an object: { … }")),
        Err(error) => {
            let message = error.to_string();
            let message = message
                .rsplit_once(" at line ")
                .map_or(message.as_str(), |(message, _)| message);
            Err(fault(error.line(), error.column(), message))
        }
    }
}

pub(crate) fn object(value: &Value<'_>) -> Option<Map<String, Json>> {
    value.table(entries)
}

fn entries(table: &mut Table<'_>) -> Map<String, Json> {
    table
        .all()
        .iter()
        .filter_map(|(name, value)| Some(((*name).to_owned(), json(value)?)))
        .collect()
}

fn json(value: &Value<'_>) -> Option<Json> {
    match value.toml() {
        DeValue::String(text) => Some(Json::String(text.to_string())),
        DeValue::Integer(number) => match integer(number) {
            Some(number) => Some(Json::from(number)),
            None => value.wrong("a number that fits in 64 bits"),
        },
        DeValue::Float(number) => match number.as_str().parse().ok().and_then(Number::from_f64) {
            Some(number) => Some(Json::Number(number)),
            None => value.wrong("a number that JSON can hold"),
        },
        DeValue::Boolean(flag) => Some(Json::Bool(*flag)),
        // Printed as RFC 3339 has it.
        DeValue::Datetime(time) => Some(Json::String(time.to_string())),
        DeValue::Array(_) => value.list(json).map(Json::Array),
        DeValue::Table(_) => object(value).map(Json::Object),
    }
}

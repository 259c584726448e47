//! `portreeve plugin new`: a project that builds, and whose cases pass, before its author has written a line.
//!
//! The templates and the bindings are embedded in this program. Existing files are never overwritten.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use thiserror::Error;

use super::bindings;
use super::contract::Contract;
use super::language::Language;
use super::template::{self, Template};
use crate::say::{FAILED, INVALID, fail, plain, print};

/// Create a policy project: sources, test cases, a CI workflow, editor settings.
#[derive(Args)]
pub(crate) struct New {
    /// Name of the policy and its folder: lower-case letters, digits and hyphens.
    name: PathBuf,
    /// Language of the policy.
    #[arg(long, value_enum)]
    lang: Language,
}

/// Writes the project; the exit code is the answer.
pub(super) fn run(command: &New) -> u8 {
    match write(&command.name, command.lang) {
        Ok(name) => print(&next(&name, &command.name)),
        Err(error) => fail(error.code(), &error.to_string()),
    }
}

#[derive(Debug, Error)]
enum NewError {
    #[error("`{0}` cannot be the name of a policy: lower-case letters, digits and hyphens, a letter first, 64 at most")]
    Name(String),
    #[error(
        "`{SDK}` is the name of the SDK in a Rust project, and cargo cannot build two packages with the same name: choose another name"
    )]
    Sdk,
    #[error("{0} already exists and is not overwritten: choose another name, or move it away")]
    Exists(String),
    #[error(
        "{0} already exists: new projects are written there first, and an interrupted one may have left it: check it and move it away"
    )]
    Draft(String),
    #[error("{path}: {error}", path = path.display())]
    File { path: PathBuf, error: io::Error },
}

impl NewError {
    fn code(&self) -> u8 {
        match self {
            Self::Name(_) | Self::Sdk => INVALID,
            Self::Exists(_) | Self::Draft(_) | Self::File { .. } => FAILED,
        }
    }
}

/// Writes everything into a folder beside the new one first, so that there is a whole project or none.
///
/// That folder is made here or not used: what is written, and removed after a failure, is never somebody else's.
fn write(folder: &Path, language: Language) -> Result<String, NewError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if !is_name(&name) {
        return Err(NewError::Name(name));
    }
    if name == SDK && language == Language::Rust {
        return Err(NewError::Sdk);
    }
    if folder.symlink_metadata().is_ok() {
        return Err(NewError::Exists(folder.display().to_string()));
    }
    let draft = folder.with_file_name(format!(".{name}.new"));
    make(&draft)?;
    let written = fill(&draft, &name, language).and_then(|()| fs::rename(&draft, folder));
    written.map_err(|error| {
        let _ = fs::remove_dir_all(&draft);
        NewError::File {
            path: folder.to_owned(),
            error,
        }
    })?;
    Ok(name)
}

/// Makes a folder that was not there; a link or a file of its name counts as there.
fn make(draft: &Path) -> Result<(), NewError> {
    let file = |path: &Path, error| NewError::File {
        path: path.to_owned(),
        error,
    };
    if let Some(parent) = draft.parent() {
        fs::create_dir_all(parent).map_err(|error| file(parent, error))?;
    }
    fs::create_dir(draft).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => NewError::Draft(draft.display().to_string()),
        _ => file(draft, error),
    })
}

fn fill(draft: &Path, name: &str, language: Language) -> io::Result<()> {
    let Template {
        files,
        about,
        tools,
        setup,
        vendored,
    } = template::of(language);
    for (path, text) in template::COMMON.iter().chain(files) {
        if *path == template::SETTINGS_CASES && !template::has_settings(language) {
            continue;
        }
        // Parts first: they name the policy, too.
        let text = text
            .replace("{{about}}", about.trim_end())
            .replace("{{tools}}", tools.trim_end());
        let text = text.replace("{{setup}}", setup.trim_end()).replace("{{name}}", name);
        let path = draft.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, text)?;
    }
    bindings::write(&bindings::of(language, Contract::default()), &draft.join("bindings"))?;
    bindings::write(vendored, draft)
}

fn is_name(name: &str) -> bool {
    let first = name.chars().next().is_some_and(|first| first.is_ascii_lowercase());
    let rest = name
        .chars()
        .all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-');
    first && rest && name.len() <= 64 && !name.ends_with('-')
}

fn next(name: &str, folder: &Path) -> String {
    let folder = plain(&folder.display().to_string());
    format!(
        "created {name} in the folder {folder}\n\nportreeve plugin build {folder}    # compiles it\nportreeve plugin test {folder}     # runs its test cases\n"
    )
}

/// The package that `template` puts beside a policy in Rust.
const SDK: &str = "portreeve-policy";

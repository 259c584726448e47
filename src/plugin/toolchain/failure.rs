//! Why a policy was not built.

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::super::wrong::Wrong;
use crate::say::{FAILED, INVALID};

/// Why a policy was not built.
#[derive(Debug, Error)]
pub(super) enum BuildError {
    /// `policy.toml` does not say in which language it is written.
    #[error("{file}: language: missing: expected one of {known}", file = file.display())]
    NoLanguage {
        /// The `policy.toml`.
        file: PathBuf,
        /// The languages.
        known: String,
    },
    /// The component is not a file.
    #[error("{file}: component: nothing to build: it is not a file", file = file.display())]
    NoFile {
        /// The `policy.toml`.
        file: PathBuf,
    },
    /// The component is a file that a build must not write.
    #[error(
        "{file}: component: {component}: {why}: name a .wasm file in the folder of the project, as in \"policy.wasm\"",
        file = file.display(),
        component = component.display()
    )]
    Target {
        /// The `policy.toml`.
        file: PathBuf,
        /// What it names.
        component: PathBuf,
        /// What speaks against it.
        why: &'static str,
    },
    /// The project brings bindings of another version than it says.
    #[error(
        "{folder}: its bindings are for portreeve:policy {brought}, but policy.toml says contract = \"{said}\": delete the folder to build \
         against the bindings of this program",
        folder = folder.display()
    )]
    Bindings {
        /// The folder of the bindings.
        folder: PathBuf,
        /// Their version.
        brought: &'static str,
        /// That of `policy.toml`.
        said: &'static str,
    },
    /// A tool is not on this machine.
    #[error("{what} is missing\n{how}")]
    Missing {
        /// The tool.
        what: String,
        /// Ways to get it, a line each.
        how: String,
    },
    /// A tool ran, and did not succeed.
    #[error("{tool} failed{hint}")]
    Failed {
        /// The tool.
        tool: String,
        /// Empty, or what may be behind it.
        hint: String,
    },
    /// The sources are not those of a policy.
    #[error("{0}")]
    Sources(String),
    /// What the compiler made does not fit the contract.
    #[error("the result is not a policy: {0}")]
    Unfit(String),
    /// A file or folder.
    #[error("{path}: {error}", path = path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

impl BuildError {
    /// With the file that it is about.
    pub(super) fn wrong(&self) -> Wrong {
        let file = match self {
            Self::NoLanguage { file, .. } | Self::NoFile { file } | Self::Target { file, .. } => Some(file),
            Self::File { path, .. } => Some(path),
            Self::Bindings { folder, .. } => Some(folder),
            Self::Missing { .. } | Self::Failed { .. } | Self::Sources(_) | Self::Unfit(_) => None,
        };
        Wrong {
            words: self.to_string(),
            file: file.cloned(),
            line: None,
        }
    }

    /// What is wrong in `policy.toml` is wrong input; anything else was tried.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NoLanguage { .. } | Self::NoFile { .. } | Self::Target { .. } | Self::Bindings { .. } => INVALID,
            _ => FAILED,
        }
    }

    /// For `map_err` of what the system does with a file.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::File { path, error }
    }
}

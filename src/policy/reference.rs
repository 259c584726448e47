//! The identity of a policy: its name, version and digests, and who signed it.

use serde::{Deserialize, Serialize};

use crate::config::Source;
use crate::signature::Signer;

/// Which policy decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyRef {
    /// The name under which it is configured.
    pub name: String,
    /// The version that the component states.
    pub version: String,
    /// SHA-256 of the component, hexadecimal.
    pub sha256: String,
    /// SHA-256 of the settings, of the JSON text that the component was given, hexadecimal.
    pub settings_sha256: String,
}

/// Before the name of what is built in.
pub(in crate::policy) const BUILTIN: &str = "builtin:";

/// What decides: a component with its settings. What is built in is the same in every version of the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    /// SHA-256 of the component, hexadecimal, or `builtin:NAME`.
    pub component: String,
    /// SHA-256 of the settings, hexadecimal.
    pub settings_sha256: String,
}

impl Identity {
    /// Of a component from there, with this digest, and settings with that.
    pub(in crate::policy) fn of(source: &Source, sha256: &str, settings_sha256: &str) -> Self {
        Self {
            component: match source {
                Source::Builtin(name) => format!("{BUILTIN}{name}"),
                _ => sha256.to_owned(),
            },
            settings_sha256: settings_sha256.to_owned(),
        }
    }
}

/// A policy that was loaded, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Installed {
    /// Which.
    #[serde(flatten)]
    pub policy: PolicyRef,
    /// Who signed its component, where a signature was demanded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signer: Option<Signer>,
}

//! The identity of a policy: its name, version and digests, and who signed it.

use serde::Serialize;

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

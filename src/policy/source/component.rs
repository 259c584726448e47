//! The bytes of a component, and what must be true of them before anything is made of them.

use std::io::ErrorKind;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::config::{Plugin, Signatures, Source};
use crate::files::{self, MOST_COMPONENT};
use crate::policy::LoadError;
use crate::signature::{self, Signer};

/// The bytes of a component that may be loaded: whatever the configuration demands of their signature was checked on exactly
/// these bytes.
pub struct Vetted {
    pub(in crate::policy) bytes: Vec<u8>,
    pub(in crate::policy) signer: Option<Signer>,
}

impl Vetted {
    /// Reads a plugin's component and checks its signature, where `signatures` demands one. What is built in is part of the
    /// program and needs none.
    ///
    /// # Errors
    /// Where a file cannot be read, or the signature is not as demanded.
    pub fn read(plugin: &Plugin, signatures: Option<&Signatures>) -> Result<Self, LoadError> {
        let bytes = read(&plugin.component)?;
        let signed = signatures
            .zip(path(&plugin.component))
            .map(|(demanded, path)| signature::demanded(demanded, &plugin.signers, path, &bytes));
        match signed.transpose() {
            Ok(signer) => Ok(Self { bytes, signer }),
            Err(refused) => Err(LoadError::Signature {
                sha256: digest(&bytes),
                refused: Box::new(refused),
            }),
        }
    }

    /// The SHA-256 of the bytes, hexadecimal.
    #[must_use]
    pub fn digest(&self) -> String {
        digest(&self.bytes)
    }

    /// Bytes of which no signature is demanded: those of the workbench, where nothing serves.
    pub(in crate::policy) fn unsigned(bytes: Vec<u8>) -> Self {
        Self { bytes, signer: None }
    }
}

/// The bytes of a component.
pub(in crate::policy) fn read(source: &Source) -> Result<Vec<u8>, LoadError> {
    let Some(path) = path(source) else {
        return Ok(RULES.to_vec());
    };
    files::read(path, MOST_COMPONENT).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => {
            let length = std::fs::metadata(path).map_or(0, |found| found.len());
            LoadError::TooLarge(usize::try_from(length).unwrap_or(usize::MAX))
        }
        _ => LoadError::Read {
            path: path.display().to_string(),
            error: error.to_string(),
        },
    })
}

/// Where a component is, unless it is built in.
fn path(source: &Source) -> Option<&Path> {
    match source {
        Source::Builtin(_) => None,
        Source::File(path) => Some(path),
        Source::Oci(reference) => Some(Path::new(reference)),
    }
}

/// The SHA-256 of a component, hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(in crate::policy) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The component that is embedded in the program; its sources are in `plugins/rules`.
const RULES: &[u8] = include_bytes!("../../../plugins/rules/rules.wasm");

//! The bytes of a component, with their digest and origin.

use std::io::ErrorKind;
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::config::Source;
use crate::files::{self, MOST_COMPONENT};
use crate::policy::LoadError;

/// The bytes of a component, read once: all that is checked, shown, compiled and recorded of it is about these bytes, whatever
/// happens to its file meanwhile. Copies share them.
#[derive(Clone, Debug)]
pub struct Component {
    bytes: Bytes,
    digest: [u8; 32],
    sha256: String,
    provenance: Source,
}

impl Component {
    /// Reads a component. Nothing but its size is looked at.
    ///
    /// # Errors
    /// If its file cannot be read, or is larger than is accepted.
    pub fn read(source: &Source) -> Result<Self, LoadError> {
        Ok(Self::of(read(source)?, source.clone()))
    }

    fn of(bytes: Bytes, provenance: Source) -> Self {
        let digest: [u8; 32] = Sha256::digest(&bytes).into();
        Self {
            bytes,
            sha256: hex(&digest),
            digest,
            provenance,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Their SHA-256, hexadecimal.
    #[must_use]
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    pub(in crate::policy) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// The file that they were read from, unless they are part of the program.
    pub(in crate::policy) fn file(&self) -> Option<&Path> {
        self.provenance.file()
    }
}

fn read(source: &Source) -> Result<Bytes, LoadError> {
    let Some(path) = source.file() else {
        return Ok(Bytes::from_static(RULES));
    };
    let read = files::read(path, MOST_COMPONENT).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => {
            let length = std::fs::metadata(path).map_or(0, |found| found.len());
            LoadError::TooLarge(usize::try_from(length).unwrap_or(usize::MAX))
        }
        ErrorKind::NotFound if let Source::Oci(artifact) = source => {
            LoadError::Unpulled(format!("{}: nothing was pulled yet", artifact.image))
        }
        _ => LoadError::Read {
            path: path.display().to_string(),
            error: error.to_string(),
        },
    });
    read.map(Bytes::from)
}

/// The SHA-256 of some bytes, hexadecimal.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(in crate::policy) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The component that is embedded in the program; its sources are in `plugins/rules`.
const RULES: &[u8] = include_bytes!("../../../plugins/rules/rules.wasm");

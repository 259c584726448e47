//! Compiled code of a known origin, and the one place where it becomes a component.
//!
//! wasmtime runs what it is given here as it is: whoever chooses these bytes owns the process. So a
//! value of [`Artifact`] is made in three ways only. This process compiled it; or the bytes came out
//! of a pipe whose other end is held by a compiler that this program started from its own
//! executable; or they were read from a file and carry a seal (HMAC-SHA-256) that only the gateway's
//! key can make. The seal is
//! checked on the very bytes in memory that are loaded afterwards, so it does not matter who writes
//! to the file in between, and it covers the label, so that one entry cannot stand in for another.
//! The author of a component has a say in neither: what they hand in is compiled, never loaded.
#![allow(unsafe_code)]

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

/// The gateway's secret, with which it recognises what it wrote itself.
pub(super) struct Key(pub(super) [u8; 32]);

/// What was compiled, by which compiler and for which engine: the hash of all that.
pub(super) type Label = [u8; 32];

/// Compiled code of a known origin.
pub(super) struct Artifact {
    bytes: Vec<u8>,
    /// Where the code begins; before it is the seal.
    start: usize,
}

impl Artifact {
    /// What a compiler wrote to the pipe between it and this process, which started it.
    pub(super) fn from_pipe(bytes: Vec<u8>) -> Self {
        Self { bytes, start: 0 }
    }

    /// What this process compiled.
    ///
    /// # Errors
    /// Where the engine cannot write it down.
    pub(super) fn of(component: &Component) -> wasmtime::Result<Self> {
        Ok(Self::from_pipe(component.serialize()?))
    }

    /// The content of a file, if its seal is ours and for this label.
    pub(super) fn unsealed(key: &Key, label: &Label, bytes: Vec<u8>) -> Option<Self> {
        let (seal, code) = bytes.split_at_checked(SEAL)?;
        sealing(key, label, code).verify_slice(seal).ok()?;
        Some(Self { bytes, start: SEAL })
    }

    /// What stands in front of the code in a file.
    pub(super) fn seal(&self, key: &Key, label: &Label) -> [u8; SEAL] {
        sealing(key, label, self.code()).finalize().into_bytes().into()
    }

    pub(super) fn code(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Makes a component of it.
    ///
    /// # Errors
    /// Where it was made for another engine.
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` takes only what `precompile_component` or `serialize` of this
        // version of wasmtime gave, unmodified. All ways to make an `Artifact` see to that, as the
        // head of this file says; wasmtime copies the bytes before it looks at them.
        unsafe { Component::deserialize(engine, self.code()) }
    }
}

fn sealing(key: &Key, label: &Label, code: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
    mac.update(DOMAIN);
    mac.update(label);
    mac.update(code);
    mac
}

const SEAL: usize = 32;
const DOMAIN: &[u8] = b"portreeve compiled code 1\0";

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    fn file(label: &Label) -> Vec<u8> {
        let artifact = Artifact::from_pipe(b"code".to_vec());
        let mut file = artifact.seal(&KEY, label).to_vec();
        file.extend(artifact.code());
        file
    }

    #[test]
    fn only_what_is_whole_ours_and_meant_is_unsealed() {
        let unsealed = |key: &Key, label, file| Artifact::unsealed(key, label, file);
        let good = unsealed(&KEY, &[1; 32], file(&[1; 32])).unwrap();
        assert_eq!(good.code(), b"code");
        assert!(
            unsealed(&Key([8; 32]), &[1; 32], file(&[1; 32])).is_none(),
            "another key"
        );
        assert!(unsealed(&KEY, &[2; 32], file(&[1; 32])).is_none(), "another label");
        for place in 0..SEAL + 4 {
            let mut changed = file(&[1; 32]);
            changed[place] ^= 1;
            assert!(unsealed(&KEY, &[1; 32], changed).is_none(), "byte {place}");
        }
        for length in 0..SEAL + 4 {
            let mut short = file(&[1; 32]);
            short.truncate(length);
            assert!(unsealed(&KEY, &[1; 32], short).is_none(), "{length} bytes");
        }
    }
}

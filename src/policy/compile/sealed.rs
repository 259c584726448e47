//! Compiled code of a known origin, and the one place where it becomes a component.
//!
//! wasmtime runs these bytes without checking them: if an attacker chose them, they would control the
//! process. So a value of [`Code`] is made in two ways only. The bytes were written by a compiler that this
//! program started from its own executable (or that is this process), to a file in memory that only
//! the two have; or they were read from a file and carry a seal (HMAC-SHA-256) that only the gateway's
//! key can make. Either way they are in a file in memory that nothing can change any more
//! ([`Sealed`]), and the seal is checked on the very bytes that are loaded afterwards, so it does not
//! matter who writes to the file in between. It covers the label, so that one entry cannot stand in
//! for another. The author of a component controls neither: their bytes are compiled, never loaded.
#![allow(unsafe_code)]

use std::io::{self, BufWriter, Read, Write};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::confined::{Draft, Sealed};

/// The gateway's secret, with which it recognises what it wrote itself.
pub(super) struct Key(pub(super) [u8; 32]);

/// What was compiled, by which compiler and for which engine: the hash of all that.
pub(super) type Label = [u8; 32];

/// Compiled code of a known origin.
pub(super) struct Code(Sealed);

impl Code {
    /// What a compiler made that this process started, or is.
    pub(super) fn from_compiler(code: Sealed) -> Self {
        Self(code)
    }

    /// A mark that there is no such code, to be kept like code.
    pub(super) fn none() -> io::Result<Self> {
        Sealed::of(&[]).map(Self)
    }

    /// Whether it is such a mark.
    pub(super) fn is_none(&self) -> bool {
        self.0.length() == 0
    }

    /// The rest of a file, if its seal is ours and for this label; none if it is not.
    ///
    /// # Errors
    /// Fails if the file cannot be read.
    pub(super) fn unsealed(key: &Key, label: &Label, mut file: impl Read) -> io::Result<Option<Self>> {
        let mut seal = [0; SEAL];
        match file.read_exact(&mut seal) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let mut copy = Copying {
            draft: BufWriter::with_capacity(PIECE, Draft::new()?),
            mac: sealing(key, label),
        };
        io::copy(&mut file, &mut copy)?;
        let Copying { draft, mac } = copy;
        if mac.verify_slice(&seal).is_err() {
            return Ok(None);
        }
        let draft = draft.into_inner().map_err(io::IntoInnerError::into_error)?;
        draft.seal().map(|code| Some(Self(code)))
    }

    /// Writes it with what stands in front of the code in a file.
    ///
    /// # Errors
    /// Fails if it cannot be written.
    pub(super) fn write_sealed(&self, key: &Key, label: &Label, file: &mut impl Write) -> io::Result<()> {
        let mut mac = sealing(key, label);
        self.0.each(|piece| {
            mac.update(piece);
            Ok(())
        })?;
        file.write_all(&mac.finalize().into_bytes())?;
        self.0.each(|piece| file.write_all(piece))
    }

    /// Makes a component of it, mapped from the file in memory; copied, if the system does not map such files.
    ///
    /// # Errors
    /// Fails if it was made for another engine, or if the system does not let it run.
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `deserialize` takes only what `precompile_component` or `serialize` of this
        // version of wasmtime gave, unmodified. All ways to make a `Code` see to that, as the
        // head of this file says, and nothing can change the file while it is mapped.
        let mapped = unsafe { Component::deserialize_file(engine, self.0.path()) };
        mapped.or_else(|error| {
            let code = self.0.to_vec()?;
            // SAFETY: as above; wasmtime copies these bytes before it looks at them.
            unsafe { Component::deserialize(engine, code) }.map_err(|_| error)
        })
    }
}

/// Copies what is read while its seal is computed.
struct Copying {
    draft: BufWriter<Draft>,
    mac: Hmac<Sha256>,
}

impl Write for Copying {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.draft.write(bytes)?;
        self.mac.update(bytes.get(..written).unwrap_or_default());
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.draft.flush()
    }
}

fn sealing(key: &Key, label: &Label) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
    mac.update(DOMAIN);
    mac.update(label);
    mac
}

const PIECE: usize = 64 << 10;
const SEAL: usize = 32;
const DOMAIN: &[u8] = b"portreeve compiled code 1\0";

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    fn file(label: &Label) -> Vec<u8> {
        let code = Code::from_compiler(Sealed::of(b"code").unwrap());
        let mut file = Vec::new();
        code.write_sealed(&KEY, label, &mut file).unwrap();
        file
    }

    #[test]
    fn only_what_is_whole_ours_and_meant_is_unsealed() {
        let unsealed = |key: &Key, label, file: Vec<u8>| Code::unsealed(key, label, file.as_slice()).unwrap();
        let good = unsealed(&KEY, &[1; 32], file(&[1; 32])).unwrap();
        assert_eq!(good.0.to_vec().unwrap(), b"code");
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

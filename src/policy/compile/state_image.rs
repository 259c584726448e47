//! The state of a configured instance, on its way to the process that makes a snapshot of it.
//!
//! It is a file in memory: the component, then each value by its name, memories as the pieces of them that are not zero.
//!
//! ```text
//! component   length (8 bytes, little-endian), bytes
//! value       length of the name (4 bytes, not 0), name, length of the value (8 bytes), pieces
//! piece       offset (8 bytes), length (4 bytes, not 0), bytes; the last one has length 0 and no bytes
//! ```

use std::collections::HashMap;
use std::io::{self, BufWriter, Write};

use sha2::{Digest, Sha256};
use wasmtime_wizer::ComponentInstanceState;

use crate::confined::{Draft, Sealed, Wrong};

/// A component and the state of an instance of it.
pub(in crate::policy) struct StateImage {
    sealed: Sealed,
    digest: [u8; 32],
}

impl StateImage {
    /// What says which image this is.
    pub(in crate::policy) fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// How many bytes it takes.
    pub(in crate::policy) fn size(&self) -> u64 {
        self.sealed.length()
    }

    pub(in crate::policy) fn into_sealed(self) -> Sealed {
        self.sealed
    }
}

/// An image that is being written.
pub(in crate::policy) struct Writing {
    draft: BufWriter<Draft>,
    hash: Sha256,
}

impl Writing {
    pub(in crate::policy) fn new(component: &[u8]) -> io::Result<Self> {
        let mut writing = Self {
            draft: BufWriter::with_capacity(PIECE, Draft::new()?),
            hash: Sha256::new(),
        };
        writing.put(&(component.len() as u64).to_le_bytes())?;
        writing.put(component)?;
        Ok(writing)
    }

    /// Adds a value.
    pub(in crate::policy) fn add(&mut self, name: &str, value: &[u8]) -> io::Result<()> {
        let length = u32::try_from(name.len()).map_err(io::Error::other)?;
        self.put(&length.to_le_bytes())?;
        self.put(name.as_bytes())?;
        self.put(&(value.len() as u64).to_le_bytes())?;
        for (number, piece) in value.chunks(PIECE).enumerate() {
            if piece.iter().all(|byte| *byte == 0) {
                continue;
            }
            self.piece((number * PIECE) as u64, piece)?;
        }
        self.piece(0, &[])
    }

    pub(in crate::policy) fn finish(self) -> io::Result<StateImage> {
        let draft = self.draft.into_inner().map_err(io::IntoInnerError::into_error)?;
        Ok(StateImage {
            sealed: draft.seal()?,
            digest: self.hash.finalize().into(),
        })
    }

    fn piece(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.put(&offset.to_le_bytes())?;
        self.put(&length.to_le_bytes())?;
        self.put(bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.draft.write_all(bytes)
    }
}

/// What an image says, where the snapshot is made.
pub(super) struct Frames<'a> {
    pub(in crate::policy) component: &'a [u8],
    values: HashMap<&'a str, Vec<u8>>,
}

impl<'a> Frames<'a> {
    pub(in crate::policy) fn new(image: &'a [u8]) -> Result<Self, Wrong> {
        Self::read(image).ok_or_else(|| Wrong::Broken("the state of the instance cannot be read".to_owned()))
    }

    fn read(image: &'a [u8]) -> Option<Self> {
        let mut rest = image;
        let length = u64::from_le_bytes(take(&mut rest)?);
        let component = rest.split_off(..usize::try_from(length).ok()?)?;
        let mut values = HashMap::new();
        while !rest.is_empty() {
            let length = u32::from_le_bytes(take(&mut rest)?);
            let name = rest.split_off(..usize::try_from(length).ok()?)?;
            let length = u64::from_le_bytes(take(&mut rest)?);
            let mut value = vec![0; usize::try_from(length).ok()?];
            loop {
                let offset = usize::try_from(u64::from_le_bytes(take(&mut rest)?)).ok()?;
                let length = usize::try_from(u32::from_le_bytes(take(&mut rest)?)).ok()?;
                if length == 0 {
                    break;
                }
                let bytes = rest.split_off(..length)?;
                value
                    .get_mut(offset..offset.checked_add(length)?)?
                    .copy_from_slice(bytes);
            }
            values.insert(std::str::from_utf8(name).ok()?, value);
        }
        Some(Self { component, values })
    }

    /// A value of this length; nothing is missing in an image of the same component, but the tool has no way to be told.
    fn fixed<const N: usize>(&self, name: &str) -> [u8; N] {
        let value = self.values.get(name).and_then(|value| value.as_slice().try_into().ok());
        value.unwrap_or([0; N])
    }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    bytes.split_off(..N)?.try_into().ok()
}

impl ComponentInstanceState for Frames<'_> {
    async fn call_func_ret_list_u8(&mut self, _: &str, name: &str, contents: impl FnOnce(&[u8]) + Send) {
        contents(self.values.get(name).map_or(&[], Vec::as_slice));
    }

    async fn call_func_ret_s32(&mut self, _: &str, name: &str) -> i32 {
        i32::from_le_bytes(self.fixed(name))
    }

    async fn call_func_ret_s64(&mut self, _: &str, name: &str) -> i64 {
        i64::from_le_bytes(self.fixed(name))
    }

    async fn call_func_ret_f32(&mut self, _: &str, name: &str) -> u32 {
        u32::from_le_bytes(self.fixed(name))
    }

    async fn call_func_ret_f64(&mut self, _: &str, name: &str) -> u64 {
        u64::from_le_bytes(self.fixed(name))
    }
}

/// A page of WebAssembly.
const PIECE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_is_read() {
        let mut memory = vec![0; 3 * PIECE + 100];
        memory[2 * PIECE + 7] = 1;
        *memory.last_mut().unwrap() = 9;
        let mut writing = Writing::new(b"component").unwrap();
        writing.add("memory0", &memory).unwrap();
        writing.add("global1", &(-5_i32).to_le_bytes()).unwrap();
        writing.add("global2", &[0; 8]).unwrap();
        writing.add("memory3", &[]).unwrap();
        let image = writing.finish().unwrap().into_sealed();
        assert!(image.length() < 3 * PIECE as u64, "zeros are left out");
        let bytes = image.to_vec().unwrap();
        let frames = Frames::new(&bytes).unwrap();
        assert_eq!(frames.component, b"component");
        assert_eq!(frames.values["memory0"], memory);
        assert_eq!(i32::from_le_bytes(frames.fixed("global1")), -5);
        assert_eq!(i64::from_le_bytes(frames.fixed("global2")), 0);
        assert!(frames.values["memory3"].is_empty());
        for length in 0..bytes.len().min(300) {
            let _ = Frames::new(&bytes[..length]);
        }
    }

    #[test]
    fn another_state_is_another_digest() {
        let digest = |value: &[u8]| {
            let mut writing = Writing::new(b"component").unwrap();
            writing.add("memory0", value).unwrap();
            writing.finish().unwrap().digest()
        };
        assert_eq!(digest(&[0; 10]), digest(&[0; 10]));
        assert_ne!(digest(&[0; 10]), digest(&[0; 11]));
        assert_ne!(digest(&[0; 10]), digest(&[1; 10]));
    }
}

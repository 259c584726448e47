//! What goes to the process of an errand and comes back: a description, and the bytes that it describes.

use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Packs a description with some parts, each with its length in front.
///
/// # Errors
/// If the description has no JSON.
pub(super) fn pack(head: &impl Serialize, parts: &[&[u8]]) -> io::Result<Vec<u8>> {
    let head = serde_json::to_vec(head)?;
    let mut packed = Vec::with_capacity(head.len() + parts.iter().map(|part| part.len() + 8).sum::<usize>() + 8);
    for part in [head.as_slice()].iter().chain(parts) {
        packed.extend((part.len() as u64).to_le_bytes());
        packed.extend_from_slice(part);
    }
    Ok(packed)
}

/// The description and its parts.
///
/// # Errors
/// If the lengths are not those of the parts, or the description is another.
pub(super) fn unpack<T: DeserializeOwned>(packed: Bytes) -> io::Result<(T, Vec<Bytes>)> {
    let broken = || io::Error::new(io::ErrorKind::InvalidData, "a parcel is cut short");
    let mut rest = packed;
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (length, _) = rest.split_first_chunk().ok_or_else(broken)?;
        let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|_| broken())?;
        let mut part = rest.split_off(8);
        if part.len() < length {
            return Err(broken());
        }
        rest = part.split_off(length);
        parts.push(part);
    }
    let mut parts = parts.into_iter();
    let head = parts.next().ok_or_else(broken)?;
    Ok((serde_json::from_slice(&head)?, parts.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_is_unpacked_and_nothing_less() {
        let packed = pack(&"head", &[b"one", b"", b"three"]).unwrap();
        let (head, parts): (String, _) = unpack(packed.clone().into()).unwrap();
        assert_eq!(head, "head");
        assert_eq!(parts, [&b"one"[..], b"", b"three"]);
        for end in 0..packed.len() {
            let cut = Bytes::copy_from_slice(&packed[..end]);
            let whole = unpack::<String>(cut).is_ok_and(|(_, parts)| parts.len() == 3);
            assert!(!whole, "{end} bytes");
        }
    }
}

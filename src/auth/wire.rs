//! The four encodings of RFC 4251 section 5 that keys and revocation lists are made of.

/// Takes fields from the front of a byte string; what is left is what has not been read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(&'a [u8]);

/// The bytes end in the middle of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data ends in the middle of a field; it was cut short or damaged, copy it again")]
pub struct Truncated;

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes are left.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Truncated> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn uint32(&mut self) -> Result<u32, Truncated> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn uint64(&mut self) -> Result<u64, Truncated> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn string(&mut self) -> Result<&'a [u8], Truncated> {
        let length = usize::try_from(self.uint32()?).map_err(|_| Truncated)?;
        let (string, rest) = self.0.split_at_checked(length).ok_or(Truncated)?;
        self.0 = rest;
        Ok(string)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Truncated)?;
        self.0 = rest;
        Ok(*array)
    }
}

/// The magnitude of an `mpint` that is positive and minimal, or `None`: a number has one encoding, so that keys
/// can be compared as bytes.
pub(crate) fn positive(mpint: &[u8]) -> Option<&[u8]> {
    match mpint {
        [] | [0x80..=0xff, ..] | [0] | [0, 0..=0x7f, ..] => None,
        [0, magnitude @ ..] => Some(magnitude),
        magnitude => Some(magnitude),
    }
}

/// How many bits a magnitude has, without leading zeros.
pub(crate) fn bits(magnitude: &[u8]) -> usize {
    let unused = magnitude.first().map_or(0, |byte| byte.leading_zeros() as usize);
    (magnitude.len() * 8).saturating_sub(unused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_longer_than_the_data_is_truncated_and_takes_nothing_else() {
        for bytes in [&b""[..], b"\0\0\0", b"\0\0\0\x02a", b"\xff\xff\xff\xffabc"] {
            assert_eq!(Fields::new(bytes).string(), Err(Truncated), "{bytes:?}");
        }
        let mut fields = Fields::new(b"\0\0\0\x01a\x07");
        assert_eq!(fields.string(), Ok(&b"a"[..]));
        assert_eq!(fields.byte(), Ok(7));
        assert!(fields.is_empty());
    }

    #[test]
    fn a_number_has_exactly_one_encoding() {
        assert_eq!(positive(&[0x7f]), Some(&[0x7f][..]));
        assert_eq!(positive(&[0, 0x80]), Some(&[0x80][..]));
        for refused in [&[][..], &[0], &[0x80], &[0, 0x7f], &[0, 0, 0x80]] {
            assert_eq!(positive(refused), None, "{refused:?}");
        }
    }
}

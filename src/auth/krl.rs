//! OpenSSH's binary key revocation list, as its `PROTOCOL.krl` describes it.
//!
//! A list that cannot be parsed to its last byte is an error, except for extensions that say they may be skipped.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use super::key::{KeyBlob, KeyError};
use super::revoked::{RevokedKeys, unless_never_accepted};
use super::wire::{self, Fields, Truncated};

/// Why a KRL cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KrlError {
    #[error(transparent)]
    Truncated(#[from] Truncated),
    #[error("unknown format version {0}; make the list again with `ssh-keygen -k`")]
    Version(u32),
    #[error("unknown section type {0}; make the list with an older `ssh-keygen -k`")]
    Section(u8),
    #[error("unknown certificate section type {0:#04x}; make the list with an older `ssh-keygen -k`")]
    CertificateSection(u8),
    #[error("there are bytes after the end of a section of type {0:#04x}; make the list again")]
    TrailingBytes(u8),
    #[error("the critical extension `{0}` is not supported")]
    CriticalExtension(String),
    #[error("signed lists are not supported; make the list again without a signature")]
    Signed,
    #[error("a fingerprint has the wrong length; make the list again")]
    Fingerprint,
    #[error("a range or bitmap of serial numbers is malformed; make the list again")]
    Serials,
    #[error("it contains a key that cannot be read")]
    Key(#[from] KeyError),
}

/// The certificates that one section revokes, of one authority or of all.
#[derive(Clone, Debug)]
pub(super) struct CertificateRevocations {
    authority: Authority,
    serials: HashSet<u64>,
    ranges: Vec<RangeInclusive<u64>>,
    bitmaps: Vec<Bitmap>,
    key_ids: HashSet<Vec<u8>>,
}

#[derive(Clone, Debug)]
enum Authority {
    Any,
    Only(KeyBlob),
    /// A key we never accept, so nothing it signed is either.
    NeverAccepted,
}

/// Bit N, counted from the last bit of the last byte, stands for serial number `offset + N`.
#[derive(Clone, Debug)]
struct Bitmap {
    offset: u64,
    bytes: Vec<u8>,
}

impl CertificateRevocations {
    pub(super) fn covers(&self, ca: &KeyBlob, serial: u64, key_id: &str) -> bool {
        let ours = match &self.authority {
            Authority::Any => true,
            Authority::Only(authority) => authority == ca,
            Authority::NeverAccepted => false,
        };
        ours && (self.key_ids.contains(key_id.as_bytes()) || self.covers_serial(serial))
    }

    /// Serial 0 is what a certificate has when its authority does not number them; it cannot be revoked.
    fn covers_serial(&self, serial: u64) -> bool {
        serial != 0
            && (self.serials.contains(&serial)
                || self.ranges.iter().any(|range| range.contains(&serial))
                || self.bitmaps.iter().any(|bitmap| bitmap.contains(serial)))
    }

    fn section(&mut self, kind: u8, section: &mut Fields<'_>) -> Result<(), KrlError> {
        match kind {
            SERIAL_LIST => {
                while !section.is_empty() {
                    self.serials.insert(section.uint64()?);
                }
            }
            SERIAL_RANGE => {
                let (first, last) = (section.uint64()?, section.uint64()?);
                if first > last {
                    return Err(KrlError::Serials);
                }
                self.ranges.push(first..=last);
            }
            SERIAL_BITMAP => self.bitmaps.push(Bitmap::read(section)?),
            KEY_ID => {
                while !section.is_empty() {
                    self.key_ids.insert(section.string()?.to_vec());
                }
            }
            CERTIFICATE_EXTENSION => extension(section)?,
            unknown => return Err(KrlError::CertificateSection(unknown)),
        }
        Ok(())
    }
}

impl Bitmap {
    fn read(section: &mut Fields<'_>) -> Result<Self, KrlError> {
        let offset = section.uint64()?;
        let bytes = wire::positive(section.string()?).ok_or(KrlError::Serials)?;
        let highest = (wire::bits(bytes) as u64).saturating_sub(1);
        match bytes.len() <= LARGEST_BITMAP && offset.checked_add(highest).is_some() {
            true => Ok(Self {
                offset,
                bytes: bytes.to_vec(),
            }),
            false => Err(KrlError::Serials),
        }
    }

    fn contains(&self, serial: u64) -> bool {
        let Some(Ok(bit)) = serial.checked_sub(self.offset).map(usize::try_from) else {
            return false;
        };
        self.bytes
            .iter()
            .rev()
            .nth(bit / 8)
            .is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
    }
}

/// Reads what follows [`MAGIC`].
pub(super) fn parse(body: &[u8]) -> Result<RevokedKeys, KrlError> {
    let mut fields = Fields::new(body);
    header(&mut fields)?;
    let mut revoked = RevokedKeys::default();
    while !fields.is_empty() {
        let kind = fields.byte()?;
        if kind == SIGNATURE {
            return Err(KrlError::Signed);
        }
        let mut section = Fields::new(fields.string()?);
        match kind {
            CERTIFICATES => revoked.certificates.push(certificates(&mut section)?),
            EXPLICIT_KEY => strings(&mut section, |blob| {
                revoked.keys.extend(key_we_accept(blob)?);
                Ok(())
            })?,
            FINGERPRINT_SHA1 => strings(&mut section, |digest| fingerprint(&mut revoked.sha1, digest))?,
            FINGERPRINT_SHA256 => strings(&mut section, |digest| fingerprint(&mut revoked.sha256, digest))?,
            EXTENSION => extension(&mut section)?,
            unknown => return Err(KrlError::Section(unknown)),
        }
        if !section.is_empty() {
            return Err(KrlError::TrailingBytes(kind));
        }
    }
    Ok(revoked)
}

/// The list's version and date, its flags (none are defined), a reserved field and a comment: nothing to act on.
fn header(fields: &mut Fields<'_>) -> Result<(), KrlError> {
    let version = fields.uint32()?;
    if version != FORMAT_VERSION {
        return Err(KrlError::Version(version));
    }
    for _ in ["list version", "date", "flags"] {
        fields.uint64()?;
    }
    for _ in ["reserved", "comment"] {
        fields.string()?;
    }
    Ok(())
}

fn certificates(section: &mut Fields<'_>) -> Result<CertificateRevocations, KrlError> {
    let authority = match section.string()? {
        [] => Authority::Any,
        blob => key_we_accept(blob)?.map_or(Authority::NeverAccepted, Authority::Only),
    };
    let _reserved = section.string()?;
    let mut revocations = CertificateRevocations {
        authority,
        serials: HashSet::new(),
        ranges: Vec::new(),
        bitmaps: Vec::new(),
        key_ids: HashSet::new(),
    };
    while !section.is_empty() {
        let kind = section.byte()?;
        let mut part = Fields::new(section.string()?);
        revocations.section(kind, &mut part)?;
        if !part.is_empty() {
            return Err(KrlError::TrailingBytes(kind));
        }
    }
    Ok(revocations)
}

/// A key of a type that a newer OpenSSH knows and we do not can never log in here, so there is nothing to revoke.
fn key_we_accept(blob: &[u8]) -> Result<Option<KeyBlob>, KrlError> {
    match unless_never_accepted(KeyBlob::from_bytes(blob)) {
        Err(KeyError::UnknownAlgorithm(_)) => Ok(None),
        other => Ok(other?),
    }
}

fn strings<'a>(
    section: &mut Fields<'a>,
    mut each: impl FnMut(&'a [u8]) -> Result<(), KrlError>,
) -> Result<(), KrlError> {
    while !section.is_empty() {
        each(section.string()?)?;
    }
    Ok(())
}

fn fingerprint<const N: usize>(set: &mut HashSet<[u8; N]>, digest: &[u8]) -> Result<(), KrlError> {
    set.insert(digest.try_into().map_err(|_| KrlError::Fingerprint)?);
    Ok(())
}

/// None is known, so a critical one is an error and any other is skipped.
fn extension(section: &mut Fields<'_>) -> Result<(), KrlError> {
    let name = section.string()?;
    let critical = section.byte()?;
    let _contents = section.string()?;
    match critical {
        0 => Ok(()),
        _ => Err(KrlError::CriticalExtension(String::from_utf8_lossy(name).into_owned())),
    }
}

pub(super) const MAGIC: &[u8] = b"SSHKRL\n\0";
const FORMAT_VERSION: u32 = 1;

const CERTIFICATES: u8 = 1;
const EXPLICIT_KEY: u8 = 2;
const FINGERPRINT_SHA1: u8 = 3;
const SIGNATURE: u8 = 4;
const FINGERPRINT_SHA256: u8 = 5;
const EXTENSION: u8 = 255;

const SERIAL_LIST: u8 = 0x20;
const SERIAL_RANGE: u8 = 0x21;
const SERIAL_BITMAP: u8 = 0x22;
const KEY_ID: u8 = 0x23;
const CERTIFICATE_EXTENSION: u8 = 0x39;

/// OpenSSH's `BITMAP_MAX`, 2^24 bits.
const LARGEST_BITMAP: usize = 1 << 21;

#[cfg(test)]
#[path = "krl_tests.rs"]
mod tests;

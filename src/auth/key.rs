//! A public key as it travels: the SSH wire encoding, checked once and then only compared.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

use super::wire::{self, Fields, Truncated};

/// A plain public key in SSH wire encoding (RFC 4253 section 6.6): well formed, of a type this server accepts, and in
/// the one canonical encoding of that key, so that equal keys are equal bytes.
///
/// It does not check that a point lies on its curve: verifying a signature with the key does that.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeyBlob {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

/// Why some bytes are not a key that may log in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key is not valid base64; copy the line again, it may have been wrapped or cut")]
    NotBase64,
    #[error(transparent)]
    Truncated(#[from] Truncated),
    #[error("there are {0} bytes after the end of the key; copy the line again")]
    TrailingBytes(usize),
    #[error("the key's {0} is malformed; extract the public key again with `ssh-keygen -y`")]
    Malformed(&'static str),
    #[error("an RSA key of {0} bits is too short; use at least 2048 bits, or Ed25519")]
    ShortRsa(usize),
    #[error("an RSA key of {0} bits is too long; use at most 16384 bits, or Ed25519")]
    LongRsa(usize),
    #[error("DSA keys are no longer secure and are never accepted; make an Ed25519 key with `ssh-keygen`")]
    Dsa,
    #[error(
        "`{0}` is a certificate, not a key; list the public key of the authority that signed it as `cert-authority`"
    )]
    Certificate(String),
    #[error("key type `{0}` is not accepted here; use Ed25519, ECDSA or RSA")]
    UnknownAlgorithm(String),
}

impl KeyBlob {
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut fields = Fields::new(bytes);
        let algorithm = Algorithm::named(&String::from_utf8_lossy(fields.string()?))?;
        algorithm.check(&mut fields)?;
        match fields.len() {
            0 => Ok(Self {
                algorithm,
                bytes: bytes.to_vec(),
            }),
            left => Err(KeyError::TrailingBytes(left)),
        }
    }

    /// The middle word of a public key line.
    pub(super) fn from_base64(text: &str) -> Result<Self, KeyError> {
        Self::from_bytes(&from_base64(text)?)
    }

    /// The key's type, for example `ssh-ed25519`.
    pub fn algorithm(&self) -> &str {
        self.algorithm.name()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Is it a FIDO key, which can tell whether it was touched?
    pub fn is_fido(&self) -> bool {
        matches!(self.algorithm, Algorithm::SkEd25519 | Algorithm::SkEcdsaP256)
    }

    /// The user's key in a certificate (OpenSSH `PROTOCOL.certkeys`): what follows the type and the nonce. The rest of the
    /// certificate is not looked at.
    pub(super) fn of_certificate(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut fields = Fields::new(bytes);
        let name = String::from_utf8_lossy(fields.string()?).into_owned();
        let algorithm = Algorithm::certified(&name)?;
        let _nonce = fields.string()?;
        let from = bytes.len().saturating_sub(fields.len());
        algorithm.check(&mut fields)?;
        let to = bytes.len().saturating_sub(fields.len());
        let plain = algorithm.name().as_bytes();
        let length = u32::try_from(plain.len()).unwrap_or(0).to_be_bytes();
        let key = bytes.get(from..to).unwrap_or_default();
        Self::from_bytes(&[&length, plain, key].concat())
    }

    /// As `ssh-keygen -l` prints it: `SHA256:…`
    pub fn fingerprint(&self) -> String {
        format!("SHA256:{}", STANDARD_NO_PAD.encode(self.sha256()))
    }

    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }

    pub(super) fn sha1(&self) -> [u8; 20] {
        sha1::Sha1::digest(&self.bytes).into()
    }
}

impl fmt::Debug for KeyBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyBlob({} {})", self.algorithm(), self.fingerprint())
    }
}

/// The bytes of the middle word of a public key line.
pub(super) fn from_base64(text: &str) -> Result<Vec<u8>, KeyError> {
    STANDARD.decode(text).map_err(|_| KeyError::NotBase64)
}

/// Reads a `SHA256:…` fingerprint, with or without base64 padding.
pub(super) fn sha256_fingerprint(text: &str) -> Option<[u8; 32]> {
    let digest = text.strip_prefix("SHA256:")?.trim_end_matches('=');
    STANDARD_NO_PAD.decode(digest).ok()?.try_into().ok()
}

/// Does this word stand where a key type would, whether or not the type is one we accept?
pub(super) fn looks_like_key_type(word: &str) -> bool {
    ["ssh-", "ecdsa-", "sk-", "rsa-sha2-"]
        .iter()
        .any(|prefix| word.starts_with(prefix))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    EcdsaP521,
    Rsa,
    SkEd25519,
    SkEcdsaP256,
}

impl Algorithm {
    const ALL: [Self; 7] = [
        Self::Ed25519,
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Rsa,
        Self::SkEd25519,
        Self::SkEcdsaP256,
    ];

    pub(super) fn named(name: &str) -> Result<Self, KeyError> {
        match Self::ALL.into_iter().find(|algorithm| algorithm.name() == name) {
            Some(algorithm) => Ok(algorithm),
            None if name == "ssh-dss" => Err(KeyError::Dsa),
            None if name.contains("-cert-v0") => Err(KeyError::Certificate(name.to_owned())),
            None => Err(KeyError::UnknownAlgorithm(name.chars().take(64).collect())),
        }
    }

    /// The type of the key in a certificate of this type.
    fn certified(name: &str) -> Result<Self, KeyError> {
        let plain = match name.strip_suffix(CERTIFICATE_SUFFIX) {
            Some(plain) if plain.starts_with("sk-") => format!("{plain}@openssh.com"),
            Some(plain) => plain.to_owned(),
            None => return Err(KeyError::UnknownAlgorithm(name.chars().take(64).collect())),
        };
        Self::named(&plain)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ssh-ed25519",
            Self::EcdsaP256 => "ecdsa-sha2-nistp256",
            Self::EcdsaP384 => "ecdsa-sha2-nistp384",
            Self::EcdsaP521 => "ecdsa-sha2-nistp521",
            Self::Rsa => "ssh-rsa",
            Self::SkEd25519 => "sk-ssh-ed25519@openssh.com",
            Self::SkEcdsaP256 => "sk-ecdsa-sha2-nistp256@openssh.com",
        }
    }

    /// Reads the fields that follow the name.
    fn check(self, fields: &mut Fields<'_>) -> Result<(), KeyError> {
        match self {
            Self::Ed25519 => ed25519(fields),
            Self::EcdsaP256 => ecdsa(fields, b"nistp256", 32),
            Self::EcdsaP384 => ecdsa(fields, b"nistp384", 48),
            Self::EcdsaP521 => ecdsa(fields, b"nistp521", 66),
            Self::Rsa => rsa(fields),
            Self::SkEd25519 => ed25519(fields).and_then(|()| application(fields)),
            Self::SkEcdsaP256 => ecdsa(fields, b"nistp256", 32).and_then(|()| application(fields)),
        }
    }
}

fn ed25519(fields: &mut Fields<'_>) -> Result<(), KeyError> {
    match fields.string()?.len() {
        32 => Ok(()),
        _ => Err(KeyError::Malformed("Ed25519 point")),
    }
}

/// The curve's name and an uncompressed point on it.
fn ecdsa(fields: &mut Fields<'_>, curve: &[u8], coordinate: usize) -> Result<(), KeyError> {
    if fields.string()? != curve {
        return Err(KeyError::Malformed("curve name"));
    }
    match fields.string()? {
        [4, point @ ..] if point.len() == 2 * coordinate => Ok(()),
        _ => Err(KeyError::Malformed("curve point")),
    }
}

fn rsa(fields: &mut Fields<'_>) -> Result<(), KeyError> {
    let exponent = wire::positive(fields.string()?).ok_or(KeyError::Malformed("RSA exponent"))?;
    let modulus = wire::positive(fields.string()?).ok_or(KeyError::Malformed("RSA modulus"))?;
    if exponent == [1] || !is_odd(exponent) || !is_odd(modulus) {
        return Err(KeyError::Malformed("RSA exponent or modulus"));
    }
    match wire::bits(modulus) {
        short @ ..2048 => Err(KeyError::ShortRsa(short)),
        2048..=16384 => Ok(()),
        long => Err(KeyError::LongRsa(long)),
    }
}

/// A security key says which application it was made for, usually `ssh:`.
fn application(fields: &mut Fields<'_>) -> Result<(), KeyError> {
    fields.string().map(|_| ()).map_err(KeyError::from)
}

fn is_odd(magnitude: &[u8]) -> bool {
    magnitude.last().is_some_and(|byte| byte & 1 == 1)
}

/// OpenSSH writes the type of a certificate as that of its key with this behind it, in front of the domain.
const CERTIFICATE_SUFFIX: &str = "-cert-v01@openssh.com";

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;

//! The SSHSIG blob: a public key, a namespace, a hash, and a signature over these and the hash of the bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::{Certificate, HashAlg, PublicKey, Signature, SshSig};

use super::NAMESPACE;
use crate::auth::{Fields, KeyBlob, KeyError};
use crate::request::printable;

/// A signature as it was read; nothing of it is believed yet.
pub(super) struct Envelope {
    pub(super) key: SigningKey,
    namespace: String,
    hash: HashAlg,
    signature: Signature,
}

/// The key that claims to have signed.
pub(super) enum SigningKey {
    Plain(KeyBlob),
    Certified {
        certificate: Box<Certificate>,
        key: KeyBlob,
        authority: KeyBlob,
    },
}

/// Why a file is no signature of these bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// Not in the armour of SSHSIG.
    #[error("it is not an SSH signature: it should begin with `{BEGIN}` and end with `{END}`")]
    Armour,
    /// The armour holds something else, or was cut.
    #[error("it is damaged: {0}; sign again")]
    Damaged(&'static str),
    /// A later version of the format.
    #[error("it has version {0} of the signature format; this gateway reads version 1")]
    Version(u32),
    /// The key in it cannot be used.
    #[error("its key cannot be used: {0}")]
    Key(KeyError),
    /// The certificate in it cannot be read.
    #[error("its certificate cannot be used: {0}")]
    Certificate(String),
    /// A hash that is not one of SSHSIG.
    #[error("it uses the hash `{0}`; sha256 and sha512 are accepted")]
    Hash(String),
    /// An algorithm that is no longer secure, or that this gateway does not know.
    #[error("it was made with `{0}`, which is not accepted; use Ed25519, ECDSA or RSA with SHA-2")]
    Algorithm(String),
    /// Made for another purpose.
    #[error("it was made for `{0}`, not for `{NAMESPACE}`: sign with `-n {NAMESPACE}`")]
    Namespace(String),
    /// Not a signature of these bytes by that key.
    #[error("it does not match the file: the file changed after it was signed, or this is another file's signature")]
    Altered,
}

impl Envelope {
    /// Reads the armoured text.
    pub(super) fn parse(text: &[u8]) -> Result<Self, EnvelopeError> {
        let blob = dearmour(text)?;
        let mut fields = Fields::new(
            blob.strip_prefix(MAGIC)
                .ok_or(damaged("it does not begin with SSHSIG"))?,
        );
        let cut = |_| damaged("it ends too early");
        let version = fields.uint32().map_err(cut)?;
        if version != 1 {
            return Err(EnvelopeError::Version(version));
        }
        let key = SigningKey::read(fields.string().map_err(cut)?)?;
        let namespace = text_of(fields.string().map_err(cut)?);
        let _reserved = fields.string().map_err(cut)?;
        let hash = match fields.string().map_err(cut)? {
            b"sha256" => HashAlg::Sha256,
            b"sha512" => HashAlg::Sha512,
            other => return Err(EnvelopeError::Hash(text_of(other))),
        };
        let signature = fields.string().map_err(cut)?;
        if !fields.is_empty() {
            return Err(damaged("there is data after its end"));
        }
        Ok(Self {
            key,
            namespace,
            hash,
            signature: accepted(signature)?,
        })
    }

    /// Checks that this very key signed these very bytes for our purpose.
    pub(super) fn check(&self, bytes: &[u8]) -> Result<(), EnvelopeError> {
        if self.namespace != NAMESPACE {
            return Err(EnvelopeError::Namespace(self.namespace.clone()));
        }
        let key = PublicKey::from_bytes(self.key.blob().as_bytes()).map_err(|_| EnvelopeError::Altered)?;
        let data = key.key_data().clone();
        SshSig::new(data, NAMESPACE, self.hash, self.signature.clone())
            .and_then(|signature| key.verify(NAMESPACE, bytes, &signature))
            .map_err(|_| EnvelopeError::Altered)
    }
}

impl SigningKey {
    fn read(blob: &[u8]) -> Result<Self, EnvelopeError> {
        match KeyBlob::from_bytes(blob) {
            Ok(key) => Ok(Self::Plain(key)),
            Err(KeyError::Certificate(_)) => Self::certified(blob),
            Err(error) => Err(EnvelopeError::Key(error)),
        }
    }

    fn certified(blob: &[u8]) -> Result<Self, EnvelopeError> {
        let refused = |words: String| EnvelopeError::Certificate(words);
        let certificate = Certificate::from_bytes(blob).map_err(|error| refused(error.to_string()))?;
        let key = certificate.public_key();
        let plain = |key: &ssh_key::public::KeyData| {
            let bytes = PublicKey::from(key.clone()).to_bytes();
            let bytes = bytes.map_err(|error| refused(error.to_string()))?;
            KeyBlob::from_bytes(&bytes).map_err(EnvelopeError::Key)
        };
        let (key, authority) = (plain(key)?, plain(certificate.signature_key())?);
        if is_sha1(certificate.signature()) {
            return Err(refused("its authority signed it with SHA-1".to_owned()));
        }
        let signed = certificate.verify_signature();
        signed.map_err(|_| refused("its signature was not made by the authority it names".to_owned()))?;
        Ok(Self::Certified {
            certificate: Box::new(certificate),
            key,
            authority,
        })
    }

    /// The key itself, without what an authority says of it.
    pub(super) fn blob(&self) -> &KeyBlob {
        match self {
            Self::Plain(key) | Self::Certified { key, .. } => key,
        }
    }
}

/// The armoured text of a signature that `key` made of `bytes`' signed data. `public` is the blob of the key or of its
/// certificate.
pub(super) fn armour(public: &[u8], hash: &str, signature: &[u8]) -> String {
    let mut blob = MAGIC.to_vec();
    blob.extend(1u32.to_be_bytes());
    for field in [public, NAMESPACE.as_bytes(), b"", hash.as_bytes(), signature] {
        put_string(&mut blob, field);
    }
    let base64 = STANDARD.encode(blob);
    let mut text = format!("{BEGIN}\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at_checked(LINE).unwrap_or((rest, ""));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text.push_str(END);
    text.push('\n');
    text
}

/// A `string` of RFC 4251 section 5.
pub(super) fn put_string(blob: &mut Vec<u8>, field: &[u8]) {
    let length = u32::try_from(field.len()).unwrap_or(u32::MAX);
    blob.extend(length.to_be_bytes());
    blob.extend(field);
}

fn dearmour(text: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let text = std::str::from_utf8(text).map_err(|_| EnvelopeError::Armour)?;
    let inner = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
    let inner: String = inner.ok_or(EnvelopeError::Armour)?.split_ascii_whitespace().collect();
    STANDARD.decode(inner).map_err(|_| damaged("it is not valid base64"))
}

fn accepted(blob: &[u8]) -> Result<Signature, EnvelopeError> {
    let signature = Signature::try_from(blob).map_err(|_| {
        let name = Fields::new(blob).string().map(text_of);
        EnvelopeError::Algorithm(name.unwrap_or_else(|_| "nothing".to_owned()))
    })?;
    match is_sha1(&signature) {
        true => Err(EnvelopeError::Algorithm("ssh-rsa".to_owned())),
        false => Ok(signature),
    }
}

/// `ssh-rsa` as a signature algorithm is RSA with SHA-1.
fn is_sha1(signature: &Signature) -> bool {
    matches!(
        signature.algorithm(),
        ssh_key::Algorithm::Rsa { hash: None } | ssh_key::Algorithm::Dsa
    )
}

fn damaged(what: &'static str) -> EnvelopeError {
    EnvelopeError::Damaged(what)
}

fn text_of(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes), MAX_NAME)
}

const MAGIC: &[u8] = b"SSHSIG";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// As `ssh-keygen` wraps.
const LINE: usize = 70;
const MAX_NAME: usize = 128;

//! Whether a key or a certificate lets a user in, and with which limits: the one decision, for a login and for a session
//! that is judged again.
//!
//! It is that of OpenSSH's `auth2-pubkey.c`. Several lines may speak of one key or authority; each is tried in order, and
//! the first that permits counts, with its options. Only then is a FIDO key asked whether it was touched.

use std::net::IpAddr;

use jiff::Timestamp;

use super::admission::{NotAdmitted, SourceAddresses};
use super::key::KeyBlob;
use super::limits::ForwardLimits;
use super::line::KeyLine;
use super::options::{KeyOptions, Touch};
use crate::request::Certificate;

/// Who asks to be let in, from where and when.
#[derive(Clone, Copy, Debug)]
pub struct Visitor<'a> {
    pub user: &'a str,
    pub client: IpAddr,
    pub now: Timestamp,
}

impl<'a> Visitor<'a> {
    /// Who asks now.
    pub fn now(user: &'a str, client: IpAddr) -> Self {
        let now = Timestamp::now();
        Self { user, client, now }
    }
}

/// A certificate whose CA signature was verified by the caller.
#[derive(Clone, Debug)]
pub struct Presented {
    /// Its fields.
    pub certificate: Certificate,
    /// The user's key in it.
    pub key: KeyBlob,
    /// The CA's key.
    pub authority: KeyBlob,
    /// The algorithm of the CA's signature, as the signature itself names it.
    pub signed_with: String,
}

/// What a key or certificate lets its holder do.
#[derive(Clone, Debug, Default)]
pub struct Permitted {
    /// What may be forwarded.
    pub limits: ForwardLimits,
    /// From when on it is void.
    pub until: Option<Timestamp>,
}

/// Why a key or certificate does not let this user in: for the log, not for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the key is not listed for this user")]
    NotListed,
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    #[error(
        "this FIDO key must be touched for each login, which this gateway cannot verify: put `no-touch-required` before the key if a login without a touch is acceptable"
    )]
    Touch,
    #[error(
        "this certificate is for a FIDO key that must be touched for each login, which this gateway cannot verify: sign it with `-O no-touch-required` if a login without a touch is acceptable, and put `no-touch-required` before the authority's key in key files"
    )]
    CertificateTouch,
    #[error("`verify-required` makes the FIDO key ask for a PIN, which this gateway cannot verify: use another key")]
    Verification,
    #[error("the certificate authority is not trusted")]
    Authority,
    #[error(
        "the certificate is signed with {0}, which is no longer secure: sign it again with `ssh-keygen -t rsa-sha2-512`"
    )]
    Signature(String),
    #[error("the certificate is not valid before {0}")]
    NotYet(u64),
    #[error("the certificate expired at {0}")]
    Expired(u64),
    #[error("the certificate does not list this user as a principal")]
    Principal,
    #[error("the certificate has the critical option `{0}`, which is not supported")]
    CriticalOption(String),
    #[error("the certificate's source-address `{0}` is not valid")]
    SourceAddress(String),
}

impl Refusal {
    /// Could another line of this user's have permitted it?
    pub fn depends_on_lines(&self) -> bool {
        matches!(
            self,
            Self::NotListed | Self::NotAdmitted(_) | Self::Authority | Self::Principal
        )
    }
}

/// May a signature of this algorithm prove anything? Neither SHA-1 nor DSA may.
pub fn is_sound_signature(algorithm: &str) -> bool {
    SOUND_SIGNATURES.contains(&algorithm)
}

/// A login with a plain key. Lines of authorities are no way in for their own keys.
///
/// # Errors
/// Why the key does not let this user in.
pub fn admit_key(key: &KeyBlob, lines: &[KeyLine], visitor: &Visitor<'_>) -> Result<Permitted, Refusal> {
    let mut refusal = Refusal::NotListed;
    for line in lines {
        if line.options.cert_authority || line.key != *key {
            continue;
        }
        match line.options.admits(visitor.client, visitor.now) {
            Ok(()) => {
                let touch = line.options.touch != Touch::NotRequired;
                check_authenticator(key, touch, line.options.verify_required, Refusal::Touch)?;
                return Ok(Permitted {
                    limits: line.options.limits(),
                    until: line.options.expires,
                });
            }
            Err(error) => refusal = error.into(),
        }
    }
    Err(refusal)
}

/// A login with a certificate: by the authorities that are trusted for every user, then by the lines of this one, which
/// are read only if they are needed.
///
/// # Errors
/// Why the certificate does not let this user in.
pub fn admit_certificate<L: AsRef<[KeyLine]>>(
    presented: &Presented,
    trusted: &[KeyLine],
    lines: impl FnOnce() -> L,
    visitor: &Visitor<'_>,
) -> Result<Permitted, Refusal> {
    let certificate = &presented.certificate;
    if !is_sound_signature(&presented.signed_with) {
        return Err(Refusal::Signature(presented.signed_with.clone()));
    }
    check_validity(certificate, visitor.now)?;
    let verify_required = check_critical(certificate, visitor.client)?;
    let extended = |name: &str| certificate.extensions.iter().any(|(extension, _)| extension == name);
    let own = match extended("permit-port-forwarding") {
        true => ForwardLimits::default(),
        false => ForwardLimits::none(),
    };
    let mut refusal = Refusal::Authority;
    // Without a word of the administrator, the extension alone decides for an authority that every user trusts; a line of
    // a key file has to agree, as in OpenSSH.
    let found = match choose(presented, trusted, visitor, &mut refusal) {
        Some(line) => Some((line.options.clone(), line.options.touch != Touch::Required)),
        None => choose(presented, lines().as_ref(), visitor, &mut refusal)
            .map(|line| (line.options.clone(), line.options.touch == Touch::NotRequired)),
    };
    let (options, without_touch) = found.ok_or(refusal)?;
    let touch = !(without_touch && extended("no-touch-required"));
    let verification = verify_required || options.verify_required;
    check_authenticator(&presented.key, touch, verification, Refusal::CertificateTouch)?;
    let expires = i64::try_from(certificate.valid_before).ok();
    let expires = expires.and_then(|seconds| Timestamp::from_second(seconds).ok());
    Ok(Permitted {
        limits: own.intersect(&options.limits()),
        until: options.expires.into_iter().chain(expires).min(),
    })
}

/// The first line of the certificate's authority that permits.
fn choose<'a>(
    presented: &Presented,
    lines: &'a [KeyLine],
    visitor: &Visitor<'_>,
    refusal: &mut Refusal,
) -> Option<&'a KeyLine> {
    lines
        .iter()
        .filter(|line| line.options.cert_authority && line.key == presented.authority)
        .find(|line| {
            let permits = permits(&line.options, &presented.certificate, visitor);
            permits.map_err(|error| *refusal = error).is_ok()
        })
}

fn permits(options: &KeyOptions, certificate: &Certificate, visitor: &Visitor<'_>) -> Result<(), Refusal> {
    options.admits(visitor.client, visitor.now)?;
    match options.admits_principal(visitor.user, &certificate.principals) {
        true => Ok(()),
        false => Err(Refusal::Principal),
    }
}

fn check_validity(certificate: &Certificate, now: Timestamp) -> Result<(), Refusal> {
    let now = u64::try_from(now.as_second()).unwrap_or(0);
    if now < certificate.valid_after {
        return Err(Refusal::NotYet(certificate.valid_after));
    }
    if now >= certificate.valid_before {
        return Err(Refusal::Expired(certificate.valid_before));
    }
    Ok(())
}

/// Whether `verify-required` is among the critical options. `force-command` is about sessions, which this server has none
/// of; what is unknown voids the certificate.
fn check_critical(certificate: &Certificate, client: IpAddr) -> Result<bool, Refusal> {
    let mut verify_required = false;
    for (name, value) in &certificate.critical_options {
        match name.as_str() {
            "force-command" => {}
            "verify-required" => verify_required = true,
            "source-address" => SourceAddresses::parse(value)
                .ok_or_else(|| Refusal::SourceAddress(value.clone()))?
                .admits(client)?,
            name => return Err(Refusal::CriticalOption(name.to_owned())),
        }
    }
    Ok(verify_required)
}

/// A FIDO key says in its signature whether it was touched and whether it knows who did. The SSH library verifies that
/// signature without handing it on, so what has to be in it cannot be seen, and a demand for it is never met. A key of
/// another kind has no touch to ask for: OpenSSH passes over both demands for it.
fn check_authenticator(key: &KeyBlob, touch: bool, verification: bool, untouched: Refusal) -> Result<(), Refusal> {
    if !key.is_fido() {
        return Ok(());
    }
    if verification {
        return Err(Refusal::Verification);
    }
    match touch {
        true => Err(untouched),
        false => Ok(()),
    }
}

const SOUND_SIGNATURES: [&str; 8] = [
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "rsa-sha2-256",
    "rsa-sha2-512",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

#[cfg(test)]
#[path = "decision_tests.rs"]
mod tests;

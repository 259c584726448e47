//! The credential that a client offers, and the check of it.

use russh::keys::ssh_key::certificate::{CertType, OptionsMap};
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Certificate, PublicKey};

use super::failed_login::FailedLogin;
use crate::auth::{KeyBlob, Presented};
use crate::request;

/// Does what takes long away from the threads that serve.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FailedLogin> + Send + 'static,
) -> Result<T, FailedLogin> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(FailedLogin::Unasked(error.to_string())))
}

/// A key as the library has it; none of a type that is unknown here.
pub(super) fn blob(key: &KeyData) -> Option<KeyBlob> {
    let bytes = PublicKey::from(key.clone()).to_bytes().ok()?;
    KeyBlob::from_bytes(&bytes).ok()
}

/// The fields of a certificate whose CA signature is right.
pub(super) fn present(certificate: &Certificate) -> Result<Presented, FailedLogin> {
    if certificate.cert_type() != CertType::User {
        return Err(FailedLogin::NoUserCertificate);
    }
    certificate
        .verify_signature()
        .map_err(|error| FailedLogin::CertificateSignature(error.to_string()))?;
    let authority = blob(certificate.signature_key()).ok_or(FailedLogin::AuthorityType)?;
    let key = blob(certificate.public_key()).ok_or(FailedLogin::CertificateKeyType)?;
    let list = |options: &OptionsMap| {
        options
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect()
    };
    Ok(Presented {
        certificate: request::Certificate {
            key_id: certificate.key_id().to_owned(),
            serial: certificate.serial(),
            issuer: authority.fingerprint(),
            principals: certificate.valid_principals().to_vec(),
            valid_after: certificate.valid_after(),
            valid_before: certificate.valid_before(),
            critical_options: list(certificate.critical_options()),
            extensions: list(certificate.extensions()),
        },
        key,
        authority,
        signed_with: certificate.signature().algorithm().as_str().to_owned(),
    })
}

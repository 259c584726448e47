//! The signatures that a configuration requires of component files.

use std::io;
use std::path::Path;

use jiff::Timestamp;

use super::beside;
use super::signers::AllowedSigners;
use super::verify::{Refused, Signer, verify};
use crate::auth::RevokedKeys;
use crate::config::Signatures;
use crate::files;

/// Who signed the component at `path`, whose bytes these are. The files that say whom to believe are read anew each time.
///
/// # Errors
/// If no permitted signer signed it, or if that cannot be determined.
pub(crate) fn demanded(
    signatures: &Signatures,
    wanted: &[String],
    path: &Path,
    bytes: &[u8],
) -> Result<Signer, Refused> {
    let allowed = AllowedSigners::read(&signatures.allowed_signers)?;
    let revoked = signatures.revoked_keys.as_deref();
    checked(bytes, &beside(path), &allowed, revoked, wanted)
}

/// Who signed these bytes, by the signature in this file.
///
/// # Errors
/// As [`demanded`].
pub(crate) fn checked(
    bytes: &[u8],
    signature: &Path,
    allowed: &AllowedSigners,
    revoked: Option<&Path>,
    wanted: &[String],
) -> Result<Signer, Refused> {
    let revoked = revoked.map(RevokedKeys::read).transpose();
    let revoked = revoked.map_err(|error| Refused::Revocations(error.to_string()))?;
    let unreadable = |error: String| Refused::Unreadable {
        path: signature.to_owned(),
        error,
    };
    let text = files::read(signature, LARGEST).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Refused::Missing(signature.to_owned()),
        io::ErrorKind::FileTooLarge => unreadable("it is larger than 64 KiB".to_owned()),
        _ => unreadable(error.to_string()),
    })?;
    verify(bytes, &text, allowed, revoked.as_ref(), wanted, Timestamp::now())
}

const LARGEST: u64 = 64 << 10;

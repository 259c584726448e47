//! Signatures of policies: who signed a component, and whether this gateway trusts them.
//!
//! The format is OpenSSH's SSHSIG (`PROTOCOL.sshsig`) in the namespace [`NAMESPACE`], detached beside the component, and the
//! trusted signers are an `allowed_signers` file (ssh-keygen(1)): `ssh-keygen -Y sign` and `-Y verify` do the same as this room.
//! It does not know what a component is: it sees bytes.
//!
//! Invariant: a [`Signer`] comes out of [`verify()`] only, for the bytes that were given to it. A signature that cannot be read
//! or is not valid at that moment is a [`Refused`], never a signer.

mod agent;
mod demand;
mod envelope;
mod passphrase;
mod sign;
mod signers;
mod verify;

use std::path::{Path, PathBuf};

pub use demand::{checked, demanded};
pub use envelope::EnvelopeError;
pub use sign::{SignError, sign};
pub use signers::{AllowedSigners, SignerLineError, SignersError};
pub use verify::{Refused, Signer, verify};

/// What a signature of a policy is for; one made for anything else is refused.
pub const NAMESPACE: &str = "policy@portreeve";

/// Where the signature of a component is: the same path with `.sig` appended, as `ssh-keygen -Y sign` writes it.
#[must_use]
pub fn beside(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

//! Signatures of policies: who signed a component, and whether this gateway trusts them.
//!
//! The format is OpenSSH's SSHSIG (`PROTOCOL.sshsig`) in the namespace [`NAMESPACE`], detached beside the component, and the
//! trusted signers are an `allowed_signers` file (ssh-keygen(1)): `ssh-keygen -Y sign` and `-Y verify` do the same as this room.
//! It does not know what a component is: it sees bytes.
//!
//! Invariant: a [`Signer`] comes out of [`verify`](verify::verify) only, for the bytes that were given to it. A signature that cannot be read
//! or is not valid at that moment is a [`Refused`], never a signer.

mod agent;
mod demand;
mod envelope;
mod passphrase;
mod sign;
mod signers;
mod verify;

use std::path::{Path, PathBuf};

pub(crate) use demand::{checked, demanded};
pub(crate) use sign::{SignError, sign};
pub(crate) use signers::AllowedSigners;
pub(crate) use verify::{Refused, Signer};

/// What a signature of a policy is for; one made for anything else is refused.
pub(crate) const NAMESPACE: &str = "policy@portreeve";

/// Where the signature of a component is: the same path with `.sig` appended, as `ssh-keygen -Y sign` writes it.
#[must_use]
pub(crate) fn beside(component: &Path) -> PathBuf {
    let mut path = component.as_os_str().to_owned();
    path.push(".sig");
    path.into()
}

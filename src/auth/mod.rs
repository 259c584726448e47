//! Decides who may log in, and with which limits of their key.
//!
//! This room reads what OpenSSH administrators already have: `authorized_keys` lines with their options,
//! certificate authorities listed there, and files of revoked keys. It turns them into values that can be asked
//! ([`KeyOptions::admits`], [`ForwardLimits::connect_tcp`], [`RevokedKeys::key`]) and then forgets the text.
//!
//! [`admit_key`] and [`admit_certificate`] decide whether a credential lets a user in; nothing else does.
//!
//! It does not know the SSH library, the policy or the accounts: a key is its wire blob ([`KeyBlob`]), a user is a
//! name, and who is in which group is the caller's business.
//!
//! The invariant: malformed input never permits more. If one option of a line is unknown, malformed or cannot be
//! enforced by this server, the whole line is ignored; a revocation file that cannot be parsed to its last byte is an
//! error, and the caller then refuses every login.
//!
//! A rule from OpenSSH means the same here, as read from its source (`auth-options.c`, `channels.c`, `krl.c`); if this
//! room is stricter, the item says so.

mod admission;
mod decision;
mod files;
mod key;
#[cfg(test)]
mod keygen;
mod krl;
mod limits;
mod line;
mod options;
mod pattern;
mod permit;
mod revocations;
mod revoked;
mod wire;

pub(crate) use admission::parse_expiry;
pub use admission::{AddressPatterns, NotAdmitted, SourceAddresses};
pub use decision::{Permitted, Presented, Refusal, Visitor, admit_certificate, admit_key, is_sound_signature};
pub use files::{Modes, PathError, ReadError, authorized_keys_path, read_keys, read_keys_of};
pub use key::{KeyBlob, KeyError};
pub use krl::KrlError;
pub use limits::{ForwardLimits, Limited};
pub use line::{FileLines, KeyLine, LineError, parse_file, parse_line};
pub(crate) use line::{parse_key, starts_with_key_type};
pub(crate) use options::{BLANKS, Cursor};
pub use options::{KeyOptions, Touch};
pub(crate) use pattern::matches;
pub use permit::{PermitListen, PermitOpen};
pub use revocations::Revocations;
pub use revoked::{RevokedError, RevokedKeys};
pub(crate) use wire::Fields;

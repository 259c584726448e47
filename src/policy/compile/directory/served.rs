//! Which version of a signed component was last in force, sealed.

use std::io::{self, Write};
use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Directory, write_whole};
use crate::files;
use crate::policy::compile::sealed::Key;
use crate::policy::source::Lineage;

impl Directory {
    /// What served last as the plugin of that name, if that is kept, whole and ours.
    pub(in crate::policy::compile) fn served(&self, name: &str) -> Option<Lineage> {
        let path = self.served_path(name);
        let bytes = match files::read(&path, MOST_LINEAGE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the record of the version last in force");
                return None;
            }
        };
        let found = unsealed(&self.key, DOMAIN, name, &bytes).and_then(|text| serde_json::from_slice(text).ok());
        if found.is_none() {
            tracing::warn!(path = %path.display(), "the record of the version last in force is damaged or not ours: ignored");
        }
        found
    }

    /// Keeps what serves as the plugin of that name.
    pub(in crate::policy::compile) fn keep_served(&self, name: &str, lineage: &Lineage) {
        let path = self.served_path(name);
        let text = serde_json::to_vec(lineage).unwrap_or_default();
        if let Err(error) = write_whole(&path, |file| file.write_all(&sealed(&self.key, DOMAIN, name, &text))) {
            tracing::warn!(path = %path.display(), %error, "cannot record the version of the policy in force");
        }
    }

    fn served_path(&self, name: &str) -> PathBuf {
        self.path.join(SERVED).join(format!("{name}.sealed"))
    }
}

/// The content of a file of `policy.directory`, if its seal is ours, for that use and for the plugin of that name.
pub(super) fn unsealed<'a>(key: &Key, domain: &[u8], name: &str, bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (seal, text) = bytes.split_at_checked(SEAL)?;
    sealing(key, domain, name, text).verify_slice(seal).ok()?;
    Some(text)
}

/// What such a file holds.
pub(super) fn sealed(key: &Key, domain: &[u8], name: &str, text: &[u8]) -> Vec<u8> {
    let mut bytes = sealing(key, domain, name, text).finalize().into_bytes().to_vec();
    bytes.extend(text);
    bytes
}

fn sealing(key: &Key, domain: &[u8], name: &str, text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
    for part in [domain, name.as_bytes(), b"\0", text] {
        mac.update(part);
    }
    mac
}

const SEAL: usize = 32;
const DOMAIN: &[u8] = b"portreeve policy that served 1\0";
pub(super) const SERVED: &str = "served";
/// A seal, a name and a version.
const MOST_LINEAGE: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn lineage(version: &str) -> Lineage {
        Lineage {
            component: "office".to_owned(),
            version: version.to_owned(),
        }
    }

    #[test]
    fn what_served_is_known_to_the_next_process_and_cannot_be_put_there_by_others() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        assert_eq!(directory.served("a"), None);
        directory.keep_served("a", &lineage("1.0.0"));
        directory.keep_served("a", &lineage("2.0.0"));
        let again = Directory::open(folder.path()).unwrap();
        assert_eq!(again.served("a"), Some(lineage("2.0.0")));
        fs::copy(directory.served_path("a"), directory.served_path("b")).unwrap();
        assert_eq!(again.served("b"), None, "of another plugin");
        fs::write(directory.served_path("a"), "{}").unwrap();
        assert_eq!(again.served("a"), None, "not ours");
    }

    #[test]
    fn only_what_is_whole_ours_and_of_that_plugin_is_unsealed() {
        let (key, found) = (Key([7; 32]), &b"1.2.3"[..]);
        let file = sealed(&key, b"use", "office", found);
        assert_eq!(unsealed(&key, b"use", "office", &file), Some(found));
        assert_eq!(unsealed(&Key([8; 32]), b"use", "office", &file), None);
        assert_eq!(unsealed(&key, b"use", "other", &file), None);
        assert_eq!(unsealed(&key, b"another", "office", &file), None);
        for place in 0..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 1;
            assert_eq!(unsealed(&key, b"use", "office", &changed), None, "byte {place}");
            assert_eq!(unsealed(&key, b"use", "office", &file[..place]), None, "{place} bytes");
        }
    }
}

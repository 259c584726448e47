//! The last components in force: a copy for the administrator, and for signed components the version, sealed.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::{Directory, bounded, write_whole};
use crate::files;
use crate::policy::compile::sealed::Key;
use crate::policy::source::{Lineage, digest, hex};

impl Directory {
    /// Keeps a copy of a component that serves and of its settings, if it is another than before.
    pub(in crate::policy::compile) fn keep_last_good(&self, name: &str, component: &[u8], settings: &str) {
        let path = self.last_good_path(name);
        let same = bounded(&path)
            .and_then(digest_of)
            .is_ok_and(|kept| kept == digest(component));
        let component = |file: &mut File| file.write_all(component);
        let written = if same { Ok(()) } else { write_whole(&path, component) }
            .and_then(|()| write_whole(&path.with_extension("json"), |file| file.write_all(settings.as_bytes())));
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "cannot store a copy of the policy in force");
        }
    }

    /// Where the component lies that served last under that name, if there is one.
    pub(in crate::policy::compile) fn last_good(&self, name: &str) -> Option<PathBuf> {
        let path = self.last_good_path(name);
        path.is_file().then_some(path)
    }

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
        let found = unsealed(&self.key, name, &bytes);
        if found.is_none() {
            tracing::warn!(path = %path.display(), "the record of the version last in force is damaged or not ours: ignored");
        }
        found
    }

    /// Keeps what serves as the plugin of that name.
    pub(in crate::policy::compile) fn keep_served(&self, name: &str, lineage: &Lineage) {
        let path = self.served_path(name);
        if let Err(error) = write_whole(&path, |file| file.write_all(&sealed(&self.key, name, lineage))) {
            tracing::warn!(path = %path.display(), %error, "cannot record the version of the policy in force");
        }
    }

    fn served_path(&self, name: &str) -> PathBuf {
        self.path.join(SERVED).join(format!("{name}.sealed"))
    }

    /// Names have no separator and cannot begin a path upwards with the ending.
    fn last_good_path(&self, name: &str) -> PathBuf {
        self.path.join(LAST_GOOD).join(format!("{name}.wasm"))
    }
}

/// As [`digest`] of what is read.
fn digest_of(mut file: impl Read) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(piece.get(..read).unwrap_or_default());
    }
}

/// The content of a file of `policy.directory`, if its seal is ours and for the plugin of that name.
fn unsealed(key: &Key, name: &str, bytes: &[u8]) -> Option<Lineage> {
    let (seal, text) = bytes.split_at_checked(SEAL)?;
    sealing(key, name, text).verify_slice(seal).ok()?;
    serde_json::from_slice(text).ok()
}

/// What such a file holds.
fn sealed(key: &Key, name: &str, lineage: &Lineage) -> Vec<u8> {
    let text = serde_json::to_vec(lineage).unwrap_or_default();
    let mut bytes = sealing(key, name, &text).finalize().into_bytes().to_vec();
    bytes.extend(text);
    bytes
}

fn sealing(key: &Key, name: &str, text: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).expect("HMAC takes keys of any length");
    for part in [DOMAIN, name.as_bytes(), b"\0", text] {
        mac.update(part);
    }
    mac
}

const SEAL: usize = 32;
const DOMAIN: &[u8] = b"portreeve policy that served 1\0";
const PIECE: usize = 64 << 10;
pub(super) const LAST_GOOD: &str = "last-good";
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
        let (key, found) = (Key([7; 32]), lineage("1.2.3"));
        let file = sealed(&key, "office", &found);
        assert_eq!(unsealed(&key, "office", &file), Some(found));
        assert_eq!(unsealed(&Key([8; 32]), "office", &file), None);
        assert_eq!(unsealed(&key, "other", &file), None);
        for place in 0..file.len() {
            let mut changed = file.clone();
            changed[place] ^= 1;
            assert_eq!(unsealed(&key, "office", &changed), None, "byte {place}");
            assert_eq!(unsealed(&key, "office", &file[..place]), None, "{place} bytes");
        }
    }
}

//! What was pulled last of one image for one plugin, on disk.
//!
//! ```text
//! FOLDER/current -> HASH              what serves: the digest of a manifest
//! FOLDER/HASH/manifest.json           exactly as the registry sent it
//! FOLDER/HASH/component.wasm          named by the manifest's layer
//! FOLDER/HASH/component.wasm.sig      its signature, if it has one
//! ```
//!
//! Another artifact takes the place of the one before by a rename of the link, so a reader never sees a component with the signature
//! of another. Whether what is there is whole can be told from the manifest alone.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::layout::{self, MOST_MANIFEST, MOST_SIGNATURE};
use super::registries::Pulled;
use crate::files::{self, MOST_COMPONENT};
use crate::signature;

/// Where the artifacts of one image are kept for one plugin.
#[derive(Clone, Debug)]
pub(crate) struct ArtifactFolder {
    folder: PathBuf,
}

impl ArtifactFolder {
    /// The place of a component that is kept as `FOLDER/current/component.wasm`.
    #[must_use]
    pub(crate) fn at(component: &Path) -> Self {
        let folder = component.parent().and_then(Path::parent);
        Self {
            folder: folder.unwrap_or(Path::new("")).to_owned(),
        }
    }

    /// In a folder of its own.
    #[must_use]
    pub(crate) fn within(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// The component.
    #[must_use]
    pub(crate) fn component(&self) -> PathBuf {
        self.folder.join(CURRENT).join(COMPONENT)
    }

    /// The digest of the manifest that is kept, by its name alone.
    #[must_use]
    pub(crate) fn digest(&self) -> Option<String> {
        let target = fs::read_link(self.folder.join(CURRENT)).ok()?;
        let digest = format!("sha256:{}", target.file_name()?.to_str()?);
        (crate::config::oci::is_digest(&digest) && self.component().is_file()).then_some(digest)
    }

    /// The same, if all that is kept is what its digests say.
    #[must_use]
    pub(crate) fn whole(&self) -> Option<String> {
        let digest = self.digest()?;
        let folder = self.folder.join(CURRENT);
        let manifest = files::read(&folder.join(MANIFEST), MOST_MANIFEST as u64).ok()?;
        let layer = layout::component(&manifest)
            .ok()
            .filter(|_| layout::digest(&manifest) == digest)?;
        let component = files::read(&folder.join(COMPONENT), MOST_COMPONENT).ok()?;
        if layout::digest(&component) == layer.digest {
            return Some(digest);
        }
        tracing::warn!(path = %folder.display(), "a component that was pulled is damaged: pulling it again");
        None
    }

    /// Whether it has a signature.
    #[must_use]
    pub(crate) fn is_signed(&self) -> bool {
        signature::beside(&self.component()).is_file()
    }

    /// Keeps an artifact in the place of the one before.
    ///
    /// # Errors
    /// If it cannot be written; the one before is then unchanged.
    pub(crate) fn keep(&self, pulled: &Pulled) -> io::Result<()> {
        let name = pulled.digest.trim_start_matches("sha256:");
        let folder = self.folder.join(name);
        DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        if let Some(signature) = &pulled.signature {
            write(&signature::beside(&folder.join(COMPONENT)), signature)?;
        }
        write(&folder.join(COMPONENT), &pulled.component)?;
        write(&folder.join(MANIFEST), &pulled.manifest)?;
        let draft = self.folder.join(format!(".{CURRENT}.{}", std::process::id()));
        let _ = fs::remove_file(&draft);
        symlink(name, &draft)?;
        fs::rename(&draft, self.folder.join(CURRENT))?;
        self.sweep(name);
        Ok(())
    }

    /// Keeps a signature of what is there already.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn sign(&self, signature: &Bytes) -> io::Result<()> {
        if signature.len() as u64 > MOST_SIGNATURE {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        write(&signature::beside(&self.component()), signature)
    }

    /// Removes all artifacts but this one.
    fn sweep(&self, current: &str) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let is_old = name.len() == 64 && name != *current;
            if is_old && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn write(path: &Path, bytes: &Bytes) -> io::Result<()> {
    files::replace(path, bytes, Some(Permissions::from_mode(0o600)))
}

const CURRENT: &str = "current";
const MANIFEST: &str = "manifest.json";
const COMPONENT: &str = "component.wasm";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::layout::{Described, artifact};

    fn pulled(component: &'static [u8], signature: Option<&'static [u8]>) -> Pulled {
        let (manifest, _) = artifact(component, &Described::default()).unwrap();
        Pulled {
            digest: manifest.digest,
            manifest: manifest.bytes.into(),
            component: Bytes::from_static(component),
            signature: signature.map(Bytes::from_static),
        }
    }

    #[test]
    fn one_artifact_takes_the_place_of_another_with_its_signature() {
        let folder = tempfile::tempdir().unwrap();
        let kept = ArtifactFolder::within(&folder.path().join("a").join("b"));
        assert_eq!((kept.digest(), kept.whole()), (None, None));
        let (one, other) = (pulled(b"one", Some(b"signed")), pulled(b"other", None));
        kept.keep(&one).unwrap();
        assert_eq!(kept.whole(), Some(one.digest.clone()));
        assert_eq!(fs::read(kept.component()).unwrap(), b"one");
        assert!(kept.is_signed());
        assert_eq!(ArtifactFolder::at(&kept.component()).digest(), Some(one.digest));
        kept.keep(&other).unwrap();
        assert_eq!(kept.whole(), Some(other.digest.clone()));
        assert_eq!(fs::read(kept.component()).unwrap(), b"other");
        assert!(!kept.is_signed(), "the signature of another");
        assert_eq!(
            fs::read_dir(&kept.folder).unwrap().count(),
            2,
            "what was there before is gone"
        );
        kept.sign(&Bytes::from_static(b"later")).unwrap();
        assert!(kept.is_signed());
        kept.keep(&other).unwrap();
        assert_eq!(kept.whole(), Some(other.digest), "the same again");
    }

    #[test]
    fn what_is_damaged_is_not_whole() {
        let folder = tempfile::tempdir().unwrap();
        let kept = ArtifactFolder::within(folder.path());
        for name in [COMPONENT, MANIFEST] {
            kept.keep(&pulled(b"one", None)).unwrap();
            assert!(kept.whole().is_some());
            fs::write(folder.path().join(CURRENT).join(name), "spoilt").unwrap();
            assert_eq!(kept.whole(), None, "{name}");
        }
    }
}

//! What serves and served, to go back to: sealed records, and the components that they name.
//!
//! A folder may serve several gateways of one user, so a record is of one plugin of one configuration. It begins with the path of
//! that configuration; once that is gone, the record goes, too.

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::served::{sealed, unsealed};
use super::{Directory, write_whole};
use crate::files::{self, MOST_COMPONENT};
use crate::policy::source::{Component, digest};
use crate::signature;

impl Directory {
    /// The record of the plugin of that name in that configuration, if there is one that is whole and ours.
    pub(in crate::policy::compile) fn record(&self, plugin: &str, origin: &Path) -> Option<Vec<u8>> {
        let path = self.record_path(plugin, origin);
        let bytes = match files::read(&path, MOST_RECORD) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "cannot read the earlier generations of a policy");
                return None;
            }
        };
        let found = unsealed(&self.key, DOMAIN, plugin, &bytes).and_then(parts);
        match found {
            Some((written, record)) if written == origin => Some(record.to_vec()),
            _ => {
                tracing::warn!(path = %path.display(), "the record of a policy's generations is damaged or not ours: ignored");
                None
            }
        }
    }

    /// Keeps the record of a plugin, whole and on the disk.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(in crate::policy::compile) fn keep_record(&self, plugin: &str, origin: &Path, record: &[u8]) -> io::Result<()> {
        let mut text = origin.as_os_str().as_bytes().to_vec();
        text.push(0);
        text.extend_from_slice(record);
        write_whole(&self.record_path(plugin, origin), |file| {
            file.write_all(&sealed(&self.key, DOMAIN, plugin, &text))?;
            file.sync_all()
        })
    }

    /// Keeps a component and its signature, if it has one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(in crate::policy::compile) fn keep_component(&self, component: &Component) -> io::Result<()> {
        let path = self.component_path(component.sha256());
        if let Some(signed) = component.file().map(signature::beside)
            && let Ok(signature) = files::read(&signed, MOST_SIGNATURE)
        {
            write_whole(&signature::beside(&path), |file| file.write_all(&signature))?;
        }
        if files::read(&path, MOST_COMPONENT).is_ok_and(|kept| digest(&kept) == component.sha256()) {
            return Ok(());
        }
        write_whole(&path, |file| {
            file.write_all(component.bytes())?;
            file.sync_all()
        })
    }

    /// Where a component is that was kept.
    pub(in crate::policy::compile) fn kept_component(&self, sha256: &str) -> Option<PathBuf> {
        let path = self.component_path(sha256);
        path.is_file().then_some(path)
    }

    /// Removes records of configurations that are gone, and components that no record names.
    pub(in crate::policy::compile) fn sweep(&self) {
        let files = fs::read_dir(self.path.join(GENERATIONS))
            .into_iter()
            .flatten()
            .flatten();
        let files: Vec<_> = files.map(|entry| entry.path()).collect();
        let mut named = BTreeSet::new();
        for path in files.iter().filter(|path| ends(path, "sealed")) {
            match self.named_by(path) {
                Some(digests) => named.extend(digests),
                // Who knows what it names.
                None => return,
            }
        }
        for path in &files {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let of = name.strip_suffix(".sig").unwrap_or(name).strip_suffix(".wasm");
            if of.is_some_and(|sha256| !named.contains(sha256)) && is_old(path) {
                let _ = fs::remove_file(path);
            }
        }
    }

    /// The components that a record names; none of a record whose configuration is gone, which goes with it.
    fn named_by(&self, path: &Path) -> Option<Vec<String>> {
        let name = path.file_stem()?.to_str()?;
        let (plugin, _) = name.rsplit_once('.')?;
        let bytes = files::read(path, MOST_RECORD).ok()?;
        let (origin, record) = parts(unsealed(&self.key, DOMAIN, plugin, &bytes)?)?;
        if origin.is_absolute() && !origin.exists() {
            let _ = fs::remove_file(path);
            return Some(Vec::new());
        }
        let record: Value = serde_json::from_slice(record).ok()?;
        let entries = record.get("entries")?.as_array()?.iter();
        Some(
            entries
                .filter_map(|entry| Some(entry.get("sha256")?.as_str()?.to_owned()))
                .collect(),
        )
    }

    /// A plugin's name may have dots; what stands for the configuration has none.
    fn record_path(&self, plugin: &str, origin: &Path) -> PathBuf {
        let origin = digest(origin.as_os_str().as_bytes());
        let origin = origin.get(..16).unwrap_or_default();
        self.path.join(GENERATIONS).join(format!("{plugin}.{origin}.sealed"))
    }

    fn component_path(&self, sha256: &str) -> PathBuf {
        self.path.join(GENERATIONS).join(format!("{sha256}.wasm"))
    }
}

/// The path of the configuration, and the record.
fn parts(text: &[u8]) -> Option<(&Path, &[u8])> {
    let end = text.iter().position(|byte| *byte == 0)?;
    let (origin, record) = text.split_at(end);
    Some((Path::new(std::ffi::OsStr::from_bytes(origin)), record.get(1..)?))
}

fn ends(path: &Path, with: &str) -> bool {
    path.extension().is_some_and(|ending| ending == with)
}

/// A component is there before the record that names it.
fn is_old(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|found| found.modified());
    modified.is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > UNNAMED))
}

const DOMAIN: &[u8] = b"portreeve generations of a policy 1\0";
pub(super) const GENERATIONS: &str = "generations";
/// A thousand generations with settings of a usual size.
const MOST_RECORD: u64 = 64 << 20;
const MOST_SIGNATURE: u64 = 64 << 10;
/// How long a component may be there that no record names yet.
const UNNAMED: Duration = Duration::from_secs(10 * 60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;

    #[test]
    fn a_record_is_of_one_plugin_of_one_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let (one, other) = (Path::new("/etc/one.toml"), Path::new("/etc/other.toml"));
        directory.keep_record("a.b", one, b"{}").unwrap();
        #[rustfmt::skip]
        let table = [
            ("a.b", one,   true),
            ("a.b", other, false),
            ("a",   one,   false),
        ];
        for (plugin, origin, found) in table {
            assert_eq!(
                directory.record(plugin, origin).is_some(),
                found,
                "{plugin} {}",
                origin.display()
            );
        }
        let (path, foreign) = (directory.record_path("a.b", one), directory.record_path("a.b", other));
        fs::copy(&path, &foreign).unwrap();
        assert_eq!(directory.record("a.b", other), None, "of another configuration");
        fs::write(&path, b"garbage").unwrap();
        assert_eq!(directory.record("a.b", one), None);
    }

    #[test]
    fn what_no_record_names_goes_once_it_is_old_and_a_record_goes_with_its_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let directory = Directory::open(folder.path()).unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * UNNAMED;
        let component = |text: &str, old: bool| {
            let path = folder.path().join("component");
            fs::write(&path, text).unwrap();
            let component = Component::read(&Source::File(path)).unwrap();
            directory.keep_component(&component).unwrap();
            let kept = directory.kept_component(component.sha256()).unwrap();
            if old {
                fs::File::open(&kept).unwrap().set_modified(long_ago).unwrap();
            }
            component.sha256().to_owned()
        };
        let [named, unnamed, fresh, gone] =
            [("a", true), ("b", true), ("c", false), ("d", true)].map(|(text, old)| component(text, old));
        let (there, absent) = (folder.path().join("there.toml"), folder.path().join("absent.toml"));
        fs::write(&there, "").unwrap();
        let record = |sha256: &str| format!("{{\"entries\":[{{\"sha256\":\"{sha256}\"}}]}}").into_bytes();
        directory.keep_record("p", &there, &record(&named)).unwrap();
        directory.keep_record("p", &absent, &record(&gone)).unwrap();
        directory.sweep();
        let kept = |sha256: &String| directory.kept_component(sha256).is_some();
        assert_eq!([&named, &unnamed, &fresh, &gone].map(kept), [true, false, true, false]);
        assert_eq!(
            (directory.record("p", &there).is_some(), directory.record("p", &absent)),
            (true, None)
        );
        fs::write(directory.record_path("q", &there), b"garbage").unwrap();
        fs::File::open(directory.component_path(&fresh))
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
        directory.sweep();
        assert!(kept(&fresh), "a record that cannot be read may name it");
    }
}

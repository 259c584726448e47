//! Finds paths in the settings of the built-in rules that contain links, so that no request ever matches them.
//!
//! The gateway resolves a path before it checks it, and a policy cannot read the file system. So a rule on
//! `/var/run/docker.sock` never matches if `/var/run` is a link to `/run`, and the administrator must be told.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// Each path of the settings that has a link in it, with the path without it.
pub(super) fn aliases(settings: &Json) -> Vec<(String, PathBuf)> {
    let rules = settings.get("rules").and_then(Json::as_array).into_iter().flatten();
    let lists = rules.flat_map(|rule| ["sockets", "targets"].into_iter().filter_map(|key| rule.get(key)));
    let texts = lists.flat_map(|list| match list {
        Json::Array(items) => items.iter().collect(),
        single => vec![single],
    });
    let paths = texts.filter_map(Json::as_str).filter_map(|text| {
        let text = text.strip_prefix('!').unwrap_or(text);
        let path = text.strip_prefix("unix:").unwrap_or(text);
        path.starts_with('/').then_some(path)
    });
    let followed = paths.filter_map(|path| Some((path.to_owned(), followed(path)?)));
    followed.collect()
}

/// Where the part of a path leads that is there and has no wildcard; nothing if it leads to itself.
fn followed(path: &str) -> Option<PathBuf> {
    let plain = match path.find(['*', '?']) {
        Some(wildcard) => path.get(..wildcard)?.rsplit_once('/')?.0,
        None => path,
    };
    let there = Path::new(plain).ancestors().find(|part| part.exists())?;
    let real = fs::canonicalize(there).ok()?;
    let rest = path.get(there.as_os_str().len()..)?.trim_start_matches('/');
    (real != there).then(|| if rest.is_empty() { real.clone() } else { real.join(rest) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_path_with_a_link_in_it_is_found_with_what_to_write() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(root.join("run")).unwrap();
        fs::write(root.join("run/a.sock"), "").unwrap();
        symlink("run", root.join("link")).unwrap();
        symlink("a.sock", root.join("run/b.sock")).unwrap();
        let path = |name: &str| root.join(name).display().to_string();
        #[rustfmt::skip]
        let table = [
            ("run/a.sock",      None),
            ("run/*.sock",      None),
            ("run/none/x",      None),
            ("link/a.sock",     Some("run/a.sock")),
            ("link/*.sock",     Some("run/*.sock")),
            ("link/a*/b?",      Some("run/a*/b?")),
            ("link/none/x",     Some("run/none/x")),
            ("run/b.sock",      Some("run/a.sock")),
            ("l*k/a.sock",      None),
        ];
        for (written, expected) in table {
            let expected: Vec<_> = expected.iter().map(|real| (path(written), root.join(real))).collect();
            for settings in [
                json!({ "rules": [{ "sockets": path(written) }] }),
                json!({ "rules": [{}, { "sockets": ["/**", format!("!{}", path(written))] }] }),
                json!({ "rules": [{ "targets": ["db:22", format!("unix:{}", path(written))] }] }),
            ] {
                assert_eq!(aliases(&settings), expected, "{settings}");
            }
        }
        for settings in [
            json!({}),
            json!([]),
            json!({ "rules": 1 }),
            json!({ "rules": [{ "sockets": 1 }] }),
        ] {
            assert_eq!(aliases(&settings), []);
        }
    }
}

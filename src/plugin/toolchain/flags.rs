//! The flags that a build of Rust adds to those of the project.
//!
//! Cargo takes the flags of one place only: the environment, else `target.….rustflags`, else `build.rustflags`. Flags in the
//! environment would so replace what a project has in `.cargo/config.toml`, and crates that need a flag could not be built. So
//! they are given as configuration, which cargo joins with that of the files, in the place that the project uses.

use std::env;
use std::fs;
use std::path::Path;

/// The argument of `--config` that adds these flags to those of the project in this folder.
pub(super) fn configured(folder: &Path, flags: &[String]) -> String {
    let list: Vec<_> = flags
        .iter()
        .map(|flag| toml::Value::from(flag.as_str()).to_string())
        .collect();
    let key = if files_have_target_flags(folder) {
        "target.wasm32-unknown-unknown.rustflags"
    } else {
        "build.rustflags"
    };
    format!("{key}=[{}]", list.join(","))
}

/// Whether a configuration that cargo would read here has flags for some target: those of `build` do not count then.
fn files_have_target_flags(folder: &Path) -> bool {
    let home = env::var_os("CARGO_HOME").map(Into::into);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let above = folder.ancestors().map(|folder| folder.join(".cargo"));
    above.chain(home).any(|folder| {
        ["config.toml", "config"].iter().any(|name| {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            let table: toml::Table = text.parse().unwrap_or_default();
            let targets = table.get("target").and_then(toml::Value::as_table);
            let mut targets = targets.into_iter().flat_map(toml::Table::values);
            targets.any(|target| target.get("rustflags").is_some())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::configured;
    use std::fs;

    #[test]
    fn flags_are_added_where_the_project_has_its_own() {
        #[rustfmt::skip]
        let table = [
            ("",                                                                       "build"),
            ("[build]\nrustflags = [\"--cfg\", \"a\"]\n",                              "build"),
            ("[target.wasm32-unknown-unknown]\nrustflags = [\"--cfg\", \"a\"]\n",      "target.wasm32-unknown-unknown"),
            ("[target.'cfg(target_arch = \"wasm32\")']\nrustflags = [\"--cfg=a\"]\n",  "target.wasm32-unknown-unknown"),
            ("[target.x86_64-unknown-linux-gnu]\nlinker = \"cc\"\n",                   "build"),
        ];
        for (text, place) in table {
            let home = tempfile::tempdir().unwrap();
            let inner = home.path().join("inner");
            fs::create_dir_all(home.path().join(".cargo")).unwrap();
            fs::create_dir(&inner).unwrap();
            fs::write(home.path().join(".cargo/config.toml"), text).unwrap();
            let flags = ["-Ca=\"b\"".to_owned(), "c".to_owned()];
            assert_eq!(
                configured(&inner, &flags),
                format!("{place}.rustflags=['-Ca=\"b\"',\"c\"]"),
                "{text}"
            );
        }
    }
}

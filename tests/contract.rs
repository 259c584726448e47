//! What is published of the contract stays as it is, and components that were built for it go on working.
//! docs/versions.md has the rules.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so and stop"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use semver::Version;
use wit_component::{OutputToString, WitPrinter};
use wit_parser::{Resolve, World, WorldKey};

/// A version of the contract without its comments and layout: what a component is built against.
struct Contract {
    version: Version,
    /// The types and functions of each interface.
    interfaces: BTreeMap<String, String>,
    /// The imports and exports of each world.
    worlds: BTreeMap<String, BTreeSet<String>>,
}

impl Contract {
    fn parse(text: &str) -> Self {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("policy.wit", text).unwrap();
        let package = &resolve.packages[package];
        let interface = |id| {
            let mut printer = WitPrinter::new(OutputToString::default());
            printer.emit_docs(false);
            printer.print_interface(&resolve, id).unwrap();
            String::from(printer.output)
        };
        let item = |key: &WorldKey| match key {
            WorldKey::Name(name) => Some(name.clone()),
            WorldKey::Interface(id) => resolve.interfaces[*id].name.clone(),
        };
        let world = |id| {
            let world: &World = &resolve.worlds[id];
            let imports = world.imports.keys().map(|key| format!("import {}", item(key).unwrap()));
            let exports = world.exports.keys().map(|key| format!("export {}", item(key).unwrap()));
            imports.chain(exports).collect()
        };
        Self {
            version: package.name.version.clone().unwrap(),
            interfaces: package
                .interfaces
                .iter()
                .map(|(name, id)| (name.clone(), interface(*id)))
                .collect(),
            worlds: package
                .worlds
                .iter()
                .map(|(name, id)| (name.clone(), world(*id)))
                .collect(),
        }
    }

    /// What of an older or equal version of the same track is not as it was.
    fn faults(&self, published: &Self) -> Vec<String> {
        let same = self.version == published.version;
        let mut faults = Vec::new();
        for (name, text) in &published.interfaces {
            if self.interfaces.get(name) != Some(text) {
                faults.push(format!("the interface `{name}` is not as it was published"));
            }
        }
        for (name, items) in &published.worlds {
            let kept = self.worlds.get(name).is_some_and(|now| {
                let exports = |items: &BTreeSet<String>| {
                    items
                        .iter()
                        .filter(|item| item.starts_with("export"))
                        .cloned()
                        .collect()
                };
                let exported: BTreeSet<String> = exports(now);
                now.is_superset(items) && exported == exports(items)
            });
            if !kept || (same && self.worlds.get(name) != Some(items)) {
                faults.push(format!("the world `{name}` is not as it was published"));
            }
        }
        let added = |now: Vec<&String>, then: Vec<&String>| now.into_iter().find(|name| !then.contains(name)).cloned();
        let interface = added(self.interfaces.keys().collect(), published.interfaces.keys().collect());
        let world = added(self.worlds.keys().collect(), published.worlds.keys().collect());
        if same && let Some(name) = interface.or(world) {
            faults.push(format!("`{name}` was not there when it was published"));
        }
        faults
    }
}

/// One sentence for whoever has changed the contract.
fn sentence(now: &Contract, published: &Contract) -> Option<String> {
    let faults = now.faults(published);
    (!faults.is_empty()).then(|| {
        format!(
            "wit/policy.wit is version {}, but {} is published and frozen (wit/published/{}): {}. Undo that, or make a new version: \
             docs/versions.md says which",
            now.version,
            published.version,
            published.version,
            faults.join("; ")
        )
    })
}

fn published() -> Vec<Contract> {
    let folder = root().join("wit/published");
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let contract = Contract::parse(&fs::read_to_string(path.join("policy.wit")).unwrap());
            let named = path.file_name().unwrap().to_str().unwrap().to_owned();
            assert_eq!(
                named,
                contract.version.to_string(),
                "a version has a folder of its name"
            );
            contract
        })
        .collect();
    found.sort_by(|one, two| one.version.cmp(&two.version));
    assert!(!found.is_empty());
    found
}

/// Below 1.0 each minor version is a track.
fn same_track(one: &Version, two: &Version) -> bool {
    one.major == two.major && (one.major > 0 || one.minor == two.minor)
}

#[test]
fn what_is_published_is_frozen() {
    let now = Contract::parse(&contract());
    let all = published();
    for (index, version) in all.iter().enumerate() {
        let later = all.iter().skip(index + 1).chain([&now]);
        for later in
            later.filter(|later| later.version >= version.version && same_track(&later.version, &version.version))
        {
            assert_eq!(sentence(later, version), None);
        }
    }
    let newest = all.last().unwrap();
    assert!(
        now.version >= newest.version,
        "wit/policy.wit is older than wit/published/{}",
        newest.version
    );
}

#[test]
fn a_change_of_a_published_version_is_noticed() {
    let published = Contract::parse(&contract());
    #[rustfmt::skip]
    let table = [
        // what changes                                                                                       what is not as it was
        ("        bytes-down: u64,\n",           "        bytes-down: u32,\n",                                "interface `types`"),
        ("        dry-run: bool,\n",             "",                                                         "interface `types`"),
        ("        dry-run: bool,\n",             "        dry-run: bool,\n        another: bool,\n",         "interface `types`"),
        ("        timed-out,\n",                 "        timed-out,\n        refused,\n",                   "interface `names`"),
        ("user: string) -> u32",                 "user: string) -> u64",                                     "interface `view`"),
        ("    import view;\n",                   "",                                                         "world `policy`"),
        ("        refuse,\n        permit,\n",     "        permit,\n        refuse,\n",                         "interface `types`"),
        ("    export observer;\n",               "",                                                         "world `observing-policy`"),
        ("interface decision {",                 "interface clock { now: func() -> u64; }\ninterface decision {", "`clock` was not there"),
    ];
    for (old, new, fault) in table {
        let changed = contract().replacen(old, new, 1);
        assert_ne!(changed, contract(), "{old}");
        let words = sentence(&Contract::parse(&changed), &published).unwrap_or_default();
        assert!(
            words.contains(fault) && words.contains("make a new version"),
            "{old}: {words}"
        );
    }
}

#[test]
fn comments_and_layout_may_change() {
    let without: Vec<_> = contract()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(str::trim)
        .map(str::to_owned)
        .collect();
    let changed = Contract::parse(&without.join("\n"));
    assert_eq!(changed.faults(&Contract::parse(&contract())), [""; 0]);
}

#[test]
fn a_later_version_of_the_track_may_add_and_only_add() {
    let published = Contract::parse(&contract());
    let later = contract().replace("@0.2.0", "@0.2.1");
    let added = later
        .replace(
            "world policy {\n",
            "interface clock { now: func() -> u64; }\nworld policy {\n    import clock;\n",
        )
        .replace(
            "world observing-policy",
            "world another { export observer; }\nworld observing-policy",
        );
    let faults = |text: &str| Contract::parse(text).faults(&published);
    assert_eq!(faults(&later), [""; 0]);
    assert_eq!(faults(&added), [""; 0]);
    let demanding = later.replace("    export decision;\n", "    export decision;\n    export observer;\n");
    assert!(!faults(&demanding).is_empty());
}

/// Every component of a track that is kept as a file, asked for one decision by the program itself.
#[test]
fn components_of_every_track_go_on_working() {
    let state = tempfile::tempdir().unwrap();
    for component in kept() {
        let configuration = format!(
            "[[user]]\nname = \"alice\"\n[[policy.plugin]]\nname = \"kept\"\ncomponent = {component:?}\nrewrite = true\n\
             grants = [\"names\", \"state\", \"view\"]\n[audit]\nfile = \"-\"\n"
        );
        let path = state.path().join("gateway.toml");
        fs::write(&path, configuration).unwrap();
        let explained = Command::new(env!("CARGO_BIN_EXE_portreeve"))
            .args([
                "explain",
                "--config",
                path.to_str().unwrap(),
                "--user",
                "alice",
                "connect",
                "127.0.0.1:22",
            ])
            .env("XDG_STATE_HOME", state.path())
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&explained.stderr);
        assert!(
            matches!(explained.status.code(), Some(0 | 10)),
            "{}: {words}{}",
            component.display(),
            String::from_utf8_lossy(&explained.stdout)
        );
    }
}

/// The committed components: what is kept of each published version, and the rules.
fn kept() -> Vec<PathBuf> {
    let mut found = vec![root().join("plugins/rules/rules.wasm")];
    for version in published() {
        let folder = root().join("tests/conformance").join(version.version.to_string());
        let before = found.len();
        let entries = fs::read_dir(&folder).into_iter().flatten();
        let paths = entries.map(|entry| entry.unwrap().path());
        found.extend(paths.filter(|path| path.extension().is_some_and(|ending| ending == "wasm")));
        assert!(
            found.len() > before,
            "{} holds no component of its time",
            folder.display()
        );
    }
    found
}

fn contract() -> String {
    fs::read_to_string(root().join("wit/policy.wit")).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

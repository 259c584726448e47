//! What is shipped is what works: configurations, and the texts of the README.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use portreeve::config::{self, Config};

#[test]
fn every_shipped_configuration_passes_check() {
    let state = tempfile::tempdir().expect("a directory for the host key");
    for path in configurations() {
        let checked = Command::new(env!("CARGO_BIN_EXE_portreeve"))
            .args(["check", "--config"])
            .arg(&path)
            .env("XDG_STATE_HOME", state.path())
            .output()
            .expect("portreeve runs");
        assert!(
            checked.status.success(),
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&checked.stderr)
        );
    }
}

#[test]
fn every_shipped_case_passes() {
    for folder in ["examples/cases", "plugins/rules/cases"] {
        let tested = Command::new(env!("CARGO_BIN_EXE_portreeve"))
            .args(["plugin", "test"])
            .arg(root().join(folder))
            .env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .output()
            .expect("portreeve runs");
        let printed = String::from_utf8_lossy(&tested.stdout);
        assert!(
            tested.status.success(),
            "{folder}: {printed}{}",
            String::from_utf8_lossy(&tested.stderr)
        );
        assert!(!printed.contains("never:"), "{folder} leaves rules untested: {printed}");
    }
}

#[test]
fn the_complete_example_states_the_defaults() {
    let complete = load("examples/complete.toml");
    let least = "[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\ngrants = [\"names\"]\n";
    let least = config::parse(least, Path::new("least.toml")).expect("the least configuration is one");
    assert_eq!(complete.server, least.server);
    assert_eq!(complete.forwarding, least.forwarding);
    assert_eq!(complete.auth, least.auth);
    assert_eq!(complete.floors, least.floors);
    assert_eq!(complete.names, least.names);
    assert_eq!(complete.outbound, least.outbound);
    assert_eq!(complete.proxies, least.proxies);
    assert_eq!(complete.limits, least.limits);
    assert_eq!(complete.audit, least.audit);
    assert_eq!(complete.fleet, least.fleet);
    assert_eq!(complete.oci, least.oci);
    let mut policy = complete.policy;
    for plugin in &mut policy.plugins {
        plugin.settings = serde_json::json!({});
    }
    assert_eq!(policy, least.policy);
}

#[test]
fn the_readme_shows_the_policy_as_it_is() {
    let shown = "plugins/sdk/tests/readme/only_ports.rs";
    assert!(
        read("README.md").contains(&read(shown)),
        "README.md does not show {shown} as it is"
    );
}

/// What is code in a guide is part of a file that is built, or asked its cases.
#[test]
fn the_guides_show_the_files_as_they_are() {
    let mut files = Vec::new();
    for folder in ["examples", "plugins/sdk"] {
        texts(&root().join(folder), &mut files);
    }
    for guide in ["docs/recipes.md", "docs/writing-a-policy.md"] {
        let text = read(guide);
        let blocks: Vec<_> = ["```rust\n", "```toml\n"]
            .iter()
            .flat_map(|fence| text.split(fence).skip(1))
            .filter_map(|rest| rest.split("```").next())
            .collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            let shown = block
                .split("    …\n")
                .all(|part| files.iter().any(|file| file.contains(part)));
            assert!(shown, "{guide} shows what is in no file:\n{block}");
        }
    }
}

#[test]
fn the_readme_leads_somewhere_and_stays_short() {
    let readme = read("README.md");
    assert!(readme.lines().count() <= 130, "the manual is in docs/");
    for link in readme.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
        let path = link.split('#').next().unwrap_or_default();
        let found = link.starts_with("https://") || root().join(path).exists();
        assert!(found, "{link} leads nowhere");
    }
}

#[test]
fn the_guides_lead_somewhere() {
    let guides = fs::read_dir(root().join("docs")).expect("the folder is there");
    for guide in guides.map(|guide| guide.expect("it can be listed").path()) {
        let text = fs::read_to_string(&guide).expect("it is a text");
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            let found = link.starts_with("https://") || root().join("docs").join(path).exists();
            assert!(found, "{}: {link} leads nowhere", guide.display());
        }
    }
}

/// The texts of every source, settings and case file below a folder.
fn texts(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            texts(&path, found);
        } else if path
            .extension()
            .is_some_and(|ending| ending == "rs" || ending == "toml")
        {
            found.push(fs::read_to_string(&path).expect("it is a text"));
        }
    }
}

/// Every TOML file of `examples/` but those that are settings of another one.
fn configurations() -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join("examples")).expect("the folder is there");
    let paths = entries.map(|entry| entry.expect("it can be listed").path());
    let found: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .filter(|path| !path.to_string_lossy().ends_with("-rules.toml"))
        .collect();
    assert!(!found.is_empty());
    found
}

fn load(path: &str) -> Config {
    config::load(&root().join(path)).expect("it is a configuration")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).expect("it is there")
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

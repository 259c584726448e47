//! The components that are kept of each published version of the contract go on passing the conformance suite, which is what
//! an author who never builds again relies on. tests/languages.sh builds the guests of today in every language.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so and stop")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// The guests in Rust and C of each version.
fn kept() -> Vec<PathBuf> {
    let versions = fs::read_dir(folder().join("../../wit/published")).unwrap();
    let versions = versions.map(|version| folder().join(version.unwrap().file_name()));
    versions
        .flat_map(|version| [version.join("c.wasm"), version.join("rust.wasm")])
        .filter(|guest| guest.is_file())
        .collect()
}

/// What a guest is asked besides the cases of all versions, and how many cases that makes.
fn further(guest: &Path) -> (&'static [&'static str], &'static str) {
    if guest.parent().is_some_and(|version| version.ends_with("0.1.0")) {
        (&[], "67 passed, 0 failed")
    } else {
        (&["since-0.2.0.toml"], "70 passed, 0 failed")
    }
}

fn asked(component: &Path, cases: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portreeve"));
    // What it compiles it keeps there.
    command.env("XDG_STATE_HOME", env!("CARGO_TARGET_TMPDIR"));
    command.args(["plugin", "test", "--component"]).arg(component).arg("--");
    command
        .args(cases.iter().map(|name| folder().join(name)))
        .output()
        .unwrap()
}

#[test]
fn kept_components_pass_every_case() {
    let guests = kept();
    assert!(guests.len() >= 3, "{guests:?}");
    for guest in guests {
        let (further, passed) = further(&guest);
        let cases = [&["cases", "numbers.toml", "panics/trap.toml"], further].concat();
        let output = asked(&guest, &cases);
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{}\n{said}", guest.display());
        assert!(said.contains(passed), "{said}");
    }
}

#[test]
fn without_its_grants_a_component_is_not_loaded() {
    for guest in kept() {
        let output = asked(&guest, &["not-granted.toml"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("does not load") && said.contains("which is not granted"),
            "{said}"
        );
    }
}

#[test]
fn a_component_that_answers_otherwise_fails() {
    for guest in kept() {
        // What the others answer to a panic.
        let output = asked(&guest, &["panics/deny.toml"]);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("FAIL  an exception"), "{said}");
    }
}

//! What the folder names promise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so and stop")]

use std::fs;
use std::path::{Path, PathBuf};

/// Every source file of a folder, with the part of its text that is code.
fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.push((path, code.collect::<Vec<_>>().join("\n")));
        }
    }
    found
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// Where code names one of these words outside of its room.
fn strays(words: &[&str], room: &str) -> Vec<String> {
    let outside = sources(&source())
        .into_iter()
        .filter(|(path, _)| !path.starts_with(source().join(room)));
    outside
        .flat_map(|(path, code)| {
            let named = words.iter().filter(|word| code.contains(**word));
            named
                .map(|word| format!("{}: {word}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn only_the_ssh_room_names_russh() {
    // The one other place is the filter of the log.
    let strays = strays(&["russh::", "use russh"], "ssh");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn only_the_policy_room_names_wasmtime() {
    let strays = strays(&["wasmtime", "wasmparser"], "policy");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn no_room_knows_those_above_it() {
    #[rustfmt::skip]
    let table: [(&str, &[&str]); 13] = [
        // the room       must not name
        ("request",     &["audit", "auth", "config", "policy", "judgement", "relay", "forwarder", "ssh", "gateway", "cli", "registry", "accounts", "names"]),
        ("shares.rs",   &["audit", "auth", "config", "policy", "judgement", "relay", "forwarder", "ssh", "gateway", "cli", "registry", "names", "request"]),
        ("vital.rs",    &["audit", "auth", "config", "policy", "judgement", "relay", "forwarder", "ssh", "gateway", "cli", "registry", "accounts", "names"]),
        ("confined",    &["audit", "auth", "config", "policy", "judgement", "relay", "forwarder", "ssh", "gateway", "cli", "plugin", "names"]),
        ("names.rs",    &["audit", "auth", "policy", "judgement", "relay", "forwarder", "ssh", "gateway", "cli"]),
        ("auth",        &["audit", "policy", "judgement", "relay", "forwarder", "ssh", "gateway", "cli"]),
        ("config",      &["audit", "auth", "policy", "judgement", "relay", "forwarder", "ssh", "gateway", "cli"]),
        ("signature",   &["audit", "policy", "judgement", "relay", "forwarder", "ssh", "gateway", "cli", "plugin"]),
        ("policy",      &["audit", "auth", "judgement", "relay", "forwarder", "ssh", "gateway", "cli"]),
        ("audit",       &["auth", "judgement", "relay", "forwarder", "ssh", "gateway", "cli"]),
        ("judgement",   &["relay", "forwarder", "ssh", "gateway", "cli"]),
        ("relay",       &["forwarder", "ssh", "gateway", "cli"]),
        ("forwarder",   &["ssh", "gateway", "cli"]),
    ];
    let mut strays = Vec::new();
    for (room, above) in table {
        for (path, code) in sources(&source())
            .into_iter()
            .filter(|(path, _)| path.starts_with(source().join(room)))
        {
            let named = above.iter().filter(|word| code.contains(&format!("crate::{word}::")));
            strays.extend(named.map(|word| format!("{}: {word}", path.display())));
        }
    }
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn only_the_judgement_makes_a_permit() {
    let strays = strays(&["Permit::new(", "Permit {"], "judgement");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn unsafe_code_stands_in_three_files_and_nowhere_else() {
    // What is generated, the one call that makes compiled code run, and the one that gives the system advice on pages.
    let places = [
        "policy/contract/generated.rs",
        "policy/compile/sealed.rs",
        "policy/pool/prefault.rs",
    ];
    let mut strays = sources(&source());
    strays.retain(|(path, code)| code.contains("unsafe") && !places.iter().any(|place| path.ends_with(place)));
    assert!(
        strays.is_empty(),
        "{:?}",
        strays.iter().map(|(path, _)| path).collect::<Vec<_>>()
    );
}

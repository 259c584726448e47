//! What the folder names promise.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should say so and stop")]
#![allow(clippy::indexing_slicing, reason = "every room is in the map of imports")]
#![allow(unreachable_pub, reason = "the modules of this test are its own")]

#[path = "architecture/drawing.rs"]
mod drawing;
#[path = "architecture/imports.rs"]
mod imports;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use imports::{Imports, Source};

/// What each room may import. A room that is not here fails, and so does an import that its row does not have.
///
/// A new row or a longer one is a decision: the map in `src/lib.rs` says what a room must not know.
#[rustfmt::skip]
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("accounts",     &["auth", "config", "files", "request", "shares"]),
    ("admin",        &["config", "events", "files", "fleet", "history", "locks", "logging", "metrics", "page", "policy", "request", "sessions"]),
    ("audit",        &["config", "outlet", "vital"]),
    ("auth",         &["files", "request"]),
    ("cli",          &["config", "confined", "ctl", "embedded", "explain", "gateway", "handover", "import", "logging", "notify", "origin", "otlp", "outlet", "password", "plugin", "policy", "registry", "say", "top"]),
    ("config",       &["files", "request"]),
    ("confined",     &["request", "vital"]),
    ("ctl",          &["config", "gateway", "rates", "request", "say"]),
    ("embedded",     &["auth", "config", "gateway", "ssh"]),
    ("events",       &["audit", "names", "policy", "request"]),
    ("explain",      &["auth", "events", "gateway", "judgement", "origin", "plugin", "request", "say"]),
    ("files",        &[]),
    ("fleet",        &["config", "files", "policy", "request"]),
    ("forwarder",    &["accounts", "config", "events", "judgement", "relay", "request", "sessions", "shares"]),
    ("gateway",      &["accounts", "admin", "audit", "config", "events", "files", "fleet", "forwarder", "handover", "history", "judgement", "locks", "metrics", "names", "open_files", "otlp", "outbound", "policy", "proxy_header", "registry", "relay", "replay", "request", "rollout", "sessions", "shares", "signature", "ssh", "vital", "workers"]),
    ("handover",     &[]),
    ("history",      &["events", "policy", "request", "sessions"]),
    ("import",       &["auth", "config", "files", "gateway", "judgement", "names", "plugin", "policy", "request", "say"]),
    ("judgement",    &["accounts", "auth", "config", "events", "machine", "names", "outbound", "paths", "policy", "request", "shares"]),
    ("locks",        &["files", "request"]),
    ("logging",      &["outlet", "request"]),
    ("machine",      &[]),
    ("metrics",      &["audit", "events", "request", "sessions"]),
    ("names",        &["config", "machine", "request", "shares"]),
    ("notify",       &[]),
    ("open_files",   &[]),
    ("origin",       &["config", "embedded", "gateway", "plugin"]),
    ("otlp",         &["events", "logging", "request"]),
    ("outbound",     &["config", "files", "request"]),
    ("outlet",       &[]),
    ("password",     &["say"]),
    ("page",         &["history"]),
    ("paths",        &["request"]),
    ("plugin",       &["config", "confined", "files", "gateway", "names", "policy", "registry", "replay", "request", "say", "signature"]),
    ("policy",       &["config", "confined", "files", "names", "request", "shares", "signature", "vital"]),
    ("proxy_header", &["request"]),
    ("rates",        &[]),
    ("registry",     &["config", "confined", "files", "request", "signature"]),
    ("relay",        &["judgement", "outbound", "paths", "request", "sessions", "workers"]),
    ("replay",       &["config", "events", "files", "names", "policy", "request"]),
    ("request",      &[]),
    ("rollout",      &["config", "events", "names", "policy", "replay", "request"]),
    ("say",          &["config", "request"]),
    ("sessions",     &["accounts", "auth", "config", "events", "judgement", "outbound", "policy", "request", "shares"]),
    ("shares",       &[]),
    ("signature",    &["auth", "config", "files", "request"]),
    ("ssh",          &["accounts", "auth", "config", "events", "files", "forwarder", "judgement", "locks", "rates", "relay", "request", "sessions"]),
    ("top",          &["ctl", "rates", "request", "say"]),
    ("vital",        &["request"]),
    ("workers",      &[]),
];

/// The same within `policy`, from what knows nothing to what knows all.
#[rustfmt::skip]
const MAY_IMPORT_IN_POLICY: &[(&str, &[&str])] = &[
    ("failure",   &[]),
    ("reference", &[]),
    ("contract",  &["failure"]),
    ("source",    &["failure", "reference"]),
    ("inspect",   &["contract", "failure", "source"]),
    ("sandbox",   &["contract", "failure"]),
    ("compile",   &["failure", "inspect", "sandbox", "source"]),
    ("pool",      &["contract", "failure", "sandbox"]),
    ("load",      &["compile", "contract", "failure", "inspect", "pool", "reference", "sandbox", "source"]),
    ("history",   &["compile", "failure", "load", "reference", "source"]),
    ("serve",     &["compile", "contract", "failure", "history", "load", "pool", "reference", "sandbox", "source"]),
    ("offline",   &["compile", "failure", "inspect", "load", "reference", "sandbox", "serve", "source"]),
];

/// Circles that are there on purpose, each with its reason.
const CIRCLES: &[(&[&str], &str)] = &[];

/// Entries of `src/policy`: more than a newcomer reads at a glance are no rooms.
const MOST_IN_POLICY: usize = 13;

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    imports::sources(&project().join("src"))
}

/// The names of the entries of a folder that have code.
fn entries(folder: &Path) -> BTreeSet<String> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let code = paths.filter(|path| path.is_dir() || path.extension().is_some_and(|ending| ending == "rs"));
    let names = code.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned());
    names.filter(|name| !name.ends_with("_tests")).collect()
}

fn rooms() -> BTreeSet<String> {
    let mut rooms = entries(&project().join("src"));
    rooms.retain(|name| name != "lib" && name != "main");
    rooms
}

/// Every import that the rows do not have, every room without a row, and every row without a room.
fn strays(imports: &Imports, rows: &[(&str, &[&str])]) -> Vec<String> {
    let mut strays = Vec::new();
    for (room, others) in imports {
        let Some((_, may)) = rows.iter().find(|(name, _)| name == room) else {
            strays.push(format!("`{room}` has no row: add one with what it may import"));
            continue;
        };
        for (other, files) in others.iter().filter(|(other, _)| !may.contains(&other.as_str())) {
            strays.push(format!("`{room}` must not import `{other}`: {files:?}"));
        }
    }
    let gone = rows.iter().filter(|(name, _)| !imports.contains_key(*name));
    strays.extend(gone.map(|(name, _)| format!("there is no room `{name}`: remove its row")));
    strays
}

#[test]
fn every_room_imports_only_what_its_row_allows() {
    let sources = sources();
    let mut strays = strays(&imports::imports(&sources, &[]), MAY_IMPORT);
    strays.extend(self::strays(
        &imports::imports(&sources, &["policy"]),
        MAY_IMPORT_IN_POLICY,
    ));
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn no_rooms_import_each_other_in_a_circle() {
    let sources = sources();
    for folder in [&[][..], &["policy"]] {
        let imports = imports::imports(&sources, folder);
        for circle in imports::circles(&imports) {
            let known = CIRCLES.iter().any(|(rooms, _)| circle.iter().eq(rooms.iter()));
            let arrows = |room: &String| {
                let within = imports[room].iter().filter(|(other, _)| circle.contains(other));
                let told = within.map(|(other, files)| format!("{room} imports {other} in {files:?}"));
                told.collect::<Vec<_>>()
            };
            let arrows: Vec<_> = circle.iter().flat_map(arrows).collect();
            assert!(known, "a circle: {arrows:#?}");
        }
    }
}

#[test]
fn the_map_has_a_row_for_every_room() {
    let text = fs::read_to_string(project().join("src/lib.rs")).unwrap();
    let (_, map) = text
        .split_once("//! | room | what it is for | what it must not know |")
        .unwrap();
    let rows = map.lines().skip(1).map_while(|line| line.strip_prefix("//! |"));
    let cells = rows.filter_map(|row| row.split(" | ").next());
    let names = cells
        .filter(|cell| !cell.starts_with("---"))
        .flat_map(|cell| cell.split(", "));
    let named: BTreeSet<_> = names
        .map(|name| name.trim_matches([' ', '[', ']', '`']).to_owned())
        .collect();
    let rooms = rooms();
    let (missing, gone): (Vec<_>, Vec<_>) = (rooms.difference(&named).collect(), named.difference(&rooms).collect());
    assert!(
        missing.is_empty(),
        "rooms without a row in the map of src/lib.rs: {missing:?}"
    );
    assert!(
        gone.is_empty(),
        "rows of the map in src/lib.rs without a room: {gone:?}"
    );
}

#[test]
fn policy_is_a_house_of_few_rooms() {
    let entries = entries(&project().join("src/policy"));
    assert!(
        entries.len() <= MOST_IN_POLICY,
        "{} entries: {entries:?}",
        entries.len()
    );
}

/// `RENEW=1` writes the page instead of comparing it.
#[test]
fn the_drawing_is_what_the_code_says() {
    let sources = sources();
    let page = drawing::page(
        &imports::imports(&sources, &[]),
        &imports::imports(&sources, &["policy"]),
    );
    let path = project().join("docs/rooms.md");
    if std::env::var_os("RENEW").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/rooms.md is out of date: run `RENEW=1 cargo test --test architecture`, and look at what has changed"
    );
}

/// Where code names one of these words outside of its room.
fn words_outside(words: &[&str], room: &str) -> Vec<String> {
    let sources = sources();
    let outside = sources.iter().filter(|source| !source.path.starts_with(room));
    let named = outside.flat_map(|Source { path, code, .. }| {
        let named = words.iter().filter(|word| code.contains(**word));
        named.map(|word| format!("{}: {word}", path.display()))
    });
    named.collect()
}

#[test]
fn only_the_ssh_room_names_russh() {
    // The one other place is the filter of the log.
    let strays = words_outside(&["russh::", "use russh"], "ssh");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn only_the_policy_room_names_wasmtime() {
    let strays = words_outside(&["wasmtime", "wasmparser"], "policy");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn only_the_fleet_names_redis() {
    let strays = words_outside(&["redis::", "use redis"], "fleet");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn only_the_room_of_names_names_the_client_of_name_servers() {
    let strays = words_outside(&["hickory"], "names");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn only_the_live_view_names_ratatui() {
    let strays = words_outside(&["ratatui", "crossterm"], "top");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn only_the_registry_names_the_client_of_registries() {
    let strays = words_outside(&["oci_client", "reqwest"], "registry");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn only_the_judgement_makes_a_permit() {
    let strays = words_outside(&["Permit::new(", "Permit {"], "judgement");
    assert!(strays.is_empty(), "{strays:#?}");
}

#[test]
fn a_replay_knows_no_command_line() {
    let sources = sources();
    let names = |word: &str| {
        let replay = sources.iter().filter(|source| source.path.starts_with("replay"));
        replay.filter(|source| source.code.contains(word)).count()
    };
    for word in ["clap", "print!", "println!", "stdout", "stderr", "\"--", "`--"] {
        assert_eq!(names(word), 0, "{word}");
    }
}

#[test]
fn unsafe_code_stands_in_three_files_and_nowhere_else() {
    // What is generated, the one call that makes compiled code run, and the one that gives the system advice on pages.
    let places =
        ["contract/generated.rs", "compile/sealed.rs", "pool/prefault.rs"].map(|place| Path::new("policy").join(place));
    let sources = sources();
    let named = sources.iter().filter(|source| source.code.contains("unsafe"));
    let strays: Vec<&PathBuf> = named
        .map(|source| &source.path)
        .filter(|path| !places.contains(path))
        .collect();
    assert!(strays.is_empty(), "{strays:?}");
}

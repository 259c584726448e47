//! Which room imports which, read from the sources.
//!
//! A room is an entry of a folder: a file, or a folder with its files. Every path counts that names another room, in a `use` or
//! in an expression, from `crate` or through `super`. Tests do not count: they may use whatever they need.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Every import of a room, with the files that have it.
pub type Imports = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// A source file without its comments and tests.
pub struct Source {
    /// Its path below `src`.
    pub path: PathBuf,
    /// Its module path: `policy/load/mod.rs` is `policy::load`.
    pub module: Vec<String>,
    /// What is left of its text.
    pub code: String,
}

/// All sources below a folder.
pub fn sources(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    collect(root, root, &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") && !is_test(&path) {
            let below = path.strip_prefix(root).unwrap().to_owned();
            let mut module: Vec<_> = below.with_extension("").iter().map(text).collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
                module.pop();
            }
            let code = without_tests(&without_comments(&fs::read_to_string(&path).unwrap()));
            found.push(Source {
                path: below,
                module,
                code,
            });
        }
    }
}

fn text(part: &std::ffi::OsStr) -> String {
    part.to_str().unwrap().to_owned()
}

fn is_test(path: &Path) -> bool {
    let name = path.file_stem().map(text).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name);
    name == "tests" || name.ends_with("_tests") || folder.is_some_and(|folder| folder == "tests")
}

/// The text without `//` comments. No source here has a path in another comment or in a string.
fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| match line.find("//") {
        // Not the one of an address in a string.
        Some(at) if !line[..at].ends_with(':') => &line[..at],
        _ => line,
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The text without its module of tests, which ends with the first brace that begins a line.
fn without_tests(text: &str) -> String {
    let Some((before, tests)) = text.split_once("#[cfg(test)]\nmod tests {") else {
        return text.to_owned();
    };
    let after = tests.split_once("\n}").map_or("", |(_, after)| after);
    format!("{before}{after}")
}

/// Every path in some code that begins at the root of the crate, of at most three parts.
///
/// `use crate::{a, b::{c, d}};` has three: `a`, `b::c` and `b::d`.
pub fn paths(source: &Source) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    let words = words(&source.code);
    for (at, word) in words.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |before| words[before]);
        if before == "::" {
            continue;
        }
        let mut start = match *word {
            "crate" => Vec::new(),
            "super" => source
                .module
                .iter()
                .take(source.module.len().saturating_sub(1))
                .cloned()
                .collect(),
            _ => continue,
        };
        let mut next = at + 1;
        while words.get(next) == Some(&"::") && words.get(next + 1) == Some(&"super") {
            start.pop();
            next += 2;
        }
        if words.get(next) == Some(&"::") {
            tree(&words, next + 1, &start, &mut found);
        }
    }
    found
}

/// Reads a path or a `{…}` of paths that begins at a word; gives the word after it.
fn tree(words: &[&str], mut at: usize, start: &[String], found: &mut BTreeSet<Vec<String>>) -> usize {
    let mut path = start.to_vec();
    loop {
        match words.get(at) {
            Some(&"{") => {
                at += 1;
                while words.get(at).is_some_and(|word| *word != "}") {
                    at = tree(words, at, &path, found);
                    if words.get(at) == Some(&",") {
                        at += 1;
                    }
                }
                return at + 1;
            }
            Some(word) if is_name(word) => {
                if *word != "self" {
                    path.push((*word).to_owned());
                }
                at += 1;
            }
            // `use a::*`, and what is no path.
            _ => {
                found.insert(path.into_iter().take(3).collect());
                return at + 1;
            }
        }
        if words.get(at) == Some(&"as") {
            at += 2;
        }
        if words.get(at) != Some(&"::") {
            found.insert(path.into_iter().take(3).collect());
            return at;
        }
        at += 1;
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|first: char| first.is_alphabetic() || first == '_')
}

/// Names, `::`, and every other character that is no space as a word of its own.
fn words(code: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|next: char| !next.is_alphanumeric() && next != '_')
                .unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        let (word, after) = rest.split_at(length);
        if !first.is_whitespace() {
            words.push(word);
        }
        rest = after;
    }
    words
}

/// Who imports whom among the rooms in `folder` (`[]` are those at the top, `["policy"]` those within `policy`).
///
/// A name that `folder` itself offers counts as the room from which it offers it.
pub fn imports(sources: &[Source], folder: &[&str]) -> Imports {
    let depth = folder.len();
    let within = |module: &[String]| module.len() > depth && module.iter().zip(folder).all(|(one, other)| one == other);
    let rooms: BTreeSet<_> = sources
        .iter()
        .filter(|source| within(&source.module))
        .map(|source| source.module[depth].clone())
        .collect();
    let offered = offered(sources, folder, &rooms);
    let mut imports: Imports = rooms.iter().map(|room| (room.clone(), BTreeMap::new())).collect();
    for source in sources.iter().filter(|source| within(&source.module)) {
        let room = &source.module[depth];
        for path in paths(source).iter().filter(|path| within(path)) {
            let named = &path[depth];
            let Some(other) = rooms.get(named).or_else(|| offered.get(named)) else {
                continue;
            };
            if other != room {
                let of_room = imports.entry(room.clone()).or_default();
                of_room
                    .entry(other.clone())
                    .or_default()
                    .insert(source.path.display().to_string());
            }
        }
    }
    imports
}

/// What a folder offers in its own name, as in `pub use room::{A, B};`, and from which room.
fn offered(sources: &[Source], folder: &[&str], rooms: &BTreeSet<String>) -> BTreeMap<String, String> {
    let mut offered = BTreeMap::new();
    let face = sources.iter().find(|source| source.module == folder);
    for face in face.into_iter().filter(|_| !folder.is_empty()) {
        let words = words(&face.code);
        for at in words
            .iter()
            .enumerate()
            .filter(|(_, word)| **word == "use")
            .map(|(at, _)| at)
        {
            let mut found = BTreeSet::new();
            tree(&words, at + 1, &[], &mut found);
            for path in found {
                let path: Vec<_> = path.into_iter().filter(|part| part != "self").collect();
                if let [room, .., name] = path.as_slice()
                    && rooms.contains(room)
                {
                    offered.insert(name.clone(), room.clone());
                }
            }
        }
    }
    offered
}

/// The rooms that can be reached from each other, where those are several.
pub fn circles(imports: &Imports) -> Vec<Vec<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> =
        imports.keys().map(|room| (room, reachable(imports, room))).collect();
    let mut circles = BTreeSet::new();
    for (room, from_here) in &reached {
        let circle: Vec<_> = from_here
            .iter()
            .filter(|other| reached[*other].contains(*room))
            .collect();
        if circle.len() > 1 {
            circles.insert(circle.into_iter().map(|room| (*room).clone()).collect());
        }
    }
    circles.into_iter().collect()
}

/// All that a room imports, and all that those import, and so on.
fn reachable<'a>(imports: &'a Imports, room: &String) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut ahead: Vec<_> = imports[room].keys().collect();
    while let Some(next) = ahead.pop() {
        if found.insert(next) {
            ahead.extend(imports[next].keys());
        }
    }
    found
}

/// The imports of a room that no other of its imports implies: enough to draw.
pub fn direct<'a>(imports: &'a Imports, room: &String) -> Vec<&'a String> {
    let all = &imports[room];
    let implied = |one: &String| {
        let mut others = all.keys().filter(|other| *other != one);
        others.any(|other| reachable(imports, other).contains(one) && !reachable(imports, one).contains(other))
    };
    all.keys().filter(|one| !implied(one)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(module: &[&str], code: &str) -> Source {
        Source {
            path: module.join("/").into(),
            module: module.iter().map(|part| (*part).to_owned()).collect(),
            code: code.to_owned(),
        }
    }

    #[test]
    fn every_form_of_an_import_is_seen() {
        #[rustfmt::skip]
        let table: [(&str, &[&str]); 13] = [
            ("use crate::audit;",                          &["audit"]),
            ("use crate::audit::Event;",                   &["audit::Event"]),
            ("use crate::audit as log;",                   &["audit"]),
            ("use crate::audit::{self, Event};",           &["audit", "audit::Event"]),
            ("use crate::{audit, names::Lookups};",        &["audit", "names::Lookups"]),
            ("use crate::{\n  audit::{Event, sink::Sink},\n  names,\n};",
                                                           &["audit::Event", "audit::sink::Sink", "names"]),
            ("use crate::audit::*;",                       &["audit"]),
            ("crate::audit::write(crate::names::of(x))",   &["audit::write", "names::of"]),
            ("fn f(x: &crate::audit::Event) {}",           &["audit::Event"]),
            ("use super::names;",                          &["policy::names"]),
            ("use super::super::names::Lookups;",          &["names::Lookups"]),
            ("use self::names; let crates = scrate::x;",   &[]),
            ("pub(in crate::policy) struct A;",            &["policy"]),
        ];
        for (code, expected) in table {
            let found: Vec<_> = paths(&source(&["policy", "load"], code))
                .iter()
                .map(|path| path.join("::"))
                .collect();
            assert_eq!(found, expected, "{code}");
        }
    }

    #[test]
    fn a_name_that_the_folder_offers_is_an_import_of_its_room() {
        let sources = [
            source(
                &["policy"],
                "mod load;\npub use load::{Loaded, Loader as Other};\nuse self::serve::Spare;",
            ),
            source(&["policy", "load"], ""),
            source(&["policy", "serve"], "use crate::policy::Loaded;"),
        ];
        let found = imports(&sources, &["policy"]);
        assert_eq!(found["serve"].keys().collect::<Vec<_>>(), ["load"]);
        assert!(found["load"].is_empty());
    }

    #[test]
    fn a_circle_is_found_however_long_and_a_room_alone_is_none() {
        let sources = [
            source(&["a"], "use crate::b;"),
            source(&["b"], "use crate::c::X;"),
            source(&["c"], "use crate::{a, d};"),
            source(&["d"], "use crate::d::Y;"),
            source(&["e"], "use crate::a;"),
        ];
        let found = imports(&sources, &[]);
        assert_eq!(circles(&found), [["a", "b", "c"]]);
    }

    #[test]
    fn tests_and_comments_are_no_imports() {
        let text =
            "use crate::a; // crate::b\n/// crate::c\n#[cfg(test)]\nmod tests {\n use crate::d;\n}\nuse crate::e;\n";
        let code = without_tests(&without_comments(text));
        let found = paths(&source(&["x"], &code));
        assert_eq!(found.iter().flatten().collect::<Vec<_>>(), ["a", "e"]);
        assert!(is_test(Path::new("src/policy/pool/tests.rs")) && is_test(Path::new("src/names_tests.rs")));
        assert!(is_test(Path::new("src/judgement/tests/floors.rs")));
        assert!(!is_test(Path::new("src/attests.rs")));
    }
}

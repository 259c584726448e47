//! What the command prints: what was written, what differs, and what to do next.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::note::{Kind, Note};
use super::verify::Verified;
use super::{Made, Place};
use crate::say::plain;

/// What came of an import.
pub(super) struct Report {
    folder: PathBuf,
    made: Made,
    verified: Option<Verified>,
}

impl Report {
    pub(super) fn new(folder: &Path, made: Made, verified: Option<Verified>) -> Self {
        Self {
            folder: folder.to_owned(),
            made,
            verified,
        }
    }

    /// 1 if the result differs from what was imported; notes are no failures.
    pub(super) fn code(&self) -> u8 {
        match self
            .verified
            .as_ref()
            .is_some_and(|verified| !verified.differences.is_empty())
        {
            true => crate::say::FAILED,
            false => crate::say::DONE,
        }
    }

    pub(super) fn shown(&self, json: bool) -> String {
        if json { self.document() } else { self.text() }
    }

    fn document(&self) -> String {
        let note = |note: &&Note| {
            json!({
                "kind": note.kind,
                "file": note.place.file.display().to_string(),
                "line": line(&note.place),
                "keyword": note.keyword,
                "words": note.words,
            })
        };
        let users: Vec<_> = self
            .made
            .people
            .iter()
            .map(|(name, groups)| {
                let keys: Vec<_> = self.made.keys.iter().filter(|file| file.user == *name).collect();
                let keys: Vec<_> = keys.iter().map(|file| file.path.display().to_string()).collect();
                json!({ "name": name, "groups": groups, "keys": keys })
            })
            .collect();
        let rules: Vec<_> = self
            .made
            .ruleset
            .rules
            .iter()
            .map(|rule| {
                let outcome = if rule.allows { "allow" } else { "deny" };
                json!({ "name": rule.name, "outcome": outcome, "sources": rule.sources, "stricter": rule.stricter })
            })
            .collect();
        let mut value = json!({
            "ok": self.code() == crate::say::DONE,
            "written": self.written(),
            "read": self.read(),
            "notes": self.made.notes.sorted().iter().map(note).collect::<Vec<_>>(),
            "users": users,
            "rules": rules,
            "next": self.next(),
        });
        if let (Some(verified), Some(object)) = (&self.verified, value.as_object_mut()) {
            object.insert("verified".to_owned(), json!(verified));
        }
        format!("{value:#}\n")
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for path in self.written() {
            text.push_str(&format!("written  {}\n", plain(&path)));
        }
        for path in self.read() {
            text.push_str(&format!("read     {}\n", plain(&path)));
        }
        let (rules, users) = (self.made.ruleset.rules.len(), self.made.people.len());
        let [rules, users] = [(rules, "rule"), (users, "user")].map(|(number, word)| counted(number, word));
        text.push_str(&format!("{rules}, {users} named\n"));
        let notes = self.made.notes.sorted();
        for kind in [
            Kind::StricterThanBefore,
            Kind::CannotBeSaid,
            Kind::NotOnThisMachine,
            Kind::NoMeaningHere,
        ] {
            let of_kind: Vec<_> = notes.iter().filter(|note| note.kind == kind).collect();
            if !of_kind.is_empty() {
                text.push_str(&format!("\n{}:\n", kind.heading()));
            }
            for note in of_kind {
                text.push_str(&format!(
                    "  {}: {}: {}\n",
                    plain(&note.place.to_string()),
                    plain(&note.keyword),
                    plain(&note.words)
                ));
            }
        }
        if let Some(verified) = &self.verified {
            text.push_str(&format!("\n{}", verified.text()));
        }
        text.push_str("\nnext:\n");
        for command in self.next() {
            text.push_str(&format!("  {}\n", plain(&command)));
        }
        text
    }

    fn written(&self) -> Vec<String> {
        self.made
            .files
            .iter()
            .map(|(name, _)| self.folder.join(name).display().to_string())
            .collect()
    }

    /// The files that the configuration is made of.
    fn read(&self) -> Vec<String> {
        let sources = self
            .made
            .sshd
            .sources
            .iter()
            .map(|source| source.path.display().to_string());
        sources
            .chain(self.made.keys.iter().map(|file| file.path.display().to_string()))
            .collect()
    }

    fn next(&self) -> Vec<String> {
        let file = shell(&self.folder.join(super::write::CONFIGURATION).display().to_string());
        let user = self
            .made
            .people
            .keys()
            .next()
            .map_or("NAME".to_owned(), |user| shell(user));
        vec![
            format!("portreeve check --config {file}"),
            format!("portreeve explain --config {file} --user {user} connect HOST:PORT"),
            format!("portreeve serve --config {file}"),
        ]
    }
}

fn line(place: &Place) -> Option<usize> {
    Some(place.line).filter(|line| *line > 0)
}

fn counted(number: usize, word: &str) -> String {
    match number {
        1 => format!("1 {word}"),
        _ => format!("{number} {word}s"),
    }
}

/// For a POSIX shell.
fn shell(text: &str) -> String {
    match text
        .chars()
        .all(|one| one.is_ascii_alphanumeric() || "/._-+".contains(one))
    {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

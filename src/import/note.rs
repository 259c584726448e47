//! What an import has to say about a line: where it is, and what becomes of it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

/// A line of a file; line 0 is a default that no line sets.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    /// The file, as it was named.
    pub(crate) file: Arc<Path>,
    /// Counted from 1; 0 for what no line says.
    pub(crate) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{} (sshd's default)", self.file.display()),
            line => write!(f, "{}:{line}", self.file.display()),
        }
    }
}

/// What is wrong with an input, and where. The command ends with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {words}")]
pub(crate) struct Wrong {
    /// Where.
    pub(crate) place: Place,
    /// What was found, and what is allowed.
    pub(crate) words: String,
}

/// What becomes of something that portreeve does not say in the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The result permits less than `sshd` did.
    StricterThanBefore,
    /// portreeve has no words for it: something else has to be done.
    CannotBeSaid,
    /// A file that is named is not there, so the configuration cannot be used as it is.
    NotOnThisMachine,
    /// It concerns what portreeve does not have, such as a shell.
    NoMeaningHere,
}

impl Kind {
    /// The heading above such notes.
    pub(crate) fn heading(self) -> &'static str {
        match self {
            Self::StricterThanBefore => "stricter than before",
            Self::CannotBeSaid => "cannot be said",
            Self::NotOnThisMachine => "not on this machine",
            Self::NoMeaningHere => "no meaning here",
        }
    }
}

/// A difference between what was imported and what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// What becomes of it.
    pub(crate) kind: Kind,
    /// The line that it is about.
    pub(crate) place: Place,
    /// The keyword or option.
    pub(crate) keyword: String,
    /// A sentence, without a full stop.
    pub(crate) words: String,
}

/// The notes of an import, none twice.
#[derive(Debug, Default)]
pub(crate) struct Notes(Vec<Note>);

impl Notes {
    /// Adds a note, unless the same one is there.
    pub(crate) fn add(&mut self, kind: Kind, place: &Place, keyword: &str, words: impl Into<String>) {
        let note = Note {
            kind,
            place: place.clone(),
            keyword: keyword.to_owned(),
            words: words.into(),
        };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// The result permits less than before.
    pub(crate) fn stricter(&mut self, place: &Place, keyword: &str, words: impl Into<String>) {
        self.add(Kind::StricterThanBefore, place, keyword, words);
    }

    /// portreeve has no words for it.
    pub(crate) fn unsaid(&mut self, place: &Place, keyword: &str, words: impl Into<String>) {
        self.add(Kind::CannotBeSaid, place, keyword, words);
    }

    /// All of them, by kind and then in the order of the files.
    pub(crate) fn sorted(&self) -> Vec<&Note> {
        let mut notes: Vec<_> = self.0.iter().collect();
        notes.sort_by(|one, other| one.kind.cmp(&other.kind).then_with(|| one.place.cmp(&other.place)));
        notes
    }
}

//! Reports an error where its reader looks: as a sentence on stderr, or for a program as JSON on stdout.

use std::path::{Path, PathBuf};

use crate::config::Faults;
use crate::policy::LoadError;
use crate::say::{self, FAILED, INVALID};

/// Why a command cannot begin.
pub(super) enum Unready {
    /// In words.
    Usage(String),
    /// A file of the user's.
    Faults(Faults),
}

impl From<Faults> for Unready {
    fn from(faults: Faults) -> Self {
        Self::Faults(faults)
    }
}

impl From<String> for Unready {
    fn from(words: String) -> Self {
        Self::Usage(words)
    }
}

impl Unready {
    /// Says so; the exit code.
    pub(super) fn report(&self, json: bool) -> u8 {
        match self {
            Self::Faults(faults) => invalid(std::slice::from_ref(faults), json),
            Self::Usage(words) => fail(INVALID, words, json),
        }
    }
}

/// What is wrong, with its place as far as that is known.
pub(super) struct Wrong {
    /// A sentence, which names the place.
    pub(super) words: String,
    pub(super) file: Option<PathBuf>,
    pub(super) line: Option<usize>,
}

impl Wrong {
    /// Of a file as a whole.
    pub(super) fn file(path: &Path, what: impl std::fmt::Display) -> Self {
        Self {
            words: format!("{}: {what}", path.display()),
            file: Some(path.to_owned()),
            line: None,
        }
    }

    /// Of one line of a file, counted from 1.
    pub(super) fn line(path: &Path, line: usize, what: impl std::fmt::Display) -> Self {
        Self {
            words: format!("{}:{line}: {what}", path.display()),
            file: Some(path.to_owned()),
            line: Some(line),
        }
    }

    /// Says so where its reader looks: for a program as JSON; the exit code.
    pub(super) fn report(&self, code: u8, json: bool) -> u8 {
        if !json {
            return say::fail(code, &self.words);
        }
        say::print(&self.json());
        code
    }

    /// An object on lines of its own.
    pub(super) fn json(&self) -> String {
        let mut value = serde_json::json!({ "ok": false, "error": self.words });
        if let (Some(object), Some(file)) = (value.as_object_mut(), &self.file) {
            object.insert("file".to_owned(), file.display().to_string().into());
            object.extend(self.line.map(|line| ("line".to_owned(), line.into())));
        }
        format!("{value:#}\n")
    }
}

impl From<String> for Wrong {
    fn from(words: String) -> Self {
        Self {
            words,
            file: None,
            line: None,
        }
    }
}

/// Refuses a folder in the place of a file; `example` is a name that such a file may have.
pub(super) fn no_folder(path: &Path, what: &str, example: &str) -> Result<(), Wrong> {
    if !path.is_dir() {
        return Ok(());
    }
    let file = path.join(example);
    Err(Wrong {
        words: format!(
            "{} is a folder: name the {what} in it, as in {}",
            path.display(),
            file.display()
        ),
        file: Some(path.to_owned()),
        line: None,
    })
}

/// Says why a command cannot do what it should, where its reader looks; the exit code.
pub(crate) fn fail(code: u8, words: &str, json: bool) -> u8 {
    Wrong::from(words.to_owned()).report(code, json)
}

/// Says what is wrong with files of the user's, where its reader looks; the exit code.
pub(crate) fn invalid(faulty: &[Faults], json: bool) -> u8 {
    if !json {
        for faults in faulty {
            say::invalid(faults);
        }
        return INVALID;
    }
    let all: Vec<_> = faulty.iter().flat_map(|faults| &faults.faults).collect();
    let words: Vec<_> = all.iter().map(ToString::to_string).collect();
    let mut value = serde_json::json!({ "ok": false, "error": words.join("\n"), "faults": all });
    if let (Some(object), Some(first)) = (value.as_object_mut(), all.first()) {
        object.insert("file".to_owned(), first.file.display().to_string().into());
        if first.line > 0 {
            object.insert("line".to_owned(), first.line.into());
        }
    }
    say::print(&format!("{value:#}\n"));
    INVALID
}

/// Says why a component does not load; one that is not there is wrong input, and any other was tried.
pub(super) fn unloaded(shown: &str, error: &LoadError, json: bool) -> u8 {
    let code = match error {
        LoadError::Read { .. } => INVALID,
        _ => FAILED,
    };
    Wrong {
        words: format!("{shown} does not load: {error}"),
        file: at(error),
        line: None,
    }
    .report(code, json)
}

/// Says why a component cannot be looked at; the exit code.
pub(super) fn unread(error: &LoadError, json: bool) -> u8 {
    Wrong {
        words: error.to_string(),
        file: at(error),
        line: None,
    }
    .report(INVALID, json)
}

/// The file that an error is about.
fn at(error: &LoadError) -> Option<PathBuf> {
    match error {
        LoadError::Read { path, .. } => Some(PathBuf::from(path)),
        _ => None,
    }
}

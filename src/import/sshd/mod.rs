//! `sshd_config` as OpenSSH reads it: what a file says, and which of it counts for a connection.
//!
//! It must not know portreeve's configuration. Read from OpenSSH's `servconf.c`, `misc.c`, `match.c` and `addrmatch.c`, and
//! `sshd_config(5)`.

mod criteria;
mod effective;
mod include;
mod keywords;
mod read;
mod values;
mod words;

use std::path::Path;

pub(crate) use criteria::{Criterion, Patterns, Surroundings, Visitor, addresses};
pub(crate) use effective::{Asked, World};
pub(crate) use keywords::{Keyword, Use};
pub(crate) use read::{SourceFile, text_of};
pub(crate) use values::{Forwards, Permits, flag, forwards, permits, seconds};

use super::note::{Place, Wrong};

/// A whole configuration.
#[derive(Debug, Default)]
pub(crate) struct Sshd {
    /// Every line that sets something, in the order in which OpenSSH reads them.
    pub(crate) directives: Vec<Directive>,
    /// The Match lines.
    pub(crate) scopes: Vec<Scope>,
    /// The files, the imported one first.
    pub(crate) sources: Vec<SourceFile>,
}

/// A line that sets something.
#[derive(Clone, Debug)]
pub(crate) struct Directive {
    /// What it sets.
    pub(crate) keyword: &'static Keyword,
    /// To what.
    pub(crate) arguments: Vec<String>,
    /// Where it is.
    pub(crate) place: Place,
    /// The Match line above it, a place in [`Sshd::scopes`].
    pub(crate) scope: Option<usize>,
}

/// A Match line.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// All of these must hold.
    pub(crate) criteria: Vec<Criterion>,
    /// Where it is.
    pub(crate) place: Place,
    /// As it was typed, after `Match`.
    pub(crate) words: String,
}

impl Sshd {
    /// Reads a configuration with what it includes.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(crate) fn read(path: &Path, text: String) -> Result<Self, Vec<Wrong>> {
        let found = read::read(path, text)?;
        let wrong = values::check(&found);
        match wrong.is_empty() {
            true => Ok(found),
            false => Err(wrong),
        }
    }

    /// Every line of a keyword.
    pub(crate) fn all<'a>(&'a self, keyword: &'static str) -> impl Iterator<Item = &'a Directive> + Clone + 'a {
        self.directives.iter().filter(move |one| one.keyword.name == keyword)
    }

    /// Its first line outside of Match blocks, which is the one that counts there.
    pub(crate) fn global(&self, keyword: &'static str) -> Option<&Directive> {
        self.all(keyword).find(|one| one.scope.is_none())
    }

    /// Its lines within Match blocks.
    pub(crate) fn scoped<'a>(&'a self, keyword: &'static str) -> impl Iterator<Item = (&'a Scope, &'a Directive)> + 'a {
        self.all(keyword)
            .filter_map(|one| Some((self.scopes.get(one.scope?)?, one)))
    }

    /// A place for what no line says.
    pub(crate) fn default_place(&self) -> Place {
        let file = self.sources.first().map(|source| source.path.clone());
        Place {
            file: file.unwrap_or_else(|| Path::new("sshd_config").into()),
            line: 0,
        }
    }
}

impl Scope {
    /// As it was typed, with its place.
    pub(crate) fn text(&self) -> String {
        format!("{}: Match {}", self.place, self.words)
    }
}

impl Directive {
    /// Its first argument.
    pub(crate) fn first(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    /// As it was typed, but for spaces.
    pub(crate) fn text(&self) -> String {
        format!("{} {}", self.keyword.name, self.arguments.join(" "))
    }
}

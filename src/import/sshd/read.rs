//! Reads an `sshd_config` with what it includes, as `parse_server_config_depth` in OpenSSH's `servconf.c`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::criteria::{self, Criterion};
use super::keywords::{self, Keyword, Use};
use super::{Directive, Scope, Sshd, include, words};
use crate::files::{MOST_TEXT, read_capped};
use crate::import::note::{Place, Wrong};

/// A file that was read, for who writes it again.
#[derive(Debug)]
pub(crate) struct SourceFile {
    /// Where it is.
    pub(crate) path: Arc<Path>,
    /// All of it.
    pub(crate) text: String,
    /// The line of each Include, with the files that it named (places in [`Sshd::sources`]).
    pub(crate) includes: BTreeMap<usize, Vec<usize>>,
}

/// Text of a file, within limits.
///
/// # Errors
/// Why it cannot be had.
pub(crate) fn text_of(path: &Path) -> Result<String, String> {
    let file = std::fs::File::open(path).map_err(|error| format!("cannot open: {error}"))?;
    let bytes = read_capped(file, MOST_TEXT).map_err(|error| format!("cannot read: {error}"))?;
    let bytes = bytes.ok_or_else(|| "larger than 16 MiB".to_owned())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The whole of a configuration.
///
/// # Errors
/// Everything that is wrong with it.
pub(super) fn read(path: &Path, text: String) -> Result<Sshd, Vec<Wrong>> {
    let folder = path.parent().map(Path::to_owned).unwrap_or_default();
    let mut reader = Reader {
        folder,
        found: Sshd::default(),
        wrong: Vec::new(),
    };
    reader.file(path.into(), text, None, 0);
    match reader.wrong.is_empty() {
        true => Ok(reader.found),
        false => Err(reader.wrong),
    }
}

struct Reader {
    folder: PathBuf,
    found: Sshd,
    wrong: Vec<Wrong>,
}

impl Reader {
    /// Reads one file within an outer scope; a Match in it ends with it. Returns its place among the sources.
    fn file(&mut self, path: Arc<Path>, text: String, outer: Option<usize>, depth: usize) -> usize {
        let number = self.found.sources.len();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        self.found.sources.push(SourceFile {
            path: Arc::clone(&path),
            text,
            includes: BTreeMap::new(),
        });
        let mut scope = outer;
        for (line, text) in (1..).zip(&lines) {
            let place = Place {
                file: Arc::clone(&path),
                line,
            };
            let text = if line == 1 {
                text.trim_start_matches('\u{feff}')
            } else {
                text
            };
            match words::split(text) {
                Ok(None) => {}
                Ok(Some(words)) => {
                    if let Err(words) = self.line(words, &place, (number, outer, depth), &mut scope) {
                        self.wrong.push(Wrong { place, words });
                    }
                }
                Err(words) => self.wrong.push(Wrong { place, words }),
            }
        }
        number
    }

    fn line(
        &mut self,
        words: words::Words,
        place: &Place,
        (number, outer, depth): (usize, Option<usize>, usize),
        scope: &mut Option<usize>,
    ) -> Result<(), String> {
        let keyword = keywords::find(&words.keyword)?;
        match keyword.name {
            "Match" => {
                let criteria = criteria::parse(&words.arguments)?;
                *scope = Some(self.scope(outer, criteria, place, &words.arguments));
                Ok(())
            }
            "Include" => {
                let files = self.include(&words.arguments, *scope, depth)?;
                if let Some(source) = self.found.sources.get_mut(number) {
                    source.includes.insert(place.line, files);
                }
                Ok(())
            }
            _ => self.directive(keyword, words.arguments, place, *scope),
        }
    }

    fn directive(
        &mut self,
        keyword: &'static Keyword,
        arguments: Vec<String>,
        place: &Place,
        scope: Option<usize>,
    ) -> Result<(), String> {
        if scope.is_some() && !keyword.in_match {
            return Err(format!("`{}` is not allowed within a Match block", keyword.name));
        }
        // A comment in place of the argument, as in `Port # 22`.
        if arguments.is_empty() && keyword.use_ != Use::Deprecated {
            return Err(format!("`{}` needs an argument", keyword.name));
        }
        self.found.directives.push(Directive {
            keyword,
            arguments,
            place: place.clone(),
            scope,
        });
        Ok(())
    }

    /// A Match line. Within an included file it holds only where the Include is reached.
    fn scope(&mut self, outer: Option<usize>, criteria: Vec<Criterion>, place: &Place, words: &[String]) -> usize {
        let outer = outer.and_then(|outer| self.found.scopes.get(outer));
        let before = outer.map(|scope| scope.criteria.clone()).unwrap_or_default();
        let number = self.found.scopes.len();
        self.found.scopes.push(Scope {
            criteria: before.into_iter().chain(criteria).collect(),
            place: place.clone(),
            words: words.join(" "),
        });
        number
    }

    fn include(&mut self, patterns: &[String], scope: Option<usize>, depth: usize) -> Result<Vec<usize>, String> {
        if patterns.is_empty() {
            return Err("`Include` needs a file".to_owned());
        }
        if depth >= DEEPEST {
            return Err("Includes are nested too deeply".to_owned());
        }
        let mut files = Vec::new();
        for pattern in patterns {
            for path in include::files(pattern, &self.folder) {
                let text = text_of(&path).map_err(|words| format!("{}: {words}", path.display()))?;
                files.push(self.file(path.into(), text, scope, depth + 1));
            }
        }
        Ok(files)
    }
}

/// `SERVCONF_MAX_DEPTH`.
const DEEPEST: usize = 16;

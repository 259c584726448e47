//! Reading a TOML table key by key.
//!
//! A [`Table`] returns the keys that the code reads and, at the end, reports the others as unknown, so no separate list of keys
//! can go stale. A fault never stops the walk: the default replaces a bad value, and the result is discarded if there was any
//! fault.

use std::cell::RefCell;
use std::fmt;
use std::iter;
use std::mem;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use super::fault::Fault;
use super::spelling::nearest;
use super::value::Value;

/// One TOML file, and what has been found wrong with it so far.
pub(crate) struct Document<'a> {
    file: &'a Path,
    text: &'a str,
    /// Where each line begins: a large file is asked for thousands of places, and its lines may be long.
    lines: Vec<usize>,
    /// Characters before each [`STEP`] of the text.
    characters: Vec<usize>,
    /// Each with its byte offset, for they are not found in the order of the file.
    faults: RefCell<Vec<(usize, Fault)>>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(file: &'a Path, text: &'a str) -> Self {
        Document {
            file,
            text,
            lines: iter::once(0)
                .chain(text.match_indices('\n').map(|(at, _)| at + 1))
                .collect(),
            characters: text
                .as_bytes()
                .chunks(STEP)
                .scan(0, |before, step| Some(mem::replace(before, *before + characters(step))))
                .collect(),
            faults: RefCell::default(),
        }
    }

    /// Parses and walks the file. `None` if it is not TOML, which is then the only fault.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&mut Table<'_>) -> T) -> Option<T> {
        match DeTable::parse(self.text) {
            Ok(root) => Some(Table::walk(self, String::new(), 0, Some(root.get_ref()), read)),
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                self.fault(at, "", error.message());
                None
            }
        }
    }

    pub(crate) fn fault(&self, at: usize, key: &str, message: impl fmt::Display) {
        let (line, column) = self.place(at);
        let fault = Fault {
            file: self.file.to_owned(),
            line,
            column,
            key: key.to_owned(),
            message: message.to_string(),
        };
        self.faults.borrow_mut().push((at, fault));
    }

    /// Takes over the faults of a file that is named at a place of this one.
    pub(crate) fn adopt(&self, at: usize, faults: Vec<Fault>) {
        self.faults
            .borrow_mut()
            .extend(faults.into_iter().map(|fault| (at, fault)));
    }

    /// Every fault, in the order of the file.
    pub(crate) fn into_faults(self) -> Vec<Fault> {
        let mut faults = self.faults.into_inner();
        faults.sort_by_key(|(at, _)| *at);
        faults.into_iter().map(|(_, fault)| fault).collect()
    }

    /// Line and column of a byte offset, both from 1, the column in characters.
    pub(crate) fn place(&self, at: usize) -> (usize, usize) {
        let at = at.min(self.text.len());
        let line = self.lines.partition_point(|begins| *begins <= at);
        let begins = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied();
        let begins = begins.unwrap_or_default();
        // The mark at the head of a file is no character of its first line.
        let marked = self
            .text
            .get(begins..at)
            .is_some_and(|before| before.starts_with('\u{feff}'));
        let column = self.before(at) - self.before(begins) - usize::from(marked) + 1;
        (line, column)
    }

    /// How many characters begin before this byte offset.
    fn before(&self, at: usize) -> usize {
        let steps = (at / STEP).min(self.characters.len().saturating_sub(1));
        let counted = self.characters.get(steps).copied().unwrap_or_default();
        counted + self.text.as_bytes().get(steps * STEP..at).map_or(0, characters)
    }

    /// A path as meant: relative ones start at the folder of the file.
    pub(crate) fn resolve(&self, path: &str) -> PathBuf {
        self.folder().join(path)
    }

    /// The folder of the file.
    pub(crate) fn folder(&self) -> &Path {
        self.file.parent().unwrap_or(Path::new(""))
    }
}

/// How many characters of UTF-8 begin in these bytes.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
}

/// Bytes between two places up to which characters are counted ahead.
const STEP: usize = 1024;

/// One table of the file, present or not.
pub(crate) struct Table<'a> {
    document: &'a Document<'a>,
    key: String,
    at: usize,
    entries: Option<&'a DeTable<'a>>,
    known: Vec<&'static str>,
    refused: Vec<&'static str>,
}

impl<'a> Table<'a> {
    /// Reads a table and reports the keys that were not asked for.
    pub(crate) fn walk<T>(
        document: &'a Document<'a>,
        key: String,
        at: usize,
        entries: Option<&'a DeTable<'a>>,
        read: impl FnOnce(&mut Table<'_>) -> T,
    ) -> T {
        let mut table = Table {
            document,
            key,
            at,
            entries,
            known: Vec::new(),
            refused: Vec::new(),
        };
        let meant = read(&mut table);
        table.report_unknown_keys();
        meant
    }

    /// The value of a key, if it is there and right.
    pub(crate) fn read<T>(&mut self, name: &'static str, read: impl FnOnce(&Value<'a>) -> Option<T>) -> Option<T> {
        self.value(name).and_then(|value| read(&value))
    }

    /// The value of a key, or its default.
    pub(crate) fn or<T>(&mut self, name: &'static str, default: T, read: impl FnOnce(&Value<'a>) -> Option<T>) -> T {
        self.read(name, read).unwrap_or(default)
    }

    /// The value of a key that must be there; `why` says what it is for.
    pub(crate) fn required<T>(
        &mut self,
        name: &'static str,
        why: &str,
        read: impl FnOnce(&Value<'a>) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name);
        if value.is_none() {
            self.document
                .fault(self.at, &self.path(name), format_args!("missing: {why}"));
        }
        value.and_then(|value| read(&value))
    }

    /// A table below this one; one that is absent is read as an empty one, so that its defaults stand in one place.
    pub(crate) fn section<T>(&mut self, name: &'static str, read: impl Fn(&mut Table<'_>) -> T) -> T {
        match self.value(name) {
            Some(value) => value.table(&read).unwrap_or_else(|| {
                // Already reported as not being a table: what an empty one would lack is no second fault.
                let unheard = Document::new(self.document.file, "");
                Table::walk(&unheard, String::new(), 0, None, &read)
            }),
            None => Table::walk(self.document, self.path(name), self.at, None, read),
        }
    }

    /// Whether a key is there, right or wrong.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.is_some_and(|entries| entries.contains_key(name))
    }

    /// A known key that is not taken here.
    pub(crate) fn refuse(&mut self, name: &'static str, why: &str) {
        self.refused.push(name);
        if let Some((key, _)) = self.entries.and_then(|entries| entries.get_key_value(name)) {
            self.document.fault(key.span().start, &self.path(name), why);
        }
    }

    /// Reports a fault of a key, or of the table if the key is missing.
    pub(crate) fn fault(&self, name: &str, message: impl fmt::Display) {
        let there = self.entries.and_then(|entries| entries.get_key_value(name));
        let at = there.map_or(self.at, |(key, _)| key.span().start);
        self.document.fault(at, &self.path(name), message);
    }

    /// Line and column.
    pub(crate) fn place(&self) -> (usize, usize) {
        self.document.place(self.at)
    }

    /// Every key with its value in the order of the file, for a table whose keys are the user's own words.
    pub(crate) fn all(&mut self) -> Vec<(&'a str, Value<'a>)> {
        let mut all: Vec<_> = self.entries.into_iter().flatten().collect();
        all.sort_by_key(|(key, _)| key.span().start);
        let entries = all.into_iter().map(|(key, toml)| {
            let name: &'a str = key.get_ref();
            (name, Value::new(self.document, self.path(name), toml))
        });
        let entries = entries.collect();
        self.entries = None;
        entries
    }

    fn value(&mut self, name: &'static str) -> Option<Value<'a>> {
        self.known.push(name);
        let toml = self.entries?.get(name)?;
        Some(Value::new(self.document, self.path(name), toml))
    }

    /// The key from the top of the file; a part that TOML would have in quotes has them here, too.
    fn path(&self, name: &str) -> String {
        let bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let name = if !name.is_empty() && name.chars().all(bare) {
            name.to_owned()
        } else {
            format!("\"{}\"", name.escape_debug())
        };
        if self.key.is_empty() {
            name
        } else {
            format!("{}.{name}", self.key)
        }
    }

    fn report_unknown_keys(&self) {
        for (key, _) in self.entries.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.known.contains(&name) || self.refused.contains(&name) {
                continue;
            }
            let hint = match nearest(name, &self.known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("expected one of: {}", self.known.join(", ")),
            };
            self.document
                .fault(key.span().start, &self.path(name), format_args!("unknown key; {hint}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_line_and_a_character_of_it() {
        let text = "\u{feff}a = 1\nb = \"é\" # x\n\nlast";
        let document = Document::new("a.toml".as_ref(), text);
        #[rustfmt::skip]
        let table = [
            ("a = 1", (1, 1)),
            ("1",     (1, 5)),
            ("\nb",   (1, 6)),
            ("b = ",  (2, 1)),
            ("# x",   (2, 9)),
            ("\nlast", (3, 1)),
            ("last",  (4, 1)),
            ("ast",   (4, 2)),
        ];
        for (there, place) in table {
            assert_eq!(document.place(text.find(there).unwrap()), place, "{there:?}");
        }
        for end in [text.len(), text.len() + 10] {
            assert_eq!(document.place(end), (4, 5));
        }
        assert_eq!(Document::new("a.toml".as_ref(), "").place(0), (1, 1));
        for length in [STEP / 2 - 1, STEP / 2, STEP, 5 * STEP] {
            let text = format!("x\n{}end", "é".repeat(length));
            let document = Document::new("a.toml".as_ref(), &text);
            assert_eq!(document.place(text.find("end").unwrap()), (2, length + 1));
            assert_eq!(document.place(text.len()), (2, length + 4));
        }
    }
}

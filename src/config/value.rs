//! One TOML value, and the types it may be read as.
//!
//! Every reader returns `None` after it has reported a fault that says what was found and what is allowed.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use toml::de::{DeInteger, DeValue};

use super::fault::Fault;
use super::spelling::nearest;
use super::units::{self, ShowDuration, ShowSize};
use super::walk::{Document, Table};
use crate::request::{NetworkError, network};

/// A value with the key it was found under.
pub(crate) struct Value<'a> {
    document: &'a Document<'a>,
    key: String,
    toml: &'a Spanned<DeValue<'a>>,
}

impl<'a> Value<'a> {
    pub(crate) fn new(document: &'a Document<'a>, key: String, toml: &'a Spanned<DeValue<'a>>) -> Self {
        Value { document, key, toml }
    }

    /// The value as the parser left it.
    pub(crate) fn toml(&self) -> &'a DeValue<'a> {
        self.toml.get_ref()
    }

    pub(crate) fn document(&self) -> &'a Document<'a> {
        self.document
    }

    /// The key it was found under, from the top of the file.
    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    /// Line and column.
    pub(crate) fn place(&self) -> (usize, usize) {
        self.document.place(self.toml.span().start)
    }

    /// Reports a fault of this value. Always `None`, to end a reader with.
    pub(crate) fn fault<T>(&self, message: impl fmt::Display) -> Option<T> {
        self.document.fault(self.toml.span().start, &self.key, message);
        None
    }

    /// Reports the faults of the file this value names.
    pub(crate) fn faults_of_its_file<T>(&self, faults: Vec<Fault>) -> Option<T> {
        self.document.adopt(self.toml.span().start, faults);
        None
    }

    /// Reports that this value is not what it must be.
    pub(crate) fn wrong<T>(&self, allowed: impl fmt::Display) -> Option<T> {
        self.fault(format_args!("must be {allowed}, found {}", self.found()))
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        self.toml().as_str().or_else(|| self.wrong("text in quotes"))
    }

    /// Text with something in it, and nothing that would spoil a line.
    pub(crate) fn word(&self) -> Option<&'a str> {
        let text = self.text()?;
        if text.trim().is_empty() {
            return self.fault("must not be empty");
        }
        if text.chars().any(char::is_control) {
            return self.wrong("text without control characters");
        }
        Some(text)
    }

    /// A word that none of its kind has yet; `seen` keeps each with its line.
    pub(crate) fn unique(&self, word: &str, seen: &mut BTreeMap<String, usize>) -> Option<()> {
        let (line, _) = self.place();
        match seen.insert(word.to_owned(), line) {
            Some(first) => self.fault(format_args!("`{word}` is already used on line {first}")),
            None => Some(()),
        }
    }

    pub(crate) fn flag(&self) -> Option<bool> {
        self.toml().as_bool().or_else(|| self.wrong("true or false"))
    }

    pub(crate) fn number<T>(&self, allowed: RangeInclusive<T>) -> Option<T>
    where
        T: TryFrom<i64> + PartialOrd + fmt::Display,
    {
        let number = self
            .toml()
            .as_integer()
            .and_then(integer)
            .and_then(|number| T::try_from(number).ok());
        match number {
            Some(number) if allowed.contains(&number) => Some(number),
            _ => self.wrong(format_args!(
                "a whole number from {} to {}",
                allowed.start(),
                allowed.end()
            )),
        }
    }

    pub(crate) fn duration(&self, allowed: RangeInclusive<Duration>) -> Option<Duration> {
        let range = format!(
            "a duration from {} to {}",
            ShowDuration(*allowed.start()),
            ShowDuration(*allowed.end())
        );
        self.time(&range).and_then(|time| {
            if allowed.contains(&time) {
                Some(time)
            } else {
                self.wrong(range)
            }
        })
    }

    /// A duration where `"0"` means that there is none.
    pub(crate) fn duration_or_none(&self, allowed: RangeInclusive<Duration>) -> Option<Option<Duration>> {
        let (least, most) = (ShowDuration(*allowed.start()), ShowDuration(*allowed.end()));
        let range = format!("a duration from {least} to {most}, or \"0\" for none");
        match self.time(&range)? {
            Duration::ZERO => Some(None),
            time if allowed.contains(&time) => Some(Some(time)),
            _ => self.wrong(range),
        }
    }

    fn time(&self, allowed: &str) -> Option<Duration> {
        let Some(text) = self.toml().as_str() else {
            return self.wrong(format_args!("{allowed}, in quotes and with a unit, as in \"30s\""));
        };
        units::duration(text).map_or_else(|error| self.fault(format_args!("{} {error}", quoted(text))), Some)
    }

    /// Bytes: a plain number, or text with a unit.
    pub(crate) fn size(&self, allowed: RangeInclusive<u64>) -> Option<u64> {
        let bytes = match self.toml() {
            DeValue::String(text) => match units::size(text) {
                Ok(bytes) => Some(bytes),
                Err(error) => return self.fault(format_args!("{} {error}", quoted(text))),
            },
            DeValue::Integer(number) => integer(number).and_then(|number| u64::try_from(number).ok()),
            _ => None,
        };
        match bytes {
            Some(bytes) if allowed.contains(&bytes) => Some(bytes),
            _ => self.wrong(format_args!(
                "a size from {} to {}",
                ShowSize(*allowed.start()),
                ShowSize(*allowed.end())
            )),
        }
    }

    /// A path; relative ones start at the folder of the file.
    pub(crate) fn path(&self) -> Option<PathBuf> {
        let path = self.word()?;
        if path == "~" || path.starts_with("~/") {
            return self.fault("`~` is not expanded in this file: write the whole path");
        }
        Some(self.document.resolve(path))
    }

    pub(crate) fn address(&self) -> Option<SocketAddr> {
        let address = self.text()?.parse().ok();
        address.or_else(|| self.wrong("an address and a port, as in \"0.0.0.0:2222\" or \"[::]:2222\""))
    }

    /// A network in prefix notation; an address alone is a network of one.
    pub(crate) fn network(&self) -> Option<IpNet> {
        let text = self.text()?;
        match network(text) {
            Ok(network) => Some(network),
            Err(NetworkError::Form(_)) => self.wrong("a network, as in \"10.0.0.0/8\" or \"fe80::/10\""),
            Err(NetworkError::Bits { network, address, .. }) => self.fault(format_args!(
                "{} has address bits beyond its prefix: write \"{network}\" for the network or \"{address}\" for the address",
                quoted(text)
            )),
        }
    }

    /// One of a few words, each with what it means.
    pub(crate) fn one_of<T: Copy>(&self, cases: &[(&str, T)]) -> Option<T> {
        let words: Vec<&str> = cases.iter().map(|(word, _)| *word).collect();
        let typed = self.toml().as_str();
        if let Some((_, meaning)) = cases.iter().find(|(word, _)| typed == Some(*word)) {
            return Some(*meaning);
        }
        let hint = typed.and_then(|typed| nearest(typed, &words));
        let hint = hint
            .map(|word| format!("; did you mean \"{word}\"?"))
            .unwrap_or_default();
        self.fault(format_args!(
            "must be one of {}, found {}{hint}",
            words.join(", "),
            self.found()
        ))
    }

    /// The items of an array that are right.
    pub(crate) fn list<T>(&self, mut read: impl FnMut(&Value<'a>) -> Option<T>) -> Option<Vec<T>> {
        let Some(items) = self.toml().as_array() else {
            return self.wrong("an array, as in [\"…\"]");
        };
        let values = items.iter().enumerate();
        let values = values.map(|(index, toml)| Value::new(self.document, format!("{}[{index}]", self.key), toml));
        Some(values.filter_map(|value| read(&value)).collect())
    }

    /// The tables of an array of tables that are right.
    pub(crate) fn tables<T>(&self, mut read: impl FnMut(&mut Table<'_>) -> Option<T>) -> Option<Vec<T>> {
        if !self.toml().is_array() {
            return self.wrong(format_args!("an array of tables: write [[{}]]", self.key));
        }
        self.list(|value| value.table(&mut read).flatten())
    }

    pub(crate) fn table<T>(&self, read: impl FnOnce(&mut Table<'_>) -> T) -> Option<T> {
        match self.toml() {
            DeValue::Table(entries) => Some(Table::walk(
                self.document,
                self.key.clone(),
                self.toml.span().start,
                Some(entries),
                read,
            )),
            _ => self.wrong("a table"),
        }
    }

    fn found(&self) -> String {
        match self.toml() {
            DeValue::String(text) => quoted(text),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(flag) => flag.to_string(),
            DeValue::Datetime(_) => "a date or time".to_owned(),
            DeValue::Array(_) => "an array".to_owned(),
            DeValue::Table(_) => "a table".to_owned(),
        }
    }
}

/// A TOML integer, if it fits.
pub(crate) fn integer(number: &DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// Found text, short enough for a line.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("\"{}…\"", text.get(..end).unwrap_or_default().escape_debug()),
        None => format!("\"{}\"", text.escape_debug()),
    }
}

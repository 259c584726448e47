//! The `allowed_signers` file of ssh-keygen(1): `principals [options] type base64 [comment]`.

use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::auth::{BLANKS, Cursor, KeyBlob, LineError, matches, parse_expiry, parse_key, starts_with_key_type};
use crate::files;
use crate::request::printable;

/// Whose signatures are believed, and within which limits.
#[derive(Clone, Debug)]
pub(crate) struct AllowedSigners {
    pub(super) path: PathBuf,
    pub(super) lines: Vec<SignerLine>,
}

/// One line of the file.
#[derive(Clone, Debug)]
pub(super) struct SignerLine {
    pub(super) number: usize,
    pub(super) principals: Patterns,
    pub(super) authority: bool,
    pub(super) namespaces: Option<Patterns>,
    pub(super) valid_after: Option<Timestamp>,
    pub(super) valid_before: Option<Timestamp>,
    pub(super) key: KeyBlob,
}

/// A pattern list of ssh_config(5): one match is enough, unless a negated pattern matches, too.
#[derive(Clone, Debug)]
pub(super) struct Patterns(String);

/// Why an `allowed_signers` file cannot be used. Until it can be, no signature counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignersError {
    /// It cannot be read.
    #[error("{}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        error: String,
    },
    /// It is longer than such a file can be.
    #[error("{} is larger than 1 MiB", .0.display())]
    TooLarge(PathBuf),
    /// It has no line with a key.
    #[error("{} lists no signer: add a line `PRINCIPAL ssh-ed25519 AAAA…`", .0.display())]
    Empty(PathBuf),
    /// One line is faulty, which makes the file faulty.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        problem: SignerLineError,
    },
}

impl SignersError {
    /// The file, and the line if one is faulty.
    #[must_use]
    pub fn place(&self) -> (&Path, Option<usize>) {
        match self {
            Self::Read { path, .. } | Self::TooLarge(path) | Self::Empty(path) => (path, None),
            Self::Line { path, line, .. } => (path, Some(*line)),
        }
    }
}

/// A fault in one line. Columns count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerLineError {
    /// Its key, or the quotes of an option.
    #[error(transparent)]
    Key(#[from] LineError),
    /// No principals at the beginning.
    #[error("column {column}: expected principals, as in `security@example.org`")]
    NoPrincipals {
        /// Where.
        column: usize,
    },
    /// An option that allowed_signers does not have.
    #[error(
        "column {column}: unknown option `{option}`; expected one of: cert-authority, namespaces=\"…\", \
         valid-after=\"…\", valid-before=\"…\""
    )]
    UnknownOption {
        /// As written.
        option: String,
        /// Where.
        column: usize,
    },
    /// An option that is there already.
    #[error("column {column}: `{option}` may be given only once")]
    Repeated {
        /// Its name.
        option: String,
        /// Where.
        column: usize,
    },
    /// A time that is none.
    #[error(
        "column {column}: `{value}` is not a time; write it as YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC"
    )]
    Time {
        /// As written.
        value: String,
        /// Where.
        column: usize,
    },
    /// A window that is never open.
    #[error("it is never valid: `valid-before` is not later than `valid-after`")]
    NeverValid,
}

impl AllowedSigners {
    /// Reads the file. One faulty line makes the whole file faulty: a signer who was meant to be bounded, or to be there,
    /// must not be missed.
    ///
    /// # Errors
    /// If it cannot be read, has a faulty line, or lists no signer.
    pub(crate) fn read(path: &Path) -> Result<Self, SignersError> {
        let failed = |error: io::Error| SignersError::Read {
            path: path.to_owned(),
            error: error.to_string(),
        };
        let bytes = files::read(path, LARGEST).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => SignersError::TooLarge(path.to_owned()),
            _ => failed(error),
        })?;
        let mut lines = Vec::new();
        for (number, line) in (1..).zip(String::from_utf8_lossy(&bytes).split('\n')) {
            let line = parse_line(number, line).map_err(|problem| SignersError::Line {
                path: path.to_owned(),
                line: number,
                problem,
            })?;
            lines.extend(line);
        }
        if lines.is_empty() {
            return Err(SignersError::Empty(path.to_owned()));
        }
        Ok(Self {
            path: path.to_owned(),
            lines,
        })
    }
}

impl Patterns {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        let mut matched = false;
        for pattern in self.0.split(',') {
            match pattern.strip_prefix('!') {
                Some(negated) if matches(negated, text) => return false,
                Some(_) => {}
                None => matched |= matches(pattern, text),
            }
        }
        matched
    }
}

fn parse_line(number: usize, line: &str) -> Result<Option<SignerLine>, SignerLineError> {
    let mut cursor = Cursor::new(line.trim_end());
    cursor.skip_blanks();
    if cursor.rest.is_empty() || cursor.rest.starts_with('#') {
        return Ok(None);
    }
    let column = cursor.column();
    let principals = match cursor.rest.starts_with('"') {
        true => cursor.quoted("principals")?,
        false => cursor.word(BLANKS).to_owned(),
    };
    if principals.is_empty() {
        return Err(SignerLineError::NoPrincipals { column });
    }
    cursor.skip_blanks();
    let mut options = Options::default();
    if !cursor.rest.is_empty() && !starts_with_key_type(cursor) {
        options.read(&mut cursor)?;
    }
    let key = parse_key(&mut cursor)?;
    Ok(Some(SignerLine {
        number,
        principals: Patterns(principals),
        authority: options.authority,
        namespaces: options.namespaces.map(Patterns),
        valid_after: options.valid_after,
        valid_before: options.valid_before,
        key,
    }))
}

#[derive(Default)]
struct Options {
    authority: bool,
    namespaces: Option<String>,
    valid_after: Option<Timestamp>,
    valid_before: Option<Timestamp>,
}

impl Options {
    fn read(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SignerLineError> {
        loop {
            self.one(cursor)?;
            match cursor.rest.strip_prefix(',') {
                Some(rest) => cursor.rest = rest,
                None => break,
            }
        }
        match (self.valid_after, self.valid_before) {
            (Some(after), Some(before)) if before <= after => Err(SignerLineError::NeverValid),
            _ => Ok(()),
        }
    }

    fn one(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SignerLineError> {
        let column = cursor.column();
        let written = cursor.word(&[',', '=', ' ', '\t']);
        let name = written.to_ascii_lowercase();
        let unknown = || SignerLineError::UnknownOption {
            option: printable(written, 64),
            column,
        };
        let once = |taken: bool| match taken {
            true => Err(SignerLineError::Repeated {
                option: name.clone(),
                column,
            }),
            false => Ok(()),
        };
        let Some(rest) = cursor.rest.strip_prefix('=') else {
            if name != "cert-authority" {
                return Err(unknown());
            }
            self.authority = true;
            return Ok(());
        };
        cursor.rest = rest;
        let column = cursor.column();
        let time = |value: &str| {
            parse_expiry(value, TimeZone::system()).map_err(|_| SignerLineError::Time {
                value: printable(value, 64),
                column,
            })
        };
        match name.as_str() {
            "namespaces" => {
                once(self.namespaces.is_some())?;
                self.namespaces = Some(cursor.quoted(&name)?);
            }
            "valid-after" => {
                once(self.valid_after.is_some())?;
                self.valid_after = Some(time(&cursor.quoted(&name)?)?);
            }
            "valid-before" => {
                once(self.valid_before.is_some())?;
                self.valid_before = Some(time(&cursor.quoted(&name)?)?);
            }
            _ => return Err(unknown()),
        }
        Ok(())
    }
}

const LARGEST: u64 = 1 << 20;

#[cfg(test)]
#[path = "signers_tests.rs"]
mod tests;

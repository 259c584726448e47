//! Lines of `authorized_keys`: `[options] type base64 [comment]`.

use super::key::{self, Algorithm, KeyBlob, KeyError};
use super::options::{BLANKS, Cursor, KeyOptions};

/// One key that may log in, or an authority that may vouch for others.
#[derive(Clone, Debug)]
pub struct KeyLine {
    pub options: KeyOptions,
    pub key: KeyBlob,
    pub comment: String,
}

/// Why a line is void. Columns count characters from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    #[error("column {column}: unknown option `{option}`; correct or remove it; until then the whole line is ignored")]
    UnknownOption { option: String, column: usize },
    #[error("column {column}: expected an option; remove the extra comma")]
    EmptyOption { column: usize },
    #[error(
        "column {column}: `{option}` needs a value in double quotes, as in {option}=\"…\", with nothing but a comma after it"
    )]
    NotQuoted { option: String, column: usize },
    #[error("column {column}: the value of `{option}` has no closing quote; add it (a quote inside is written \\\")")]
    UnclosedQuote { option: String, column: usize },
    #[error("column {column}: `{option}` may be given only once; merge the two")]
    RepeatedOption { option: String, column: usize },
    #[error("column {column}: `{option}=\"{value}\"` cannot be used; {mend}")]
    BadValue {
        option: String,
        value: String,
        column: usize,
        mend: String,
    },
    #[error("column {column}: `principals` belongs to an authority; add `cert-authority` or remove it")]
    PrincipalsWithoutAuthority { column: usize },
    #[error("column {column}: expected a public key: its type, then its base64 text")]
    NoKey { column: usize },
    #[error("column {column}: {problem}")]
    Key { column: usize, problem: KeyError },
    #[error("column {column}: the line says `{stated}`, but its key is `{found}`; copy the line again")]
    TypeMismatch {
        column: usize,
        stated: String,
        found: String,
    },
}

/// Reads one line; a blank line or a comment is `None`.
pub fn parse_line(line: &str) -> Result<Option<KeyLine>, LineError> {
    let mut cursor = Cursor::new(line.trim_end());
    cursor.skip_blanks();
    if cursor.rest.is_empty() || cursor.rest.starts_with('#') {
        return Ok(None);
    }
    let options = match starts_with_key_type(cursor) {
        true => KeyOptions::default(),
        false => KeyOptions::parse(&mut cursor)?,
    };
    let key = parse_key(&mut cursor)?;
    cursor.skip_blanks();
    Ok(Some(KeyLine {
        options,
        key,
        comment: cursor.rest.to_owned(),
    }))
}

/// The lines of a file that hold, and the numbers of those that are void with the reason.
pub type FileLines = (Vec<KeyLine>, Vec<(usize, LineError)>);

/// Reads a whole file; a void line does not take the others with it.
pub fn parse_file(text: &str) -> FileLines {
    let mut keys = Vec::new();
    let mut void = Vec::new();
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    for (number, line) in (1..).zip(text.split('\n')) {
        match parse_line(line) {
            Ok(key) => keys.extend(key),
            Err(error) => void.push((number, error)),
        }
    }
    (keys, void)
}

/// `type base64`, leaving `cursor` behind it.
pub(crate) fn parse_key(cursor: &mut Cursor<'_>) -> Result<KeyBlob, LineError> {
    cursor.skip_blanks();
    let column = cursor.column();
    let stated = cursor.word(BLANKS);
    if stated.is_empty() {
        return Err(LineError::NoKey { column });
    }
    Algorithm::named(stated).map_err(|problem| LineError::Key { column, problem })?;
    cursor.skip_blanks();
    let column = cursor.column();
    let text = cursor.word(BLANKS);
    if text.is_empty() {
        return Err(LineError::NoKey { column });
    }
    let key = KeyBlob::from_base64(text).map_err(|problem| LineError::Key { column, problem })?;
    match key.algorithm() == stated {
        true => Ok(key),
        false => Err(LineError::TypeMismatch {
            column,
            stated: stated.to_owned(),
            found: key.algorithm().to_owned(),
        }),
    }
}

pub(crate) fn starts_with_key_type(mut cursor: Cursor<'_>) -> bool {
    key::looks_like_key_type(cursor.word(BLANKS))
}

/// Some editors on Windows put it in front of UTF-8 text.
const BYTE_ORDER_MARK: char = '\u{feff}';

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;

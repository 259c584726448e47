//! What a gateway notes on Redis of what a user has open, and how the notes of all gateways are read.

use redis::Value;

/// What a user has open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Tunnels and listeners.
    pub forwards: u64,
    /// Sessions.
    pub sessions: u64,
}

impl Open {
    /// As it is noted: nothing is noted of who has nothing.
    pub(super) fn note(self) -> String {
        match self {
            Self {
                forwards: 0,
                sessions: 0,
            } => String::new(),
            Self { forwards, sessions } => format!("{forwards} {sessions}"),
        }
    }
}

/// What each gateway noted. What is no note is left out.
pub(super) fn fields(all: Vec<String>) -> impl Iterator<Item = (String, Open)> {
    let mut texts = all.into_iter();
    std::iter::from_fn(move || Some((texts.next()?, texts.next()?))).filter_map(|(gateway, note)| {
        let mut numbers = note.splitn(3, ' ').skip(1).map(str::parse);
        let open = Open {
            forwards: numbers.next()?.ok()?,
            sessions: numbers.next()?.ok()?,
        };
        Some((gateway, open))
    })
}

/// The first text, and the others.
pub(super) fn first(value: Value) -> (String, Vec<String>) {
    let mut texts = texts(value);
    match texts.is_empty() {
        true => (String::new(), texts),
        false => (texts.remove(0), texts),
    }
}

pub(super) fn texts(value: Value) -> Vec<String> {
    let Value::Array(values) = value else {
        return Vec::new();
    };
    let text = |value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok().filter(|text| text.len() <= MOST_NAME),
        Value::SimpleString(text) => Some(text),
        _ => None,
    };
    values
        .into_iter()
        .map(|value| text(value).unwrap_or_default())
        .collect()
}

/// Bytes of the name of a gateway or of a note.
const MOST_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_note_counts_nothing() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let all = [
            "a",
            "7 2 1",
            "b",
            "",
            "c",
            "x y z",
            "d",
            "8 3",
            "e",
            "9 18446744073709551615 1",
            "f",
        ];
        let found: Vec<_> = fields(texts(Value::Array(all.iter().map(|text| bulk(text)).collect()))).collect();
        let open = |forwards, sessions| Open { forwards, sessions };
        assert_eq!(
            found,
            [("a".to_owned(), open(2, 1)), ("e".to_owned(), open(u64::MAX, 1))]
        );
        assert_eq!(fields(texts(Value::Int(3))).count(), 0);
        assert_eq!(first(Value::Int(3)), (String::new(), Vec::new()));
    }
}

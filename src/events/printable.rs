//! JSON with texts that are safe to show: people read the log with `tail`, `jq -r` and similar tools.
//!
//! This happens here and not where facts are created, so that no text of any event can be forgotten.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, Formatter};

use crate::request::seen;

/// Writes compact JSON. In its texts, characters that are not seen are spaces, and what is longer than [`MOST`] is cut.
#[derive(Default)]
pub(super) struct Printable {
    /// Bytes that the text may still have; none once it was cut.
    left: Option<usize>,
}

impl Formatter for Printable {
    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.left = Some(MOST);
        writer.write_all(b"\"")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let Some(left) = self.left else {
            return Ok(());
        };
        self.left = left.checked_sub(fragment.len());
        writer.write_all(seen(fragment, left).as_bytes())
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escaped: CharEscape) -> io::Result<()> {
        if self.left.is_none_or(|left| left == 0) {
            return Ok(());
        }
        self.left = self.left.map(|left| left - 1);
        let written = match escaped {
            CharEscape::Quote => "\\\"",
            CharEscape::ReverseSolidus => "\\\\",
            CharEscape::Solidus => "/",
            // A control character.
            _ => " ",
        };
        writer.write_all(written.as_bytes())
    }
}

/// The same of JSON that others have written.
pub(crate) fn printable_json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, Printable::default());
    value.serialize(&mut serializer)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Longer than anything that is said of an honest request.
const MOST: usize = 8192;

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn json(text: &str) -> String {
        let mut out = Vec::new();
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, Printable::default());
        [("key", text)].serialize(&mut serializer).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> String {
        let value: Value = serde_json::from_str(&json(text)).unwrap();
        value[0][1].as_str().unwrap().to_owned()
    }

    #[test]
    fn no_text_has_a_character_that_is_not_seen() {
        for (text, shown) in [
            ("plain \"text\" with \\ and /", "plain \"text\" with \\ and /"),
            ("bücher 数据库", "bücher 数据库"),
            ("a\u{1b}]0;x\u{7}b", "a ]0;x b"),
            ("a\nb\r\tc\0d\u{7f}e", "a b  c d e"),
            ("a\u{2028}b\u{202e}c\u{9b}d\u{e0041}e\u{200b}f", "a b c d e f"),
            ("\u{8}\u{c}\"\n", "  \" "),
        ] {
            assert_eq!(read(text), shown, "{text:?}");
        }
    }

    #[test]
    fn a_text_is_cut_and_stays_a_text() {
        for text in ["x", "é", "\"", "\n", "x\n", "ab\"\u{202e}"] {
            let long = text.repeat(1 << 16);
            let line = json(&long);
            assert!(line.len() < 2 * MOST + 100, "{}", line.len());
            assert!(
                long.replace(['\n', '\u{202e}'], " ")
                    .starts_with(read(&long).trim_end_matches('…'))
            );
        }
        assert_eq!(read(&"x".repeat(MOST)).len(), MOST);
        assert_eq!(read(&"x".repeat(MOST + 1)), "x".repeat(MOST) + "…");
    }
}

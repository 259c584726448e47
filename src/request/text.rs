//! Makes text from outside safe to show and store: every output of the program passes through [`printable`].

use std::borrow::Cow;

/// `text` on one line, without anything that a terminal or a reader of logs would obey or not see, and no longer than
/// `limit` bytes (and the sign that more followed). Each character that [is not shown](is_unseen) becomes a space.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    seen(text, limit).into_owned()
}

/// As [`printable`], and `text` itself if there is nothing to change.
#[must_use]
pub fn seen(text: &str, limit: usize) -> Cow<'_, str> {
    let plain = text.len() <= limit && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if plain || text.len() <= limit && !text.chars().any(is_unseen) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len().min(limit));
    for character in text.chars() {
        let character = if is_unseen(character) { ' ' } else { character };
        if out.len() + character.len_utf8() > limit {
            out.push('…');
            break;
        }
        out.push(character);
    }
    Cow::Owned(out)
}

/// Whether a character does something to the text around it, or is not seen at all: control characters (C0, DEL, C1), ends
/// of lines and paragraphs, bidirectional controls, zero-width and other invisible characters, tags and selectors of
/// variants. From Unicode 16: `Cc`, `Zl`, `Zp`, `Default_Ignorable_Code_Point`, what `Cf` has beside that and is not drawn,
/// and the code points that are no characters.
#[must_use]
pub fn is_unseen(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_control();
    }
    matches!(
        character,
        '\u{80}'..='\u{9f}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}'
            | '\u{fdd0}'..='\u{fdef}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{13430}'..='\u{1343f}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    ) || u32::from(character) & 0xfffe == 0xfffe
}

/// What a client sent, cut where no honest client goes: what is longer is refused anyway, and need
/// not be repeated in full in every log.
#[must_use]
pub fn clipped(text: &str) -> String {
    match text.char_indices().find(|(index, _)| *index >= MAX_SENT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Longer than every host name, socket path and user name.
const MAX_SENT: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_move_a_terminal_is_not_printed() {
        assert_eq!(printable("a\x1b]0;x\x07\r\nb\u{202e}c", 100), "a ]0;x   b c");
        assert_eq!(printable("aaaa", 3), "aaa…");
    }

    #[test]
    fn no_character_is_printed_that_nobody_sees() {
        #[rustfmt::skip]
        let unseen = [
            '\0', '\t', '\n', '\r', '\x08', '\x1b', '\x7f', '\u{80}', '\u{85}', '\u{9b}', '\u{9d}', '\u{9f}',
            '\u{2028}', '\u{2029}', '\u{61c}', '\u{200e}', '\u{200f}', '\u{202a}', '\u{202e}', '\u{2066}', '\u{2069}',
            '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{2064}', '\u{206a}', '\u{206f}', '\u{feff}', '\u{ad}', '\u{34f}', '\u{180e}',
            '\u{115f}', '\u{3164}', '\u{ffa0}', '\u{fe00}', '\u{fe0f}', '\u{fff9}', '\u{fffb}', '\u{fffe}', '\u{ffff}',
            '\u{e0000}', '\u{e0001}', '\u{e0020}', '\u{e0041}', '\u{e007f}', '\u{e0100}', '\u{e01ef}', '\u{e0fff}', '\u{10ffff}',
        ];
        for character in unseen {
            assert_eq!(printable(&format!("a{character}b"), 100), "a b", "{:?}", character);
            assert!(is_unseen(character));
        }
    }

    #[test]
    fn words_of_all_languages_are_printed_as_they_are() {
        for text in [
            "bücher.example",
            "база",
            "数据库",
            "ข้อมูล",
            "a~ b",
            "\u{fffd}",
            "🦀",
            "e\u{301}",
            "",
        ] {
            assert_eq!(printable(text, 100), text);
            assert!(matches!(seen(text, 100), Cow::Borrowed(_)));
        }
    }

    #[test]
    fn a_cut_falls_between_characters() {
        assert_eq!(printable("éé", 3), "é…");
        assert_eq!(printable("éé", 4), "éé");
        assert_eq!(printable("\u{e0041}é", 1), " …");
    }

    #[test]
    fn what_nobody_honest_sends_is_cut() {
        assert_eq!(clipped("db"), "db");
        assert!(clipped(&"é".repeat(100_000)).len() < 600);
    }
}

//! Texts of others, made fit to be shown and kept.

/// `text` without control characters and no longer than `limit` bytes.
#[must_use]
pub fn printable(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    for character in text.chars() {
        let character = if character.is_control() || is_bidi(character) {
            ' '
        } else {
            character
        };
        if out.len() + character.len_utf8() > limit {
            out.push('…');
            break;
        }
        out.push(character);
    }
    out
}

/// Unicode's bidirectional overrides, which can make a terminal show another order than was sent.
fn is_bidi(character: char) -> bool {
    matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}')
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
    fn what_nobody_honest_sends_is_cut() {
        assert_eq!(clipped("db"), "db");
        assert!(clipped(&"é".repeat(100_000)).len() < 600);
    }
}

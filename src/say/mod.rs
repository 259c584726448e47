//! The output of commands: results on standard output, errors on standard error, and the exit code.
//!
//! It must not know which command uses it.

mod paint;

use std::io::{self, Write};

pub(crate) use self::paint::{Paint, bytes, thousands};

use self::paint::COLOURS;
use crate::config::Faults;
use crate::request::{is_unseen, printable};

/// Done, or allowed.
pub(crate) const DONE: u8 = 0;
/// It was tried and failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage or invalid configuration.
pub(crate) const INVALID: u8 = 2;
/// An address cannot be listened on.
pub(crate) const UNBOUND: u8 = 3;
/// No gateway answers on the control socket.
pub(crate) const UNANSWERED: u8 = 4;

/// The answer is deny.
pub(crate) const DENIED: u8 = 10;
/// The policy failed to decide.
pub(crate) const UNDECIDED: u8 = 11;

/// Says on standard error why a command has failed; gives the code back.
pub(crate) fn fail(code: u8, words: &str) -> u8 {
    let _ = writeln!(io::stderr(), "portreeve: {}", lines(words));
    code
}

/// Says on standard error what is wrong with a configuration; the code of that.
pub(crate) fn invalid(faults: &Faults) -> u8 {
    let _ = writeln!(io::stderr(), "{}", lines(&faults.to_string()));
    INVALID
}

/// Text from outside, on one line and without control sequences.
pub(crate) fn plain(text: &str) -> String {
    printable(text, usize::MAX)
}

/// The same line by line: the program itself puts one fault on each.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(plain).collect();
    lines.join("\n")
}

/// Prints what a command has found. Nothing that came from outside reaches a terminal as more than text, even where who made
/// the text has forgotten [`plain`].
pub(crate) fn print(text: &str) -> u8 {
    write(shown(text).as_bytes())
}

/// The same text with a space for each character that is not seen, but the ends of lines and the colours of this program.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let colour = COLOURS.iter().find(|colour| rest.starts_with(**colour));
        let end = colour.map_or(character.len_utf8(), |colour| colour.len());
        let (one, after) = rest.split_at(end);
        out.push_str(match character {
            '\n' => one,
            unseen if colour.is_none() && is_unseen(unseen) => " ",
            _ => one,
        });
        rest = after;
    }
    out
}

/// Prints bytes as they are.
pub(crate) fn write(bytes: &[u8]) -> u8 {
    match io::stdout().lock().write_all(bytes) {
        Ok(()) => DONE,
        Err(_) => FAILED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_moves_no_terminal() {
        for (text, printed) in [
            ("one\ntwo\n", "one\ntwo\n"),
            (
                "\x1b[32mok\x1b[0m \x1b[1;31mFAIL\x1b[0m",
                "\x1b[32mok\x1b[0m \x1b[1;31mFAIL\x1b[0m",
            ),
            ("a\x1b[2Jb\x1b]52;c;aGk=\x07", "a [2Jb ]52;c;aGk= "),
            ("a\x1b[8mb\x1b[", "a [8mb ["),
            ("a\u{202e}b\u{9b}c\rd\te\u{e0041}f", "a b c d e f"),
            ("é\u{1f980}", "é\u{1f980}"),
        ] {
            assert_eq!(shown(text), printed, "{text:?}");
        }
    }
}

//! Colour, on a terminal only.

use std::io::{self, IsTerminal};

/// Colours on a terminal; plain text in a pipe and where `NO_COLOR` is set.
#[derive(Clone, Copy)]
pub(crate) struct Paint(bool);

impl Paint {
    /// What standard output can show.
    pub(crate) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(io::stdout().is_terminal() && !refused)
    }

    /// Whether there are colours.
    pub(crate) fn is_coloured(self) -> bool {
        self.0
    }

    pub(crate) fn good(self, text: &str) -> String {
        self.with(GREEN, text)
    }

    pub(crate) fn bad(self, text: &str) -> String {
        self.with(RED, text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("{code}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    }
}

const GREEN: &str = "\x1b[32m";
const RED: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// Everything that a terminal is told by this program, besides text.
pub(super) const COLOURS: [&str; 3] = [GREEN, RED, PLAIN];

/// A number of bytes, for people.
pub(crate) fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        _ => format!("{:.1} MiB", count as f64 / 1_048_576.0),
    }
}

/// 1234567 as 1,234,567.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

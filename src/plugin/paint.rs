//! Colour, where somebody can see it.

use std::io::{self, IsTerminal};

/// Colours on a terminal; plain text in a pipe and where `NO_COLOR` is set.
#[derive(Clone, Copy)]
pub(super) struct Paint(bool);

impl Paint {
    /// What standard output can show.
    pub(super) fn of_stdout() -> Self {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self(io::stdout().is_terminal() && !refused)
    }

    pub(super) fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.0 {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

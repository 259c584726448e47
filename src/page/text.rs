//! Text within HTML.

use std::fmt::{self, Display, Formatter, Write};

/// A text that is shown as it is, in an element or in an attribute with quotation marks.
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        write!(Escaping(formatter), "{}", self.0)
    }
}

struct Escaping<'a, 'f>(&'a mut Formatter<'f>);

impl Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut plain = text;
        while let Some(place) = plain.find(['&', '<', '>', '"', '\'']) {
            let (before, rest) = plain.split_at(place);
            self.0.write_str(before)?;
            let mut characters = rest.chars();
            self.0.write_str(match characters.next() {
                Some('&') => "&amp;",
                Some('<') => "&lt;",
                Some('>') => "&gt;",
                Some('"') => "&quot;",
                _ => "&#39;",
            })?;
            plain = characters.as_str();
        }
        self.0.write_str(plain)
    }
}

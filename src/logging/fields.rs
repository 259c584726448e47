//! Every field of a log line, made fit to be shown.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use crate::request::seen;

/// Writes `name=value` for each field, and the message without its name; no value has more than one line, a character that is
/// not seen, or more than 4 KiB.
pub(super) struct Printable;

impl<'writer> FormatFields<'writer> for Printable {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Visitor {
            writer,
            first: true,
            result: Ok(()),
        };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Visitor<'writer> {
    writer: Writer<'writer>,
    first: bool,
    result: fmt::Result,
}

impl Visitor<'_> {
    fn write(&mut self, field: &Field, value: &str) -> fmt::Result {
        if !std::mem::take(&mut self.first) {
            self.writer.write_char(' ')?;
        }
        let value = seen(value, MOST);
        match (field.name(), self.writer.has_ansi_escapes()) {
            ("message", _) => self.writer.write_str(&value),
            (name, true) => write!(self.writer, "\x1b[3m{name}\x1b[0m\x1b[2m=\x1b[0m{value}"),
            (name, false) => write!(self.writer, "{name}={value}"),
        }
    }
}

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            _ => self.record_debug(field, &value),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Where a library logged by other means, its place is in such fields.
        if self.result.is_ok() && !field.name().starts_with("log.") {
            self.result = self.write(field, &format!("{value:?}"));
        }
    }
}

/// Longer than what any place here says, and short enough that lines by the thousand are bounded.
pub(super) const MOST: usize = 4096;

#[cfg(test)]
mod tests {
    use std::io;

    use super::super::tests::Page;
    use super::*;

    fn logged(say: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(Printable)
            .with_writer(move || writer.clone())
            .with_ansi(false)
            .without_time()
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        page.text()
    }

    #[test]
    fn no_way_to_log_a_value_lets_it_forge_a_line() {
        let evil = "x\n2026-01-01 INFO forged\r\x1b]52;c;aGk=\x07\u{9b}2J\u{202e}\u{2028}\u{200b}\u{e0041}";
        let error = io::Error::other(evil);
        let span = || tracing::info_span!("span", user = evil);
        for line in [
            logged(|| tracing::info!(user = evil, "hello")),
            logged(|| tracing::info!(user = %evil, "hello")),
            logged(|| tracing::info!(user = ?evil, "hello")),
            logged(|| tracing::info!(%error, "hello")),
            logged(|| tracing::info!(?error, "hello")),
            logged(|| tracing::info!(error = &error as &dyn std::error::Error, "hello")),
            logged(|| tracing::info!("{evil}")),
            logged(|| tracing::info!("{error}")),
            logged(|| tracing::info!("hello {evil:?}")),
            logged(|| tracing::info!(paths = ?[evil, evil], "hello")),
            logged(|| span().in_scope(|| tracing::info!("hello"))),
        ] {
            let words = line.strip_suffix('\n').unwrap();
            assert!(!words.chars().any(crate::request::is_unseen), "{words:?}");
            assert!(words.contains("forged"), "{words}");
        }
    }

    #[test]
    fn a_value_of_any_length_makes_a_line_that_is_bounded() {
        let long = "é".repeat(1 << 20);
        assert!(logged(|| tracing::info!(user = %long, "hello")).len() < 5000);
        assert!(logged(|| tracing::info!("{long}")).len() < 5000);
    }

    #[test]
    fn a_line_has_its_message_first_and_text_in_quotes() {
        let line = logged(|| tracing::info!(session = "s-1", port = 22, client = %"[::1]:9", "refused"));
        assert!(
            line.ends_with("refused session=\"s-1\" port=22 client=[::1]:9\n"),
            "{line}"
        );
    }
}

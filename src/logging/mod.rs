//! The log for operators, on standard error: how a line looks, and how it gets there.
//!
//! Every value and message of a line counts as text from outside until it has passed [`printable`](crate::request::printable).
//! This room does that for each field, so that no caller can forget it. While the gateway serves, a thread writes the lines, so
//! that logging never blocks: if standard error takes nothing, the oldest lines are kept, later ones are counted, and the count
//! is written as soon as there is room. No decision may depend on this room; the audit log is for that.

mod fields;
mod lines;

pub(crate) use lines::Lines;

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

/// Logs go to standard error from now on; `RUST_LOG` replaces the filter, `NO_COLOR` and a pipe take the colour. With `lines`
/// they go there by a thread, and so does what a panic says.
pub(crate) fn start(filter: &str, lines: Option<&Lines>) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let writer = match lines {
        Some(lines) => BoxMakeWriter::new(lines.clone()),
        None => BoxMakeWriter::new(io::stderr),
    };
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .fmt_fields(fields::Printable)
        .with_writer(writer)
        .with_ansi(colour)
        .init();
    if lines.is_some() {
        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string).unwrap_or_default();
            let words = panic.payload_as_str().unwrap_or("no message");
            tracing::error!(
                place,
                words,
                "internal error: a task of the gateway panicked: please report it"
            );
        }));
    }
}

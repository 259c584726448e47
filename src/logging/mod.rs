//! The log for operators, on standard error: how a line looks, and how it gets there.
//!
//! Every value and message of a line counts as text from outside until it has passed [`printable`](crate::request::printable).
//! This room does that for each field, so that no caller can forget it. While the gateway serves, a thread writes the lines, so
//! that logging never blocks: if standard error takes nothing, the oldest lines are kept, later ones are counted, and the count
//! is written as soon as there is room. No decision may depend on this room; the audit log is for that.

mod fields;
mod filter;
mod json;
mod lines;

pub(crate) use filter::{Filter, WrongFilter};
pub(crate) use lines::Lines;

use std::io::{self, IsTerminal};
use std::sync::{Mutex, OnceLock, PoisonError};

use clap::ValueEnum;
use tracing_subscriber::fmt::writer::BoxMakeWriter;
use tracing_subscriber::layer::{Layered, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, reload};

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object on each line.
    Json,
}

/// Another layer that gets the lines.
pub(crate) type Also = Box<dyn Layer<Written> + Send + Sync>;
type Written = Layered<Lay<Filtering>, Filtering>;
type Filtering = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Lay<S> = Box<dyn Layer<S> + Send + Sync>;

/// The filter in force, and the way to replace it.
struct Filtered {
    handle: reload::Handle<EnvFilter, Registry>,
    filter: Mutex<Filter>,
}

static FILTERED: OnceLock<Filtered> = OnceLock::new();

/// Logs go to standard error from now on. `asked` comes before `RUST_LOG`, and that before `default`; `NO_COLOR` and a pipe take the
/// colour. With `lines` they go there by a thread, and so does what a panic says.
pub(crate) fn start(default: &str, asked: Option<Filter>, format: Format, lines: Option<&Lines>, also: Option<Also>) {
    let variable = || {
        std::env::var("RUST_LOG")
            .ok()
            .filter(|text| EnvFilter::try_new(text).is_ok())
    };
    let known = || variable().unwrap_or_else(|| default.to_owned());
    let (filter, meant) = match asked {
        Some(filter) => (filter.clone(), filter.meant()),
        None => (Filter::known(known()), EnvFilter::new(known())),
    };
    let (filtering, handle) = reload::Layer::new(meant);
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let writer = match lines {
        Some(lines) => BoxMakeWriter::new(lines.clone()),
        None => BoxMakeWriter::new(io::stderr),
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = match format {
        Format::Text => layer.fmt_fields(fields::Printable).with_ansi(colour).boxed(),
        Format::Json => layer.event_format(json::Json).with_ansi(false).boxed(),
    };
    subscriber(filtering, layer, also).init();
    let filter = Mutex::new(filter);
    let _ = FILTERED.set(Filtered { handle, filter });
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

/// What takes the lines. `also` must be the outermost layer. Below the writer, an absent layer hides that the filter is `off`; then
/// libraries that log through `log` format every line before it is dropped, and Cranelift logs at each step.
fn subscriber(
    filtering: reload::Layer<EnvFilter, Registry>,
    layer: Lay<Filtering>,
    also: Option<Also>,
) -> Layered<Option<Also>, Written> {
    tracing_subscriber::registry().with(filtering).with(layer).with(also)
}

/// Which lines are logged now; none where this process logs nothing.
pub(crate) fn filter() -> Option<Filter> {
    let filter = &FILTERED.get()?.filter;
    Some(filter.lock().unwrap_or_else(PoisonError::into_inner).clone())
}

/// Replaces the filter until the process ends.
///
/// # Errors
/// A sentence, where this process logs nothing.
pub(crate) fn set_filter(filter: Filter) -> Result<(), String> {
    let filtered = FILTERED.get().ok_or("this process has no log")?;
    let mut in_force = filtered.filter.lock().unwrap_or_else(PoisonError::into_inner);
    filtered
        .handle
        .reload(filter.meant())
        .map_err(|error| error.to_string())?;
    *in_force = filter;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use tracing::Subscriber;
    use tracing::level_filters::LevelFilter;
    use tracing_subscriber::{EnvFilter, Layer, reload};

    use super::subscriber;

    #[test]
    fn what_no_filter_lets_through_is_not_even_made() {
        for (filter, most) in [
            ("off", LevelFilter::OFF),
            ("info,russh=off", LevelFilter::INFO),
            ("warn,policy=debug", LevelFilter::DEBUG),
        ] {
            let (filtering, _handle) = reload::Layer::new(EnvFilter::new(filter));
            let layer = tracing_subscriber::fmt::layer().boxed();
            let taken = subscriber(filtering, layer, None);
            assert_eq!(taken.max_level_hint(), Some(most), "{filter}");
        }
    }

    /// What is logged, as bytes.
    #[derive(Clone, Default)]
    pub(super) struct Page(Arc<Mutex<Vec<u8>>>);

    impl Page {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}

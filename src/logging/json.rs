//! A log line as one JSON object: `time`, `level`, `target`, `message` and `fields`.

use std::fmt::{self, Debug};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::fields::MOST;
use crate::request::seen;

/// Writes each event as one object on one line.
pub(super) struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut found = Found::default();
        event.record(&mut found);
        let target = found.target.as_deref().unwrap_or(event.metadata().target());
        let level = event.metadata().level().as_str().to_ascii_lowercase();
        writeln!(writer, "{}", object(&level, target, &found.message, found.fields))
    }
}

/// A line about the log itself.
pub(super) fn missing(count: u64) -> String {
    let fields = Map::from_iter([("lines".to_owned(), count.into())]);
    let words = "lines are missing here: the reader of this stream was too slow";
    format!("{}\n", object("warn", "portreeve::logging", words, fields))
}

fn object(level: &str, target: &str, message: &str, fields: Map<String, Value>) -> Value {
    let time = format!("{:.6}", Timestamp::now());
    json!({ "time": time, "level": level, "target": target, "message": message, "fields": fields })
}

#[derive(Default)]
struct Found {
    message: String,
    fields: Map<String, Value>,
    /// Of a library that logs by other means.
    target: Option<String>,
}

impl Found {
    fn add(&mut self, field: &Field, value: Value) {
        if !field.name().starts_with("log.") {
            self.fields.insert(field.name().to_owned(), value);
        }
    }
}

impl Visit for Found {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let value = seen(value, MOST).into_owned();
        match field.name() {
            "message" => self.message = value,
            "log.target" => self.target = Some(value),
            _ => self.add(field, value.into()),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Page;
    use super::*;

    fn logged(say: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::fmt()
            .event_format(Json)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, say);
        page.text()
    }

    #[test]
    fn a_line_is_one_object_with_its_fields_apart() {
        let evil = "x\n{\"level\":\"error\"}\u{1b}[2J\u{2028}";
        let line =
            logged(|| tracing::warn!(user = evil, %evil, port = 22, ok = true, quoted = ?"a\"b", "hello {evil}"));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let line: Value = serde_json::from_str(&line).unwrap();
        let shown = "x {\"level\":\"error\"} [2J ";
        assert_eq!(
            line,
            json!({
                "time": line["time"], "level": "warn", "target": module_path!(), "message": format!("hello {shown}"),
                "fields": { "user": shown, "evil": shown, "port": 22, "ok": true, "quoted": "\"a\\\"b\"" },
            })
        );
        assert!(line["time"].as_str().unwrap().parse::<Timestamp>().is_ok());
    }

    #[test]
    fn a_value_of_any_length_makes_an_object_that_is_bounded() {
        let long = "é".repeat(1 << 20);
        let line = logged(|| tracing::info!(user = %long, "hello"));
        assert!(line.len() < 5000 && serde_json::from_str::<Value>(&line).is_ok());
    }
}

//! Windows and points in time.

use serde_json::Value;

use super::reader::{Place, Reader, closest, show};
use crate::time::{self, Days, Window};

pub const KEYS: &[&str] = &["days", "from", "to", "zone"];

const DAYS: [&str; 7] = [
    "monday",
    "tuesday",
    "wednesday",
    "thursday",
    "friday",
    "saturday",
    "sunday",
];

/// One window or a list of them.
pub fn windows(value: &Value, place: &Place, reader: &mut Reader) -> Option<Box<[Window]>> {
    let mut windows = Vec::new();
    reader.one_or_more(value, place, |item, place, reader| {
        windows.extend(window(item, place, reader))
    });
    Some(windows.into())
}

/// A point in time, on the clock of the default zone where the text names no other.
pub fn instant(value: &Value, place: &Place, reader: &mut Reader) -> Option<i64> {
    let text = Reader::text(value, place, reader)?;
    let instant = time::instant(&text, &reader.default_zone);
    if instant.is_none() {
        reader.fault(
            place,
            format!(
                "expected a date such as \"2027-01-01\" or a time such as \"2027-01-01T08:00:00Z\", found {}",
                show(value)
            ),
        );
    }
    instant
}

fn window(value: &Value, place: &Place, reader: &mut Reader) -> Option<Window> {
    let object = reader.object(value, place, KEYS, "a window")?;
    let faults = reader.faults.len();
    let days = object.read("days", reader, days);
    let from = object.read("from", reader, minute);
    let to = object.read("to", reader, minute);
    let zone = object
        .read("zone", reader, Reader::zone)
        .unwrap_or_else(|| reader.default_zone.clone());
    if reader.faults.len() > faults {
        return None;
    }
    if days.is_none() && from.is_none() && to.is_none() {
        reader.fault(place, "a window needs `days`, `from` or `to`");
        return None;
    }
    let (from, to) = (from.unwrap_or(0), to.unwrap_or(1440));
    if from % 1440 == to % 1440 && to - from != 1440 {
        reader.fault(
            &object.at("to"),
            "the window ends when it begins, leave out `from` and `to` for the whole day",
        );
        return None;
    }
    if from == 1440 {
        reader.fault(&object.at("from"), "a day begins at \"00:00\"");
        return None;
    }
    Some(Window {
        days: days.unwrap_or(Days::ALL),
        from,
        to,
        zone,
    })
}

fn minute(value: &Value, place: &Place, reader: &mut Reader) -> Option<u16> {
    let minute = value.as_str().and_then(time::minute_of_day);
    if minute.is_none() {
        reader.fault(
            place,
            format!("expected a time from \"00:00\" to \"24:00\", found {}", show(value)),
        );
    }
    minute
}

fn days(value: &Value, place: &Place, reader: &mut Reader) -> Option<Days> {
    let mut days = Days::NONE;
    reader.one_or_more(value, place, |item, place, reader| {
        let Some(text) = Reader::text(item, place, reader) else {
            return;
        };
        let (from, to) = text
            .split_once("..")
            .or_else(|| text.split_once('-'))
            .unwrap_or((&text, &text));
        match (day(from), day(to)) {
            (Some(from), Some(to)) => days.add(from, to),
            (None, _) => unknown_day(from, place, reader),
            (_, None) => unknown_day(to, place, reader),
        }
    });
    Some(days)
}

/// `mon`, `Monday`, and what lies between.
fn day(text: &str) -> Option<u8> {
    let text = text.trim().to_ascii_lowercase();
    let number = DAYS.iter().position(|day| text.len() >= 3 && day.starts_with(&text))?;
    u8::try_from(number).ok()
}

fn unknown_day(text: &str, place: &Place, reader: &mut Reader) {
    let near = closest(text, DAYS.into_iter()).map_or_else(String::new, |near| format!(", did you mean `{near}`?"));
    let message = if near.is_empty() {
        ", write `mon` to `sun`, or a range such as `mon-fri`".into()
    } else {
        near
    };
    reader.fault(place, format!("unknown day `{text}`{message}"));
}

//! A fact as one line of JSON, for the audit log and all other readers.

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::printable::Printable;
use super::{Event, Subject};

/// One line. Unknown facts are absent.
#[derive(Debug, Serialize)]
struct Line<'a> {
    v: u8,
    #[serde(serialize_with = "micros")]
    time: Timestamp,
    #[serde(flatten)]
    subject: &'a Subject,
    #[serde(flatten)]
    event: &'a Event,
}

/// The line, with its end.
pub(super) fn line(subject: &Subject, event: &Event) -> serde_json::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(USUAL);
    let mut serializer = serde_json::Serializer::with_formatter(&mut line, Printable::default());
    let fact = Line {
        v: 1,
        time: Timestamp::now(),
        subject,
        event,
    };
    fact.serialize(&mut serializer)?;
    line.push(b'\n');
    Ok(line)
}

fn micros<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// Bytes of most lines.
const USUAL: usize = 1024;

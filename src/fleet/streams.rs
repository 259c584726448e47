//! Streams from all gateways to one of them, whose reader follows what happens.
//!
//! A stream is on Redis only while it is read: each read renews its end, and a gateway that publishes to one that has ended is told
//! so and stops. It holds few entries that are not read yet. A gateway that finds it full waits, and what it cannot wait with it
//! counts: nothing is dropped on Redis. So a slow reader costs Redis a bounded number of bytes, and other readers nothing.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::Value;
use tokio::sync::watch;
use ulid::Ulid;

use super::link::{Link, Unavailable};
use super::orders::{MOST_BYTES, PATIENCE};
use super::scripts::{BEGIN, PUBLISH, READ};

/// The streams of one fleet, as this gateway takes part in them.
pub(crate) struct Streams {
    link: Arc<Link>,
    /// What each reader wants of this gateway.
    wishes: Mutex<HashMap<Ulid, watch::Sender<Vec<u8>>>>,
}

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Published {
    /// It will be read.
    Taken,
    /// The reader is slow: try again later.
    Full,
    /// Nobody reads any more.
    Ended,
}

/// An entry of a stream, by the name that Redis gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    millis: u64,
    number: u64,
}

/// A reader's place in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bookmark {
    pub(crate) stream: Ulid,
    pub(crate) entry: Entry,
}

/// Whether a reader's wish is new here.
pub(crate) enum Wish {
    /// It is: publish until the sender is gone.
    New(watch::Receiver<Vec<u8>>),
    /// Who publishes to that reader was told.
    Told,
    /// This gateway publishes to as many readers as it can.
    TooMany,
}

impl Streams {
    pub(super) fn new(link: Arc<Link>) -> Self {
        Self {
            link,
            wishes: Mutex::default(),
        }
    }

    /// Begins a stream, and gives the place before its first entry.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn begin(&self) -> Result<Bookmark, Unavailable> {
        let stream = Ulid::new();
        let keys = [key(stream)];
        let begun = self.link.run_within(PATIENCE, &BEGIN, &keys, &[LEASE_MILLIS]);
        let entry = text(begun.await?).and_then(|entry| entry.parse().ok());
        let entry = entry.ok_or_else(|| self.link.odd("begin"))?;
        Ok(Bookmark { stream, entry })
    }

    /// The entries after a place, some at once, and renews the end of the stream. What is before `done` is not asked for again. None
    /// if the stream, or the entry at that place, is gone: then some may have been missed.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn read(
        &self,
        after: Bookmark,
        done: Entry,
    ) -> Result<Option<Vec<(Bookmark, Vec<u8>)>>, Unavailable> {
        let stream = after.stream;
        let arguments = [
            after.entry.to_string(),
            done.to_string(),
            LEASE_MILLIS.to_owned(),
            AT_ONCE.to_string(),
        ];
        let keys = [key(stream)];
        let read = self.link.run_within(PATIENCE, &READ, &keys, &arguments);
        let values = match read.await? {
            Value::Nil => return Ok(None),
            Value::Array(values) => values,
            _ => return Err(self.link.odd("read")),
        };
        let mut values = values.into_iter().take(2 * AT_ONCE);
        let mut found = Vec::new();
        while let (Some(entry), Some(value)) = (values.next(), values.next()) {
            let Some(entry) = text(entry).and_then(|entry| entry.parse().ok()) else {
                return Err(self.link.odd("read"));
            };
            let bytes = match value {
                Value::BulkString(bytes) if bytes.len() <= MOST_BYTES => bytes,
                _ => Vec::new(),
            };
            found.push((Bookmark { stream, entry }, bytes));
        }
        Ok(Some(found))
    }

    /// Publishes an entry. An empty one is not published: it asks whether the stream is still read.
    ///
    /// # Errors
    /// If Redis does not answer. The entry may have been published.
    pub(crate) async fn publish(&self, stream: Ulid, entry: &[u8]) -> Result<Published, Unavailable> {
        let (keys, arguments) = ([key(stream)], [entry]);
        let published = self.link.run_within(PATIENCE, &PUBLISH, &keys, &arguments);
        match published.await? {
            Value::Int(1) => Ok(Published::Taken),
            Value::Int(0) => Ok(Published::Full),
            Value::Int(-1) => Ok(Published::Ended),
            _ => Err(self.link.odd("publish")),
        }
    }

    /// Takes the wish of a reader.
    pub(crate) fn wish(&self, stream: Ulid, wish: Vec<u8>) -> Wish {
        let mut wishes = self.wishes();
        if let Some(known) = wishes.get(&stream) {
            known.send_replace(wish);
            return Wish::Told;
        }
        if wishes.len() >= MOST_READERS {
            return Wish::TooMany;
        }
        let (sender, receiver) = watch::channel(wish);
        wishes.insert(stream, sender);
        Wish::New(receiver)
    }

    /// Forgets a reader who is gone.
    pub(crate) fn forget(&self, stream: Ulid) {
        self.wishes().remove(&stream);
    }

    /// Forgets all readers: whoever publishes to them ends.
    pub(super) fn end(&self) {
        self.wishes().clear();
    }

    fn wishes(&self) -> MutexGuard<'_, HashMap<Ulid, watch::Sender<Vec<u8>>>> {
        self.wishes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.millis, self.number)
    }
}

impl FromStr for Entry {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (millis, number) = text.split_once('-').ok_or(())?;
        Ok(Self {
            millis: millis.parse().map_err(drop)?,
            number: number.parse().map_err(drop)?,
        })
    }
}

impl fmt::Display for Bookmark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.stream, self.entry)
    }
}

impl FromStr for Bookmark {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (stream, entry) = text.split_once('-').ok_or(())?;
        Ok(Self {
            stream: stream.parse().map_err(drop)?,
            entry: entry.parse()?,
        })
    }
}

fn key(stream: Ulid) -> String {
    format!("portreeve:{{events:{stream}}}")
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// How long a stream lasts after the last read.
const LEASE_MILLIS: &str = "30000";
/// Entries of one read.
pub(crate) const AT_ONCE: usize = 16;
/// Readers to whom this gateway publishes.
const MOST_READERS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bookmark_is_read_as_it_is_written_and_nothing_else_is() {
        let text = "01KB4X3Q7YV0M3T1N8D2R6C9ZA-1764352800000-7";
        assert_eq!(
            text.parse::<Bookmark>().map(|mark| mark.to_string()),
            Ok(text.to_owned())
        );
        for wrong in [
            "",
            "-",
            "7-1",
            "01KB4X3Q7YV0M3T1N8D2R6C9ZA-1",
            "x-1-1",
            "01KB4X3Q7YV0M3T1N8D2R6C9ZA-+-1",
            "01KB4X3Q7YV0M3T1N8D2R6C9ZA-1-1-1",
        ] {
            assert!(wrong.parse::<Bookmark>().is_err(), "{wrong}");
        }
    }
}

//! The stream for administrators: lines as they happen, and recent lines for readers that reconnect.
//!
//! All readers share one ring. A reader is only a position in it, so a slow reader costs nothing: lines that the ring no longer has
//! are counted, and the reader is told how many it missed.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::Notify;

use super::{Event, Subject};
use crate::request::{Action, Endpoint};

/// The stream. Cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Stream>);

struct Stream {
    /// Tells the stream of one run of the gateway from that of the next.
    run: i64,
    ring: Mutex<Ring>,
    more: Notify,
}

#[derive(Default)]
struct Ring {
    facts: VecDeque<Arc<Fact>>,
    bytes: usize,
    /// The number of the first fact that is still there.
    first: u64,
}

/// A fact, and what it can be filtered by.
#[derive(Debug)]
pub struct Fact {
    /// Where it is in the stream: the `id` of a server-sent event.
    pub place: Place,
    /// The audit log's `event`.
    pub event: &'static str,
    /// Whom it is about.
    pub subject: Subject,
    /// Connect, listen or accept.
    pub action: Option<Action>,
    /// Where it was to go, and where it goes.
    pub targets: Vec<Endpoint>,
    /// The configured name of the policy.
    pub plugin: Option<String>,
    /// The audit log's line, without its end.
    pub line: String,
}

/// A place in the stream: the run of the gateway, and the number of the fact in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    run: i64,
    number: u64,
}

/// A reader of the stream.
pub struct Reading {
    stream: Live,
    next: u64,
}

/// So many facts are gone that this reader has not seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed(pub u64);

impl Default for Live {
    fn default() -> Self {
        Self(Arc::new(Stream {
            run: Timestamp::now().as_microsecond(),
            ring: Mutex::default(),
            more: Notify::new(),
        }))
    }
}

impl Live {
    pub(super) fn hear(&self, subject: &Subject, event: &Event, line: &[u8]) {
        let Ok(line) = String::from_utf8(line.trim_ascii_end().to_vec()) else {
            return;
        };
        let about = event.about();
        let mut ring = self.ring();
        let place = Place {
            run: self.0.run,
            number: ring.first + ring.facts.len() as u64,
        };
        ring.push(Fact {
            place,
            event: event.name(),
            subject: subject.clone(),
            action: about.action,
            targets: about.targets,
            plugin: about.plugin,
            line,
        });
        drop(ring);
        self.0.more.notify_waiters();
    }

    /// Reads what happens from now on, or what happened after a place, as far as it is still there. What a run of the gateway
    /// before this one said is not: then it begins with the first that is.
    #[must_use]
    pub fn read(&self, after: Option<Place>) -> Reading {
        let ring = self.ring();
        let end = ring.first + ring.facts.len() as u64;
        let next = match after {
            None => end,
            Some(place) if place.run == self.0.run => place.number.saturating_add(1).min(end),
            Some(_) => ring.first,
        };
        drop(ring);
        Reading {
            stream: self.clone(),
            next,
        }
    }

    fn ring(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, fact: Fact) {
        self.bytes += fact.line.len();
        self.facts.push_back(Arc::new(fact));
        while self.facts.len() > MOST || self.bytes > MOST_BYTES {
            let Some(gone) = self.facts.pop_front() else {
                return;
            };
            self.bytes -= gone.line.len();
            self.first += 1;
        }
    }
}

impl Reading {
    /// The next facts, at least one. Cancel-safe.
    ///
    /// # Errors
    /// How many were missed; what follows begins after those.
    pub async fn next(&mut self) -> Result<Vec<Arc<Fact>>, Missed> {
        loop {
            let stream = self.stream.clone();
            let more = stream.0.more.notified();
            tokio::pin!(more);
            more.as_mut().enable();
            if let Some(found) = self.found() {
                return found;
            }
            more.await;
        }
    }

    fn found(&mut self) -> Option<Result<Vec<Arc<Fact>>, Missed>> {
        let stream = self.stream.clone();
        let ring = stream.ring();
        let missed = ring.first.saturating_sub(self.next);
        if missed > 0 {
            self.next = ring.first;
            return Some(Err(Missed(missed)));
        }
        let seen = usize::try_from(self.next - ring.first).unwrap_or(usize::MAX);
        let found: Vec<_> = ring.facts.iter().skip(seen).take(AT_ONCE).cloned().collect();
        self.next += found.len() as u64;
        (!found.is_empty()).then_some(Ok(found))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}", self.run, self.number)
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let place = text.split_once('-').and_then(|(run, number)| {
            Some(Self {
                run: run.parse().ok()?,
                number: number.parse().ok()?,
            })
        });
        place.ok_or_else(|| format!("`{text}` is not an event id: use one from this stream"))
    }
}

/// Facts that are kept for those who come back, and their bytes.
const MOST: usize = 4096;
const MOST_BYTES: usize = 4 << 20;
/// Facts that a reader is given at once.
const AT_ONCE: usize = 256;

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn hear(live: &Live, reason: &str) {
        let event = Event::SessionClosed {
            millis: 0,
            reason: Some(reason.to_owned()),
        };
        live.hear(&Subject::default(), &event, format!("{reason}\n").as_bytes());
    }

    fn lines(reading: &mut Reading) -> Result<Vec<String>, Missed> {
        let facts = reading.next().now_or_never().unwrap_or(Ok(Vec::new()))?;
        Ok(facts.iter().map(|fact| fact.line.clone()).collect())
    }

    #[test]
    fn a_reader_sees_what_happens_after_it_came_in_order() {
        let live = Live::default();
        hear(&live, "before");
        let mut reading = live.read(None);
        assert_eq!(lines(&mut reading), Ok(vec![]));
        hear(&live, "one");
        hear(&live, "two");
        assert_eq!(lines(&mut reading), Ok(vec!["one".to_owned(), "two".to_owned()]));
        assert_eq!(lines(&mut reading), Ok(vec![]));
    }

    #[test]
    fn who_comes_back_gets_what_came_meanwhile_or_is_told_how_many_are_gone() {
        let live = Live::default();
        let mut reading = live.read(None);
        hear(&live, "0");
        let place = reading.next().now_or_never().unwrap().unwrap()[0].place;
        hear(&live, "1");
        let back = || live.read(Some(place.to_string().parse().unwrap()));
        assert_eq!(lines(&mut back()), Ok(vec!["1".to_owned()]));
        for number in 2..MOST + 12 {
            hear(&live, &number.to_string());
        }
        let mut late = back();
        assert_eq!(lines(&mut late), Err(Missed(11)));
        assert_eq!(lines(&mut late).map(|lines| lines[0].clone()), Ok("12".to_owned()));
        // A place that was never given is no place to wait for.
        let ahead = Place {
            number: u64::MAX,
            ..place
        };
        let mut ahead = live.read(Some(ahead));
        hear(&live, "next");
        assert_eq!(lines(&mut ahead), Ok(vec!["next".to_owned()]));
        // Of another run: from the first that is there.
        let other = Place { run: 7, number: 3 };
        assert_eq!(lines(&mut live.read(Some(other))).map(|lines| lines.len()), Ok(AT_ONCE));
    }

    #[test]
    fn the_ring_is_bounded_in_bytes_too() {
        let live = Live::default();
        let long = "x".repeat(MOST_BYTES / 4);
        for _ in 0..20 {
            hear(&live, &long);
        }
        assert!(live.ring().bytes <= MOST_BYTES);
        assert_eq!(live.ring().first, 16);
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken() {
        let live = Live::default();
        let mut reading = live.read(None);
        let waiting = tokio::spawn(async move { reading.next().await.map(|facts| facts.len()) });
        tokio::task::yield_now().await;
        hear(&live, "now");
        assert_eq!(waiting.await.unwrap(), Ok(1));
    }

    #[test]
    fn what_is_no_place_is_said() {
        for text in ["", "7", "7-", "-", "a-b", "7-8-9"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}

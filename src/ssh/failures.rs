//! What clients fail at before they have logged in. The first of a source in a second have lines of their own; the rest of that
//! second has one line, which says how many it stands for. So whoever connects again and again fills no log.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::events::{Event, Events, Subject};
use crate::request::source;

/// The failures of the last second, by source.
#[derive(Default)]
pub(super) struct Failures(Mutex<HashMap<Key, Count>>);

/// Of which source: none for all beyond [`MOST_SOURCES`].
type Key = (Option<IpNet>, Kind);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Negotiation,
    Login,
}

struct Count {
    began: Instant,
    /// That had lines of their own.
    alone: u32,
    /// That have none yet, and the last of them.
    counted: u64,
    last: Option<(Subject, Event)>,
}

/// What is to be done about a failure.
enum Record {
    /// It has a line of its own.
    Alone(Box<(Subject, Event)>),
    /// It is the first that has none: somebody must write the line for it and those that follow.
    Begins,
    /// It has the line of another.
    Joins,
}

impl Failures {
    /// Records one. What is counted is written by one of `tasks`.
    pub(super) fn emit(self: &Arc<Self>, events: &Events, tasks: &TaskTracker, subject: Subject, event: Event) {
        let key = self.key(&subject, &event);
        match self.count(key, Instant::now(), subject, event) {
            Record::Alone(failure) => events.emit(&failure.0, &failure.1),
            Record::Joins => {}
            Record::Begins => match Handle::try_current() {
                Ok(_) => {
                    let (failures, events) = (Arc::clone(self), events.clone());
                    tasks.spawn(async move {
                        sleep(WINDOW).await;
                        failures.write(&events, key);
                    });
                }
                Err(_) => self.write(events, key),
            },
        }
    }

    fn key(&self, subject: &Subject, event: &Event) -> Key {
        let kind = match event {
            Event::NegotiationFailed { .. } => Kind::Negotiation,
            _ => Kind::Login,
        };
        let key = (subject.client.map(|client| source(client.ip())), kind);
        let mut counts = self.lock();
        if counts.len() < MOST_SOURCES || counts.contains_key(&key) {
            return key;
        }
        counts.retain(|_, count| !count.is_over(Instant::now()));
        match counts.len() < MOST_SOURCES {
            true => key,
            false => (None, kind),
        }
    }

    fn count(&self, key: Key, now: Instant, subject: Subject, event: Event) -> Record {
        let mut counts = self.lock();
        let count = counts.entry(key).or_insert_with(|| Count::new(now));
        if count.is_over(now) {
            *count = Count::new(now);
        }
        if count.alone < alone(key.1) && count.counted == 0 {
            count.alone += 1;
            return Record::Alone(Box::new((subject, event)));
        }
        count.counted += 1;
        match count.last.replace((subject, event)) {
            None => Record::Begins,
            Some(_) => Record::Joins,
        }
    }

    fn write(&self, events: &Events, key: Key) {
        let Some(Count { last, counted, .. }) = self.lock().remove(&key) else {
            return;
        };
        let Some((subject, mut event)) = last else { return };
        let times = Some(counted).filter(|counted| *counted > 1);
        if let Event::NegotiationFailed { repeated, .. } | Event::AuthFailed { repeated, .. } = &mut event {
            *repeated = times;
        }
        events.emit(&subject, &event);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Count>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            alone: 0,
            counted: 0,
            last: None,
        }
    }

    fn is_over(&self, now: Instant) -> bool {
        self.counted == 0 && now.saturating_duration_since(self.began) >= WINDOW
    }
}

/// How many of a source have lines of their own in a second. People who mistype, and clients behind one address, stay below.
fn alone(kind: Kind) -> u32 {
    match kind {
        Kind::Negotiation => 5,
        Kind::Login => 20,
    }
}

/// What one line stands for at most.
const WINDOW: Duration = Duration::from_secs(1);
/// Sources that are told apart.
const MOST_SOURCES: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(address: &str) -> (Subject, Event) {
        let event = Event::NegotiationFailed {
            kind: "kex",
            ours: Vec::new(),
            theirs: Vec::new(),
            repeated: None,
        };
        (Subject::from_client(format!("{address}:1").parse().unwrap()), event)
    }

    fn count(failures: &Failures, address: &str, now: Instant) -> &'static str {
        let (subject, event) = failed(address);
        let key = failures.key(&subject, &event);
        match failures.count(key, now, subject, event) {
            Record::Alone(_) => "alone",
            Record::Begins => "begins",
            Record::Joins => "joins",
        }
    }

    #[test]
    fn the_first_of_a_source_stand_alone_and_the_rest_of_the_second_together() {
        let (failures, now) = (Failures::default(), Instant::now());
        // Neighbours are one source.
        for last in 1..=5 {
            assert_eq!(count(&failures, &format!("192.0.2.{last}"), now), "alone");
        }
        assert_eq!(count(&failures, "192.0.2.1", now), "begins");
        assert_eq!(count(&failures, "192.0.2.1", now), "joins");
        assert_eq!(count(&failures, "198.51.100.1", now), "alone");
        // Until the line is written, whatever comes joins.
        assert_eq!(count(&failures, "192.0.2.1", now + WINDOW * 2), "joins");
        assert_eq!(count(&failures, "198.51.100.1", now + WINDOW * 2), "alone");
    }

    #[test]
    fn sources_beyond_the_bound_are_one() {
        let (failures, now) = (Failures::default(), Instant::now());
        let records: Vec<_> = (0..MOST_SOURCES * 2)
            .map(|number| count(&failures, &format!("10.{}.{}.1", number / 256, number % 256), now))
            .collect();
        let of = |record| records.iter().filter(|one| **one == record).count();
        assert_eq!(of("alone"), MOST_SOURCES + 5);
        assert_eq!(of("begins"), 1);
    }
}

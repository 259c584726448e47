//! The events of all gateways of a fleet: each publishes its own to a stream on Redis (`publish.rs`), from which one gateway reads
//! them.
//!
//! What comes from Redis is not trusted: it is bounded, read as JSON, and printed only after it was made printable.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::Event;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep};

use super::everywhere;
use super::filter::Wanted;
use super::routes::{Answer, Failed};
use crate::events::printable_json;
use crate::fleet::{AT_ONCE, Bookmark, Entry, Fleet, name};

/// Reads what all gateways publish, for one administrator.
pub(super) struct Everywhere {
    fleet: Fleet,
    wanted: Wanted,
    /// The last entry that was read.
    at: Bookmark,
    /// What is before this one has been sent to the administrator, and is not asked for again.
    done: Entry,
    gateways: Gateways,
    away: Option<Instant>,
    is_away_told: bool,
    waiting: Waiting,
    _place: OwnedSemaphorePermit,
}

/// What goes to the administrator next.
#[derive(Default)]
struct Waiting(VecDeque<Told>);

/// An event as the administrator gets it.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    kind: String,
    data: String,
    /// A client that reconnects after this event continues from here.
    bookmark: Option<Bookmark>,
}

/// Which gateways publish.
#[derive(Default)]
struct Gateways {
    /// Those that have published something.
    heard: BTreeSet<String>,
    /// Since when one is silent, and when all are asked again.
    silent: Option<(Instant, Instant)>,
    pause: Duration,
    /// What the administrator was told.
    told: Option<[Vec<String>; 2]>,
}

/// What a gateway publishes at once.
#[derive(Deserialize)]
struct Batch {
    gateway: String,
    missed: u64,
    events: Vec<Map<String, Value>>,
}

impl Everywhere {
    /// Goes on after a bookmark, or begins a stream of its own.
    ///
    /// # Errors
    /// If this gateway has no fleet, or Redis does not answer.
    pub(super) async fn begin(
        fleet: &Fleet,
        wanted: Wanted,
        after: Option<Bookmark>,
        place: OwnedSemaphorePermit,
    ) -> Answer<Self> {
        let away = |_| {
            let words = "the other gateways cannot be followed: redis is not reachable";
            Failed::new(StatusCode::SERVICE_UNAVAILABLE, words)
        };
        fleet.counts.look().await.map_err(away)?;
        let at = match after {
            Some(after) => after,
            None => fleet.streams.begin().await.map_err(away)?,
        };
        let wanted = Wanted { fleet: false, ..wanted };
        everywhere::ask_for_events(fleet, at.stream, &wanted)
            .await
            .map_err(away)?;
        Ok(Self {
            fleet: fleet.clone(),
            wanted,
            at,
            done: at.entry,
            gateways: Gateways::default(),
            away: None,
            is_away_told: false,
            waiting: Waiting::default(),
            _place: place,
        })
    }

    /// The next event of any gateway.
    pub(super) async fn next(&mut self) -> Event {
        loop {
            if let Some(told) = self.waiting.0.pop_front() {
                return told.into();
            }
            let is_full = self.read().await;
            self.look_at_gateways().await;
            if !is_full && self.waiting.0.is_empty() {
                sleep(EACH).await;
            }
        }
    }

    /// Reads some entries. Whether there may be more at once.
    async fn read(&mut self) -> bool {
        match self.fleet.streams.read(self.at, self.done).await {
            Ok(Some(entries)) => {
                self.away = None;
                self.is_away_told = false;
                // One read later they have gone out, or wait for the administrator's client.
                self.done = self.at.entry;
                let is_full = entries.len() >= AT_ONCE;
                for (bookmark, entry) in entries {
                    self.at = bookmark;
                    let publisher = self.waiting.take(bookmark, &entry);
                    publisher.into_iter().for_each(|gateway| self.gateways.hears(gateway));
                }
                is_full
            }
            Ok(None) => {
                self.begin_again().await;
                false
            }
            Err(_) => {
                let since = *self.away.get_or_insert_with(Instant::now);
                if !self.is_away_told && since.elapsed() > ANSWERING {
                    self.is_away_told = true;
                    self.interrupted("redis is not reachable");
                }
                false
            }
        }
    }

    /// The stream is gone: Redis has lost it, or this reader was away for too long.
    async fn begin_again(&mut self) {
        let Ok(at) = self.fleet.streams.begin().await else {
            return;
        };
        (self.at, self.done) = (at, at.entry);
        self.gateways = Gateways::default();
        self.interrupted("redis has lost the stream, or it was not read for too long");
        let _ = everywhere::ask_for_events(&self.fleet, at.stream, &self.wanted).await;
    }

    fn interrupted(&mut self, why: &str) {
        self.waiting
            .put("interrupted", json!({ "interrupted": why }).to_string());
    }

    /// Tells the administrator who publishes and who does not, when that changes; and asks those again who do not.
    async fn look_at_gateways(&mut self) {
        let alive = self.fleet.counts.alive();
        if self.gateways.must_ask(&alive, Instant::now()) {
            let _ = everywhere::ask_for_events(&self.fleet, self.at.stream, &self.wanted).await;
        }
        if let Some([following, missing]) = self.gateways.news(&alive, Instant::now()) {
            let data = json!({ "following": following, "missing": missing });
            self.waiting.put("following", data.to_string());
        }
    }
}

impl Waiting {
    /// Takes the events of an entry, and says who published it.
    fn take(&mut self, bookmark: Bookmark, entry: &[u8]) -> Option<String> {
        // The first entry is empty. Entries that cannot be parsed are skipped.
        let Batch {
            gateway,
            missed,
            events,
        } = serde_json::from_slice(entry).ok()?;
        let name = name(&gateway);
        if missed > 0 {
            self.put("missed", json!({ "gateway": name, "missed": missed }).to_string());
        }
        for (kind, data) in events.into_iter().filter_map(|event| shown(event, &name)) {
            self.put(&kind, data);
        }
        // If this entry has no events, the client continues after it from the last event of an earlier one.
        if let Some(last) = self.0.back_mut() {
            last.bookmark = Some(bookmark);
        }
        Some(gateway)
    }

    fn put(&mut self, kind: &str, data: String) {
        self.0.push_back(Told {
            kind: kind.to_owned(),
            data,
            bookmark: None,
        });
    }
}

impl From<Told> for Event {
    /// Each part is set once: the library panics if one is set again.
    fn from(told: Told) -> Self {
        let event = Self::default().event(told.kind).data(told.data);
        match told.bookmark {
            Some(bookmark) => event.id(bookmark.to_string()),
            None => event,
        }
    }
}

impl Gateways {
    fn hears(&mut self, gateway: String) {
        if self.heard.len() < MOST_GATEWAYS {
            self.heard.insert(gateway);
        }
    }

    /// Whether one is silent, and all should be asked again: a gateway that has just started may not have heard the question.
    fn must_ask(&mut self, alive: &BTreeSet<String>, now: Instant) -> bool {
        if alive.is_subset(&self.heard) {
            self.silent = None;
            return false;
        }
        match &mut self.silent {
            Some((_, next)) if *next > now => false,
            Some((_, next)) => {
                self.pause = (2 * self.pause).min(LONGEST_PAUSE);
                *next = now + self.pause;
                true
            }
            None => {
                // The first question is under way, or this is a gateway that is new.
                self.pause = FIRST_PAUSE;
                self.silent = Some((now, now + FIRST_PAUSE));
                self.told.is_some()
            }
        }
    }

    /// Who publishes and who does not, if the administrator was told otherwise. One that is new has some time to answer.
    fn news(&mut self, alive: &BTreeSet<String>, now: Instant) -> Option<[Vec<String>; 2]> {
        if self
            .silent
            .is_some_and(|(since, _)| now.duration_since(since) < ANSWERING)
        {
            return None;
        }
        let names = |is_heard: bool| -> Vec<String> {
            let wanted = alive.iter().filter(|one| self.heard.contains(*one) == is_heard);
            let names: BTreeSet<String> = wanted.map(|one| name(one)).collect();
            names.into_iter().collect()
        };
        let news = [names(true), names(false)];
        if self.told.as_ref() == Some(&news) {
            return None;
        }
        self.told = Some(news.clone());
        Some(news)
    }
}

/// The name of an event and its line, with the name of its gateway; none if it is no event.
fn shown(mut event: Map<String, Value>, gateway: &str) -> Option<(String, String)> {
    let kind = event
        .get("event")
        .and_then(Value::as_str)
        .filter(|kind| is_word(kind))?;
    let kind = kind.to_owned();
    event.insert("gateway".to_owned(), gateway.into());
    Some((kind, printable_json(&event).ok()?))
}

/// As the audit log names its events.
fn is_word(kind: &str) -> bool {
    !kind.is_empty() && kind.len() <= MOST_WORD && kind.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Between two looks at a stream in which nothing was.
const EACH: Duration = Duration::from_millis(50);
/// How long a gateway may take to begin.
const ANSWERING: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const MOST_GATEWAYS: usize = 10_000;
/// Bytes of the name of an event.
const MOST_WORD: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn told(following: &[&str], missing: &[&str]) -> Option<[Vec<String>; 2]> {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Some([names(following), names(missing)])
    }

    #[test]
    fn it_says_who_publishes_and_asks_those_again_who_do_not() {
        let mut gateways = Gateways::default();
        let two = set(&["a/1", "b/1"]);
        let mut now = Instant::now();
        let look = |gateways: &mut Gateways, alive: &BTreeSet<String>, now: Instant| {
            (gateways.must_ask(alive, now), gateways.news(alive, now))
        };
        assert_eq!(
            look(&mut gateways, &two, now),
            (false, None),
            "they have just been asked"
        );
        gateways.hears("a/1".to_owned());
        now += FIRST_PAUSE;
        assert_eq!(look(&mut gateways, &two, now), (true, None), "b may not have heard it");
        now += ANSWERING;
        assert_eq!(look(&mut gateways, &two, now), (true, told(&["a"], &["b"])));
        assert_eq!(look(&mut gateways, &two, now), (false, None), "that was said");
        gateways.hears("b/1".to_owned());
        assert_eq!(look(&mut gateways, &two, now), (false, told(&["a", "b"], &[])));
        // One is replaced: it has a new process, and the same name.
        let three = set(&["a/1", "b/1", "b/2"]);
        assert_eq!(look(&mut gateways, &three, now), (true, None), "it is asked at once");
        gateways.hears("b/2".to_owned());
        assert_eq!(look(&mut gateways, &three, now), (false, None), "all is as it was said");
        let others = set(&["b/2", "c/1"]);
        for _ in 0..20 {
            gateways.must_ask(&others, now);
            now += gateways.pause;
        }
        assert_eq!(gateways.pause, LONGEST_PAUSE, "one that never answers costs little");
        assert_eq!(look(&mut gateways, &set(&["b/2"]), now), (false, told(&["b"], &[])));
    }

    #[test]
    fn an_entry_without_events_moves_the_place_of_those_before_it() {
        let stream = ulid::Ulid::new();
        let place = |entry: u64| -> Bookmark { format!("{stream}-{entry}-0").parse().unwrap() };
        let mut waiting = Waiting::default();
        let one = br#"{"gateway":"a/1","missed":2,"events":[{"event":"tunnel-opened"},{"event":"no word"}]}"#;
        let none = br#"{"gateway":"b/1","missed":0,"events":[]}"#;
        assert_eq!(waiting.take(place(1), none).as_deref(), Some("b/1"));
        assert!(waiting.0.is_empty());
        assert_eq!(waiting.take(place(2), one).as_deref(), Some("a/1"));
        assert_eq!(waiting.take(place(3), none).as_deref(), Some("b/1"));
        assert_eq!(waiting.take(place(4), b""), None, "it began");
        let told: Vec<_> = waiting
            .0
            .iter()
            .map(|told| (told.kind.as_str(), told.bookmark))
            .collect();
        assert_eq!(told, [("missed", None), ("tunnel-opened", Some(place(3)))]);
        waiting.0.into_iter().map(Event::from).for_each(drop);
    }

    #[test]
    fn an_event_is_shown_with_its_gateway_and_printable() {
        let shown = |text: &str| shown(serde_json::from_str(text).unwrap(), "gw-1");
        let told = shown(r#"{"event":"tunnel-opened","gateway":"other","user":"a\u001b\u009b\nb"}"#).unwrap();
        assert_eq!(told.0, "tunnel-opened");
        assert_eq!(told.1, r#"{"event":"tunnel-opened","gateway":"gw-1","user":"a   b"}"#);
        for wrong in ["{}", r#"{"event":7}"#, r#"{"event":"a\nb"}"#] {
            assert_eq!(shown(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_words_are_names_of_events() {
        assert!(is_word("tunnel-opened"));
        for wrong in ["", "a\nb", "A", "a b", "ä", &"a".repeat(65)] {
            assert!(!is_word(wrong), "{wrong}");
        }
    }
}

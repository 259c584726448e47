//! Publishes this gateway's events to a stream on Redis, for an administrator who reads those of all gateways.
//!
//! Nothing is published unless somebody reads. Then there is one task for each reader, which reads the gateway's own ring as a reader
//! of the control socket does: it delays nothing, and what the ring no longer has when Redis or the reader is slow is counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::sleep;
use ulid::Ulid;

use super::events::Followed;
use super::filter::{Filter, Wanted};
use crate::events::{Fact, Live, Missed, Reading};
use crate::fleet::{Fleet, Published, Wish};

/// Publishes what happens here to a reader, if that is new here.
pub(super) fn publish(
    fleet: &Fleet,
    live: &Live,
    stream: Ulid,
    wanted: &Wanted,
) -> Option<impl Future<Output = ()> + use<>> {
    let wish = serde_json::to_vec(wanted).unwrap_or_default();
    match fleet.streams.wish(stream, wish) {
        Wish::New(wishes) => {
            let publisher = Publisher {
                fleet: fleet.clone(),
                stream,
                reading: live.read(None),
                filter: None,
                followed: Followed::default(),
                waiting: VecDeque::new(),
                missed: 0,
            };
            Some(publisher.run(wishes))
        }
        Wish::Told => None,
        Wish::TooMany => {
            tracing::warn!("events are not published to one more reader of all gateways: there are too many");
            None
        }
    }
}

/// Publishes this gateway's events to one reader.
struct Publisher {
    fleet: Fleet,
    stream: Ulid,
    reading: Reading,
    /// None if the reader wants what cannot be wanted.
    filter: Option<Filter>,
    followed: Followed,
    waiting: VecDeque<Arc<Fact>>,
    /// What could not be published.
    missed: u64,
}

impl Publisher {
    /// Until the reader is gone, or this gateway ends.
    async fn run(mut self, mut wishes: watch::Receiver<Vec<u8>>) {
        wishes.mark_changed();
        // An entry without an event says that from here on nothing is left out that is not counted.
        let mut must_greet = false;
        loop {
            match wishes.has_changed() {
                Err(_) => return,
                Ok(false) => {}
                Ok(true) => {
                    let wish = serde_json::from_slice(&wishes.borrow_and_update());
                    self.filter = wish.ok().and_then(|wanted| Filter::new(wanted).ok());
                    must_greet = true;
                }
            }
            if must_greet || self.missed > 0 || !self.waiting.is_empty() {
                let (entry, taken) = self.entry();
                let is_taken = match self.fleet.streams.publish(self.stream, &entry).await {
                    Ok(Published::Taken) => {
                        self.waiting.drain(..taken);
                        self.missed = 0;
                        must_greet = false;
                        true
                    }
                    Ok(Published::Ended) => return,
                    Ok(Published::Full) | Err(_) => false,
                };
                // What happens meanwhile goes with the next entry. What was not taken is not tried again at once.
                if !is_taken || self.waiting.len() < MANY {
                    sleep(EACH).await;
                }
                continue;
            }
            tokio::select! {
                read = self.reading.next() => self.take(read),
                changed = wishes.changed() => match changed {
                    Ok(()) => wishes.mark_changed(),
                    Err(_) => return,
                },
                () = sleep(LOOK) => {
                    if let Ok(Published::Ended) = self.fleet.streams.publish(self.stream, b"").await {
                        return;
                    }
                }
            }
        }
    }

    fn take(&mut self, read: Result<Vec<Arc<Fact>>, Missed>) {
        match (read, &self.filter) {
            (Ok(facts), Some(filter)) => {
                let wanted = facts.into_iter().filter(|fact| self.followed.wants(filter, fact));
                self.waiting.extend(wanted);
            }
            (Ok(_), None) => {}
            (Err(Missed(missed)), _) => self.missed += missed,
        }
    }

    /// What is published next, and how many of the events that wait are in it.
    fn entry(&mut self) -> (Vec<u8>, usize) {
        // Such a line says more than any reader wants.
        let before = self.waiting.len();
        self.waiting.retain(|fact| fact.line.len() <= MOST_LINE);
        self.missed += (before - self.waiting.len()) as u64;
        let (mut bytes, mut taken) = (0, 0);
        for fact in &self.waiting {
            bytes += fact.line.len();
            if taken > 0 && bytes > USUAL_ENTRY {
                break;
            }
            taken += 1;
        }
        let lines: Vec<&str> = self.waiting.iter().take(taken).map(|fact| fact.line.as_str()).collect();
        let gateway = Value::from(self.fleet.counts.gateway());
        let entry = format!(
            "{{\"gateway\":{gateway},\"missed\":{},\"events\":[{}]}}",
            self.missed,
            lines.join(",")
        );
        (entry.into_bytes(), taken)
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.fleet.streams.forget(self.stream);
    }
}

/// Between two entries of few events.
const EACH: Duration = Duration::from_millis(50);
/// How often a gateway on which nothing happens looks whether it is still read.
const LOOK: Duration = Duration::from_secs(10);
/// Events that go without a pause.
const MANY: usize = 32;
/// Bytes of the lines of one entry, if it has more than one. Policies' calls wait for it on the same connection.
const USUAL_ENTRY: usize = 16 << 10;
/// Bytes of a line.
const MOST_LINE: usize = 256 << 10;

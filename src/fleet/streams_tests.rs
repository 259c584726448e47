//! Streams over a real Redis.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::server_tests::Server;
use super::state_tests::configured;
use super::{Bookmark, Fleet, Published, Streams};

/// Streams whose connection is kept.
struct Part {
    streams: Arc<Streams>,
    kept: AbortHandle,
}

impl Part {
    fn of(server: &Server) -> Self {
        let fleet = Fleet::new(&configured(server)).unwrap().unwrap();
        let link = Arc::clone(&fleet.link);
        Self {
            streams: fleet.streams,
            kept: tokio::spawn(async move { link.keep().await }).abort_handle(),
        }
    }

    async fn begin(&self) -> Bookmark {
        loop {
            if let Ok(begun) = self.streams.begin().await {
                return begun;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is read after a place, and the place after it.
    async fn read(&self, after: Bookmark, done: Bookmark) -> Option<(Vec<String>, Bookmark)> {
        let read = self.streams.read(after, done.entry).await.unwrap()?;
        let last = read.last().map_or(after, |(place, _)| *place);
        let texts = read.into_iter().map(|(_, bytes)| String::from_utf8(bytes).unwrap());
        Some((texts.collect(), last))
    }

    async fn publish(&self, begun: Bookmark, entry: &str) -> Published {
        self.streams.publish(begun.stream, entry.as_bytes()).await.unwrap()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kept.abort();
    }
}

#[tokio::test]
async fn a_reader_gets_each_entry_once_and_in_order_and_a_slow_one_stops_who_publishes() {
    let server = Server::start();
    let part = Part::of(&server);
    let begun = part.begin().await;
    assert_eq!(part.read(begun, begun).await.unwrap().0, Vec::<String>::new());
    let mut published = 0;
    while part.publish(begun, &published.to_string()).await == Published::Taken {
        published += 1;
    }
    assert_eq!(part.publish(begun, "more").await, Published::Full);
    assert!(published > 100 && published < 129, "{published}");
    let (mut place, mut done, mut all) = (begun, begun, Vec::new());
    loop {
        let (texts, last) = part.read(place, done).await.unwrap();
        if texts.is_empty() {
            break;
        }
        all.extend(texts);
        (done, place) = (place, last);
    }
    assert_eq!(all, (0..published).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(
        part.publish(begun, "more").await,
        Published::Taken,
        "there is room again"
    );
    // Who comes back after the last entry that was read misses nothing; after one that is gone it cannot be known.
    assert_eq!(part.read(place, place).await.unwrap().0, ["more"]);
    assert!(part.read(begun, begun).await.is_none());
}

#[tokio::test]
async fn a_stream_ends_when_it_is_not_read() {
    let server = Server::start();
    let part = Part::of(&server);
    let begun = part.begin().await;
    let key = format!("portreeve:{{events:{}}}", begun.stream);
    let lasts = || server.cli(&["PTTL", &key]).parse::<i64>().unwrap();
    assert!(lasts() > 0 && lasts() <= 30_000);
    server.cli(&["PEXPIRE", &key, "5000"]);
    assert_eq!(part.publish(begun, "").await, Published::Taken);
    assert_eq!(part.publish(begun, "event").await, Published::Taken);
    assert!(lasts() <= 5000, "only a read puts it off");
    part.read(begun, begun).await.unwrap();
    assert!(lasts() > 5000);
    server.cli(&["DEL", &key]);
    for entry in ["", "event"] {
        assert_eq!(part.publish(begun, entry).await, Published::Ended);
    }
    assert!(part.read(begun, begun).await.is_none());
    assert_eq!(server.cli(&["EXISTS", &key]), "0");
}

//! The one connection to Redis: made again whenever it is lost, and never waited for.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::coop::consume_budget;
use tokio::time::{sleep, timeout};

use super::connect::{CONNECT, Connection, PROBE};
use super::password;
use super::scripts::Script;
use crate::config::RedisServers;
use crate::request::printable;

/// The connection to Redis, which may be there or not.
pub struct Link {
    servers: RedisServers,
    password_file: Option<PathBuf>,
    timeout: Duration,
    connection: ArcSwapOption<Connection>,
    /// Of calls that wait for their answers.
    places: Semaphore,
    /// A call had no answer, so the connection should be probed.
    trouble: Notify,
    /// An answer that ends the connection.
    over: Mutex<Option<String>>,
    condition: watch::Sender<Condition>,
    /// Redis is there and refuses what is asked.
    refuses: AtomicBool,
    counters: [AtomicU64; Outcome::ALL.len()],
    /// How often it was connected.
    connected: AtomicU64,
}

/// Whether Redis is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has not been tried yet.
    Unknown,
    /// It is. The number grows with every connection.
    Connected(u64),
    /// It is not, in words.
    Away(String),
}

impl Condition {
    /// Whether it is there.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected(_))
    }
}

/// There is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// What became of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Answered.
    Ok,
    /// No answer in time.
    TimedOut,
    /// There was no connection.
    Away,
    /// Too many others were waiting.
    Full,
    /// Redis refused it, or the connection broke.
    Failed,
}

impl Outcome {
    pub(crate) const ALL: [Self; 5] = [Self::Ok, Self::TimedOut, Self::Away, Self::Full, Self::Failed];

    /// The word of the metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::TimedOut => "timed-out",
            Self::Away => "away",
            Self::Full => "full",
            Self::Failed => "failed",
        }
    }
}

impl Link {
    /// Nothing connected yet; [`Link::keep`] does that.
    pub(super) fn new(servers: &RedisServers, password_file: Option<PathBuf>, timeout: Duration) -> Self {
        Self {
            servers: servers.clone(),
            password_file,
            timeout,
            connection: ArcSwapOption::empty(),
            places: Semaphore::new(MOST_CALLS),
            trouble: Notify::new(),
            over: Mutex::default(),
            condition: watch::Sender::new(Condition::Unknown),
            refuses: AtomicBool::new(false),
            counters: Default::default(),
            connected: AtomicU64::new(0),
        }
    }

    /// Runs a script and waits for its answer, but no longer than a call may take.
    ///
    /// # Errors
    /// If there is none. What was asked for may have been done.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[impl AsRef<str>],
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Value, Unavailable> {
        self.run_within(self.timeout, script, keys, arguments).await
    }

    /// The same with a deadline of its own, for what no decision waits for.
    ///
    /// # Errors
    /// As [`Link::run`].
    pub(super) async fn run_within(
        &self,
        patience: Duration,
        script: &Script,
        keys: &[impl AsRef<str>],
        arguments: &[impl AsRef<[u8]>],
    ) -> Result<Value, Unavailable> {
        // Without a connection nothing is waited for. Who asks again and again would keep a thread from everything else, of
        // which connecting again is part.
        consume_budget().await;
        let Ok(_place) = self.places.try_acquire() else {
            return Err(self.count(Outcome::Full));
        };
        let Some(connection) = self.connection.load_full() else {
            return Err(self.count(Outcome::Away));
        };
        match timeout(patience, connection.run(script, keys, arguments)).await {
            Ok(Ok(value)) => {
                if self.refuses.load(Ordering::Relaxed) && self.refuses.swap(false, Ordering::Relaxed) {
                    tracing::info!("redis does what it is asked again");
                }
                self.count(Outcome::Ok);
                Ok(value)
            }
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => {
                self.trouble.notify_one();
                Err(self.count(Outcome::TimedOut))
            }
        }
    }

    fn failed(&self, error: &RedisError) -> Unavailable {
        let words = words(error);
        let ends = match error.kind() {
            // The server is no longer the one that takes changes, or is not ready.
            ErrorKind::Server(kind) => matches!(
                kind,
                ServerErrorKind::ReadOnly | ServerErrorKind::MasterDown | ServerErrorKind::BusyLoading
            ),
            _ => error.is_unrecoverable_error() || error.is_io_error(),
        };
        if ends {
            *self.over.lock().unwrap_or_else(PoisonError::into_inner) = Some(words);
            self.trouble.notify_one();
        } else if !self.refuses.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                error = words,
                "redis refuses what it is asked: policies get `unavailable`"
            );
        }
        self.count(Outcome::Failed)
    }

    /// An answer that no script gives.
    pub(super) fn odd(&self, call: &str) -> Unavailable {
        if !self.refuses.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                call,
                "redis gives an answer of another kind: policies get `unavailable`"
            );
        }
        self.count(Outcome::Failed)
    }

    fn count(&self, outcome: Outcome) -> Unavailable {
        if let Some(counter) = self.counters.get(outcome as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Unavailable
    }

    /// What became of all calls so far.
    pub fn outcomes(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counted = self.counters.iter().map(|counter| counter.load(Ordering::Relaxed));
        Outcome::ALL.into_iter().map(Outcome::as_str).zip(counted)
    }

    /// How often it was connected.
    pub(crate) fn connections(&self) -> u64 {
        self.connected.load(Ordering::Relaxed)
    }

    /// Whether Redis is there.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition.borrow().clone()
    }

    /// Whether Redis refuses what it is asked, although it is there.
    pub(crate) fn is_refused(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Tells of every change.
    pub(super) fn conditions(&self) -> watch::Receiver<Condition> {
        self.condition.subscribe()
    }

    /// Connects, and again whenever the connection is lost; for ever.
    pub(super) async fn keep(&self) {
        let mut pause = Backoff::default();
        loop {
            let why = match self.connect().await {
                Ok(connection) => {
                    pause = Backoff::default();
                    let connection = Arc::new(connection);
                    self.connection.store(Some(Arc::clone(&connection)));
                    let number = self.connected.fetch_add(1, Ordering::Relaxed) + 1;
                    self.became(Condition::Connected(number));
                    let why = self.watch(&connection).await;
                    self.connection.store(None);
                    why
                }
                Err(why) => why,
            };
            self.became(Condition::Away(why));
            sleep(pause.next()).await;
        }
    }

    async fn connect(&self) -> Result<Connection, String> {
        *self.over.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // Read each time, so that it can be changed.
        let password = match self.password_file.clone() {
            Some(path) => {
                let read = tokio::task::spawn_blocking(move || password(&path)).await;
                Some(read.map_err(|error| error.to_string())??)
            }
            None => None,
        };
        let opened = Connection::open(&self.servers, password.as_deref(), self.timeout);
        match timeout(2 * CONNECT, opened).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(words(&error)),
            Err(_) => Err("connecting timed out".to_owned()),
        }
    }

    /// Looks now and then, and when a call had no answer, whether Redis still answers. Returns why the connection is over.
    async fn watch(&self, connection: &Connection) -> String {
        loop {
            tokio::select! {
                () = self.trouble.notified() => {}
                () = sleep(LOOK) => {}
            }
            if let Some(words) = self.over.lock().unwrap_or_else(PoisonError::into_inner).take() {
                return words;
            }
            match timeout(PROBE.max(2 * self.timeout), connection.probe()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return words(&error),
                Err(_) => return "it does not answer in time".to_owned(),
            }
        }
    }

    /// One line for each change.
    fn became(&self, now: Condition) {
        let before = self.condition.send_replace(now.clone());
        let redis = &self.servers;
        match (&before, &now) {
            (Condition::Connected(_), Condition::Connected(_)) => {}
            (_, Condition::Connected(_)) => tracing::info!(%redis, "redis is reachable"),
            (Condition::Away(_), Condition::Away(why)) => tracing::debug!(%redis, why, "redis is still away"),
            (_, Condition::Away(why)) => tracing::warn!(
                %redis,
                why,
                "redis is not reachable: policies get `unavailable` from `state`, and counts are this gateway's own"
            ),
            (_, Condition::Unknown) => {}
        }
    }
}

/// What a server says is its own, so it is cut and cleaned.
fn words(error: &RedisError) -> String {
    printable(&error.to_string(), MOST_WORDS)
}

/// How long until the next try: twice as long each time, each a part at random, so that gateways do not all come at once.
#[derive(Default)]
struct Backoff(u32);

impl Backoff {
    fn next(&mut self) -> Duration {
        let longest = (FIRST_PAUSE * 2_u32.pow(self.0)).min(LONGEST_PAUSE);
        self.0 = (self.0 + 1).min(10);
        let mut byte = [0];
        // Without randomness it is as long as it may be.
        let share = getrandom::fill(&mut byte).map_or(u8::MAX, |()| byte[0]);
        longest / 2 + longest / 2 * u32::from(share) / 255
    }
}

/// Calls that wait for their answers at once, of all policies: more than decisions can be under way.
const MOST_CALLS: usize = 1024;
/// How often a connection is probed while all calls are answered.
const LOOK: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
const MOST_WORDS: usize = 256;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::config::parse;
    use crate::fleet::Fleet;

    #[tokio::test]
    async fn calls_without_a_connection_let_others_run() {
        let text = "[fleet]\nname = \"gw\"\nredis = \"redis+unix:///run/none/redis.sock\"\n\
                    [[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"";
        let config = parse(text, std::path::Path::new("/portreeve.toml")).unwrap();
        let fleet = Fleet::new(&config.fleet).unwrap().unwrap();
        let has_run = Arc::new(AtomicBool::new(false));
        let other = Arc::clone(&has_run);
        tokio::spawn(async move { other.store(true, Ordering::Relaxed) });
        let stream = ulid::Ulid::new();
        for _ in 0..1000 {
            assert!(fleet.streams.publish(stream, b"").await.is_err());
        }
        assert!(
            has_run.load(Ordering::Relaxed),
            "a thousand calls gave no turn to anybody else"
        );
    }

    #[test]
    fn pauses_grow_to_two_seconds_and_differ() {
        let pauses = || {
            let mut backoff = Backoff::default();
            std::iter::from_fn(move || Some(backoff.next()))
                .take(20)
                .collect::<Vec<_>>()
        };
        for (number, pause) in pauses().into_iter().enumerate() {
            let longest = LONGEST_PAUSE.min(FIRST_PAUSE * 2_u32.pow(u32::try_from(number).unwrap().min(10)));
            assert!(pause >= longest / 2 && pause <= longest, "{number}: {pause:?}");
        }
        assert_ne!(pauses(), pauses());
    }
}

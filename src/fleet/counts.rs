//! What is open over all gateways, by user.
//!
//! Each gateway notes for each user what it has open, in a hash with a field for each gateway, whenever that changes: a task of its
//! own writes, and nothing that carries bytes waits for it. That the gateway is alive is a lease, one for all users: what a gateway
//! noted whose lease has ended does not count, and the first gateway that sees it removes it. So a gateway costs Redis a call for each change
//! and a few for each lease, however many users it has.
//!
//! Invariant: what this gateway has open is counted here, not read from Redis. Without Redis its own counts are the counts.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use redis::Value;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};
use ulid::Ulid;

use super::keys;
use super::link::{Condition, Link, Unavailable};
use super::scripts::{FORGET, LEAVE, NOTE, OPEN, RENEW};
use crate::policy::CountsElsewhere;

/// What a user has open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// Tunnels and listeners.
    pub(crate) forwards: u64,
    pub(crate) sessions: u64,
}

/// What this gateway has open of a user.
pub(crate) type Own = Box<dyn Fn(&str) -> Open + Send + Sync>;

/// The counts of all gateways.
pub(crate) struct Counts {
    link: Arc<Link>,
    /// This process, among all that ever took part.
    gateway: String,
    lease: Duration,
    own: OnceLock<Own>,
    /// The number of the last note. What is noted is read under this lock, so a later number says what is true later.
    noted: Mutex<u64>,
    changes: Mutex<Changes>,
    changed: Notify,
    gateways: Mutex<Gateways>,
}

/// What is still to be written.
#[derive(Default)]
struct Changes {
    users: HashSet<String>,
    /// Users of whom Redis may know something.
    known: HashSet<String>,
    /// What gateways noted that are gone.
    gone: HashMap<String, HashSet<String>>,
}

/// Which gateways there are.
#[derive(Default)]
struct Gateways {
    alive: HashSet<String>,
    /// Those without a lease, with the number of the look at which they were first missed.
    missed: HashMap<String, u64>,
    looks: u64,
}

impl Gateways {
    /// Whether what it noted counts. One that is new since the last look does.
    fn is_alive(&mut self, gateway: &str) -> bool {
        if self.alive.contains(gateway) {
            return true;
        }
        if self.missed.len() >= MOST_MISSED {
            self.missed.clear();
        }
        *self.missed.entry(gateway.to_owned()).or_insert(self.looks) == self.looks
    }

    /// Whether it was missed for so long that what it noted can be removed. One that was only cut off has come back before.
    fn is_gone(&self, gateway: &str) -> bool {
        let missed = self.missed.get(gateway);
        missed.is_some_and(|missed| self.looks.saturating_sub(*missed) >= 2 * u64::from(ROUNDS))
    }

    /// Those that have a lease now. Where this gateway has lost its own, others may have lost theirs in the same way: they still
    /// count until the next look.
    fn look(&mut self, alive: HashSet<String>, lost: bool) {
        let looks = self.looks;
        self.looks += 1;
        let missed = if lost { self.looks } else { looks };
        let ended: Vec<_> = self.alive.difference(&alive).cloned().collect();
        self.missed.extend(ended.into_iter().map(|gateway| (gateway, missed)));
        self.missed.retain(|gateway, _| !alive.contains(gateway));
        self.alive = alive;
    }
}

impl Counts {
    pub(super) fn new(link: Arc<Link>, name: &str, lease: Duration) -> Self {
        Self {
            link,
            gateway: format!("{name}/{}", Ulid::new()),
            lease,
            own: OnceLock::new(),
            noted: Mutex::default(),
            changes: Mutex::default(),
            changed: Notify::new(),
            gateways: Mutex::default(),
        }
    }

    /// Says how this gateway counts; once.
    pub(crate) fn counted_by(&self, own: impl Fn(&str) -> Open + Send + Sync + 'static) {
        let _ = self.own.set(Box::new(own));
    }

    /// What this gateway has open of a user has changed. Waits for nothing.
    pub(crate) fn changed(&self, user: &str) {
        let mut changes = lock(&self.changes);
        if !changes.users.contains(user) {
            changes.users.insert(user.to_owned());
            drop(changes);
            self.changed.notify_one();
        }
    }

    /// Whether a user has no more than `most` sessions over all gateways, with those that are counted here already. Of two gateways
    /// that ask at once, the second sees the first one's.
    pub(crate) async fn admits(&self, user: &str, most: usize) -> bool {
        match self.note(user).await {
            Ok(open) => open.sessions <= most as u64,
            Err(Unavailable) => {
                self.changed(user);
                self.own(user).sessions <= most as u64
            }
        }
    }

    fn own(&self, user: &str) -> Open {
        self.own.get().map_or_else(Open::default, |own| own(user))
    }

    /// What a user has open on all gateways.
    async fn open(&self, user: &str) -> Result<Open, Unavailable> {
        let others = self.link.run(&OPEN, &[keys::open(user)], NOTHING).await?;
        Ok(self.added(user, self.own(user), others))
    }

    /// Notes what this gateway has open of a user; what they have open on all.
    async fn note(&self, user: &str) -> Result<Open, Unavailable> {
        lock(&self.changes).known.insert(user.to_owned());
        let (number, own) = {
            let mut noted = lock(&self.noted);
            *noted += 1;
            (*noted, self.own(user))
        };
        let value = match own {
            Open {
                forwards: 0,
                sessions: 0,
            } => String::new(),
            Open { forwards, sessions } => format!("{forwards} {sessions}"),
        };
        let arguments = [
            self.gateway.clone(),
            number.to_string(),
            value,
            KEPT.as_millis().to_string(),
        ];
        let all = self.link.run(&NOTE, &[keys::open(user)], &arguments).await?;
        if self.own(user) != own {
            self.changed(user);
        } else if own == Open::default() {
            lock(&self.changes).known.remove(user);
        }
        Ok(self.added(user, own, all))
    }

    /// This gateway's own, and what others noted that are alive.
    fn added(&self, user: &str, own: Open, all: Value) -> Open {
        let mut sum = own;
        let mut gone = HashSet::new();
        {
            let mut gateways = lock(&self.gateways);
            for (gateway, open) in fields(all).filter(|(gateway, _)| *gateway != self.gateway) {
                if gateways.is_alive(&gateway) {
                    sum.forwards = sum.forwards.saturating_add(open.forwards);
                    sum.sessions = sum.sessions.saturating_add(open.sessions);
                } else if gateways.is_gone(&gateway) {
                    gone.insert(gateway);
                }
            }
        }
        if !gone.is_empty() {
            let mut changes = lock(&self.changes);
            if changes.gone.len() < MOST_MISSED {
                changes.gone.insert(user.to_owned(), gone);
                drop(changes);
                self.changed.notify_one();
            }
        }
        sum
    }

    /// Writes what changes, and renews the lease, for ever.
    pub(crate) async fn keep(&self) {
        let mut rounds = interval(self.lease / ROUNDS);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut conditions = self.link.conditions();
        let mut noted_all = Instant::now();
        loop {
            tokio::select! {
                _ = rounds.tick() => drop(self.renew().await),
                changed = conditions.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // A server that was restarted may know nothing.
                    if conditions.borrow_and_update().is_connected() {
                        let _ = self.renew().await;
                        self.note_all();
                    }
                }
                () = self.changed.notified(), if matches!(self.link.condition(), Condition::Connected(_)) => {
                    self.write().await;
                }
            }
            if noted_all.elapsed() > KEPT / 4 {
                noted_all = Instant::now();
                self.note_all();
            }
        }
    }

    /// This process, among all that ever took part.
    pub(super) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Which gateways there are now, with this one.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(super) async fn look(&self) -> Result<Vec<String>, Unavailable> {
        self.renew().await?;
        Ok(lock(&self.gateways).alive.iter().cloned().collect())
    }

    /// Ends the lease, so that nothing of this gateway counts any more.
    pub(crate) async fn leave(&self) {
        let _ = self
            .link
            .run(&LEAVE, &[keys::GATEWAYS], &[self.gateway.as_bytes()])
            .await;
    }

    async fn renew(&self) -> Result<(), Unavailable> {
        let millis = (self.lease / ROUNDS * (ROUNDS - 1)).as_millis().to_string();
        let arguments = [&self.gateway, &millis];
        let answer = self.link.run(&RENEW, &[keys::GATEWAYS], &arguments).await?;
        let mut words = texts(answer).into_iter();
        let lost = words.next().as_deref() != Some("yes");
        lock(&self.gateways).look(words.collect(), lost);
        // Redis knows nothing any more, or others have taken this gateway for gone.
        if lost {
            self.note_all();
        }
        Ok(())
    }

    fn note_all(&self) {
        let mut changes = lock(&self.changes);
        let known: Vec<_> = changes.known.iter().cloned().collect();
        changes.users.extend(known);
        drop(changes);
        self.changed.notify_one();
    }

    /// Writes what has changed, many users at once. What could not be written stays for later.
    async fn write(&self) {
        let (users, gone) = {
            let mut changes = lock(&self.changes);
            (std::mem::take(&mut changes.users), std::mem::take(&mut changes.gone))
        };
        let users: Vec<_> = users.into_iter().collect();
        let mut failed = false;
        let mut chunks = users.chunks(AT_ONCE);
        for some in chunks.by_ref().take(MOST_CHUNKS) {
            let noted = join_all(some.iter().map(|user| self.note(user))).await;
            let unwritten = some.iter().zip(noted).filter(|(_, noted)| noted.is_err());
            let unwritten: Vec<_> = unwritten.map(|(user, _)| user.clone()).collect();
            failed = !unwritten.is_empty();
            lock(&self.changes).users.extend(unwritten);
            if failed {
                break;
            }
        }
        // The lease has its turn between.
        for some in chunks {
            lock(&self.changes).users.extend(some.iter().cloned());
            self.changed.notify_one();
        }
        for (user, gateways) in gone {
            let gateways: Vec<_> = gateways.into_iter().collect();
            let _ = self.link.run(&FORGET, &[keys::open(&user)], &gateways).await;
        }
        if failed {
            // A slow server is not asked without a pause; one that is away is heard of when it is back.
            tokio::time::sleep(PAUSE).await;
            self.changed.notify_one();
        }
    }
}

impl CountsElsewhere for Counts {
    fn open_forwards<'a>(&'a self, user: &'a str) -> BoxFuture<'a, u32> {
        Box::pin(async move {
            let open = self.open(user).await.unwrap_or_else(|_| self.own(user));
            u32::try_from(open.forwards).unwrap_or(u32::MAX)
        })
    }
}

/// What each gateway noted. What is no note is left out.
fn fields(all: Value) -> impl Iterator<Item = (String, Open)> {
    let mut texts = texts(all).into_iter();
    std::iter::from_fn(move || Some((texts.next()?, texts.next()?))).filter_map(|(gateway, note)| {
        let mut numbers = note.splitn(3, ' ').skip(1).map(str::parse);
        let open = Open {
            forwards: numbers.next()?.ok()?,
            sessions: numbers.next()?.ok()?,
        };
        Some((gateway, open))
    })
}

fn texts(value: Value) -> Vec<String> {
    let Value::Array(values) = value else {
        return Vec::new();
    };
    let text = |value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok().filter(|text| text.len() <= MOST_NAME),
        Value::SimpleString(text) => Some(text),
        _ => None,
    };
    values
        .into_iter()
        .map(|value| text(value).unwrap_or_default())
        .collect()
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

const NOTHING: &[&str] = &[];
/// Rounds of a lease: it is renewed in each. On Redis it is shorter by one round, so that others see its end in time.
const ROUNDS: u32 = 6;
/// How long Redis keeps what a gateway noted of a user; it is noted again four times as often.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// Users that are written at once: under the bound on calls that wait.
const AT_ONCE: usize = 64;
/// So often between two looks at the lease.
const MOST_CHUNKS: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
const MOST_MISSED: usize = 4096;
/// Bytes of the name of a gateway or of a note.
const MOST_NAME: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> HashSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_gateway_counts_until_its_lease_is_missed() {
        let mut gateways = Gateways::default();
        assert!(gateways.is_alive("a"), "new since the last look");
        gateways.look(set(&["a", "b"]), true);
        assert!(gateways.is_alive("a") && gateways.is_alive("b"));
        assert!(gateways.is_alive("c"), "new since the last look");
        gateways.look(set(&["a"]), false);
        assert!(gateways.is_alive("a"));
        assert!(!gateways.is_alive("b"), "its lease has ended");
        assert!(!gateways.is_alive("c"), "it never had one");
        gateways.look(set(&["a", "b"]), false);
        assert!(gateways.is_alive("b"), "it is back");
        gateways.look(set(&["a"]), true);
        assert!(gateways.is_alive("b"), "all leases were lost");
        gateways.look(set(&["a"]), false);
        assert!(!gateways.is_alive("b"), "it did not come back");
        assert!(!gateways.is_gone("b"), "it may still");
        for _ in 0..2 * ROUNDS {
            gateways.look(set(&["a"]), false);
        }
        assert!(gateways.is_gone("b") && !gateways.is_gone("a"));
    }

    #[test]
    fn what_is_no_note_counts_nothing() {
        let bulk = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let all = [
            "a",
            "7 2 1",
            "b",
            "",
            "c",
            "x y z",
            "d",
            "8 3",
            "e",
            "9 18446744073709551615 1",
            "f",
        ];
        let found: Vec<_> = fields(Value::Array(all.iter().map(|text| bulk(text)).collect())).collect();
        let open = |forwards, sessions| Open { forwards, sessions };
        assert_eq!(
            found,
            [("a".to_owned(), open(2, 1)), ("e".to_owned(), open(u64::MAX, 1))]
        );
        assert_eq!(fields(Value::Int(3)).count(), 0);
    }
}

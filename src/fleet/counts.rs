//! What is open over all gateways, by user.
//!
//! Each gateway notes for each user what it has open, in a hash with a field for each gateway, whenever that changes: a task of its
//! own writes, and nothing that carries bytes waits for it. What changes again and again is written now and then, and what has
//! changed back is not. That the gateway is alive is a lease, one for all users: what a gateway noted whose lease has ended does not
//! count, and the first gateway that sees it removes it. So a gateway costs Redis a call for each change and a few for each lease,
//! however many users and gateways there are.
//!
//! Invariant: what this gateway has open is counted here, not read from Redis. Without Redis its own counts are the counts.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use ulid::Ulid;

use super::gateways::{Gateways, MOST_MISSED, ROUNDS};
use super::keys;
use super::link::{Condition, Link, Unavailable};
use super::notes::{Open, fields, first, texts};
use super::scripts::{ADMIT, FORGET, LEAVE, NOTE, OPEN, RENEW};
use super::width::Width;
use crate::policy::CountsElsewhere;

/// What this gateway has open of a user.
type Own = Box<dyn Fn(&str) -> Open + Send + Sync>;

/// The counts of all gateways.
pub struct Counts {
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
    known: HashMap<String, Known>,
    /// What gateways noted that are gone.
    gone: HashMap<String, HashSet<String>>,
}

/// What Redis knows of a user.
#[derive(Clone, Copy, Default)]
struct Known {
    /// The number of the last note whose end is known.
    number: u64,
    /// What it says; none if Redis may have lost it, or never had it.
    open: Option<Open>,
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
    pub fn counted_by(&self, own: impl Fn(&str) -> Open + Send + Sync + 'static) {
        let _ = self.own.set(Box::new(own));
    }

    /// What this gateway has open of a user has changed. Waits for nothing.
    pub fn changed(&self, user: &str) {
        let mut changes = lock(&self.changes);
        if !changes.users.contains(user) {
            changes.users.insert(user.to_owned());
            drop(changes);
            self.changed.notify_one();
        }
    }

    /// Whether a user has no more than `most` sessions over all gateways, with those that are counted here already. Of two gateways
    /// that ask at once, the second sees the first one's.
    ///
    /// Redis decides, and notes no session that is refused.
    pub async fn admits(&self, user: &str, most: usize) -> bool {
        let mut gone = Vec::new();
        loop {
            let Ok((admitted, open, dead)) = self.admit(user, most, &gone).await else {
                self.changed(user);
                return self.own(user).sessions <= most as u64;
            };
            // Gateways that are gone have had the last places: once more, without them.
            if admitted || open.sessions > most as u64 || !gone.is_empty() || dead.is_empty() {
                return admitted;
            }
            gone = dead;
        }
    }

    /// Asks for a session that is counted here already. Whether it is admitted, what the user has open on all gateways with it, and
    /// which gateways of those that noted something do not count.
    async fn admit(&self, user: &str, most: usize, gone: &[String]) -> Result<(bool, Open, Vec<String>), Unavailable> {
        let (number, own) = self.number(user);
        let without = Open {
            sessions: own.sessions.saturating_sub(1),
            ..own
        };
        let mut arguments = self.arguments(number, own);
        arguments.extend([without.note(), own.sessions.to_string(), most.to_string()]);
        arguments.extend_from_slice(gone);
        let answer = self.link.run(&ADMIT, &[keys::open(user)], &arguments).await;
        let (answer, all) = answer.map(first).inspect_err(|_| self.settle(user, number, None))?;
        let admitted = match answer.as_str() {
            "yes" => true,
            "no" => false,
            _ => return Err(self.link.odd("a login")),
        };
        self.confirm(user, number, if admitted { own } else { without });
        let mut dead = Vec::new();
        let open = self.added(user, own, all, &mut dead);
        Ok((admitted, open, dead))
    }

    fn own(&self, user: &str) -> Open {
        self.own.get().map_or_else(Open::default, |own| own(user))
    }

    /// What a user has open on all gateways.
    async fn open(&self, user: &str) -> Result<Open, Unavailable> {
        let others = self.link.run(&OPEN, &[keys::open(user)], NOTHING).await?;
        Ok(self.added(user, self.own(user), texts(others), &mut Vec::new()))
    }

    /// Notes what this gateway has open of a user, unless that is noted.
    async fn note(&self, user: &str) -> Result<(), Unavailable> {
        if self.is_noted(user) {
            return Ok(());
        }
        let (number, own) = self.number(user);
        let arguments = self.arguments(number, own);
        let noted = self
            .link
            .run_within(PATIENCE, &NOTE, &[keys::open(user)], &arguments)
            .await;
        match noted {
            Ok(_) => self.confirm(user, number, own),
            Err(Unavailable) => self.settle(user, number, None),
        }
        noted.map(|_| ())
    }

    /// A new number, and what this gateway has open of a user, which a note with that number says.
    fn number(&self, user: &str) -> (u64, Open) {
        lock(&self.changes).known.entry(user.to_owned()).or_default();
        let mut noted = lock(&self.noted);
        *noted += 1;
        (*noted, self.own(user))
    }

    fn arguments(&self, number: u64, own: Open) -> Vec<String> {
        let kept = KEPT.as_millis().to_string();
        vec![self.gateway.clone(), number.to_string(), own.note(), kept]
    }

    /// Whether the last note says what is true.
    fn is_noted(&self, user: &str) -> bool {
        let own = self.own(user);
        match lock(&self.changes).known.get(user) {
            Some(known) => known.open == Some(own),
            None => own == Open::default(),
        }
    }

    /// Redis has this note, or a later one.
    fn confirm(&self, user: &str, number: u64, noted: Open) {
        self.settle(user, number, Some(noted));
        if self.own(user) != noted {
            self.changed(user);
        } else if noted == Open::default() {
            let mut changes = lock(&self.changes);
            if changes.known.get(user).is_some_and(|known| known.number == number) {
                changes.known.remove(user);
            }
        }
    }

    /// The end of a note: what it says, or none if Redis may have it or not. One with a later number counts more.
    fn settle(&self, user: &str, number: u64, open: Option<Open>) {
        let mut changes = lock(&self.changes);
        let known = changes.known.entry(user.to_owned()).or_default();
        if known.number <= number {
            *known = Known { number, open };
        }
    }

    /// This gateway's own, and what others noted that are alive; those that are not are added to `dead`.
    fn added(&self, user: &str, own: Open, all: Vec<String>, dead: &mut Vec<String>) -> Open {
        let mut sum = own;
        let mut gone = HashSet::new();
        {
            let mut gateways = lock(&self.gateways);
            for (gateway, open) in fields(all).filter(|(gateway, _)| *gateway != self.gateway) {
                if gateways.is_alive(&gateway) {
                    sum.forwards = sum.forwards.saturating_add(open.forwards);
                    sum.sessions = sum.sessions.saturating_add(open.sessions);
                } else {
                    if gateways.is_gone(&gateway) {
                        gone.insert(gateway.clone());
                    }
                    dead.push(gateway);
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
        let mut next = Instant::now();
        let mut width = Width::default();
        loop {
            // In this order: a notice that was taken is acted on.
            let changed = async {
                sleep_until(next).await;
                self.changed.notified().await;
            };
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
                () = changed, if matches!(self.link.condition(), Condition::Connected(_)) => {
                    self.write(&mut width).await;
                    next = Instant::now() + REST;
                }
            }
            if noted_all.elapsed() > KEPT / 4 {
                noted_all = Instant::now();
                self.note_all();
            }
        }
    }

    /// This process, among all that ever took part.
    pub(crate) fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Which gateways there are now, with this one.
    ///
    /// # Errors
    /// If Redis does not answer.
    pub(crate) async fn look(&self) -> Result<Vec<String>, Unavailable> {
        self.renew().await?;
        Ok(lock(&self.gateways).alive.iter().cloned().collect())
    }

    /// Which gateways there were at the last look.
    pub(crate) fn alive(&self) -> BTreeSet<String> {
        lock(&self.gateways).alive.iter().cloned().collect()
    }

    /// Ends the lease, so that nothing of this gateway counts any more.
    pub(crate) async fn leave(&self) {
        let _ = self.link.run(&LEAVE, &keys::GATEWAYS, &[self.gateway.as_bytes()]).await;
    }

    async fn renew(&self) -> Result<(), Unavailable> {
        let millis = (self.lease / ROUNDS * (ROUNDS - 1)).as_millis().to_string();
        let known = lock(&self.gateways).list.clone();
        let arguments = [&self.gateway, &millis, &known];
        let patience = PATIENCE.min(self.lease / ROUNDS);
        let answer = self
            .link
            .run_within(patience, &RENEW, &keys::GATEWAYS, &arguments)
            .await?;
        let mut words = texts(answer).into_iter();
        let lost = words.next().as_deref() != Some("yes");
        let list = words.next().unwrap_or_default();
        {
            let mut gateways = lock(&self.gateways);
            let alive = (list != known).then(|| words.collect());
            gateways.look(alive, lost);
            gateways.list = list;
        }
        // Redis knows nothing any more, or others have taken this gateway for gone.
        if lost {
            self.note_all();
        }
        Ok(())
    }

    fn note_all(&self) {
        let mut changes = lock(&self.changes);
        // Of a note that is still under way nobody knows whether Redis has lost it.
        let number = {
            let mut noted = lock(&self.noted);
            *noted += 1;
            *noted
        };
        let Changes { users, known, .. } = &mut *changes;
        for (user, known) in known {
            *known = Known { number, open: None };
            users.insert(user.clone());
        }
        drop(changes);
        self.changed.notify_one();
    }

    /// Writes what has changed, many users at once. What could not be written stays for later.
    async fn write(&self, width: &mut Width) {
        let (users, gone) = {
            let mut changes = lock(&self.changes);
            (std::mem::take(&mut changes.users), std::mem::take(&mut changes.gone))
        };
        let users: Vec<_> = users.into_iter().collect();
        let mut failed = false;
        let mut left = users.as_slice();
        // The lease has its turn between.
        for _ in 0..MOST_CHUNKS {
            let (some, rest) = left.split_at(width.users().min(left.len()));
            if some.is_empty() {
                break;
            }
            left = rest;
            let began = Instant::now();
            let noted = join_all(some.iter().map(|user| self.note(user))).await;
            width.took(began.elapsed());
            let unwritten = some.iter().zip(noted).filter(|(_, noted)| noted.is_err());
            let unwritten: Vec<_> = unwritten.map(|(user, _)| user.clone()).collect();
            failed = !unwritten.is_empty();
            lock(&self.changes).users.extend(unwritten);
            if failed {
                break;
            }
        }
        if !left.is_empty() {
            lock(&self.changes).users.extend(left.iter().cloned());
            self.changed.notify_one();
        }
        for (user, gateways) in gone {
            let gateways: Vec<_> = gateways.into_iter().collect();
            let _ = self.link.run(&FORGET, &[keys::open(&user)], &gateways).await;
        }
        if failed {
            // A slow server is not asked without a pause; one that is away is heard of when it is back.
            sleep(PAUSE).await;
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

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

const NOTHING: &[&str] = &[];
/// How long Redis keeps what a gateway noted of a user; it is noted again four times as often.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// So often between two looks at the lease.
const MOST_CHUNKS: usize = 16;
const PAUSE: Duration = Duration::from_millis(50);
/// Between two rounds of writing: what changes more often is written as it is then.
const REST: Duration = Duration::from_millis(20);
/// One write or renewal: nobody waits for it, and one that is late is not sent once more.
const PATIENCE: Duration = Duration::from_secs(1);

//! How far the bytes of targets may run ahead of a client.
//!
//! A client's window says what it has room for, not what it should have waiting. A target that is faster than the client
//! fills that window, mostly in the buffers of the connection, and a keystroke of another tunnel waits behind all of it.
//! So while another tunnel of the connection sends small writes, a bulky one keeps no more on its way than the client
//! takes in one round trip, or half more while no queue is seen, as congestion control of the BBR kind does. While it is
//! alone it may fill the window, which costs the least time per byte.
//!
//! What is on its way is the client's full window without what it grants now. Nobody says how large the full window is, but
//! the first grant says up to where the client may be sent, which is the full window and what it grants at once, and later
//! grants say how much that is. Each grant also tells how long its last byte took and how much the client took meanwhile. That
//! speed, times the shortest such time, is what the way holds. Clients grant in steps and do not say what they have taken since
//! the last, so one step more may be on its way. Where they grant in bursts, a byte may have to wait for the next burst, and the
//! way seems to hold less; so the largest of the last four results counts.
//!
//! The first bytes of a tunnel are few, until the first grant has told how large a window may be. If a grant takes too long, the
//! limit doubles, so that no client that grants in another way is waited for in vain.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use tokio::time::timeout;

use super::gate::LITTLE;

/// Of one tunnel.
#[derive(Default)]
pub(in crate::ssh) struct Lead {
    count: Mutex<Count>,
    /// How often the client has granted something.
    grants: AtomicU64,
    /// Of the one who sends: it waits for one thing at a time.
    waker: AtomicWaker,
}

/// The tunnel of a connection that last sent something little.
#[derive(Default)]
pub(in crate::ssh) struct Company(Mutex<Option<(u32, Instant)>>);

struct Count {
    sent: u64,
    /// Of these, what the session was given.
    given: u64,
    /// Bytes on their way: sent, and not granted anew by the client.
    ahead: u64,
    /// The client's full window: an estimate. It may be too large, but not too small: bytes would seem to arrive at once, and
    /// the way to hold nothing.
    window: u64,
    /// The full window is not smaller.
    window_at_least: u64,
    /// Up to which byte the client may be sent, as it granted last.
    edge: u64,
    first: Option<First>,
    /// What may be on its way beside others.
    limit: u64,
    /// Where less would never be granted anew.
    least: u64,
    /// The shortest time from sending a byte to the grant that shows that it was taken.
    shortest: Duration,
    /// The least that the client granted at once, after the first time.
    step: Option<u64>,
    /// What the way holds by the last four measured times, the latest first.
    lately: [u64; 4],
    /// Bytes on their way whose time is taken, oldest first.
    timed: VecDeque<Timed>,
}

/// The client's first grant.
#[derive(Clone, Copy)]
struct First {
    when: Instant,
    /// Bytes that the session had been given.
    given: u64,
    /// Up to which byte the client could be sent from then on.
    edge: u64,
}

/// A byte whose way is timed.
struct Timed {
    /// How many were sent up to it.
    place: u64,
    began: Instant,
    /// The client's edge when it was sent.
    edge: u64,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            sent: 0,
            given: 0,
            ahead: 0,
            window: 0,
            window_at_least: 0,
            edge: 0,
            first: None,
            limit: FIRST,
            least: LEAST,
            shortest: Duration::MAX,
            step: None,
            lately: [0; 4],
            timed: VecDeque::new(),
        }
    }
}

impl Company {
    fn joins(&self, number: u32, now: Instant) {
        *self.lock() = Some((number, now));
    }

    fn has_another(&self, number: u32, now: Instant) -> bool {
        let last = *self.lock();
        last.is_some_and(|(other, when)| other != number && now.saturating_duration_since(when) < PRESENCE)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(u32, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead {
    /// Waits until this tunnel may send some of so many bytes, returns how many, and counts them as sent.
    pub(in crate::ssh) async fn send(&self, number: u32, bytes: usize, company: &Company) -> usize {
        loop {
            let now = Instant::now();
            if bytes <= LITTLE {
                company.joins(number, now);
            }
            let most = self.lock().allows(number, company, now);
            if most > 0 {
                let bytes = bytes.min(most);
                self.lock().sends(bytes, now);
                return bytes;
            }
            let (patience, grants) = (self.lock().patience(), self.grants());
            let granted = poll_fn(|context| {
                self.waker.register(context.waker());
                match self.lock().allows(number, company, Instant::now()) {
                    0 => Poll::Pending,
                    _ => Poll::Ready(()),
                }
            });
            if timeout(patience, granted).await.is_err() && self.grants() == grants {
                self.lock().doubles();
            }
        }
    }

    /// The session was given so much of it.
    pub(in crate::ssh) fn gives(&self, bytes: usize) {
        self.lock().given += bytes as u64;
    }

    /// The client granted more, and may be sent so much now.
    pub(in crate::ssh) fn granted(&self, window: u32) {
        self.lock().granted(u64::from(window), Instant::now());
        self.grants.fetch_add(1, Ordering::SeqCst);
        self.waker.wake();
    }

    pub(in crate::ssh) fn grants(&self) -> u64 {
        self.grants.load(Ordering::SeqCst)
    }

    /// Waits until the client has granted something more often than that.
    pub(in crate::ssh) async fn granted_since(&self, grants: u64) {
        poll_fn(|context| {
            self.waker.register(context.waker());
            match self.grants() > grants {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, Count> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Count {
    /// How many bytes may be sent at once now.
    fn allows(&self, number: u32, company: &Company, now: Instant) -> usize {
        if self.first.is_some() && !company.has_another(number, now) {
            usize::MAX
        } else if self.ahead < self.limit {
            PACKET
        } else {
            0
        }
    }

    fn sends(&mut self, bytes: usize, now: Instant) {
        self.sent += bytes as u64;
        self.ahead += bytes as u64;
        let after = self
            .timed
            .back()
            .map_or(0, |last| last.place + APART.max(self.ahead / 64));
        if self.sent >= after && self.timed.len() < MOST_TIMED {
            self.timed.push_back(Timed {
                place: self.sent,
                began: now,
                edge: self.edge,
            });
        }
    }

    fn granted(&mut self, window: u64, now: Instant) {
        let edge = self.given + window;
        let Some(first) = self.first else {
            let first = First {
                when: now,
                given: self.given,
                edge,
            };
            self.first = Some(first);
            self.edge = edge;
            self.window_at_least = self.given.max(window);
            self.window = self.full_window(first, 1);
            self.ahead = self.window - window + self.sent.saturating_sub(self.given);
            // What was enough for this grant is enough for the next.
            self.limit = self.least.max(self.sent) + (self.window - self.window_at_least);
            return;
        };
        let at_once = edge.saturating_sub(self.edge).max(1);
        self.edge = edge;
        self.window_at_least = self.window_at_least.max(window);
        let (before, known) = (self.window, self.step);
        let step = known.map_or(at_once, |least| least.min(at_once));
        self.step = Some(step);
        self.window = self.full_window(first, step);
        self.ahead = self.window - window + self.sent.saturating_sub(self.given);
        if known.is_none() {
            self.arrived(first.edge.saturating_sub(self.window), first.when);
        } else if self.window > before + UNEVEN {
            // Bytes were taken for arrived that were not.
            self.shortest = Duration::MAX;
        }
        if let Some((last, took)) = self.arrived(self.sent.saturating_sub(self.ahead), now) {
            self.follows(&last, took, step.max(STEP));
        }
    }

    /// The full window of a client that granted like that at first, and grants at least so much at once.
    fn full_window(&self, first: First, step: u64) -> u64 {
        let at_most = first.edge.saturating_sub(step).max(self.window_at_least);
        // A client that was sent more before its first grant may have granted all of that at once.
        let at_least = first.edge.saturating_sub(first.given).max(self.window_at_least);
        if first.given > FIRST && (at_least..=at_most.saturating_add(UNEVEN)).contains(&USUAL) {
            return USUAL;
        }
        // Most clients use a power of two, and not every step is of the same size.
        let round = 1 << at_most.max(1).ilog2();
        match (self.window_at_least..=at_most).contains(&round) && at_most - round <= UNEVEN {
            true => round,
            false => at_most,
        }
    }

    /// Takes out the timed bytes up to that one, which were taken by then; returns the last, and how long it took.
    fn arrived(&mut self, taken: u64, now: Instant) -> Option<(Timed, Duration)> {
        let mut last = self.timed.pop_front_if(|timed| timed.place <= taken)?;
        while let Some(next) = self.timed.pop_front_if(|timed| timed.place <= taken) {
            last = next;
        }
        let took = now.saturating_duration_since(last.began).max(TICK);
        self.shortest = self.shortest.min(took);
        Some((last, took))
    }

    /// Adapts what may be on its way to the byte that was taken last.
    fn follows(&mut self, last: &Timed, took: Duration, step: u64) {
        let meanwhile = u128::from(self.edge.saturating_sub(last.edge));
        let at_work = meanwhile * self.shortest.as_nanos() / took.as_nanos();
        let [first, second, third, _] = self.lately;
        self.lately = [u64::try_from(at_work).unwrap_or(u64::MAX), first, second, third];
        let at_work = self.lately.into_iter().fold(0, u64::max);
        // A step may be taken and not granted yet. Where a byte takes half as long again as on an empty way, there is a queue,
        // which others wait behind. Without one, the way may hold more.
        let more = match took > self.shortest.saturating_mul(3) / 2 {
            true => step,
            false => step + at_work / 2,
        };
        let fair = at_work.saturating_add(more);
        self.least = (self.least - self.least / 1024).max(LEAST);
        self.limit = (self.limit / 2).saturating_add(fair / 2).max(self.least);
    }

    fn doubles(&mut self) {
        self.limit = self.limit.saturating_mul(2);
        if self.step.is_some() {
            self.least = self.limit;
        }
    }

    /// How long a grant may take that will come.
    fn patience(&self) -> Duration {
        if self.shortest < Duration::MAX {
            self.shortest.saturating_mul(4).clamp(PATIENCE, MOST_PATIENCE)
        } else {
            FIRST_PATIENCE
        }
    }
}

/// Before the client has granted anything: enough for OpenSSH's to do so.
const FIRST: u64 = 128 << 10;
const FIRST_PATIENCE: Duration = Duration::from_millis(5);
/// In which OpenSSH's client grants: once it has taken more than three packets (`channel_check_window` in `channels.c`).
const STEP: u64 = 96 << 10;
/// The largest packet that OpenSSH's client takes.
const PACKET: usize = 32 << 10;
/// Such a step and a packet: with less it would never grant anew.
const LEAST: u64 = STEP + PACKET as u64;
/// The window of OpenSSH's client (`CHAN_TCP_WINDOW_DEFAULT` in `channels.h`), and of most others.
const USUAL: u64 = 2 << 20;
/// By how much a client's first step is larger than its least: a packet.
const UNEVEN: u64 = PACKET as u64;
/// Bytes from one that is timed to the next; with a great many on their way, a 64th of those.
const APART: u64 = 16 << 10;
const MOST_TIMED: usize = 1024;
const TICK: Duration = Duration::from_micros(1);
/// How long a tunnel counts as present after it has sent something.
const PRESENCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_millis(20);
const MOST_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
#[path = "pacing_tests.rs"]
mod tests;

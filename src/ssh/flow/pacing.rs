//! How far the bytes of targets may run ahead of a client.
//!
//! A client's window says what it has room for, not what it should have waiting. A target that is faster than the client
//! fills that window, mostly in the buffers of the connection, and a keystroke of another tunnel waits behind all of it.
//! So while another tunnel of the connection sends small writes, a bulky one keeps no more on its way than the client
//! takes in one round trip, or half more while no queue is seen, as congestion control of the BBR kind does. While it is
//! alone it may fill the window, which costs the least time per byte.
//!
//! What is on its way is the client's full window without what it grants now. The first grant tells how large the full window
//! is, because clients use round sizes; a larger grant corrects that. Each grant also tells how long its last byte took and how
//! much the client took meanwhile. That speed, times the shortest such time, is what the way holds. Clients grant in steps and do
//! not say what they have taken since the last, so one step more may be on its way.
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
    /// Bytes on their way: sent, and not granted anew by the client.
    ahead: u64,
    /// The largest window, as far as that is known.
    window: u64,
    granted: bool,
    /// What may be on its way beside others.
    limit: u64,
    /// Where less would never be granted anew.
    least: u64,
    /// The shortest time from sending a byte to the grant that shows that it was taken.
    shortest: Duration,
    /// The least that the client granted at once; 0 where that is not known.
    step: u64,
    /// Bytes on their way whose time is taken, oldest first.
    timed: VecDeque<Timed>,
}

/// A byte whose way is timed.
struct Timed {
    /// How many were sent up to it.
    place: u64,
    began: Instant,
    /// How many the client had taken when it was sent.
    taken: u64,
}

impl Default for Count {
    fn default() -> Self {
        Self {
            sent: 0,
            ahead: 0,
            window: 0,
            granted: false,
            limit: FIRST,
            least: LEAST,
            shortest: Duration::MAX,
            step: 0,
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
    /// Waits until this tunnel may send more, and counts what it sends.
    pub(in crate::ssh) async fn send(&self, number: u32, bytes: usize, company: &Company) {
        loop {
            let now = Instant::now();
            if bytes <= LITTLE {
                company.joins(number, now);
            }
            if self.lock().may_send(number, company, now) {
                return self.lock().sends(bytes, now);
            }
            let patience = self.lock().patience();
            let granted = poll_fn(|context| {
                self.waker.register(context.waker());
                match self.lock().may_send(number, company, Instant::now()) {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            });
            if timeout(patience, granted).await.is_err() {
                self.lock().doubles();
            }
        }
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
    fn may_send(&self, number: u32, company: &Company, now: Instant) -> bool {
        self.ahead < self.limit || self.granted && !company.has_another(number, now)
    }

    fn sends(&mut self, bytes: usize, now: Instant) {
        let taken = self.taken();
        self.sent += bytes as u64;
        self.ahead += bytes as u64;
        let after = self.timed.back().map_or(0, |last| last.place + APART);
        if self.sent >= after && self.timed.len() < MOST_TIMED {
            self.timed.push_back(Timed {
                place: self.sent,
                began: now,
                taken,
            });
        }
    }

    fn granted(&mut self, window: u64, now: Instant) {
        let (largest, before) = (self.window, self.taken());
        if !std::mem::replace(&mut self.granted, true) {
            // The window had room for all of it.
            self.window = self.sent.max(window.next_multiple_of(ROUND));
            self.limit = self.least;
        }
        self.window = self.window.max(window);
        self.ahead = self.window - window;
        let taken = self.taken();
        let Some((oldest, last)) = self.arrived(taken) else {
            return;
        };
        if self.window > largest {
            // How much was taken before is not known, so the time is at most that of the oldest.
            let took = now.saturating_duration_since(oldest);
            self.shortest = self.shortest.min(took.max(TICK));
        } else {
            self.follows(&last, taken, taken.saturating_sub(before), now);
        }
    }

    /// Takes out the timed bytes that the client has taken: when the oldest was sent, and the last.
    fn arrived(&mut self, taken: u64) -> Option<(Instant, Timed)> {
        let mut last = self.timed.pop_front_if(|timed| timed.place <= taken)?;
        let oldest = last.began;
        while let Some(next) = self.timed.pop_front_if(|timed| timed.place <= taken) {
            last = next;
        }
        Some((oldest, last))
    }

    /// Adapts what may be on its way to the byte that was taken last; with it the client granted so many at once.
    fn follows(&mut self, last: &Timed, taken: u64, at_once: u64, now: Instant) {
        self.step = match self.step {
            0 => at_once,
            known => known.min(at_once.max(1)),
        };
        let step = self.step.max(STEP);
        let took = now.saturating_duration_since(last.began).max(TICK);
        self.shortest = self.shortest.min(took);
        let meanwhile = u128::from(taken.saturating_sub(last.taken));
        let at_work = meanwhile * self.shortest.as_nanos() / took.as_nanos();
        let at_work = u64::try_from(at_work).unwrap_or(u64::MAX);
        // Where it takes half as long again as on an empty way, there is a queue, which others wait behind.
        let more = match took > self.shortest.saturating_mul(3) / 2 {
            true if step <= LEAST => 0,
            true => step,
            false => (at_work / 2).max(step),
        };
        let fair = at_work.saturating_add(more);
        self.least = (self.least - self.least / 1024).max(LEAST);
        self.limit = (self.limit / 2).saturating_add(fair / 2).max(self.least);
    }

    /// What the client has taken, as far as it has granted it anew.
    fn taken(&self) -> u64 {
        self.sent.saturating_sub(self.ahead)
    }

    fn doubles(&mut self) {
        self.limit = self.limit.saturating_mul(2);
        if self.granted {
            self.least = self.limit;
        }
    }

    /// How long a grant may take that will come.
    fn patience(&self) -> Duration {
        if self.granted {
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
/// Such a step and a packet: with less it would never grant anew.
const LEAST: u64 = STEP + (32 << 10);
/// Windows of clients are multiples of this, as the 2 MiB of OpenSSH's; where one is not, it is taken for a little larger.
const ROUND: u64 = 128 << 10;
/// Bytes from one that is timed to the next.
const APART: u64 = 16 << 10;
/// A client with a huge window is timed at fewer places.
const MOST_TIMED: usize = 256;
const TICK: Duration = Duration::from_micros(1);
/// How long a tunnel counts as present after it has sent something.
const PRESENCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_millis(20);
const MOST_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection on which one tunnel downloads all the time: what it had on its way, and how fast it was.
    struct Download {
        /// From the gateway to the client, and back.
        way: Duration,
        /// What the client takes in a millisecond.
        speed: u64,
        window: u64,
        /// The client grants what it took in steps of so much.
        step: u64,
    }

    impl Download {
        /// The most that was on its way in the second half of so many milliseconds, and what was sent in it.
        fn run(&self, millis: u64, company: &Company) -> (u64, u64) {
            let start = Instant::now();
            let mut count = Count::default();
            let (mut arriving, mut grants) = (VecDeque::new(), VecDeque::new());
            let (mut at_client, mut taken, mut granted) = (0, 0, 0);
            let (mut waits, mut most, mut at_half) = (None, 0, 0);
            for micros in (0..millis * 1000).step_by(50) {
                let now = start + Duration::from_micros(micros);
                if company.lock().is_some() {
                    company.joins(2, now);
                }
                while count.sent - granted + PIECE <= self.window && count.may_send(1, company, now) {
                    count.sends(PIECE as usize, now);
                    arriving.push_back(now + self.way);
                    waits = None;
                }
                if now.duration_since(*waits.get_or_insert(now)) > count.patience() {
                    count.doubles();
                    waits = None;
                }
                while arriving.pop_front_if(|when| *when <= now).is_some() {
                    at_client += PIECE;
                }
                let part = at_client.min(self.speed * 50 / 1000);
                at_client -= part;
                taken += part;
                if taken - grants.back().map_or(granted, |(_, edge)| *edge) >= self.step {
                    grants.push_back((now + self.way, taken));
                }
                while let Some((_, edge)) = grants.pop_front_if(|(when, _)| *when <= now) {
                    granted = edge;
                    count.granted(self.window - (count.sent - granted), now);
                }
                if micros >= millis * 500 {
                    most = most.max(count.sent - taken);
                } else {
                    at_half = count.sent;
                }
            }
            (most, count.sent - at_half)
        }
    }

    const PIECE: u64 = 32 << 10;
    const OPENSSH: Download = Download {
        way: Duration::from_micros(20),
        speed: 1 << 20,
        window: 2 << 20,
        step: 96 << 10,
    };

    fn company() -> Company {
        let company = Company::default();
        company.joins(2, Instant::now());
        company
    }

    #[test]
    fn a_tunnel_alone_fills_the_window() {
        let (most, _) = OPENSSH.run(200, &Company::default());
        assert!(most >= OPENSSH.window - 4 * PIECE, "{most}");
    }

    #[test]
    fn beside_another_little_is_on_its_way_and_no_speed_is_lost() {
        // Way there in microseconds, bytes a millisecond, the client's step, its window.
        for (way, speed, step, window, little) in [
            (20, 1 << 20, 96 << 10, 2 << 20, 200 << 10),
            (20, 512 << 10, 96 << 10, 2 << 20, 200 << 10),
            (100, 1 << 20, 96 << 10, 2 << 20, 300 << 10),
            (250, 100 << 10, 96 << 10, 2 << 20, 250 << 10),
            // Long ways, which hold 1 MiB and more.
            (1000, 512 << 10, 96 << 10, 2 << 20, 1200 << 10),
            (20_000, 30 << 10, 96 << 10, 2 << 20, 1400 << 10),
            (50_000, 10 << 10, 96 << 10, 2 << 20, 1200 << 10),
            // Clients that grant what they took at once, in steps of a tenth of the window, and at half of it.
            (20, 1 << 20, 8 << 10, 2 << 20, 200 << 10),
            (1000, 512 << 10, 8 << 10, 2 << 20, 1200 << 10),
            (20, 512 << 10, 200 << 10, 2 << 20, 400 << 10),
            (1000, 512 << 10, 200 << 10, 2 << 20, 1200 << 10),
            (20_000, 30 << 10, 200 << 10, 2 << 20, 1600 << 10),
            (1000, 512 << 10, 1 << 20, 2 << 20, 1600 << 10),
            // Other windows.
            (20, 1 << 20, 96 << 10, 1_280_000, 200 << 10),
            (1000, 512 << 10, 96 << 10, 1 << 20, 800 << 10),
            (1000, 512 << 10, 32 << 10, (2 << 20) - 1, 1200 << 10),
        ] {
            let way = Duration::from_micros(way);
            let download = Download {
                way,
                speed,
                window,
                step,
            };
            // Long enough for some round trips.
            let millis = 1000 + u64::try_from(way.as_millis()).unwrap() * 40;
            let (_, alone) = download.run(millis, &Company::default());
            let (most, sent) = download.run(millis, &company());
            let words = format!("{way:?}, {speed} a millisecond, steps of {step}, window {window}");
            assert!(most <= little, "{most}: {words}");
            assert!(sent >= alone / 100 * 88, "{sent} of {alone}: {words}");
        }
    }

    #[test]
    fn others_are_those_who_were_heard_a_moment_ago() {
        let (company, now) = (company(), Instant::now());
        assert!(company.has_another(1, now));
        assert!(!company.has_another(2, now));
        assert!(!company.has_another(1, now + 2 * PRESENCE));
    }
}

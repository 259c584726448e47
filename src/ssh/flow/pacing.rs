//! How far the bytes of targets may run ahead of a client.
//!
//! A client's window says what it has room for, not what it should have waiting. A target that is faster than the client
//! fills that window, mostly in the buffers of the connection, and a keystroke of another tunnel waits behind all of it.
//! So while another tunnel of the connection sends small writes, a bulky one keeps no more on its way than the client
//! takes in about one and a half round trips, as congestion control of the BBR kind does. While it is alone it may fill
//! the window, which costs the least time per byte.
//!
//! The bytes in flight follow from the windows that the client grants: the largest ever seen is the one of a client that
//! has taken everything. The first bytes of a tunnel are therefore few, until the first grant has told how large a window
//! may be. A client that grants seldom, in large steps, is not waited for in vain: a wait that lasts too long doubles
//! what may always be on its way.

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
    /// Bytes on their way: sent, and not taken by the client.
    ahead: u64,
    /// The largest window that was seen.
    window: u64,
    granted: bool,
    /// What may be on its way beside others.
    limit: u64,
    /// Where less would never be granted anew.
    least: u64,
    /// The shortest time from sending to the grant that shows that it was taken.
    shortest: Duration,
    probe: Option<Probe>,
}

/// A byte whose way is timed.
struct Probe {
    place: u64,
    ahead: u64,
    began: Instant,
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
            probe: None,
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
        self.sent += bytes as u64;
        self.ahead += bytes as u64;
        if self.probe.is_none() {
            self.probe = Some(Probe {
                place: self.sent,
                ahead: self.ahead,
                began: now,
            });
        }
    }

    fn granted(&mut self, window: u64, now: Instant) {
        if !std::mem::replace(&mut self.granted, true) {
            // The window had room for all of it.
            self.window = self.sent;
            self.limit = self.least;
        }
        self.window = self.window.max(window);
        self.ahead = self.window - window;
        let taken = self.sent.saturating_sub(self.ahead);
        let Some(probe) = self.probe.take_if(|probe| probe.place <= taken) else {
            return;
        };
        let took = now.saturating_duration_since(probe.began).max(Duration::from_micros(1));
        self.shortest = self.shortest.min(took);
        let fair = u128::from(probe.ahead) * self.shortest.as_nanos() * 3 / 2 / took.as_nanos();
        let fair = u64::try_from(fair).unwrap_or(u64::MAX);
        self.least = (self.least - self.least / 1024).max(LEAST);
        self.limit = ((self.limit + fair) / 2).max(self.least);
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
/// Four of the steps in which OpenSSH's client grants (`channel_check_window` in `channels.c`: three packets).
const LEAST: u64 = 384 << 10;
/// How long a tunnel counts as present after it has sent something.
const PRESENCE: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_millis(20);
const MOST_PATIENCE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

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
                while count.sent - granted < self.window && count.may_send(1, company, now) {
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
        let (most, sent) = OPENSSH.run(200, &company());
        assert!(most <= 600 << 10, "{most}");
        assert!(sent >= OPENSSH.speed * 95, "{sent}");
    }

    #[test]
    fn a_long_way_holds_more() {
        // What is on its way at least: 1.2 MiB of 30 MiB/s in 40 ms, and 1 MiB of 512 MiB/s in 2 ms.
        for (way, speed) in [(20, 30 << 10), (1, 512 << 10)] {
            let far = Download {
                way: Duration::from_millis(way),
                speed,
                ..OPENSSH
            };
            let (_, alone) = far.run(2000, &Company::default());
            let (_, sent) = far.run(2000, &company());
            assert!(sent >= alone / 10 * 9, "{sent} of {alone}, {way} ms");
        }
    }

    #[test]
    fn a_client_that_grants_in_large_steps_is_not_waited_for_in_vain() {
        let seldom = Download {
            step: 1 << 20,
            ..OPENSSH
        };
        let (_, sent) = seldom.run(1000, &company());
        assert!(sent >= seldom.speed * 450, "{sent}");
    }

    #[test]
    fn others_are_those_who_were_heard_a_moment_ago() {
        let (company, now) = (company(), Instant::now());
        assert!(company.has_another(1, now));
        assert!(!company.has_another(2, now));
        assert!(!company.has_another(1, now + 2 * PRESENCE));
    }
}

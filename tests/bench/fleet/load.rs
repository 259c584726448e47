//! What users do: log in, and open and close forwards that a policy counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use portreeve::policy::{CountsElsewhere, Remembers};
use tokio::time::{MissedTickBehavior, interval_at};

use super::Play;
use super::gateway::Gateway;
use super::times::Times;

/// A kind of call.
#[derive(Clone, Copy)]
pub(crate) enum Call {
    /// A policy counts.
    Add,
    /// A policy asks what a user has open.
    Count,
    /// A login is admitted, and its session ends.
    LogIn,
    /// A forward is opened: the call is the note that the gateway writes.
    Note,
}

pub(crate) const CALLS: &[Call] = &[Call::Add, Call::Count, Call::LogIn, Call::Note];

impl Call {
    pub(crate) fn what(self) -> &'static str {
        match self {
            Self::Add => "state.add",
            Self::Count => "view.open-forwards",
            Self::LogIn => "login and end of a session",
            Self::Note => "a forward opened or closed",
        }
    }
}

pub(crate) fn name(user: usize) -> String {
    format!("user-{user:07}@example")
}

pub(crate) struct Load<'a> {
    play: Play,
    gateways: &'a [Gateway],
    next: Arc<AtomicUsize>,
}

/// What became of a load.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) adds: Times,
    pub(crate) logins: Times,
    pub(crate) failed: usize,
}

impl<'a> Load<'a> {
    pub(crate) fn new(play: Play, gateways: &'a [Gateway]) -> Self {
        Self {
            play,
            gateways,
            next: Arc::default(),
        }
    }

    /// A user, and the first gateway where they are.
    fn turn(&self) -> (usize, &'a Gateway) {
        // A prime number of steps apart, so that neither users nor gateways come in a row.
        let user = self.next.fetch_add(7919, Ordering::Relaxed) % self.play.users;
        (user, &self.gateways[user % self.gateways.len()])
    }

    /// One kind of call for so long, a few at once.
    pub(crate) async fn close(&self, call: Call, time: Duration) -> Times {
        let ends = Instant::now() + time;
        let lanes = (0..LANES).map(|_| async {
            let mut times = Vec::new();
            while Instant::now() < ends {
                let (user, gateway) = self.turn();
                let began = Instant::now();
                match call {
                    Call::Add => assert!(add(gateway, user).await, "it counts"),
                    Call::Count => assert!(gateway.fleet.counts.open_forwards(&name(user)).await < u32::MAX),
                    Call::LogIn => assert!(gateway.log_in(&name(user)).await, "there is a place"),
                    Call::Note => {
                        gateway.change(&name(user), |open| open.forwards += 1);
                        tokio::time::sleep(Duration::from_millis(1)).await;
                    }
                }
                times.push(began.elapsed());
            }
            times
        });
        let mut all = Times::default();
        for time in join_all(lanes).await.into_iter().flatten() {
            all.add(time);
        }
        all
    }

    /// Logins and forwards at their rates, spread over all gateways. A forward is a decision that counts, and one more tunnel in
    /// the place of another user's.
    pub(crate) async fn paced(&self, time: Duration) -> Done {
        let forwards = self.at(self.play.forwards, time, async || {
            let (user, gateway) = self.turn();
            let began = Instant::now();
            let added = add(gateway, user).await;
            let took = began.elapsed();
            gateway.change(&name(user), |open| open.forwards += 1);
            let (other, gateway) = self.turn();
            gateway.change(&name(other), |open| open.forwards = open.forwards.saturating_sub(1));
            (took, added)
        });
        let logins = self.at(self.play.logins, time, async || {
            let (user, gateway) = self.turn();
            let began = Instant::now();
            let admitted = gateway.log_in(&name(user)).await;
            (began.elapsed(), admitted)
        });
        let ((adds, unavailable), (logins, refused)) = tokio::join!(forwards, logins);
        Done {
            adds,
            logins,
            failed: unavailable + refused,
        }
    }

    /// Does something so often a second; how long each took, and how many failed. What is late is not made up for.
    async fn at(&self, rate: f64, time: Duration, act: impl AsyncFn() -> (Duration, bool)) -> (Times, usize) {
        let (mut times, mut failed) = (Times::default(), 0);
        if rate < 1.0 {
            return (times, failed);
        }
        let lanes = LANES.min(rate as usize).max(1);
        let each = Duration::from_secs_f64(lanes as f64 / rate);
        let began = tokio::time::Instant::now();
        let lanes = (0..lanes).map(|lane| {
            let first = began + each.mul_f64(lane as f64 / lanes as f64);
            let act = &act;
            async move {
                let mut turns = interval_at(first, each);
                turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
                let mut done = Vec::new();
                while began.elapsed() < time {
                    turns.tick().await;
                    done.push(act().await);
                }
                done
            }
        });
        for (took, succeeded) in join_all(lanes).await.into_iter().flatten() {
            times.add(took);
            failed += usize::from(!succeeded);
        }
        (times, failed)
    }
}

/// As a policy that counts each user's forwards in a minute. Whether it was counted.
async fn add(gateway: &Gateway, user: usize) -> bool {
    let minute = Duration::from_secs(60);
    let key = name(user % COUNTED);
    let added = gateway.state.add("rate-limit", key, 1, minute, Instant::now());
    added.await.is_ok()
}

/// Calls at once, over all gateways.
const LANES: usize = 64;
/// Users who are counted apart: the state of one policy has 65,536 entries.
const COUNTED: usize = 60_000;

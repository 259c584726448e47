//! What one user has over all of their sessions, and the limits of that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What each user has who has a session, or who had one a moment ago: whoever comes back has no new decisions for that.
#[derive(Default)]
pub(super) struct Quotas(Mutex<HashMap<String, Arc<Quota>>>);

/// What one user has.
#[derive(Default)]
pub struct Quota {
    tunnels: AtomicUsize,
    listeners: AtomicUsize,
    dials: AtomicUsize,
    pace: Mutex<DecisionPace>,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    /// Tunnels that are open or asked for.
    Tunnels,
    /// Listeners that are open or asked for.
    Listeners,
    /// Connections that are being made.
    Dials,
}

/// One of what is counted, until it is dropped.
pub struct Counted {
    quota: Arc<Quota>,
    what: Counts,
}

impl Quotas {
    /// What this user has; the same for all of their sessions.
    pub(super) fn of(&self, user: &str) -> Arc<Quota> {
        let mut quotas = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(quota) = quotas.get(user) {
            return Arc::clone(quota);
        }
        // Those who left are forgotten when the table would grow.
        if quotas.len() == quotas.capacity() {
            let now = Instant::now();
            quotas.retain(|_, quota| Arc::strong_count(quota) > 1 || !quota.is_as_new(now));
        }
        let quota = Arc::<Quota>::default();
        quotas.insert(user.to_owned(), Arc::clone(&quota));
        quota
    }
}

impl Quota {
    /// One more, unless there are `most` already.
    pub(super) fn take(self: &Arc<Self>, what: Counts, most: usize) -> Option<Counted> {
        let count = |count: usize| Some(count + 1).filter(|count| *count <= most);
        let taken = self
            .counter(what)
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, count);
        taken.is_ok().then(|| Counted {
            quota: Arc::clone(self),
            what,
        })
    }

    /// How long the next decision has to wait where there may be `most` in a second; none if that is too long.
    pub fn next_decision(&self, most: usize) -> Option<Duration> {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.next(Instant::now(), most)
    }

    /// Whether another one would let through the same.
    fn is_as_new(&self, now: Instant) -> bool {
        let pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        pace.paid_until.is_none_or(|until| until <= now)
    }

    fn counter(&self, what: Counts) -> &AtomicUsize {
        match what {
            Counts::Tunnels => &self.tunnels,
            Counts::Listeners => &self.listeners,
            Counts::Dials => &self.dials,
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.quota.counter(self.what).fetch_sub(1, Ordering::Relaxed);
    }
}

/// So many in a second, as many at once, and a short queue: the generic cell rate algorithm (ITU-T I.371).
#[derive(Default)]
struct DecisionPace {
    /// When all that was let through would have been, had it come evenly.
    paid_until: Option<Instant>,
}

impl DecisionPace {
    fn next(&mut self, now: Instant, most: usize) -> Option<Duration> {
        let paid_until = self.paid_until.map_or(now, |until| until.max(now));
        let wait = (paid_until - now).saturating_sub(AT_ONCE);
        if wait > LONGEST_WAIT {
            return None;
        }
        self.paid_until = Some(paid_until + Duration::from_secs_f64(1.0 / most.max(1) as f64));
        Some(wait)
    }
}

/// What a user may use up at once: the decisions of so long.
const AT_ONCE: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_bounded_over_all_sessions_and_given_back() {
        let quotas = Quotas::default();
        for what in [Counts::Tunnels, Counts::Listeners, Counts::Dials] {
            let sessions = [quotas.of("alice"), quotas.of("alice")];
            let held: Vec<_> = sessions.iter().cycle().map_while(|one| one.take(what, 5)).collect();
            assert_eq!(held.len(), 5, "{what:?}");
            assert!(quotas.of("bob").take(what, 5).is_some());
            drop(held);
            assert!(sessions[1].take(what, 5).is_some());
        }
    }

    #[test]
    fn a_limit_that_was_lowered_lets_nothing_in_until_there_is_less() {
        let quota = Arc::new(Quota::default());
        let mut held: Vec<_> = (0..5).map(|_| quota.take(Counts::Tunnels, 5)).collect();
        assert!(quota.take(Counts::Tunnels, 3).is_none());
        held.truncate(2);
        assert!(quota.take(Counts::Tunnels, 3).is_some());
    }

    #[test]
    fn whoever_comes_back_has_used_up_what_they_had_used_up() {
        let quotas = Quotas::default();
        let used = (0..100)
            .filter(|_| quotas.of("alice").next_decision(10).is_some())
            .count();
        // A second's worth at once, and a second's worth that waits.
        assert!((20..=23).contains(&used), "{used}");
        for number in 0..100 {
            drop(quotas.of(&number.to_string()));
        }
        assert_eq!(
            quotas.of("alice").next_decision(10),
            None,
            "not forgotten while the table grew"
        );
    }

    #[test]
    fn users_who_left_are_forgotten() {
        let quotas = Quotas::default();
        let stays = quotas.of("stays");
        for number in 0..10_000 {
            drop(quotas.of(&number.to_string()));
        }
        assert!(quotas.0.lock().unwrap().len() < 100);
        assert!(Arc::ptr_eq(&stays, &quotas.of("stays")));
    }

    #[test]
    fn decisions_come_at_once_then_at_the_rate_and_then_not_at_all() {
        let began = Instant::now();
        let second = Duration::from_secs(1);
        #[rustfmt::skip]
        let table = [
            // most a second, asked at once: at once, after a wait, refused
            (1,    5,    (2, 1, 2)),
            (10,   30,   (11, 10, 9)),
            (1000, 5000, (1001, 1000, 2999)),
        ];
        for (most, asked, expected) in table {
            let mut pace = DecisionPace::default();
            let answers: Vec<_> = (0..asked).map(|_| pace.next(began, most)).collect();
            let count = |fits: fn(&Option<Duration>) -> bool| answers.iter().filter(|one| fits(one)).count();
            let found = (
                count(|one| *one == Some(Duration::ZERO)),
                count(|one| one.is_some_and(|wait| wait > Duration::ZERO)),
                count(|one| one.is_none()),
            );
            assert!(
                found.0.abs_diff(expected.0) <= 1 && found.2.abs_diff(expected.2) <= 2,
                "{most}: {found:?}"
            );
            // A pause makes up for it.
            assert_eq!(pace.next(began + 3 * second, most), Some(Duration::ZERO), "{most}");
        }
    }
}

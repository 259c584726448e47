//! What a policy has decided since it was loaded.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::policy::Failure;
use crate::request::Verdict;

/// Counts the answers of one policy to real requests, and during its burn-in who asked.
#[derive(Default)]
pub(crate) struct Counts {
    decisions: AtomicU64,
    denials: AtomicU64,
    failures: AtomicU64,
    burning_in: AtomicBool,
    by_user: Mutex<HashMap<String, Asked>>,
    /// Somebody was not answered.
    failed: Notify,
}

/// How often it was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// All answers and failures.
    pub decisions: u64,
    /// Refusals among them.
    pub denials: u64,
    /// No answers.
    pub failures: u64,
}

/// Of one user.
#[derive(Clone, Copy, Default)]
struct Asked {
    decisions: u64,
    failures: u64,
}

/// What the burn-in has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BurnedIn {
    /// Answers and failures.
    pub decisions: u64,
    /// Failures among them.
    pub failures: u64,
    /// Users who asked.
    pub(crate) users: usize,
    /// Users whom it failed.
    pub(crate) failed_users: usize,
}

impl Counts {
    pub(in crate::policy) fn count(&self, user: &str, verdict: &Result<Verdict, Failure>) {
        self.decisions.fetch_add(1, Ordering::Relaxed);
        match verdict {
            Ok(Verdict::Deny(_)) => _ = self.denials.fetch_add(1, Ordering::Relaxed),
            Ok(_) => {}
            Err(_) => _ = self.failures.fetch_add(1, Ordering::Relaxed),
        }
        if self.burning_in.load(Ordering::Relaxed) {
            self.count_of(user, verdict.is_err());
        }
        if verdict.is_err() {
            self.failed.notify_one();
        }
    }

    fn count_of(&self, user: &str, failed: bool) {
        let mut users = self.by_user();
        if users.len() >= MOST_USERS && !users.contains_key(user) {
            return;
        }
        let asked = users.entry(user.to_owned()).or_default();
        asked.decisions += 1;
        asked.failures += u64::from(failed);
    }

    /// All so far.
    pub(crate) fn now(&self) -> Counted {
        Counted {
            decisions: self.decisions.load(Ordering::Relaxed),
            denials: self.denials.load(Ordering::Relaxed),
            failures: self.failures.load(Ordering::Relaxed),
        }
    }

    /// Counts by user from now on, from nothing; or no longer.
    pub(crate) fn burn_in(&self, begins: bool) {
        self.by_user().clear();
        self.burning_in.store(begins, Ordering::Relaxed);
    }

    /// What was counted since it began.
    pub(crate) fn burned_in(&self) -> BurnedIn {
        let users = self.by_user();
        let sum = |of: fn(&Asked) -> u64| users.values().map(of).sum();
        BurnedIn {
            decisions: sum(|asked| asked.decisions),
            failures: sum(|asked| asked.failures),
            users: users.len(),
            failed_users: users.values().filter(|asked| asked.failures > 0).count(),
        }
    }

    /// Waits for a failure. Cancel-safe: one that came before is not missed.
    pub(crate) async fn failure(&self) {
        self.failed.notified().await;
    }

    fn by_user(&self) -> MutexGuard<'_, HashMap<String, Asked>> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever comes after so many users is not counted by name.
const MOST_USERS: usize = 10_000;

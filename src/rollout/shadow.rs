//! A candidate that is asked beside the policies in force and decides nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::EXAMPLES;
use crate::events::{Differs, Event, Events, Subject};
use crate::names::{Elsewhere, Names, Resolver};
use crate::policy::{Generation, Policies, PolicyRef};
use crate::replay::{Heard, Outcome, Tally};

/// All candidates that are asked beside the policies in force, one for each plugin. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Shadows(Arc<Inner>);

#[derive(Default)]
struct Inner {
    /// Looked at before anything is done for a decision.
    any: AtomicBool,
    shadows: Mutex<BTreeMap<String, Arc<Shadow>>>,
}

/// One candidate.
pub(crate) struct Shadow {
    /// The plugin in whose place it is asked.
    pub(crate) plugin: String,
    /// Which candidate.
    pub(crate) candidate: PolicyRef,
    /// The chain with the candidate in its place, as it would serve.
    pub(crate) generation: Arc<Generation>,
    /// Who wanted it.
    pub(crate) by: String,
    /// Since when it is asked.
    pub(crate) since: Timestamp,
    /// The same chain, apart from what serves.
    apart: Mutex<Arc<Generation>>,
    waiting: Sender<Sample>,
    by_user: Mutex<HashMap<String, usize>>,
    skipped: AtomicU64,
    tally: Mutex<Tally>,
}

/// A decision, and what came of it.
struct Sample {
    heard: Heard,
    served: Outcome,
    /// Whom it asks for other names.
    resolver: Resolver,
}

/// What a shadow has found so far.
pub(crate) struct Findings {
    /// Decisions that it was not asked, because it was behind.
    pub(crate) skipped: u64,
    /// What it was asked, and what it would have decided otherwise.
    pub(crate) tally: Tally,
}

impl Shadows {
    /// Begins to ask a candidate, in the place of an earlier one of its plugin.
    pub(crate) fn begin(
        &self,
        policies: &Policies,
        generation: Arc<Generation>,
        candidate: PolicyRef,
        by: String,
        events: Events,
    ) -> Arc<Shadow> {
        let (waiting, samples) = channel(QUEUE);
        let shadow = Arc::new(Shadow {
            plugin: candidate.name.clone(),
            candidate,
            apart: Mutex::new(policies.apart(&generation)),
            generation,
            by,
            since: Timestamp::now(),
            waiting,
            by_user: Mutex::default(),
            skipped: AtomicU64::new(0),
            tally: Mutex::new(Tally::new(EXAMPLES)),
        });
        policies.spawn_aside(Shadow::run(Arc::downgrade(&shadow), samples, events));
        let mut shadows = self.lock();
        shadows.insert(shadow.plugin.clone(), Arc::clone(&shadow));
        self.0.any.store(true, Ordering::Release);
        shadow
    }

    /// Asks it no more.
    pub(crate) fn end(&self, plugin: &str) -> Option<Arc<Shadow>> {
        let mut shadows = self.lock();
        let ended = shadows.remove(plugin);
        self.0.any.store(!shadows.is_empty(), Ordering::Release);
        ended
    }

    /// The candidate of this plugin.
    pub(crate) fn of(&self, plugin: &str) -> Option<Arc<Shadow>> {
        self.lock().get(plugin).cloned()
    }

    /// Whether there is any.
    pub(crate) fn any(&self) -> bool {
        self.0.any.load(Ordering::Acquire)
    }

    /// Other policies serve from now on: each candidate is compared with those. One whose plugin is gone, or which was loaded for
    /// another engine, ends.
    pub(crate) fn serve(&self, policies: &Policies, generation: &Generation) {
        let mut shadows = self.lock();
        shadows.retain(|plugin, shadow| match generation.with(&shadow.generation, plugin) {
            Some(chain) => {
                *shadow.apart() = policies.apart(&chain);
                true
            }
            None => {
                tracing::warn!(plugin, "a shadow ends: its plugin or `policy.memory` has changed");
                false
            }
        });
        self.0.any.store(!shadows.is_empty(), Ordering::Release);
    }

    /// Asks every candidate what was just decided, unless it is behind.
    pub(crate) fn ask(&self, heard: &Heard, served: &Outcome, resolver: &Resolver) {
        for shadow in self.lock().values() {
            shadow.take(heard, served, resolver);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Shadow>>> {
        self.0.shadows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shadow {
    /// What it has found so far.
    pub(crate) fn findings(&self) -> Findings {
        let tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        Findings {
            skipped: self.skipped.load(Ordering::Relaxed),
            tally: tally.clone(),
        }
    }

    /// Never waits. One user has at most a quarter of what may wait.
    fn take(&self, heard: &Heard, served: &Outcome, resolver: &Resolver) {
        let user = &heard.request.principal.user;
        let mut by_user = self.by_user();
        let waiting = by_user.get(user).copied().unwrap_or(0);
        let sample = Sample {
            heard: heard.clone(),
            served: served.clone(),
            resolver: resolver.clone(),
        };
        if waiting >= QUEUE / 4 || self.waiting.try_send(sample).is_err() {
            self.skipped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        by_user.insert(user.clone(), waiting + 1);
    }

    /// Ends with the shadow, whose end of the queue goes with it.
    async fn run(this: Weak<Self>, mut samples: Receiver<Sample>, events: Events) {
        let nothing = Arc::new(Names::new());
        let mut lines = Lines::default();
        while let Some(sample) = samples.recv().await {
            let Sample {
                heard,
                served,
                resolver,
            } = sample;
            let Some(shadow) = this.upgrade() else { return };
            shadow.has_taken(&heard.request.principal.user);
            let apart = Arc::clone(&*shadow.apart());
            let mut found = heard.ask(&apart, &resolver, &nothing, Elsewhere::Resolver).await;
            if found == Outcome::Failed(DEADLINE.to_owned()) && served != found {
                // This thread gets what the others leave: it may have been the machine that was late.
                found = heard.ask(&apart, &resolver, &nothing, Elsewhere::Resolver).await;
            }
            shadow.compare(&heard, served, found, &mut lines, &events);
        }
    }

    fn compare(&self, heard: &Heard, served: Outcome, found: Outcome, lines: &mut Lines, events: &Events) {
        if let Some(change) = served.change(&found)
            && let Some(unlisted) = lines.next(Instant::now())
        {
            let differs = Differs {
                plugin: self.plugin.clone(),
                policy: self.candidate.clone(),
                action: heard.request.action,
                target: heard.request.target.clone(),
                change: change.to_string(),
                served: served.to_string(),
                shadow: found.to_string(),
                unlisted,
            };
            let event = Event::PolicyDiffers(Box::new(differs));
            events.emit(&Subject::of(&heard.request), &event);
        }
        let mut tally = self.tally.lock().unwrap_or_else(PoisonError::into_inner);
        let number = tally.asked + 1;
        tally.count(number, &heard.request, served, found);
    }

    fn has_taken(&self, user: &str) {
        let mut by_user = self.by_user();
        match by_user.get_mut(user) {
            Some(waiting) if *waiting > 1 => *waiting -= 1,
            _ => _ = by_user.remove(user),
        }
    }

    fn by_user(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.by_user.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apart(&self) -> MutexGuard<'_, Arc<Generation>> {
        self.apart.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Not more than so many lines of the audit log in a second: further differences are counted in the next one.
#[derive(Default)]
struct Lines {
    second: Option<Instant>,
    written: u64,
    unlisted: u64,
}

impl Lines {
    /// How many differences were counted since the last line, if this one may be written.
    fn next(&mut self, now: Instant) -> Option<u64> {
        if self
            .second
            .is_none_or(|second| now.duration_since(second) >= Duration::from_secs(1))
        {
            (self.second, self.written) = (Some(now), 0);
        }
        if self.written >= LINES {
            self.unlisted += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.unlisted))
    }
}

/// The code of a decision that did not come in time.
const DEADLINE: &str = "deadline";
/// Decisions that wait for a candidate; past it, it is not asked.
const QUEUE: usize = 1024;
/// Of the audit log in a second.
const LINES: u64 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_line_is_counted_in_the_next_one() {
        let mut lines = Lines::default();
        let now = Instant::now();
        let first: Vec<_> = (0..LINES + 3).map(|_| lines.next(now)).collect();
        assert_eq!(first.iter().flatten().count() as u64, LINES);
        assert_eq!(lines.next(now + Duration::from_millis(999)), None);
        assert_eq!(lines.next(now + Duration::from_secs(1)), Some(4));
        assert_eq!(lines.next(now + Duration::from_secs(1)), Some(0));
    }
}

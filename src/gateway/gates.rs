//! The gates between a candidate that has loaded and its first decision: invariants, replay, what it would close, and how the
//! canaries of the fleet are with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::task::JoinError;

use super::Parts;
use super::current::Settled;
use crate::config::{Config, Gates};
use crate::forwarder::Closing;
use crate::policy::{Generation, Identity, LoadError};
use crate::replay::Tally;
use crate::rollout::{CANARY, Report, Row, Ruling, Verdict, differences};

/// A change that wants to pass.
pub(super) struct Change<'a> {
    /// What serves.
    pub(super) old: &'a Arc<Generation>,
    /// What is to serve.
    pub(super) next: &'a Arc<Generation>,
    /// By this configuration.
    pub(super) config: &'a Arc<Config>,
    /// Which has been read anew, if it has.
    pub(super) settled: Option<&'a Arc<Settled>>,
    /// The plugins that change.
    pub(super) plugins: &'a [String],
    /// Who wants it.
    pub(super) by: &'a str,
    /// A gate that would refuse is passed, on record.
    pub(super) force: bool,
    /// Nothing follows: gates that refuse nothing are looked at, too, for what they say.
    pub(super) dry_run: bool,
}

/// Why a change does not pass.
pub(super) struct Stopped {
    /// The gate.
    pub(super) gate: &'static str,
    /// In words.
    pub(super) words: String,
    /// It may pass later.
    pub(super) waits: bool,
}

impl Stopped {
    /// For whoever wanted it.
    pub(super) fn sentence(&self) -> String {
        let stands = if self.waits { "waits" } else { "stopped" };
        format!("{stands} at the gate `{}`: {}", self.gate, self.words)
    }
}

impl Parts {
    /// Sends a change through every gate that is configured. What came of each is kept for whoever asks.
    pub(super) async fn pass(&self, change: &Change<'_>) -> Result<(), Stopped> {
        let mut rows = Vec::new();
        let stopped = self.pass_all(change, &mut rows).await;
        for plugin in change.plugins {
            let imports = new_imports(change, plugin);
            let mut all = Row::of_steps(&change.next.steps_of(plugin), &imports);
            all.extend(rows.iter().cloned());
            self.rollouts.note(plugin, change.report(plugin, all));
        }
        stopped.map_or(Ok(()), Err)
    }

    /// A candidate that did not load came no further than this.
    pub(super) fn stopped_loading(&self, plugin: &str, by: &str, error: &LoadError, began: Instant) {
        let report = Report {
            identity: None,
            by: by.to_owned(),
            time: Timestamp::now(),
            rows: vec![Row::of_error(error, began)],
        };
        self.rollouts.note(plugin, report);
    }

    async fn pass_all(&self, change: &Change<'_>, rows: &mut Vec<Row>) -> Option<Stopped> {
        let gates = &change.config.policy.gates;
        let mut gate = |name, began: Instant, found: Result<String, String>| {
            let (verdict, words) = match found {
                Ok(words) => (Verdict::Passed, words),
                Err(words) if change.force => (Verdict::Forced, words),
                Err(words) => (Verdict::Refused, words),
            };
            rows.push(Row::of(name, verdict, words.clone(), Some(began.elapsed())));
            (verdict == Verdict::Refused).then_some(Stopped {
                gate: name,
                words,
                waits: false,
            })
        };
        if !gates.cases.is_empty() {
            let began = Instant::now();
            let found = self.keeps_to_the_cases(change).await;
            if let Some(stopped) = gate(INVARIANTS, began, found) {
                return Some(stopped);
            }
        }
        let judges = gates.replay.max_differences.is_some() || change.dry_run;
        if gates.replay.decisions > 0 && judges {
            let began = Instant::now();
            let found = self.differences(change.old, change.next).await;
            if let Some(stopped) = gate(REPLAY, began, judged(gates, found)) {
                return Some(stopped);
            }
        }
        if gates.max_closed.is_some() || change.dry_run {
            let began = Instant::now();
            let found = self.would_close(change).await;
            if let Some(stopped) = gate(MAX_CLOSED, began, spared(gates, found)) {
                return Some(stopped);
            }
        }
        let rollout = change
            .config
            .policy
            .rollout
            .as_ref()
            .filter(|rollout| rollout.follows)?;
        let began = Instant::now();
        let found = match self.by_the_canaries(rollout, &change.candidates()).await {
            Ruling::Follow(words) => Ok(words),
            Ruling::Stop(words) => Err(words),
            Ruling::Wait(words) if change.force => Err(words),
            Ruling::Wait(words) => {
                rows.push(Row::of(CANARY, Verdict::Waiting, words.clone(), None));
                return Some(Stopped {
                    gate: CANARY,
                    words,
                    waits: true,
                });
            }
        };
        gate(CANARY, began, found)
    }

    async fn keeps_to_the_cases(&self, change: &Change<'_>) -> Result<String, String> {
        let cases = &change.config.policy.gates.cases;
        let checked = self.origin.invariants().check(cases, change.next).await;
        checked.map(|count| format!("{count} cases are answered as they say"))
    }

    /// What two chains decide otherwise of the last decisions, as far as there is time, and how many those are.
    ///
    /// # Errors
    /// A panic.
    pub(super) async fn differences(&self, old: &Generation, next: &Generation) -> Result<(Tally, u64), String> {
        let policies = self.judge.policies();
        let (before, after) = (policies.apart(old), policies.apart(next));
        let decisions = self.rollouts.ring.all();
        let last = decisions.len() as u64;
        let until = Instant::now() + LONGEST;
        let asked = policies.spawn_aside(async move { differences(&before, &after, &decisions, until).await });
        let tally = asked.await.map_err(|error| broken(&error))?;
        Ok((tally, last))
    }

    /// What the change would do to what is open.
    ///
    /// # Errors
    /// If that cannot be said of all of it.
    async fn would_close(&self, change: &Change<'_>) -> Result<Closing, String> {
        let policies = self.judge.policies();
        let supposed = self
            .in_force
            .supposed(&self.judge, change.settled, policies.apart(change.next));
        let review = self.review();
        let until = Instant::now() + LONGEST;
        let asked = policies.spawn_aside(async move { review.would_close(&supposed, until).await });
        let closing = asked.await.map_err(|error| broken(&error))?;
        match closing.judged {
            judged if judged < closing.open => {
                let what = "open tunnels and listeners were judged";
                Err(unknown(judged, closing.open, what, "would be closed"))
            }
            _ => Ok(closing),
        }
    }
}

impl Change<'_> {
    /// What is to serve of the plugins that change.
    fn candidates(&self) -> Vec<(String, Identity)> {
        let candidate = |plugin: &String| Some((plugin.clone(), self.next.identity_of(plugin)?));
        self.plugins.iter().filter_map(candidate).collect()
    }

    fn report(&self, plugin: &str, rows: Vec<Row>) -> Report {
        Report {
            identity: self.next.identity_of(plugin),
            by: self.by.to_owned(),
            time: Timestamp::now(),
            rows,
        }
    }
}

fn judged(gates: &Gates, found: Result<(Tally, u64), String>) -> Result<String, String> {
    let most = gates.replay.max_differences;
    let tally = match found {
        Ok((tally, last)) if tally.asked < last => {
            let words = unknown(tally.asked, last, "decisions were asked again", "would differ");
            return if_asked(most, words);
        }
        Ok((tally, _)) => tally,
        Err(words) => return if_asked(most, words),
    };
    let (asked, different) = (tally.asked, tally.different);
    let words = format!("{different} of the last {asked} decisions would differ");
    match most {
        Some(most) if most.is_exceeded_by(different, asked) => {
            let example = tally.examples.first().map(|example| {
                let (user, asked) = (&example.user, &example.asked);
                format!("; first {user}: {asked}: {} → {}", example.before, example.after)
            });
            Err(format!(
                "{words}, more than the {most} of `max-differences`{}",
                example.unwrap_or_default()
            ))
        }
        _ => Ok(words),
    }
}

fn spared(gates: &Gates, found: Result<Closing, String>) -> Result<String, String> {
    let most = gates.max_closed;
    let Closing { closed, open, .. } = match found {
        Ok(closing) => closing,
        Err(words) => return if_asked(most, words),
    };
    let words = format!("{closed} of {open} open tunnels and listeners would be closed");
    match most {
        Some(most) if most.is_exceeded_by(closed, open) => Err(format!(
            "{words}, more than the {most} of `max-closed`: to do it all the same, load it with --force"
        )),
        _ => Ok(words),
    }
}

/// What is not known refuses a change only where a gate wants to know it.
fn if_asked<T>(most: Option<T>, words: String) -> Result<String, String> {
    match most {
        Some(_) => Err(words),
        None => Ok(words),
    }
}

fn unknown(some: u64, all: u64, what: &str, how: &str) -> String {
    let seconds = LONGEST.as_secs();
    format!(
        "only {some} of {all} {what} within {seconds} s, so it is not known how many {how}: to do it all the same, load it with \
         --force"
    )
}

fn broken(error: &JoinError) -> String {
    format!("internal error: {error}")
}

/// What a candidate imports that the one in force does not.
fn new_imports(change: &Change<'_>, plugin: &str) -> String {
    let (old, next) = (change.old.imports_of(plugin), change.next.imports_of(plugin));
    let but = |some: &[String], others: &[String]| -> Vec<String> {
        some.iter().filter(|one| !others.contains(one)).cloned().collect()
    };
    let (more, fewer) = (but(next, old), but(old, next));
    let said = |words: &str, imports: Vec<String>| match imports.as_slice() {
        [] => None,
        imports => Some(format!("{words} {}", imports.join(", "))),
    };
    let said: Vec<_> = [said("also imports", more), said("no longer imports", fewer)]
        .into_iter()
        .flatten()
        .collect();
    match said.as_slice() {
        [] => "its imports are those of the one in force, and granted".to_owned(),
        said => format!("it {}; all are granted", said.join(" and ")),
    }
}

const INVARIANTS: &str = "invariants";
const REPLAY: &str = "replay";
const MAX_CLOSED: &str = "max-closed";
/// How long each may take: a candidate that decides nothing in time must not hold up every other change.
const LONGEST: Duration = Duration::from_secs(30);

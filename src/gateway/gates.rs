//! The gates between a candidate that has loaded and its first decision: invariants, replay, what it would close, and how the
//! canaries of the fleet are with it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::Parts;
use super::current::Settled;
use crate::config::{Config, Gates};
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
            let tally = self.differences(change.old, change.next).await;
            if let Some(stopped) = gate(REPLAY, began, judged(gates, &tally)) {
                return Some(stopped);
            }
        }
        if gates.max_closed.is_some() || change.dry_run {
            let began = Instant::now();
            let (closed, open) = self.would_close(change).await;
            if let Some(stopped) = gate(MAX_CLOSED, began, spared(gates, closed, open)) {
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

    /// What two chains decide otherwise of the last decisions.
    pub(super) async fn differences(&self, old: &Generation, next: &Generation) -> Tally {
        let policies = self.judge.policies();
        let (before, after) = (policies.apart(old), policies.apart(next));
        let decisions = self.rollouts.ring.all();
        let until = Instant::now() + LONGEST_REPLAY;
        let asked = policies.spawn_aside(async move { differences(&before, &after, &decisions, until).await });
        asked.await.unwrap_or_else(|_| Tally::new(0))
    }

    /// How much of what is open the change would close, and how much there is.
    async fn would_close(&self, change: &Change<'_>) -> (u64, u64) {
        let policies = self.judge.policies();
        let supposed = self
            .in_force
            .supposed(&self.judge, change.settled, policies.apart(change.next));
        let review = self.review();
        let asked = policies.spawn_aside(async move { review.would_close(&supposed).await });
        asked.await.unwrap_or_default()
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

fn judged(gates: &Gates, tally: &Tally) -> Result<String, String> {
    let (asked, different) = (tally.asked, tally.different);
    let words = format!("{different} of the last {asked} decisions would differ");
    match gates.replay.max_differences {
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

fn spared(gates: &Gates, closed: u64, open: u64) -> Result<String, String> {
    let words = format!("{closed} of {open} open tunnels and listeners would be closed");
    match gates.max_closed {
        Some(most) if most.is_exceeded_by(closed, open) => Err(format!(
            "{words}, more than the {most} of `max-closed`: to do it all the same, load it with --force"
        )),
        _ => Ok(words),
    }
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
/// What is not asked again by then says nothing.
const LONGEST_REPLAY: Duration = Duration::from_secs(30);

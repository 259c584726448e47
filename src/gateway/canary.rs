//! Policies that canaries of the fleet serve first: a canary says how it is with them, and the others wait for that.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Parts;
use crate::config::{Config, Rollout};
use crate::policy::Identity;
use crate::request::printable;
use crate::rollout::{Account, CANARY, NotThere, Row, Ruling, Serves, Verdict};
use crate::vital::Vital;

/// The generation of each plugin that decides, and since when this process has seen that: a clock that is set changes nothing.
type Seen = HashMap<String, (u64, Instant)>;

impl Parts {
    /// Says how this gateway is with its policies until it has stopped, whenever it is a canary.
    pub(super) fn keep_followers_informed(self: &Arc<Self>) {
        if self.fleet.is_none() {
            return;
        }
        let gateway = Arc::clone(self);
        let telling = move || Arc::clone(&gateway).inform();
        let telling = self.vitals.keep(Vital::Telling, self.ending.clone(), telling);
        self.tasks.spawn(telling);
    }

    async fn inform(self: Arc<Self>) {
        let mut swaps = self.swaps.subscribe();
        let mut seen = Seen::new();
        loop {
            let config = self.in_force.config();
            let is_canary = config.policy.rollout.as_ref().is_some_and(|rollout| !rollout.follows);
            // Its successor has the same name, and speaks for it.
            if is_canary && !self.is_leaving() {
                for plugin in &config.policy.plugins {
                    self.say_how_it_is(&plugin.name, &mut seen).await;
                }
            }
            tokio::select! {
                _ = swaps.changed() => {}
                () = sleep(EACH) => {}
                () = self.ending.cancelled() => return,
            }
        }
    }

    async fn say_how_it_is(&self, plugin: &str, seen: &mut Seen) {
        let Some(fleet) = &self.fleet else { return };
        let words = serde_json::to_vec(&self.account_of(plugin, seen)).unwrap_or_default();
        // What is not heard is said again.
        let _ = fleet.notices.say(plugin, &words, LASTS).await;
    }

    fn account_of(&self, plugin: &str, seen: &mut Seen) -> Account {
        let Some(known) = self.judge.policies().known(plugin) else {
            return Account::default();
        };
        let (generation, since) = seen.entry(plugin.to_owned()).or_insert((known.active, Instant::now()));
        if *generation != known.active {
            (*generation, *since) = (known.active, Instant::now());
        }
        let in_force = known.entries.iter().find(|(entry, _)| entry.generation == known.active);
        let serves = in_force.map(|(entry, counted)| Serves {
            identity: entry.identity.clone(),
            seconds: since.elapsed().as_secs(),
            may_go_back: self.rollouts.may_go_back(plugin),
            decisions: counted.decisions,
            failures: counted.failures,
        });
        let taken_back = known.quarantined.iter().rev().take(MOST_REFUSED);
        let taken_back = taken_back.map(|one| (one.identity.clone(), one.reason.clone()));
        let stopped = self.rollouts.report(plugin).and_then(|report| {
            let row = report.rows.into_iter().find(|row| row.verdict == Verdict::Refused)?;
            Some((
                report.identity?,
                format!("stopped at the gate `{}`: {}", row.gate, row.words),
            ))
        });
        let refused = taken_back.chain(stopped).map(|(identity, reason)| NotThere {
            identity,
            reason: printable(&reason, MOST_WORDS),
        });
        Account {
            serves,
            refused: refused.collect(),
        }
    }

    /// What the canaries say of these candidates.
    pub(super) async fn by_the_canaries(&self, rollout: &Rollout, candidates: &[(String, Identity)]) -> Ruling {
        let mut rulings = Vec::new();
        for (plugin, wanted) in candidates {
            let said = match &self.fleet {
                Some(fleet) => fleet.notices.said(plugin, &rollout.canary).await.ok(),
                None => None,
            };
            // The others are not asked for: each would wait for Redis once more.
            let Some(said) = said else {
                return Ruling::Wait("redis is not reachable".to_owned());
            };
            let accounts = said.into_iter().map(|said| Account::read(&said?));
            let canaries: Vec<_> = rollout.canary.iter().cloned().zip(accounts).collect();
            rulings.push(Ruling::on(wanted, rollout.wait, &canaries));
        }
        Ruling::of_all(rulings)
    }

    /// Whether these still have to wait at the gate, and for what.
    pub(super) async fn still_wait(&self, config: &Config, plugins: &BTreeSet<String>) -> bool {
        let Some(rollout) = config.policy.rollout.as_ref().filter(|rollout| rollout.follows) else {
            return false;
        };
        let identity = |plugin: &String| Some((plugin.clone(), self.rollouts.report(plugin)?.identity?));
        let candidates: Vec<_> = plugins.iter().filter_map(identity).collect();
        match self.by_the_canaries(rollout, &candidates).await {
            Ruling::Wait(words) => {
                for plugin in plugins {
                    let row = Row::of(CANARY, Verdict::Waiting, words.clone(), None);
                    self.rollouts.note_gate(plugin, row);
                }
                true
            }
            Ruling::Follow(_) | Ruling::Stop(_) => false,
        }
    }

    /// Reloads again once the canaries say what is to become of these. Another reload in between takes its place.
    pub(super) fn reload_after_the_canaries(self: &Arc<Self>, config: &Arc<Config>, plugins: BTreeSet<String>) {
        let stop = self.rollouts.wait_for_another_reload();
        let (gateway, config) = (Arc::clone(self), Arc::clone(config));
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = sleep(AGAIN) => {}
                    () = stop.cancelled() => return,
                    () = gateway.ending.cancelled() => return,
                }
                if !gateway.still_wait(&config, &plugins).await {
                    break;
                }
            }
            if !stop.is_cancelled() {
                gateway.reload().await;
            }
        });
    }
}

/// How often a canary says how it is.
const EACH: Duration = Duration::from_secs(2);
/// A canary that has been silent for so long is not heard.
const LASTS: Duration = Duration::from_secs(15);
/// Between two looks of a reload that waits.
const AGAIN: Duration = Duration::from_secs(1);
/// Of what was taken back, the newest that are told.
const MOST_REFUSED: usize = 20;
/// Bytes of each reason.
const MOST_WORDS: usize = 1000;

//! `portreeve plugin replay`: every recorded decision asked again.
//!
//! A policy is pure but for what the host tells it, and the audit log has all of that: who asked, over which connection, when,
//! and what names meant. So a decision can be asked again of another policy, on the path on which it would be asked of the
//! gateway, each in a fresh instance. What differs is what the change would have done.

mod ask;
mod chain;
mod log;
mod outcome;
mod progress;
mod record;
mod report;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use super::audit::{Session, Sessions};
use super::loading::workshop;
use super::wrong::{Unready, fail};
use crate::cli::{self, DONE, FAILED, INVALID, plain};
use crate::config::{Config, Grant};
use crate::names::{Elsewhere, Names, Resolver};
use crate::policy::{Clock, Generation, Policies, PolicyRef, SetClock};
use ask::{AskError, Asker, Open, Order, Progress};
use chain::Chain;
use log::{Broken, LogError, Logs, Seen};
use record::Skipped;
use report::{Differences, Tally};

/// Ask a policy every decision of an audit log again, and say what it would decide differently.
#[derive(Args)]
pub struct Replay {
    /// The component, `builtin:rules`, or the folder of a policy project.
    file: String,
    /// An audit log; may be given several times, the oldest first.
    #[arg(long, value_name = "LOG", required = true)]
    against: Vec<PathBuf>,
    /// Compare with what this component answers now, not with what the log says.
    #[arg(long, value_name = "OLD")]
    baseline: Option<String>,
    /// The settings of the baseline, where they are others.
    #[arg(long, value_name = "FILE")]
    baseline_settings: Option<PathBuf>,
    #[command(flatten)]
    chain: Chain,
    /// Ask the system for names of which the log says nothing; without it such a name does not exist.
    #[arg(long)]
    resolve: bool,
    /// Tell policies that it is no dry run, so that those count which look only in one; what they keep is the replay's own.
    #[arg(long)]
    no_dry_run: bool,
    /// Leave out lines in the middle of a log that cannot be read.
    #[arg(long)]
    skip_broken: bool,
    /// How many differences, and users, are listed one by one.
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit_differences: usize,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

const NOTHING: &str = "the log has no decision: nothing was compared";
/// Something would be decided differently.
const DIFFERENT: u8 = 10;

/// Asks, compares and prints; the exit code is the answer.
pub(super) async fn run(command: Replay) -> u8 {
    let json = command.json;
    let broken = match command.skip_broken {
        true => Broken::Skip,
        false => Broken::Refuse,
    };
    let logs = match Logs::open(&command.against, broken) {
        Ok(logs) => logs,
        Err(error) => return error.wrong().report(INVALID, json),
    };
    let (open, clock) = (Open::default(), SetClock::default());
    if command.baseline.is_none() && command.baseline_settings.is_some() {
        let words = "--baseline-settings belongs to --baseline, which is not given";
        return fail(INVALID, words, json);
    }
    let sides = match sides(&command, &open, &clock).await {
        Ok(sides) => sides,
        Err(unready) => return unready.report(json),
    };
    let began = Instant::now();
    let asked = tokio::task::spawn_blocking(move || {
        let result = replay(&command, &logs, sides, open, clock);
        (command, result)
    });
    let (command, result) = match asked.await {
        Ok(asked) => asked,
        Err(error) => return fail(FAILED, &error.to_string(), json),
    };
    match result {
        Ok(result) => result.tell(&command, began.elapsed()),
        Err(AskError::Log(error @ LogError::Broken { .. })) => error.wrong().report(INVALID, json),
        Err(AskError::Log(error)) => error.wrong().report(FAILED, json),
        Err(error) => fail(FAILED, &error.to_string(), json),
    }
}

/// What is asked, and with what it is compared where that is not the log.
struct Sides {
    candidate: Side,
    baseline: Option<Side>,
}

/// A chain, and how it is configured.
struct Side {
    config: Config,
    policies: Arc<Generation>,
}

async fn sides(command: &Replay, open: &Open, clock: &SetClock) -> Result<Sides, Unready> {
    let config = command.chain.config(&command.file, None)?;
    let candidate = Side::load(config, open, clock).await?;
    let baseline = match &command.baseline {
        Some(old) => {
            let config = command.chain.config(old, command.baseline_settings.as_deref())?;
            Some(Side::load(config, open, clock).await?)
        }
        None => None,
    };
    Ok(Sides { candidate, baseline })
}

impl Side {
    /// Loads the chain through the gates of a start.
    async fn load(config: Config, open: &Open, clock: &SetClock) -> Result<Self, String> {
        let counts = Arc::clone(open);
        let open_forwards = Arc::new(move |user: &str| {
            let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.get(user).copied().unwrap_or(0)
        });
        let clock = Clock::Set(clock.clone());
        let workshop = workshop(config.policy.directory.as_deref());
        let loaded = Policies::load_by(workshop, &config.policy, open_forwards, clock).await;
        let (_, policies) = loaded.map_err(|errors| {
            let lines: Vec<_> = errors.iter().map(|(name, error)| format!("{name}: {error}")).collect();
            lines.join("\n")
        })?;
        Ok(Self { config, policies })
    }

    fn grants(&self, grant: Grant) -> bool {
        let mut plugins = self.config.policy.plugins.iter();
        plugins.any(|plugin| plugin.grants.contains(&grant))
    }

    fn references(&self) -> Vec<PolicyRef> {
        self.policies.policies().cloned().collect()
    }
}

impl Sides {
    /// Whether either of them is to have this: what one needs of the log does the other no harm.
    fn grant(&self, grant: Grant) -> bool {
        self.candidate.grants(grant) || self.baseline.as_ref().is_some_and(|side| side.grants(grant))
    }
}

fn replay(command: &Replay, logs: &Logs, sides: Sides, open: Open, clock: SetClock) -> Result<Replayed, AskError> {
    let order = match sides.grant(Grant::State) || sides.grant(Grant::View) {
        true => Order::Log,
        false => Order::Any,
    };
    let names = match sides.grant(Grant::Names) {
        true => logs.names()?,
        false => Names::new(),
    };
    let policies = sides.candidate.references();
    let against = sides.baseline.as_ref().map(Side::references);
    let sessions = sessions(&sides.candidate.config);
    let asker = Asker {
        candidate: sides.candidate.policies,
        baseline: sides.baseline.map(|side| side.policies),
        resolver: Resolver::system(),
        names: Arc::new(names),
        elsewhere: match command.resolve {
            true => Elsewhere::System,
            false => Elsewhere::Nobody,
        },
        open,
        clock,
        order,
        dry_run: !command.no_dry_run,
    };
    let progress = Arc::new(Progress::default());
    let shown = progress::Bar::show(Arc::clone(&progress), logs.length());
    let answered = asker.run(logs, sessions, command.limit_differences, &progress);
    drop(shown);
    let (tally, seen) = answered?;
    Ok(Replayed {
        policies,
        against,
        order,
        tally,
        seen,
    })
}

/// Where the log does not have what a login tells a policy, the configuration's users are as good as it gets.
fn sessions(config: &Config) -> Sessions {
    let users: HashMap<_, _> = config
        .users
        .iter()
        .map(|user| (user.name.clone(), user.clone()))
        .collect();
    Sessions::new(move |session: &mut Session| {
        let Some(user) = users.get(&session.principal.user) else {
            return;
        };
        let principal = Arc::make_mut(&mut session.principal);
        principal.groups.clone_from(&user.groups);
        principal.claims.clone_from(&user.claims);
    })
}

/// What came of it.
struct Replayed {
    policies: Vec<PolicyRef>,
    against: Option<Vec<PolicyRef>>,
    order: Order,
    tally: Tally,
    seen: Seen,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Answer<'a> {
    policies: &'a [PolicyRef],
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<&'a [PolicyRef]>,
    decisions: u64,
    asked: u64,
    again: u64,
    incomplete: u64,
    skipped: HashMap<&'static str, u64>,
    broken: u64,
    different: u64,
    seconds: f64,
    per_second: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(flatten)]
    differences: Differences,
}

impl Replayed {
    fn tell(&self, command: &Replay, took: Duration) -> u8 {
        for warning in &self.seen.warnings {
            let _ = cli::fail(DONE, &format!("warning: {warning}"));
        }
        if self.seen.incomplete > 0 {
            let words = format!(
                "warning: {} decisions were asked without groups, claims and certificate, which the log does not have{}",
                self.seen.incomplete,
                match command.chain.has_config() {
                    true => ": groups and claims are those of the configuration",
                    false => ": `--config` takes groups and claims from a configuration",
                }
            );
            let _ = cli::fail(DONE, &words);
        }
        let printed = match command.json {
            true => cli::print(&(serde_json::to_string_pretty(&self.answer(took)).unwrap_or_default() + "\n")),
            false => cli::print(&self.text(took)),
        };
        match (printed, self.tally.different) {
            (DONE, 0) if self.seen.decisions == 0 => cli::fail(FAILED, NOTHING),
            (DONE, 0) => DONE,
            (DONE, _) => DIFFERENT,
            (failed, _) => failed,
        }
    }

    fn per_second(&self, took: Duration) -> u64 {
        // Whole records are enough.
        (self.tally.asked as f64 / took.as_secs_f64().max(1e-9)) as u64
    }

    fn answer(&self, took: Duration) -> Answer<'_> {
        Answer {
            policies: &self.policies,
            baseline: self.against.as_deref(),
            decisions: self.seen.decisions,
            asked: self.tally.asked,
            again: self.seen.again,
            incomplete: self.seen.incomplete,
            skipped: self
                .seen
                .skipped
                .iter()
                .map(|(why, count)| (why.as_str(), *count))
                .collect(),
            broken: self.seen.broken,
            different: self.tally.different,
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            per_second: self.per_second(took),
            error: (self.seen.decisions == 0).then_some(NOTHING),
            differences: self.tally.json(),
        }
    }

    fn text(&self, took: Duration) -> String {
        let Self { tally, seen, .. } = self;
        let name = |policies: &[PolicyRef]| {
            let names: Vec<_> = policies
                .iter()
                .map(|one| {
                    let digest = one.sha256.get(..12).unwrap_or_default();
                    format!("{} {} (sha256 {digest}…)", plain(&one.name), plain(&one.version))
                })
                .collect();
            names.join(", ")
        };
        let against = self
            .against
            .as_deref()
            .map_or_else(|| "what the log says".to_owned(), name);
        let mut text = format!("asked    {}\nagainst  {against}\n", name(&self.policies));
        text.push_str(&format!(
            "asked {} of {} decisions in {:.1} s, {} a second{}: {}\n",
            tally.asked,
            seen.decisions,
            took.as_secs_f64(),
            self.per_second(took),
            match self.order {
                Order::Any => "",
                Order::Log => ", one after the other (grant `state` or `view`)",
            },
            match tally.different {
                0 => "none differs".to_owned(),
                1 => "1 differs".to_owned(),
                more => format!("{more} differ"),
            }
        ));
        if seen.again > 0 {
            text.push_str(&format!(
                "{} of them were decided again while they were open\n",
                seen.again
            ));
        }
        for (why, count) in &seen.skipped {
            text.push_str(&format!("{count} not asked: {}\n", why.sentence()));
        }
        text.push_str(&tally.text());
        text
    }
}

impl Skipped {
    fn as_str(self) -> &'static str {
        use crate::request::By;
        match self {
            Self::By(By::Switch) => "switch",
            Self::By(By::Key) => "key",
            Self::By(By::Policy) => "policy",
            Self::By(By::Floor) => "floor",
            Self::By(By::Limit) => "limit",
            Self::NoTarget => "no-target",
        }
    }

    fn sentence(self) -> String {
        match self {
            Self::By(_) => format!("decided by {}, before any policy", self.as_str()),
            Self::NoTarget => "the log does not say what was asked for in canonical form".to_owned(),
        }
    }
}

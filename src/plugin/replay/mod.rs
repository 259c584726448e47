//! `portreeve plugin replay`: every recorded decision asked again (see [`replay`](crate::replay)), and what differs printed.

mod chain;
mod progress;
mod report;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde::Serialize;

use self::chain::Chain;
use self::report::Differences;
use super::loading::workshop;
use super::wrong::{Unready, Wrong, fail};
use crate::names::Elsewhere;
use crate::policy::PolicyRef;
use crate::replay::{AskError, Broken, LogError, Logs, Manner, Order, Progress, Replay as Engine, Replayed, Skipped};
use crate::say::{self, DONE, FAILED, INVALID, plain};

/// Replay the decisions in an audit log against a policy, and show what would change.
#[derive(Args)]
pub(crate) struct Replay {
    /// Component, `builtin:rules`, or project folder.
    file: String,
    /// Audit log; repeatable, the oldest first.
    #[arg(long, value_name = "LOG", required = true)]
    against: Vec<PathBuf>,
    /// Compare with this component's decisions instead of the log's.
    #[arg(long, value_name = "OLD")]
    baseline: Option<String>,
    /// Settings of the baseline, if they differ.
    #[arg(long, value_name = "FILE")]
    baseline_settings: Option<PathBuf>,
    #[command(flatten)]
    chain: Chain,
    /// Look up names that the log has no answer for; otherwise they do not exist.
    #[arg(long)]
    resolve: bool,
    /// Tell policies that this is not a dry run, so that their counters count; the replay keeps its own state.
    #[arg(long)]
    no_dry_run: bool,
    /// Skip malformed lines in the middle of a log.
    #[arg(long)]
    skip_broken: bool,
    /// How many differences and users to list.
    #[arg(long, value_name = "N", default_value_t = 10)]
    limit_differences: usize,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

const NOTHING: &str = "the log contains no decisions: nothing was compared";
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
        Err(error) => return wrong(&error).report(INVALID, json),
    };
    if command.baseline.is_none() && command.baseline_settings.is_some() {
        let words = "--baseline-settings needs --baseline";
        return fail(INVALID, words, json);
    }
    let replay = match command.load().await {
        Ok(replay) => replay,
        Err(unready) => return unready.report(json),
    };
    let manner = Manner {
        elsewhere: match command.resolve {
            true => Elsewhere::Resolver,
            false => Elsewhere::Nobody,
        },
        dry_run: !command.no_dry_run,
        examples: command.limit_differences,
    };
    let began = Instant::now();
    let asked = tokio::task::spawn_blocking(move || {
        let progress = Arc::new(Progress::default());
        let _shown = progress::Bar::show(Arc::clone(&progress), logs.length());
        replay.run(&logs, &manner, &progress)
    });
    let result = match asked.await {
        Ok(asked) => asked,
        Err(error) => return fail(FAILED, &error.to_string(), json),
    };
    match result {
        Ok(replayed) => Told {
            replayed,
            took: began.elapsed(),
        }
        .print(&command),
        Err(AskError::Log(error @ LogError::Broken { .. })) => wrong(&error).report(INVALID, json),
        Err(AskError::Log(error)) => wrong(&error).report(FAILED, json),
        Err(error) => fail(FAILED, &error.to_string(), json),
    }
}

impl Replay {
    async fn load(&self) -> Result<Engine, Unready> {
        let candidate = self.chain.config(&self.file, None)?;
        let baseline = match &self.baseline {
            Some(old) => Some(self.chain.config(old, self.baseline_settings.as_deref())?),
            None => None,
        };
        let loaded = Engine::load(candidate, baseline, |config| {
            workshop(config.policy.directory.as_deref())
        })
        .await;
        loaded.map_err(|errors| {
            let lines: Vec<_> = errors.iter().map(|(name, error)| format!("{name}: {error}")).collect();
            Unready::from(lines.join("\n"))
        })
    }
}

/// With its place, and with what can be done about it here.
fn wrong(error: &LogError) -> Wrong {
    let (path, line) = error.place();
    Wrong {
        words: match error {
            LogError::Read { .. } => error.to_string(),
            LogError::Broken { .. } => format!("{error}; `--skip-broken` skips such lines"),
        },
        file: Some(path.to_owned()),
        line: line.and_then(|line| usize::try_from(line).ok()),
    }
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Summary<'a> {
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

/// What came of it, and how long it took.
struct Told {
    replayed: Replayed,
    took: Duration,
}

impl Told {
    fn print(&self, command: &Replay) -> u8 {
        let Replayed { seen, tally, .. } = &self.replayed;
        for warning in &seen.warnings {
            let _ = say::fail(DONE, &format!("warning: {warning}"));
        }
        if seen.incomplete > 0 {
            let words = format!(
                "warning: {} decisions were replayed without groups, claims and certificate, which the log does not contain{}",
                seen.incomplete,
                match command.chain.has_config() {
                    true => ": groups and claims came from the configuration",
                    false => ": `--config` takes groups and claims from a configuration",
                }
            );
            let _ = say::fail(DONE, &words);
        }
        let printed = match command.json {
            true => say::print(&(serde_json::to_string_pretty(&self.answer()).unwrap_or_default() + "\n")),
            false => say::print(&self.text()),
        };
        match (printed, tally.different) {
            (DONE, 0) if seen.decisions == 0 => say::fail(FAILED, NOTHING),
            (DONE, 0) => DONE,
            (DONE, _) => DIFFERENT,
            (failed, _) => failed,
        }
    }

    fn per_second(&self) -> u64 {
        // Whole records are enough.
        (self.replayed.tally.asked as f64 / self.took.as_secs_f64().max(1e-9)) as u64
    }

    fn answer(&self) -> Summary<'_> {
        let Replayed {
            policies,
            against,
            tally,
            seen,
            ..
        } = &self.replayed;
        Summary {
            policies,
            baseline: against.as_deref(),
            decisions: seen.decisions,
            asked: tally.asked,
            again: seen.again,
            incomplete: seen.incomplete,
            skipped: seen.skipped.iter().map(|(why, count)| (why.as_str(), *count)).collect(),
            broken: seen.broken,
            different: tally.different,
            seconds: (self.took.as_secs_f64() * 1000.0).round() / 1000.0,
            per_second: self.per_second(),
            error: (seen.decisions == 0).then_some(NOTHING),
            differences: report::json(tally),
        }
    }

    fn text(&self) -> String {
        let Replayed {
            policies,
            against,
            order,
            tally,
            seen,
        } = &self.replayed;
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
        let against = against.as_deref().map_or_else(|| "what the log says".to_owned(), name);
        let mut text = format!("asked    {}\nagainst  {against}\n", name(policies));
        text.push_str(&format!(
            "asked {} of {} decisions in {:.1} s, {} a second{}: {}\n",
            tally.asked,
            seen.decisions,
            self.took.as_secs_f64(),
            self.per_second(),
            match order {
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
            text.push_str(&format!("{count} not asked: {}\n", sentence(*why)));
        }
        text.push_str(&report::text(tally));
        text
    }
}

fn sentence(why: Skipped) -> String {
    match why {
        Skipped::By(_) => format!("decided by {}, before any policy", why.as_str()),
        Skipped::NoTarget => "the log does not contain the request in canonical form".to_owned(),
    }
}

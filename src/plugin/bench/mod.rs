//! `portreeve plugin bench`: measures how long decisions take in the gateway.

mod load;

use std::fmt::Write;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::answer::Answer;
use super::cases;
use super::loading::{Loading, Subject, workshop};
use super::request::{Described, Target};
use super::wrong::{fail, unloaded};
use crate::names::{Lookups, Resolver};
use crate::policy::{Component, Generation, HostSide, LoadError, Meter, Offline};
use crate::request::{Action, ForwardRequest};
use crate::say::{self, INVALID, bytes, plain, thousands};

/// Measure how long a policy's decisions take in the gateway.
#[derive(Args)]
pub(crate) struct Bench {
    #[command(flatten)]
    loading: Loading,
    /// Case file: measure its first request, with the names, state and facts of the case.
    #[arg(long, value_name = "CASES")]
    request: Option<PathBuf>,
    /// Measure this case instead of the first.
    #[arg(long, value_name = "NAME", requires = "request")]
    case: Option<String>,
    /// Endpoint to ask about without a case file, as in db.internal:5432.
    #[arg(
        long,
        value_name = "ENDPOINT",
        default_value = "db.internal:5432",
        conflicts_with = "request"
    )]
    target: Target,
    /// How long to measure, 1 to 60 seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Print the figures as JSON.
    #[arg(long)]
    json: bool,
}

/// What is asked, and what the host answers.
pub(super) struct Asking {
    pub(super) request: Arc<ForwardRequest>,
    pub(super) host: HostSide,
}

/// The figures.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Figures {
    component: String,
    sha256: String,
    size: usize,
    verdict: &'static str,
    load_millis: u64,
    /// Or its code was found, compiled by an earlier command or by the gateway.
    compiled: bool,
    snapshot: bool,
    decisions: usize,
    p50_micros: f64,
    p99_micros: f64,
    max_micros: f64,
    fuel: Option<u64>,
    memory: u64,
    per_second_per_core: f64,
    cores: usize,
    deadline_millis: f64,
    largest_rate: f64,
}

pub(super) async fn run(bench: Bench) -> u8 {
    let subject = match bench.loading.subject() {
        Ok(subject) => subject,
        Err(unready) => return unready.report(bench.json),
    };
    let asking = match &bench.request {
        Some(path) => match cases::asking(path, bench.case.as_deref(), &subject.setup.plugin) {
            Ok(asking) => asking,
            Err(unready) => return unready.report(bench.json),
        },
        None => {
            let described = Described {
                action: Some(Action::Connect),
                target: Some(bench.target.clone()),
                ..Described::default()
            };
            match described.request(Timestamp::now()) {
                Ok(request) => Asking {
                    request: Arc::new(request),
                    host: HostSide {
                        resolver: Resolver::table([].into()),
                        facts: subject.facts.clone(),
                        ..HostSide::default()
                    },
                },
                Err(words) => return fail(INVALID, &words, bench.json),
            }
        }
    };
    let figures = match measure(&subject, &asking, Duration::from_secs(bench.seconds)).await {
        Ok(figures) => figures,
        Err(error) => return unloaded(&subject.shown, &error, bench.json),
    };
    say::print(&if bench.json {
        serde_json::to_string_pretty(&figures).unwrap_or_default() + "\n"
    } else {
        text(&figures)
    })
}

async fn measure(subject: &Subject, asking: &Asking, time: Duration) -> Result<Figures, LoadError> {
    let setup = &subject.setup;
    let component = Component::read(&setup.plugin.component)?;
    let (size, sha256) = (component.bytes().len(), component.sha256().to_owned());
    let workshop = || workshop(subject.directory.as_deref());
    let metered = Offline::with(workshop(), setup.memory, setup.deadline, Meter::Fuel)?;
    let metered = metered.load(&setup.plugin, component.clone()).await?;
    let asked = metered.ask(Arc::clone(&asking.request), &asking.host).await;
    let answer = Answer::of(&asked);
    let began = Instant::now();
    let serving = Offline::with(workshop(), setup.memory, setup.deadline, Meter::Off)?;
    let candidate = serving.load(&setup.plugin, component).await?;
    let load = began.elapsed();
    let generation = candidate.serving(&asking.host);
    // The first ones pay for pages and caches that all others find.
    let _ = one_by_one(&generation, asking, WARM_UP).await;
    let mut times = one_by_one(&generation, asking, time.mul_f64(0.4)).await;
    let total: Duration = times.iter().sum();
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len() as f64 * share) as usize;
        let time = times.get(index.min(times.len().saturating_sub(1)));
        time.map_or(0.0, |time| time.as_secs_f64() * 1e6)
    };
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let per_core = times.len() as f64 / total.as_secs_f64().max(1e-9);
    let guess = per_core * cores as f64;
    let rate = load::largest_rate(&generation, asking, setup.deadline, guess, time.mul_f64(0.6)).await;
    Ok(Figures {
        component: subject.shown.clone(),
        sha256,
        size,
        verdict: answer.verdict.as_str(),
        load_millis: u64::try_from(load.as_millis()).unwrap_or(u64::MAX),
        compiled: !serving.compiled_nothing(),
        snapshot: candidate.is_snapshot(),
        decisions: times.len(),
        p50_micros: at(0.5),
        p99_micros: at(0.99),
        max_micros: at(1.0),
        fuel: answer.fuel,
        memory: asked.observed.memory,
        per_second_per_core: per_core,
        cores,
        deadline_millis: setup.deadline.as_secs_f64() * 1e3,
        largest_rate: rate,
    })
}

/// Decisions one after the other, each in an instance of its own, for so long.
async fn one_by_one(generation: &Arc<Generation>, asking: &Asking, time: Duration) -> Vec<Duration> {
    let ends = Instant::now() + time;
    let mut times = Vec::new();
    while (Instant::now() < ends && times.len() < MOST) || times.is_empty() {
        let lookups = Lookups::new(asking.host.resolver.clone());
        let began = Instant::now();
        let _ = generation.decide(Arc::clone(&asking.request), lookups).await;
        times.push(began.elapsed());
    }
    times
}

fn text(figures: &Figures) -> String {
    let mut out = format!(
        "{} (sha256 {}…, {})\n",
        plain(&figures.component),
        figures.sha256.get(..12).unwrap_or_default(),
        bytes(figures.size as u64)
    );
    let mut say = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<12} {value}");
    };
    say("answers", figures.verdict.to_owned());
    let how = if figures.snapshot {
        "a snapshot after `configure`"
    } else {
        "no snapshot: configured for each decision"
    };
    let code = if figures.compiled {
        "compiled anew"
    } else {
        "compiled before"
    };
    say("load", format!("{} ms, {code}, {how}", figures.load_millis));
    say(
        "decision",
        format!(
            "p50 {:.1} µs, p99 {:.1} µs, max {:.1} µs, of {} in fresh instances",
            figures.p50_micros,
            figures.p99_micros,
            figures.max_micros,
            thousands(figures.decisions as u64)
        ),
    );
    say(
        "costs",
        format!(
            "{} fuel, {} of memory",
            figures.fuel.map(thousands).unwrap_or_default(),
            bytes(figures.memory)
        ),
    );
    say(
        "throughput",
        format!(
            "{} decisions a second on one core",
            thousands(figures.per_second_per_core as u64)
        ),
    );
    say(
        "at most",
        format!(
            "{} a second on {} cores, 99 % of them within {} ms",
            thousands(figures.largest_rate as u64),
            figures.cores,
            figures.deadline_millis
        ),
    );
    if cfg!(debug_assertions) {
        say(
            "note",
            "this portreeve is a debug build: a release build is faster".to_owned(),
        );
    }
    out
}

const WARM_UP: Duration = Duration::from_millis(200);
const MOST: usize = 1_000_000;

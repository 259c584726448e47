//! Runs cases, as many at once as there are cores; each component is compiled once for each of its
//! settings.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinSet;

use super::super::answer::Answer;
use super::super::loading::workshop;
use super::super::project::Setup;
use super::case::{Asks, Case, CaseFile, Held, Step};
use super::coverage::Coverage;
use super::expect::Difference;
use crate::names::Resolver;
use crate::policy::{Candidate, Component, HostSide, LoadError, Meter, Offline, PolicyRef, Problem};

/// What came of all cases.
pub(super) struct Results {
    pub(super) cases: Vec<CaseResult>,
    pub(super) policies: Vec<PolicyRef>,
    pub(super) coverage: Vec<Coverage>,
    pub(super) took: Duration,
}

impl Results {
    /// How many cases failed.
    pub(super) fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.passed()).count()
    }
}

/// What came of one case.
pub(super) struct CaseResult {
    pub(super) file: String,
    pub(super) name: String,
    pub(super) line: usize,
    /// Its place among the cases of the file.
    pub(super) index: usize,
    pub(super) component: String,
    /// One for each request.
    pub(super) answers: Vec<Answer>,
    pub(super) differences: Vec<Difference>,
    /// Why nothing could be asked.
    pub(super) unloaded: Option<String>,
    /// That was because its component cannot be read.
    pub(super) unread: bool,
    /// Why a step and those after it were left out.
    pub(super) broken_off: Option<String>,
    pub(super) took: Duration,
    /// Its answers were written into the file.
    pub(super) recorded: bool,
    load: String,
}

impl CaseResult {
    pub(super) fn passed(&self) -> bool {
        self.differences.is_empty() && self.unloaded.is_none() && self.broken_off.is_none()
    }

    /// All the fuel that its requests used.
    /// None if one of them was cut off: what it used was not added up.
    pub(super) fn fuel(&self) -> Option<u64> {
        self.answers.iter().map(|answer| answer.fuel).sum()
    }
}

/// Components that were loaded, by all that makes a difference.
#[derive(Default)]
struct Shelf {
    offline: HashMap<u64, Offline>,
    loaded: HashMap<String, Arc<Load>>,
}

/// Loaded by whichever case comes first.
type Load = OnceCell<Result<Arc<Candidate>, LoadError>>;

/// Runs every case.
///
/// # Errors
/// If the WebAssembly engine cannot be started.
pub(super) async fn all(files: Vec<CaseFile>) -> Result<Results, LoadError> {
    let began = Instant::now();
    let mut shelf = Shelf::default();
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let places = Arc::new(Semaphore::new(cores));
    let mut running = JoinSet::new();
    for file in files {
        let path = file.path.display().to_string();
        for case in file.cases {
            let offline = shelf.offline(&case.setup)?;
            let key = key(&case.setup);
            let cell = Arc::clone(shelf.loaded.entry(key.clone()).or_default());
            let (places, path) = (Arc::clone(&places), path.clone());
            let number = running.len();
            running.spawn(async move {
                let _place = places.acquire().await;
                let candidate = cell.get_or_init(|| load(&offline, &case.setup)).await;
                (number, one(path, case, candidate, key).await)
            });
        }
    }
    let mut done = Vec::new();
    while let Some(finished) = running.join_next().await {
        done.push(finished.map_err(|error| LoadError::Engine(error.to_string()))?);
    }
    done.sort_by_key(|(number, _)| *number);
    let cases: Vec<_> = done.into_iter().map(|(_, case)| case).collect();
    let (policies, coverage) = shelf.summary(&cases);
    Ok(Results {
        cases,
        policies,
        coverage,
        took: began.elapsed(),
    })
}

impl Shelf {
    fn offline(&mut self, setup: &Setup) -> Result<Offline, LoadError> {
        let offline = match self.offline.get(&setup.memory) {
            Some(offline) => offline,
            None => {
                let offline = Offline::with(workshop(None), setup.memory, setup.deadline, Meter::Fuel)?;
                self.offline.entry(setup.memory).or_insert(offline)
            }
        };
        Ok(offline.within(setup.deadline))
    }

    fn summary(&self, cases: &[CaseResult]) -> (Vec<PolicyRef>, Vec<Coverage>) {
        let mut policies: Vec<PolicyRef> = Vec::new();
        let mut coverage = Vec::new();
        let mut seen = Vec::new();
        for case in cases {
            if seen.contains(&&case.load) {
                continue;
            }
            seen.push(&case.load);
            let Some(Ok(candidate)) = self.loaded.get(&case.load).and_then(|cell| cell.get()) else {
                continue;
            };
            if !policies.contains(candidate.reference()) {
                policies.push(candidate.reference().clone());
            }
            let answers = cases.iter().filter(|one| one.load == case.load);
            let answers = answers.flat_map(|one| &one.answers);
            coverage.extend(Coverage::of(candidate, &case.file, answers));
        }
        (policies, coverage)
    }
}

fn key(setup: &Setup) -> String {
    format!("{:?} {:?} {}", setup.plugin, setup.deadline, setup.memory)
}

async fn load(offline: &Offline, setup: &Setup) -> Result<Arc<Candidate>, LoadError> {
    let component = Component::read(&setup.plugin.component)?;
    offline.load(&setup.plugin, component).await.map(Arc::new)
}

async fn one(file: String, case: Case, candidate: &Result<Arc<Candidate>, LoadError>, load: String) -> CaseResult {
    let began = Instant::now();
    let mut result = CaseResult {
        file,
        name: case.name.clone(),
        line: case.line,
        index: case.index,
        component: case.component(),
        answers: Vec::new(),
        differences: Vec::new(),
        unloaded: None,
        unread: false,
        broken_off: None,
        took: Duration::ZERO,
        recorded: false,
        load,
    };
    match candidate {
        Ok(candidate) => result.ask(&case, candidate).await,
        Err(LoadError::Settings(problems)) => result.reject(&case, problems),
        Err(error) => {
            result.unread = matches!(error, LoadError::Read { .. });
            result.unloaded = Some(error.to_string());
        }
    }
    result.took = began.elapsed();
    result
}

impl CaseResult {
    async fn ask(&mut self, case: &Case, candidate: &Candidate) {
        let mut host = HostSide::default();
        let began = case.steps.first().map(|step| step.now);
        for (number, step) in case.steps.iter().enumerate() {
            let since = began.map_or(0, |began| step.now.as_millisecond() - began.as_millisecond());
            host.state
                .move_to(Duration::from_millis(u64::try_from(since).unwrap_or(0)));
            if let Err(words) = tell(&mut host, step, &case.setup.plugin.name) {
                self.broken_off = Some(format!("line {}: {words}", step.line));
                return;
            }
            let answer = match &step.asks {
                Asks::Verdict(request) => Answer::of(&candidate.ask(Arc::clone(request), &host).await),
                Asks::Ear(ended) if candidate.observes() => Answer::told(&candidate.tell(ended, &host).await),
                Asks::Ear(_) => {
                    self.broken_off = Some(format!("line {}: {DEAF}", step.line));
                    return;
                }
            };
            self.compare(number, step, answer);
        }
    }

    /// No step can be asked then, and each that expects something else fails.
    fn reject(&mut self, case: &Case, problems: &[Problem]) {
        for (number, step) in case.steps.iter().enumerate() {
            self.compare(number, step, Answer::rejected(problems));
        }
    }

    fn compare(&mut self, number: usize, step: &Step, answer: Answer) {
        match &step.expected {
            Some(expected) => self.differences.extend(expected.differences(number, &answer)),
            None => self.differences.push(Difference {
                step: number,
                what: "expect",
                expected: "an `expect`: write one, or let --update record this answer".to_owned(),
                found: answer.verdict.as_str().to_owned(),
            }),
        }
        if let (Some(most), Some(used)) = (step.fuel, answer.fuel)
            && used > most
        {
            self.differences.push(Difference {
                step: number,
                what: "fuel",
                expected: format!("at most {most}"),
                found: format!("{used}, which is {} more", used - most),
            });
        }
        self.answers.push(answer);
    }
}

/// Makes the host interfaces answer what a step says.
pub(super) fn tell(host: &mut HostSide, step: &Step, policy: &str) -> Result<(), String> {
    host.resolver = Resolver::table(step.names.clone());
    host.facts.clone_from(&step.facts);
    host.open_forwards = Arc::clone(&step.open_forwards);
    for (key, held) in &step.state {
        let told = match held {
            Held::Bytes(bytes) => host.state.value(policy, key, bytes.clone()),
            Held::Counter(sum) => host.state.counter(policy, key, *sum),
        };
        told.map_err(|words| format!("its state cannot hold `{key}`: {words}"))?;
    }
    Ok(())
}

const DEAF: &str = "this component is not told when forwards end: build it with `on-ended` (world = \"observing-policy\" in policy.toml), or remove this step";

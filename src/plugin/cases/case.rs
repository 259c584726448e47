//! A case file, read.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use toml::de::DeValue;

use super::super::answer::Answer;
use super::super::project::{self, Keys, Project, Setup, read_toml, shown};
use super::super::request::{Described, instant};
use super::expect::{self, Expected};
use crate::config::{self, Faults, Source, Table, Value, auth, integer};
use crate::names::NameError;
use crate::policy::{ForwardEnded, OpenForwards};
use crate::request::{Cause, Fact, ForwardRequest, Host};

/// The cases of one file.
pub(super) struct CaseFile {
    pub(super) path: PathBuf,
    pub(super) cases: Vec<Case>,
}

/// One case: settings, and requests that share a state.
pub(super) struct Case {
    pub(super) name: String,
    /// Its place among the cases of the file, before any filter.
    pub(super) index: usize,
    pub(super) line: usize,
    pub(super) setup: Setup,
    pub(super) steps: Vec<Step>,
}

/// One request, or one end, and what is expected to come of it.
pub(super) struct Step {
    pub(super) asks: Asks,
    pub(super) now: Timestamp,
    pub(super) line: usize,
    pub(super) names: HashMap<String, Result<Vec<IpAddr>, NameError>>,
    /// What is remembered before the request, besides what the steps before it left.
    pub(super) state: Vec<(String, Held)>,
    pub(super) open_forwards: OpenForwards,
    pub(super) facts: Vec<(String, Fact)>,
    pub(super) expected: Option<Expected>,
    /// The most fuel that it may use.
    pub(super) fuel: Option<u64>,
}

/// What a step wants of the policy.
pub(super) enum Asks {
    /// Its verdict.
    Verdict(Arc<ForwardRequest>),
    /// That it hears of the end of what it allowed.
    Ear(ForwardEnded),
}

/// What `state` holds under a key.
#[derive(Clone, Debug)]
pub(super) enum Held {
    Bytes(Vec<u8>),
    Counter(i64),
}

/// What a step says, or the file says for every step.
#[derive(Clone, Default)]
struct Circumstances {
    now: Option<Timestamp>,
    names: HashMap<String, Result<Vec<IpAddr>, NameError>>,
    state: Vec<(String, Held)>,
    open_forwards: BTreeMap<String, u32>,
    facts: Vec<(String, Fact)>,
    fuel: Option<u64>,
    request: Described,
}

/// Reads a case file; `component` replaces what it and its project name.
///
/// # Errors
/// Every fault of the file, or of the `policy.toml` that it belongs to.
pub(super) fn read(path: &Path, component: Option<&Source>) -> Result<CaseFile, Faults> {
    let text = config::read_text(path).map_err(|fault| Faults {
        file: path.to_owned(),
        faults: vec![fault],
    })?;
    parse(path, &text, component)
}

/// Reads the text of a case file; `path` says where it is or will be.
///
/// # Errors
/// As [`read`].
pub(super) fn parse(path: &Path, text: &str, component: Option<&Source>) -> Result<CaseFile, Faults> {
    let project = Project::of(path)?;
    let cases = read_toml(path, text, |table| {
        let mut keys = Keys::read(table);
        if let Some(project) = &project {
            keys = keys.over(&project.keys);
        }
        if let Some(component) = component {
            keys.component = Some(component.clone());
        }
        let name = project.as_ref().map(|project| project.name.clone());
        let Some(setup) = keys.setup(name) else {
            table.fault("component", NO_COMPONENT);
            return None;
        };
        let circumstances = circumstances(table, &Circumstances::default());
        let cases = table.required(
            "case",
            "at least one: write [[case]] with name, request and expect",
            |value| {
                let mut names = BTreeMap::new();
                value.tables(|table| case(table, &setup, &circumstances, &mut names))
            },
        );
        let mut cases = cases?;
        for (index, case) in cases.iter_mut().enumerate() {
            case.index = index;
        }
        Some(cases)
    })?;
    Ok(CaseFile {
        path: path.to_owned(),
        cases,
    })
}

impl CaseFile {
    /// Whether a step expects this answer.
    pub(super) fn expects(&self, case: usize, step: usize, answer: &Answer) -> bool {
        let step = self.cases.get(case).and_then(|case| case.steps.get(step));
        let expected = step.and_then(|step| step.expected.as_ref());
        expected.is_some_and(|expected| expected.differences(0, answer).is_empty())
    }
}

impl Case {
    /// What the component is called in what is printed.
    pub(super) fn component(&self) -> String {
        shown(&self.setup.plugin.component)
    }
}

fn case(
    table: &mut Table<'_>,
    setup: &Setup,
    file: &Circumstances,
    names: &mut BTreeMap<String, usize>,
) -> Option<Case> {
    let (line, _) = table.place();
    let name = table.required("name", "what the case is about", |value| {
        let name = value.word()?;
        value.unique(name, names).map(|()| name.to_owned())
    });
    let mut setup = setup.clone();
    if let Some(settings) = project::settings(table) {
        setup.plugin.settings = settings;
    }
    let mut steps = Vec::new();
    let first = circumstances(table, file);
    steps.extend(step(table, &first));
    let mut last = first;
    let then = table.read("then", |value| {
        value.tables(|table| {
            let mut following = Circumstances {
                state: Vec::new(),
                ..last.clone()
            };
            let after = table.read("after", |value| value.duration(Duration::ZERO..=DAYS));
            if let Some(after) = after.and_then(|after| SignedDuration::try_from(after).ok()) {
                following.now = Some(following.moment().saturating_add(after).unwrap_or(Timestamp::MAX));
                if table.has("now") {
                    table.fault("now", "`after` is also set: keep only one of them");
                }
            }
            following = circumstances(table, &following);
            last = following;
            step(table, &last)
        })
    });
    steps.extend(then.unwrap_or_default());
    Some(Case {
        name: name?,
        index: 0,
        line,
        setup,
        steps,
    })
}

impl Circumstances {
    fn moment(&self) -> Timestamp {
        self.now.unwrap_or(MONDAY)
    }
}

/// Reads what is told to the policy; what the table leaves out is as in `before`.
fn circumstances(table: &mut Table<'_>, before: &Circumstances) -> Circumstances {
    let request = table.read("request", |value| value.table(Described::read));
    Circumstances {
        now: table.read("now", instant).or(before.now),
        names: table.or("names", before.names.clone(), names),
        state: table.or("state", before.state.clone(), state),
        open_forwards: table.or("open-forwards", before.open_forwards.clone(), |value| {
            value.table(|table| {
                let all = table.all();
                let counts = all.iter();
                counts
                    .filter_map(|(user, value)| Some(((*user).to_owned(), value.number(0..=u32::MAX)?)))
                    .collect()
            })
        }),
        facts: table.or("facts", before.facts.clone(), auth::claims),
        fuel: table
            .read("fuel", |value| value.number(1..=i64::MAX.unsigned_abs()))
            .or(before.fuel),
        request: request.unwrap_or_default().over(&before.request),
    }
}

fn step(table: &mut Table<'_>, told: &Circumstances) -> Option<Step> {
    let (asks, expected) = if table.has("ended") {
        the_end(table, told)?
    } else {
        let expected = table.read("expect", |value| value.table(expect::read));
        match told.request.request(told.moment()) {
            Ok(request) => (Asks::Verdict(Arc::new(request)), expected),
            Err(words) => {
                table.fault("request", words);
                return None;
            }
        }
    };
    let open_forwards = told.open_forwards.clone();
    let (line, _) = table.place();
    Some(Step {
        asks,
        now: told.moment(),
        line,
        names: told.names.clone(),
        state: told.state.clone(),
        open_forwards: Arc::new(move |user| open_forwards.get(user).copied().unwrap_or(0)),
        facts: told.facts.clone(),
        expected,
        fuel: told.fuel,
    })
}

/// A step that reports an end, in the place of a request.
fn the_end(table: &mut Table<'_>, told: &Circumstances) -> Option<(Asks, Option<Expected>)> {
    if table.has("request") {
        table.fault(
            "ended",
            "`request` is also set: an end is a separate step, in a [[case.then]]",
        );
    }
    let ended = table.read("ended", |value| value.table(|table| ended(table, told)));
    let expected = if table.has("expect") {
        table.read("expect", |value| value.table(expect::read_of_end))
    } else {
        Some(Expected::told())
    };
    Some((Asks::Ear(ended?), expected))
}

fn ended(table: &mut Table<'_>, told: &Circumstances) -> ForwardEnded {
    let causes = Cause::ALL.map(|cause| (cause.as_str(), cause));
    let count = |value: &Value<'_>| value.number(0..=i64::MAX.unsigned_abs());
    ForwardEnded {
        id: table
            .read("id", |value| value.text().map(str::to_owned))
            .unwrap_or_else(|| told.request.id()),
        cause: table.or("cause", Cause::Closed, |value| value.one_of(&causes)).as_str(),
        millis: table.or("milliseconds", 0, count),
        bytes_up: table.or("bytes-up", 0, count),
        bytes_down: table.or("bytes-down", 0, count),
        dialled: table.read("dialled", |value| value.address()),
    }
}

fn names(value: &Value<'_>) -> Option<HashMap<String, Result<Vec<IpAddr>, NameError>>> {
    value.table(|table| {
        let all = table.all();
        let entries = all.iter().filter_map(|(name, value)| {
            let host = match Host::parse(name) {
                Ok(Host::Name(host)) => host.to_string(),
                Ok(_) => return value.fault("an address is not a name and is never looked up: remove it"),
                Err(error) => return value.fault(error),
            };
            Some((host, name_answer(value)?))
        });
        entries.collect()
    })
}

fn name_answer(value: &Value<'_>) -> Option<Result<Vec<IpAddr>, NameError>> {
    if let DeValue::Array(_) = value.toml() {
        let addresses = value.list(|item| {
            let address = item.text()?.parse::<IpAddr>().ok();
            address
                .map(|address| address.to_canonical())
                .or_else(|| item.wrong("an address, as in \"10.0.0.5\""))
        })?;
        return Some(if addresses.is_empty() {
            Err(NameError::NoSuchName)
        } else {
            Ok(addresses)
        });
    }
    let text = value.toml().as_str();
    match text {
        Some("no-such-name") => Some(Err(NameError::NoSuchName)),
        Some("timed-out") => Some(Err(NameError::TimedOut)),
        Some("over-budget") => Some(Err(NameError::OverBudget)),
        Some("failed") => Some(Err(NameError::Failed("failed".to_owned()))),
        Some(text) if text.starts_with("failed: ") => {
            let words = text.trim_start_matches("failed: ");
            Some(Err(NameError::Failed(words.to_owned())))
        }
        _ => {
            value.wrong("addresses, as in [\"10.0.0.5\"], or no-such-name, timed-out, over-budget or \"failed: words\"")
        }
    }
}

fn state(value: &Value<'_>) -> Option<Vec<(String, Held)>> {
    value.table(|table| {
        let all = table.all();
        let entries = all.iter();
        entries
            .filter_map(|(key, value)| Some(((*key).to_owned(), held(value)?)))
            .collect()
    })
}

fn held(value: &Value<'_>) -> Option<Held> {
    match value.toml() {
        DeValue::String(text) => Some(Held::Bytes(text.as_bytes().to_vec())),
        DeValue::Array(_) => value.list(|item| item.number(0..=u8::MAX)).map(Held::Bytes),
        DeValue::Integer(number) => match integer(number) {
            Some(number) => Some(Held::Counter(number)),
            None => value.wrong("a number that fits in 64 bits"),
        },
        _ => value.wrong("text, bytes as in [1, 255], or a whole number for a counter"),
    }
}

const NO_COMPONENT: &str =
    "missing: name the component's file here, in a policy.toml beside or above this file, or with --component";
/// `now` where nobody says: 2026-01-05T12:00:00Z, a Monday.
const MONDAY: Timestamp = Timestamp::constant(1_767_614_400, 0);
const DAYS: Duration = Duration::from_secs(3650 * 86400);

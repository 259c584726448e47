//! `portreeve plugin run`: decides one request, and shows everything about it.

mod audit;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::answer::{Answer, Word};
use super::loading::{Loading, Subject, workshop};
use super::request::{Described, Target, address};
use super::wrong::{Wrong, fail, unloaded};
use crate::config::Grant;
use crate::names::{NameError, Names, Resolver};
use crate::policy::{Asked, Candidate, Component, HostSide, LoadError, Meter, Offline, PolicyRef};
use crate::request::{Action, Credential, Fact, ForwardRequest, Host};
use crate::say::{self, DENIED, INVALID, Paint, UNDECIDED, bytes, plain, thousands};

/// Ask a policy about one request, and show what it did.
#[derive(Args)]
pub(crate) struct Run {
    #[command(flatten)]
    loading: Loading,
    /// connect, listen or accept.
    #[arg(required_unless_present = "audit", requires = "target")]
    action: Option<Action>,
    #[arg(value_name = "ENDPOINT", help = "host:port, [v6]:port or unix:/path")]
    target: Option<Target>,
    /// User who asks.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Group of the user; repeatable.
    #[arg(long = "group", value_name = "G")]
    groups: Vec<String>,
    /// Claim of the user; whole numbers, true and false keep their type, all else is text.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = fact)]
    claims: Vec<(String, Fact)>,
    /// How the user logged in.
    #[arg(long, value_name = "WORD")]
    method: Option<String>,
    /// Fingerprint of the user's key.
    #[arg(long, value_name = "SHA256:…")]
    key: Option<String>,
    /// Address of the client, as in 192.0.2.7 or 192.0.2.7:50000.
    #[arg(long, value_name = "IP", value_parser = peer)]
    client: Option<SocketAddr>,
    /// Peer of an accept, or the originator that the client claims for a connect.
    #[arg(long, value_name = "IP", value_parser = peer)]
    originator: Option<SocketAddr>,
    /// Time of the request, as in 2026-11-24T09:00:00Z [default: now].
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Addresses of a name, as in db.internal=10.0.0.5,10.0.0.6, or db.internal=timed-out; grants `names`.
    #[arg(long = "name", value_name = "HOST=IP", value_parser = name)]
    names: Vec<(String, Result<Vec<IpAddr>, NameError>)>,
    /// Entry in `state`: text, or a whole number for a counter; grants `state`.
    #[arg(long = "state", value_name = "KEY=VALUE", value_parser = fact)]
    state: Vec<(String, Fact)>,
    /// Configured fact; grants `view`.
    #[arg(long = "fact", value_name = "NAME=VALUE", value_parser = fact)]
    facts: Vec<(String, Fact)>,
    /// Number of forwards that a user has open; grants `view`.
    #[arg(long = "open", value_name = "USER=COUNT", value_parser = count)]
    open: Vec<(String, u32)>,
    /// Ask about a recorded request: one audit log line, or the log file with --forward.
    #[arg(long, value_name = "LINE|FILE")]
    audit: Option<String>,
    /// Decision in the log to ask about.
    #[arg(long, value_name = "f-…", requires = "audit")]
    forward: Option<String>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(mut run: Run) -> u8 {
    for (grant, told) in [
        (Grant::Names, !run.names.is_empty()),
        (Grant::State, !run.state.is_empty()),
        (Grant::View, !run.facts.is_empty() || !run.open.is_empty()),
    ] {
        if told {
            run.loading.grant(grant);
        }
    }
    let subject = match run.loading.subject() {
        Ok(subject) => subject,
        Err(unready) => return unready.report(run.json),
    };
    let (request, names, decided) = match run.request() {
        Ok(asked) => asked,
        Err(wrong) => return wrong.report(INVALID, run.json),
    };
    let once = Once {
        subject: &subject,
        run: &run,
        request: Arc::new(request),
        names,
    };
    // Time is that of the engine that serves, fuel that of one that counts.
    let timed = once.ask(Meter::Off).await;
    let (reference, asked, mut answer) = match timed {
        Ok((candidate, asked)) => {
            let answer = Answer::of(&asked);
            (candidate.reference().clone(), asked, answer)
        }
        Err(Stop::Usage(words)) => return fail(INVALID, &words, run.json),
        Err(Stop::Load(error)) => return unloaded(&subject.shown, &error, run.json),
    };
    if let Ok((_, metered)) = once.ask(Meter::Fuel).await {
        answer.fuel = metered.observed.fuel;
    }
    let micros = asked.took.as_micros();
    let text = if run.json {
        let mut value = serde_json::to_value(&answer).unwrap_or_default();
        if let Some(object) = value.as_object_mut() {
            object.insert("micros".to_owned(), json!(u64::try_from(micros).unwrap_or(u64::MAX)));
            object.insert("policy".to_owned(), json!(reference));
            object.insert("recorded".to_owned(), json!(decided));
        }
        format!("{value:#}\n")
    } else {
        report(&once.request, &reference, &answer, asked.took, decided.as_deref())
    };
    match (say::print(&text), answer.verdict) {
        (0, Word::Deny) => DENIED,
        (0, Word::Failed | Word::Rejected) => UNDECIDED,
        (code, _) => code,
    }
}

impl Run {
    /// The request, the names that it knows, and what a log says was decided.
    fn request(&self) -> Result<(ForwardRequest, Names, Option<String>), Wrong> {
        let given = Described {
            action: self.action,
            target: self.target.clone(),
            user: self.user.clone(),
            groups: (!self.groups.is_empty()).then(|| self.groups.clone()),
            claims: (!self.claims.is_empty()).then(|| self.claims.clone()),
            client: self.client,
            originator: self.originator,
            credential: (self.method.is_some() || self.key.is_some()).then(|| Credential {
                method: self.method.clone().unwrap_or_else(|| "publickey".to_owned()),
                fingerprint: self.key.clone(),
                certificate: None,
            }),
            ..Described::default()
        };
        let mut names = Names::new();
        let mut now = Timestamp::now();
        let mut decided = None;
        let mut described = given;
        if let Some(source) = &self.audit {
            let recorded = audit::read(source, self.forward.as_deref())?;
            now = recorded.request.now;
            described = described.over(&recorded.request.into());
            names.extend(recorded.names);
            decided = Some(recorded.decided);
        }
        names.extend(self.names.iter().cloned());
        let request = described.request(self.now.unwrap_or(now))?;
        Ok((request, names, decided))
    }
}

/// One request to one component.
struct Once<'a> {
    subject: &'a Subject,
    run: &'a Run,
    request: Arc<ForwardRequest>,
    names: Names,
}

/// Why nothing was asked.
enum Stop {
    Usage(String),
    Load(LoadError),
}

impl From<LoadError> for Stop {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl Once<'_> {
    async fn ask(&self, meter: Meter) -> Result<(Candidate, Asked), Stop> {
        let setup = &self.subject.setup;
        let host = self.host().map_err(Stop::Usage)?;
        let workshop = workshop(self.subject.directory.as_deref());
        let offline = Offline::with(workshop, setup.memory, setup.deadline, meter)?;
        let component = Component::read(&setup.plugin.component)?;
        let candidate = offline.load(&setup.plugin, component).await?;
        let asked = candidate.ask(Arc::clone(&self.request), &host).await;
        Ok((candidate, asked))
    }

    fn host(&self) -> Result<HostSide, String> {
        let mut facts = self.run.facts.clone();
        facts.extend(self.subject.facts.iter().cloned());
        let open: BTreeMap<_, _> = self.run.open.iter().cloned().collect();
        let host = HostSide {
            resolver: Resolver::table(self.names.clone()),
            facts,
            open_forwards: Arc::new(move |user| open.get(user).copied().unwrap_or(0)),
            ..HostSide::default()
        };
        let policy = &self.subject.setup.plugin.name;
        for (key, held) in &self.run.state {
            let told = match held {
                Fact::Number(sum) => host.state.counter(policy, key, *sum),
                Fact::Text(text) => host.state.value(policy, key, text.clone().into_bytes()),
                Fact::Flag(flag) => host.state.value(policy, key, flag.to_string().into_bytes()),
                Fact::Texts(_) => Ok(()),
            };
            told.map_err(|words| format!("--state {key}: {words}"))?;
        }
        Ok(host)
    }
}

fn report(
    request: &ForwardRequest,
    policy: &PolicyRef,
    answer: &Answer,
    took: Duration,
    decided: Option<&str>,
) -> String {
    let paint = Paint::of_stdout();
    let word = match answer.verdict {
        Word::Allow | Word::Rewrite => paint.good(answer.verdict.as_str()),
        _ => paint.bad(answer.verdict.as_str()),
    };
    let mut out = format!(
        "{word}: {} {}\n",
        request.action.as_str(),
        plain(&request.target.to_string())
    );
    let mut say = |name: &str, value: &str| {
        let _ = writeln!(out, "  {name:<9} {}", plain(value));
    };
    if let Some(decided) = decided {
        say("recorded", decided);
    }
    let digest = policy.sha256.get(..12).unwrap_or_default();
    say(
        "policy",
        &format!("{} {} (sha256 {digest}…)", policy.name, policy.version),
    );
    for (name, value) in [
        ("to", &answer.to),
        ("code", &answer.code),
        ("reason", &answer.reason),
        ("tell-user", &answer.tell_user),
    ] {
        if let Some(value) = value {
            say(name, value);
        }
    }
    for (name, value) in &answer.terms {
        say("terms", &format!("{name} = {value}"));
    }
    for line in &answer.log {
        say("log", &line.to_string());
    }
    for call in &answer.calls {
        say("call", &format!("{} = {}", call.call, call.answer));
    }
    let fuel = answer.fuel.map(thousands).unwrap_or_default();
    let memory = bytes(answer.memory.unwrap_or(0));
    say(
        "used",
        &format!("{} µs, {fuel} fuel, {memory} of memory", took.as_micros()),
    );
    out
}

fn split(text: &str) -> Result<(&str, &str), String> {
    text.split_once('=')
        .filter(|(name, _)| !name.is_empty())
        .ok_or_else(|| format!("`{text}` has no `=`: write NAME=VALUE"))
}

/// A claim, a fact or a value as it is written on the command line: `NAME=VALUE`.
pub(crate) fn fact(text: &str) -> Result<(String, Fact), String> {
    let (name, value) = split(text)?;
    let value = match (value, value.parse()) {
        ("true", _) => Fact::Flag(true),
        ("false", _) => Fact::Flag(false),
        (_, Ok(number)) => Fact::Number(number),
        (text, Err(_)) => Fact::Text(text.to_owned()),
    };
    Ok((name.to_owned(), value))
}

fn count(text: &str) -> Result<(String, u32), String> {
    let (user, count) = split(text)?;
    let count = count.parse().map_err(|_| format!("`{count}` is not a count"))?;
    Ok((user.to_owned(), count))
}

fn peer(text: &str) -> Result<SocketAddr, String> {
    address(text).ok_or_else(|| format!("`{text}` is not an address: write it as 192.0.2.7 or 192.0.2.7:50000"))
}

fn name(text: &str) -> Result<(String, Result<Vec<IpAddr>, NameError>), String> {
    let (name, answer) = split(text)?;
    let host = match Host::parse(name) {
        Ok(Host::Name(host)) => host.to_string(),
        Ok(_) => return Err(format!("`{name}` is an address, so it is never looked up")),
        Err(error) => return Err(error.to_string()),
    };
    let answer = match answer {
        "no-such-name" => Err(NameError::NoSuchName),
        "timed-out" => Err(NameError::TimedOut),
        "over-budget" => Err(NameError::OverBudget),
        "failed" => Err(NameError::Failed("failed".to_owned())),
        list => {
            let addresses = list.split(',').map(str::parse);
            let addresses: Result<Vec<IpAddr>, _> = addresses.collect();
            Ok(addresses.map_err(|_| {
                format!(
                    "expected a list of addresses, or no-such-name, timed-out, over-budget or failed, found `{list}`"
                )
            })?)
        }
    };
    Ok((host, answer))
}

//! Name resolution: the system's resolver, with a bound on time and on how many ask at once, which users share fairly.
//!
//! A decision holds one [`Lookups`]: what it answered to a policy is what is judged and dialled
//! later, so a name cannot change its meaning between the decision and the connection.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, timeout};

use crate::config::Limits;
use crate::request::{Endpoint, Host, Name};
use crate::shares::Shares;

/// Why a name has no addresses.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NameError {
    /// The resolver knows no address of it.
    #[error("no such name")]
    NoSuchName,
    /// The resolver did not answer in time.
    #[error("the resolver did not answer in time")]
    TimedOut,
    /// The decision has asked for too many names.
    #[error("too many names in one decision")]
    OverBudget,
    /// The resolver failed, in its words.
    #[error("{0}")]
    Failed(String),
}

impl NameError {
    /// Whether no answer came, which says nothing about the name.
    #[must_use]
    pub fn is_doubt(&self) -> bool {
        matches!(self, Self::TimedOut | Self::Failed(_))
    }
}

/// The system's resolver.
#[derive(Clone)]
pub struct Resolver {
    places: Arc<Shares>,
    answers: Answers,
}

/// Known answers for names.
pub type Names = HashMap<String, Result<Vec<IpAddr>, NameError>>;

/// Who knows the names.
#[derive(Clone)]
enum Answers {
    System,
    Nobody,
    /// The first that has the name; where none has it, the system is asked or nobody.
    Recorded([Arc<Names>; 2], Elsewhere),
    /// The one name that is answered; the others never are.
    #[cfg(test)]
    Only(&'static str),
}

/// Who is asked for a name that was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// The system.
    System,
    /// Nobody: such a name does not exist.
    Nobody,
}

impl Resolver {
    /// A resolver that asks the system.
    #[must_use]
    pub fn system() -> Self {
        Self::with(Answers::System)
    }

    fn with(answers: Answers) -> Self {
        Self {
            places: Shares::new(MAX_AT_ONCE, 1),
            answers,
        }
    }

    /// A resolver whose server is silent on all names but one.
    #[cfg(test)]
    pub(crate) fn answering_only(name: &'static str) -> Self {
        Self::with(Answers::Only(name))
    }

    /// A resolver that knows no name: for decisions that must not be seen outside.
    #[must_use]
    pub fn silent() -> Self {
        Self::with(Answers::Nobody)
    }

    /// A resolver that knows these names and no others, for policies that are tested. Names are in
    /// canonical form ([`Host::parse`]).
    #[must_use]
    pub fn table(names: Names) -> Self {
        Self::silent().recorded(Arc::new(names), Arc::default(), Elsewhere::Nobody)
    }

    /// A resolver that repeats what was recorded, first of this decision and then of others. Names
    /// are in canonical form ([`Host::parse`]).
    #[must_use]
    pub fn recorded(&self, own: Arc<Names>, others: Arc<Names>, elsewhere: Elsewhere) -> Self {
        Self {
            answers: Answers::Recorded([own, others], elsewhere),
            ..self.clone()
        }
    }

    async fn ask(&self, name: &str, user: &str) -> Result<Vec<IpAddr>, NameError> {
        let mut system = true;
        match &self.answers {
            Answers::Nobody => return Err(NameError::NoSuchName),
            Answers::Recorded(tables, elsewhere) => {
                let find = |name| tables.iter().find_map(|table| table.get(name));
                if let Some(answer) = find(name).or_else(|| find(compared(name))) {
                    return answer.clone();
                }
                system = *elsewhere == Elsewhere::System;
            }
            Answers::System => {}
            #[cfg(test)]
            Answers::Only(answered) => {
                let _place = self.places.take(user).await;
                return match name == *answered {
                    true => Ok(vec![Ipv4Addr::new(192, 0, 2, 1).into()]),
                    false => std::future::pending().await,
                };
            }
        }
        // RFC 6761 section 6.3: it needs no asking.
        if compared(name) == "localhost" || compared(name).ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if !system {
            return Err(NameError::NoSuchName);
        }
        let place = self.places.take(user).await;
        let name = name.to_owned();
        // The place is given back when the system has answered, and not when the decision has stopped waiting.
        let asked = tokio::task::spawn_blocking(move || {
            let _place = place;
            (name.as_str(), 0).to_socket_addrs()
        });
        let found = asked.await.map_err(|error| NameError::Failed(error.to_string()))?;
        let mut addresses = Vec::new();
        for address in found.map_err(|error| sort(&error))? {
            let address = address.ip().to_canonical();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() {
            return Err(NameError::NoSuchName);
        }
        Ok(addresses)
    }
}

/// The names of one decision, each asked once.
pub struct Lookups {
    resolver: Resolver,
    /// Whose decision it is.
    user: Arc<str>,
    /// How long it may wait for names from now on.
    left: Duration,
    /// By the name as it was asked for: with a dot at its end where it was complete.
    answers: HashMap<String, Result<Vec<IpAddr>, NameError>>,
    /// Targets that were asked for with that dot. A policy is told of them without it and may ask so for them.
    complete: Vec<String>,
}

impl Lookups {
    /// Nothing asked yet, for a decision that is no user's.
    #[must_use]
    pub fn new(resolver: Resolver) -> Self {
        Self::of(resolver, "", Limits::default().lookup_timeout)
    }

    /// Nothing asked yet, for a decision on a request of this user; it may wait for so long for all its names.
    #[must_use]
    pub fn of(resolver: Resolver, user: &str, patience: Duration) -> Self {
        Self {
            resolver,
            user: Arc::from(user),
            left: patience,
            answers: HashMap::new(),
            complete: Vec::new(),
        }
    }

    /// What was asked so far; nothing of it is left here.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self {
            resolver: self.resolver.clone(),
            user: Arc::clone(&self.user),
            left: self.left,
            answers: std::mem::take(&mut self.answers),
            complete: self.complete.clone(),
        }
    }

    /// How long the decision may wait for names from now on.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.left
    }

    /// The resolver behind it.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        self.resolver.clone()
    }

    /// Answers that were given before and hold again.
    pub fn pin(&mut self, names: Vec<(String, Vec<IpAddr>)>) {
        self.answers
            .extend(names.into_iter().map(|(name, addresses)| (name, Ok(addresses))));
    }

    /// The names that were found.
    #[must_use]
    pub fn pinned(&self) -> Vec<(String, Vec<IpAddr>)> {
        let found = |(name, answer): (&String, &Result<Vec<IpAddr>, NameError>)| {
            answer.as_ref().ok().map(|addresses| (name.clone(), addresses.clone()))
        };
        self.answers.iter().filter_map(found).collect()
    }

    /// Everything that was answered so far, by the name as it is compared.
    pub fn answered(&self) -> impl Iterator<Item = (&str, &Result<Vec<IpAddr>, NameError>)> {
        self.answers.iter().map(|(name, answer)| (compared(name), answer))
    }

    /// The decision is about this target: if its name ends in a dot, it is looked up with the dot, however it is written
    /// from now on.
    pub fn concern(&mut self, target: &Endpoint) {
        if let Endpoint::Tcp {
            host: Host::Name(name), ..
        } = target
            && name.is_complete()
        {
            self.complete.push(name.asked().to_owned());
        }
    }

    fn asked<'a>(&'a self, name: &'a Name) -> &'a str {
        let complete = self
            .complete
            .iter()
            .find(|complete| compared(complete) == name.as_str());
        complete.map_or(name.asked(), String::as_str)
    }

    /// A name that was asked for and not answered, the first by the alphabet.
    #[must_use]
    pub fn unanswered(&self) -> Option<(&str, &NameError)> {
        let failed = self.answers.iter().filter_map(|(name, answer)| {
            let error = answer.as_ref().err().filter(|error| error.is_doubt())?;
            Some((name.as_str(), error))
        });
        failed.min_by_key(|(name, _)| *name)
    }

    /// All addresses of a host, for a policy, which may ask for a few names only.
    ///
    /// # Errors
    /// As [`Lookups::settle`], or if this decision asked for too many names.
    pub async fn resolve(&mut self, host: &Host) -> Result<Vec<IpAddr>, NameError> {
        let known = matches!(host, Host::Name(name) if self.answers.contains_key(self.asked(name)));
        if !known && self.answers.len() >= MAX_NAMES {
            return Err(NameError::OverBudget);
        }
        self.settle(host).await
    }

    /// All addresses of a host, in the order in which they are dialled; what a policy was told
    /// before is told again.
    ///
    /// # Errors
    /// If the name has none, or the resolver is slow or fails.
    pub async fn settle(&mut self, host: &Host) -> Result<Vec<IpAddr>, NameError> {
        let name = match host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Any => return Err(NameError::NoSuchName),
            Host::Name(name) => self.asked(name).to_owned(),
        };
        if let Some(answer) = self.answers.get(&name) {
            return answer.clone();
        }
        let began = Instant::now();
        let answer = timeout(self.left, self.resolver.ask(&name, &self.user))
            .await
            .unwrap_or(Err(NameError::TimedOut));
        self.left = self.left.saturating_sub(began.elapsed());
        self.answers.insert(name, answer.clone());
        answer
    }
}

/// A name without the dot at its end, which says only how it is to be looked up.
fn compared(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// `getaddrinfo(3)` reports an unknown name as an uncategorised error with its own words.
fn sort(error: &std::io::Error) -> NameError {
    let words = error.to_string();
    if words.contains("not known") || words.contains("No address") {
        NameError::NoSuchName
    } else {
        NameError::Failed(words)
    }
}

/// Of one user at most half, see [`Shares`]. Each is a thread that waits for the system.
const MAX_AT_ONCE: usize = 64;
const MAX_ADDRESSES: usize = 32;
const MAX_NAMES: usize = 8;

#[cfg(test)]
mod tests;

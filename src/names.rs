//! Name resolution: the system's resolver, with a bound on time and on how many ask at once.
//!
//! A decision holds one [`Lookups`]: what it answered to a policy is what is judged and dialled
//! later, so a name cannot change its meaning between the decision and the connection.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::request::{Endpoint, Host, Name};

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

/// The system's resolver.
#[derive(Clone)]
pub struct Resolver {
    places: Arc<Semaphore>,
    answers: Answers,
}

/// What is known of names.
pub type Names = HashMap<String, Result<Vec<IpAddr>, NameError>>;

/// Who knows the names.
#[derive(Clone)]
enum Answers {
    System,
    Nobody,
    /// The first that has the name; where none has it, the system is asked or nobody.
    Recorded([Arc<Names>; 2], Elsewhere),
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
        Self {
            places: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            answers: Answers::System,
        }
    }

    /// A resolver that knows no name: for decisions that must not be seen outside.
    #[must_use]
    pub fn silent() -> Self {
        Self {
            places: Arc::new(Semaphore::new(1)),
            answers: Answers::Nobody,
        }
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
            places: Arc::clone(&self.places),
            answers: Answers::Recorded([own, others], elsewhere),
        }
    }

    async fn ask(&self, name: &str, own: &Arc<Semaphore>) -> Result<Vec<IpAddr>, NameError> {
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
        }
        // RFC 6761 section 6.3: it needs no asking.
        if compared(name) == "localhost" || compared(name).ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        if !system {
            return Err(NameError::NoSuchName);
        }
        let closed = |_| NameError::TimedOut;
        let own = own.clone().acquire_owned().await.map_err(closed)?;
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
        let name = name.to_owned();
        // The places are given back when the system has answered, not when nobody waits any more.
        let asked = tokio::task::spawn_blocking(move || {
            let _places = (own, place);
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
    own: Arc<Semaphore>,
    /// By the name as it was asked for: with a dot at its end where it was complete.
    answers: HashMap<String, Result<Vec<IpAddr>, NameError>>,
    /// Targets that were asked for with that dot. A policy is told of them without it and may ask so for them.
    complete: Vec<String>,
}

impl Lookups {
    /// Nothing asked yet.
    #[must_use]
    pub fn new(resolver: Resolver) -> Self {
        Self::sharing(resolver, places_of_one())
    }

    /// Nothing asked yet; `own` bounds how many names one connection asks for at once.
    #[must_use]
    pub fn sharing(resolver: Resolver, own: Arc<Semaphore>) -> Self {
        Self {
            resolver,
            own,
            answers: HashMap::new(),
            complete: Vec::new(),
        }
    }

    /// What was asked so far; nothing of it is left here.
    #[must_use]
    pub fn take(&mut self) -> Self {
        Self {
            resolver: self.resolver.clone(),
            own: Arc::clone(&self.own),
            answers: std::mem::take(&mut self.answers),
            complete: self.complete.clone(),
        }
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

    /// The decision is about this target: where its name has a dot at its end, it is asked for with it, however it is written
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

    /// All addresses of a host, for a policy, which may ask for a few names only.
    ///
    /// # Errors
    /// As [`Lookups::settle`], or where this decision asked for too many names.
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
    /// Where the name has none, or the resolver is slow or fails.
    pub async fn settle(&mut self, host: &Host) -> Result<Vec<IpAddr>, NameError> {
        let name = match host {
            Host::Address(address) => return Ok(vec![*address]),
            Host::Any => return Err(NameError::NoSuchName),
            Host::Name(name) => self.asked(name).to_owned(),
        };
        if let Some(answer) = self.answers.get(&name) {
            return answer.clone();
        }
        let answer = timeout(MAX_WAIT, self.resolver.ask(&name, &self.own))
            .await
            .unwrap_or(Err(NameError::TimedOut));
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

/// The places of one connection, so that nobody's slow names hold up everybody.
#[must_use]
pub fn places_of_one() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_OF_ONE))
}

const MAX_AT_ONCE: usize = 64;
const MAX_OF_ONE: usize = 8;
const MAX_ADDRESSES: usize = 32;
const MAX_NAMES: usize = 8;
const MAX_WAIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    /// A resolver with a search domain in which `db` is another machine than `db.`
    fn searching() -> Resolver {
        let address = |text: &str| Ok(vec![text.parse().unwrap()]);
        Resolver::table(HashMap::from([
            ("db.".to_owned(), address("192.0.2.1")),
            ("db".to_owned(), address("10.0.0.1")),
            ("web".to_owned(), address("10.0.0.2")),
        ]))
    }

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_name_with_a_dot_at_its_end_is_asked_for_with_it() {
        #[rustfmt::skip]
        let table = [
            // the target, what a policy asks for, its address
            ("db.",  "db",   "192.0.2.1"), // as the policy is told of the target
            ("db.",  "db.",  "192.0.2.1"),
            ("db",   "db",   "10.0.0.1"),
            ("db",   "db.",  "192.0.2.1"),
            ("web",  "db.",  "192.0.2.1"),
            ("web.", "db",   "10.0.0.1"),
            ("web.", "web",  "10.0.0.2"),  // recorded without it
            ("DB.",  "Db",   "192.0.2.1"),
            ("localhost.", "localhost", "127.0.0.1"),
        ];
        for (target, asked, address) in table {
            let mut lookups = Lookups::new(searching());
            lookups.concern(&Endpoint::to_connect(target, 22).unwrap());
            let found = lookups.resolve(&host(asked)).await.unwrap();
            assert_eq!(found[0].to_string(), address, "{asked} for {target}");
            let names: Vec<_> = lookups.answered().map(|(name, _)| name.to_owned()).collect();
            assert_eq!(names, [host(asked).to_string()], "it is recorded as it is compared");
        }
    }

    #[tokio::test]
    async fn what_a_policy_was_told_is_what_is_dialled_with_and_without_the_dot() {
        let mut lookups = Lookups::new(searching());
        let target = Endpoint::to_connect("db.", 22).unwrap();
        lookups.concern(&target);
        let told = lookups.resolve(&host("db")).await;
        for name in ["db.", "db"] {
            assert_eq!(lookups.settle(&host(name)).await, told, "{name}");
        }
        assert_eq!(lookups.pinned().len(), 1);
        let mut again = Lookups::new(Resolver::silent());
        again.concern(&target);
        again.pin(lookups.pinned());
        assert_eq!(again.settle(&host("db.")).await, told, "a verdict that is used again");
    }
}

//! Name resolution: the system's resolver or name servers of the administrator's choice, with a bound on time and on how many
//! ask at once, which users share fairly.
//!
//! A decision holds one [`Lookups`]: what it answered to a policy is what is judged and dialled
//! later, so a name cannot change its meaning between the decision and the connection.
//!
//! The room must not know who asks for what purpose. It alone names hickory, which speaks to name servers. Invariant: that there
//! is no such name is said only if a server said so. Everything else that is no address is a doubt ([`NameError::is_doubt`]).

mod cache;
mod connect;
mod counts;
mod lookups;
mod order;
mod reply;
mod servers;
mod thread;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::sync::Arc;

use thiserror::Error;

pub use lookups::Lookups;

use crate::config::Naming;
use crate::shares::Shares;
use counts::Counts;
use servers::Servers;

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

/// Finds the addresses of names. Clones are one: they share places, connections and what is kept.
#[derive(Clone)]
pub struct Resolver {
    places: Arc<Shares>,
    source: Source,
    recorded: Option<Recorded>,
    counts: Arc<Counts>,
}

/// Known answers for names.
pub type Names = HashMap<String, Result<Vec<IpAddr>, NameError>>;

/// Who knows the names.
#[derive(Clone)]
enum Source {
    System,
    Servers(Arc<Servers>),
    Nobody,
    /// The one name that is answered; the others never are.
    #[cfg(test)]
    Only(&'static str),
}

/// The first table that has the name counts; if none has it, the source is asked or nobody.
#[derive(Clone)]
struct Recorded([Arc<Names>; 2], Elsewhere);

/// Who is asked for a name that was not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// Whom the resolver asks otherwise.
    Resolver,
    /// Nobody: such a name does not exist.
    Nobody,
}

impl Resolver {
    /// A resolver that asks the configured name servers, or the system if there are none.
    ///
    /// # Errors
    /// If there are no certificate authorities for servers over TLS, or the system gives no thread: a sentence for the
    /// administrator.
    pub fn new(config: &Naming) -> Result<Self, String> {
        if config.servers.is_empty() {
            return Ok(Self::system());
        }
        Ok(Self::with(Source::Servers(Arc::new(Servers::new(config)?))))
    }

    /// A resolver that asks the system.
    #[must_use]
    pub fn system() -> Self {
        Self::with(Source::System)
    }

    fn with(source: Source) -> Self {
        Self {
            places: Shares::new(MAX_AT_ONCE, 1),
            source,
            recorded: None,
            counts: Arc::default(),
        }
    }

    /// A resolver whose server is silent on all names but one.
    #[cfg(test)]
    pub(crate) fn answering_only(name: &'static str) -> Self {
        Self::with(Source::Only(name))
    }

    /// A resolver that knows no name: for decisions that must not be seen outside.
    #[must_use]
    pub fn silent() -> Self {
        Self::with(Source::Nobody)
    }

    /// A resolver that knows these names and no others, for policies that are tested. Names are in
    /// canonical form ([`Host::parse`](crate::request::Host::parse)).
    #[must_use]
    pub fn table(names: Names) -> Self {
        Self::silent().recorded(Arc::new(names), Arc::default(), Elsewhere::Nobody)
    }

    /// A resolver that repeats what was recorded, first of this decision and then of others. Names
    /// are in canonical form ([`Host::parse`](crate::request::Host::parse)).
    #[must_use]
    pub fn recorded(&self, own: Arc<Names>, others: Arc<Names>, elsewhere: Elsewhere) -> Self {
        Self {
            recorded: Some(Recorded([own, others], elsewhere)),
            ..self.clone()
        }
    }

    /// This resolver in the place of `before`. If it asks the same servers in the same way, that is `before` with all it keeps.
    /// Otherwise look-ups that are under way there take places here, so that a reload gives no user more of them.
    #[must_use]
    pub(crate) fn after(self, before: &Self) -> Self {
        let same = match (&self.source, &before.source) {
            (Source::System, Source::System) => true,
            (Source::Servers(next), Source::Servers(before)) => next.config() == before.config(),
            _ => false,
        };
        match same {
            true => before.clone(),
            false => Self {
                places: Arc::clone(&before.places),
                counts: Arc::clone(&before.counts),
                ..self
            },
        }
    }

    /// What became of look-ups so far: a word each, and how often.
    #[must_use]
    pub(crate) fn outcomes(&self) -> Vec<(&'static str, u64)> {
        self.counts.by_outcome()
    }

    async fn ask(&self, name: &str, user: &str) -> Result<Vec<IpAddr>, NameError> {
        if let Some(Recorded(tables, _)) = &self.recorded {
            let find = |name| tables.iter().find_map(|table| table.get(name));
            if let Some(answer) = find(name).or_else(|| find(compared(name))) {
                return answer.clone();
            }
        }
        // RFC 6761 section 6.3: it needs no asking.
        let local = compared(name) == "localhost" || compared(name).ends_with(".localhost");
        match &self.source {
            #[cfg(test)]
            Source::Only(answered) => self.only(answered, name, user).await,
            _ if local => Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]),
            _ if matches!(self.recorded, Some(Recorded(_, Elsewhere::Nobody))) => Err(NameError::NoSuchName),
            Source::Nobody => Err(NameError::NoSuchName),
            Source::System => self.ask_system(name, user).await,
            Source::Servers(servers) => self.ask_servers(servers, name, user).await,
        }
    }

    async fn ask_system(&self, name: &str, user: &str) -> Result<Vec<IpAddr>, NameError> {
        let counting = self.counts.begin();
        let place = self.places.take(user).await;
        let name = name.to_owned();
        // The place is given back when the system has answered, and not when the decision has stopped waiting.
        let asked = tokio::task::spawn_blocking(move || {
            let _place = place;
            (name.as_str(), 0).to_socket_addrs()
        });
        let answer = match asked.await {
            Ok(Ok(found)) => some(distinct(found.map(|address| address.ip()))),
            Ok(Err(error)) => Err(sort(&error)),
            Err(error) => Err(NameError::Failed(error.to_string())),
        };
        counting.end(&answer);
        answer
    }

    /// What is kept takes no place. What is not is looked up on the thread of the servers; a decision that stops waiting ends
    /// its look-up, which gives the place back.
    async fn ask_servers(&self, servers: &Arc<Servers>, name: &str, user: &str) -> Result<Vec<IpAddr>, NameError> {
        if let Some(kept) = servers.kept(name) {
            self.counts.kept();
            return kept;
        }
        let counting = self.counts.begin();
        let place = self.places.take(user).await;
        // Another look-up may have found it meanwhile.
        let answer = match servers.kept(name) {
            Some(kept) => kept,
            None => servers.look_up(name, user, place).await,
        };
        counting.end(&answer);
        answer
    }

    #[cfg(test)]
    async fn only(&self, answered: &str, name: &str, user: &str) -> Result<Vec<IpAddr>, NameError> {
        let _place = self.places.take(user).await;
        match name == answered {
            true => Ok(vec![Ipv4Addr::new(192, 0, 2, 1).into()]),
            false => std::future::pending().await,
        }
    }
}

/// A name without the dot at its end, which says only how it is to be looked up.
fn compared(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

/// Each address once, and no IPv4 address in the clothes of an IPv6 one.
fn distinct(found: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut addresses = Vec::new();
    for address in found {
        let address = address.to_canonical();
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses
}

fn some(mut addresses: Vec<IpAddr>) -> Result<Vec<IpAddr>, NameError> {
    addresses.truncate(MAX_ADDRESSES);
    match addresses.is_empty() {
        true => Err(NameError::NoSuchName),
        false => Ok(addresses),
    }
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

/// Of one user at most half, see [`Shares`]. Each is a thread that waits for the system, or two questions to name servers, each
/// from up to three sockets.
const MAX_AT_ONCE: usize = 64;
const MAX_ADDRESSES: usize = 32;

#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod tests;

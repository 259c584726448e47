//! What one decision asked for, and what it was answered: each name is asked for once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::{NameError, Resolver, compared};
use crate::config::Limits;
use crate::request::{Endpoint, Host, Name};

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

const MAX_NAMES: usize = 8;

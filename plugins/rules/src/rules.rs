//! The rules in order, and the search for the first that matches.

use std::borrow::Cow;

use crate::condition::{Answer, Condition};
use crate::cover;
use crate::index::Index;
use crate::outcome::{Denial, Destination, Outcome, Rewrite, Target, Verdict};
use crate::request::{Action, Endpoint, Facts, Malformed, Request, Resolve};
use crate::settings::{self, Fault};

/// One rule. What comes first in here is compared first, without leaving the record.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub actions: Actions,
    pub kinds: Kinds,
    /// The lowest and the highest port that the rule can match.
    pub ports: (u16, u16),
    pub conditions: Box<[Condition]>,
    pub outcome: Outcome,
    /// As in the settings, or made of its place in them.
    pub name: Box<str>,
}

/// A set of actions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Actions(u8);

impl Actions {
    pub const NONE: Self = Self(0);
    pub const ALL: Self = Self(7);

    pub const fn with(self, action: Action) -> Self {
        Self(self.0 | 1 << action as u8)
    }

    pub const fn without(self, action: Action) -> Self {
        Self(self.0 & !(1 << action as u8))
    }

    pub const fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn contains(self, action: Action) -> bool {
        self.0 >> action as u8 & 1 == 1
    }
}

/// Which kinds of endpoint a rule can match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub tcp: bool,
    pub sockets: bool,
}

impl Rule {
    fn matches(&self, facts: &Facts) -> bool {
        let request = &facts.request;
        let in_reach = match request.target {
            Endpoint::Tcp(_, port) => self.kinds.tcp && self.ports.0 <= port && port <= self.ports.1,
            Endpoint::Socket(_) => self.kinds.sockets,
        };
        if !in_reach || !self.actions.contains(request.action) {
            return false;
        }
        // The addresses come last because they may need a look-up. Once they are known they are the quickest to rule a rule out.
        if facts.is_resolved()
            && let Some(condition @ Condition::Addresses(_)) = self.conditions.last()
            && condition.holds(facts) == Answer::No
        {
            return false;
        }
        let is_denial = matches!(self.outcome, Outcome::Deny(_));
        self.conditions.iter().all(|condition| match condition.holds(facts) {
            Answer::Yes => true,
            Answer::No => false,
            Answer::Unsure => is_denial,
        })
    }
}

/// Checked settings, ready for decisions.
#[derive(Debug)]
pub struct RuleSet {
    rules: Box<[Rule]>,
    index: Index,
    otherwise: Denial,
}

impl RuleSet {
    /// Reads settings (JSON), or says everything that is wrong with them.
    pub fn new(settings: &str) -> Result<Self, Vec<Fault>> {
        let (rules, otherwise) = settings::read(settings)?;
        Ok(Self {
            index: Index::new(&rules),
            rules: rules.into(),
            otherwise,
        })
    }

    /// What is allowed in the settings and can hardly be meant: rules that are never reached, or none at all.
    pub fn warnings(&self) -> Vec<Fault> {
        if self.rules.is_empty() {
            return vec![Fault {
                at: "/rules".into(),
                message: "there are no rules, so every request is denied".into(),
            }];
        }
        let warning = |(number, earlier): (usize, usize)| {
            let name = |number: usize| self.rules.get(number).map_or("", |rule| &*rule.name);
            Fault {
                at: format!("/rules/{number}"),
                message: format!(
                    "the rule `{}` is never reached, because rule {earlier} (counted from 0, `{}`) matches all that it matches: move it up or remove it",
                    name(number),
                    name(earlier),
                ),
            }
        };
        cover::covered(&self.rules).into_iter().map(warning).collect()
    }

    /// Decides on a request. `resolve` is called at most once, and only if a rule depends on the answer.
    pub fn decide<'a>(&'a self, request: Request<'a>, resolve: Resolve<'a>) -> Verdict<'a> {
        let facts = match Facts::new(request, resolve) {
            Ok(facts) => facts,
            Err(Malformed::Client) => return Verdict::Deny(MALFORMED_CLIENT),
            Err(Malformed::Path) => return Verdict::Deny(MALFORMED_PATH),
        };
        let found = self.index.first(&facts, |number| {
            self.rules.get(number).filter(|rule| rule.matches(&facts))
        });
        match found.map(|rule| &rule.outcome) {
            None => Verdict::Deny(&self.otherwise),
            Some(Outcome::Deny(denial)) => Verdict::Deny(denial),
            Some(Outcome::Allow(terms)) => Verdict::Allow(terms),
            Some(Outcome::Rewrite(rewrite)) => rewrite.apply(&request),
        }
    }
}

impl Rewrite {
    fn apply<'a>(&'a self, request: &Request<'a>) -> Verdict<'a> {
        let to = match (&self.to, request.target) {
            (Destination::Socket(path), _) => Target::Socket(path),
            (Destination::Tcp(Some(host), Some(port)), _) => Target::Tcp(host, *port),
            (Destination::Tcp(host, port), Endpoint::Tcp(same_host, same_port)) => {
                Target::Tcp(host.as_deref().unwrap_or(same_host), port.unwrap_or(same_port))
            }
            // The settings let no rule match a socket that keeps a host or a port.
            (Destination::Tcp(..), Endpoint::Socket(_)) => return Verdict::Deny(NOTHING_TO_KEEP),
        };
        Verdict::Rewrite {
            to,
            reason: &self.reason,
            terms: &self.terms,
        }
    }
}

/// The answer where `configure` was never called or failed.
pub const NOT_CONFIGURED: &Denial = &denial("not-configured", "the rules policy has no settings");
const MALFORMED_CLIENT: &Denial = &denial("malformed-request", "the client's address is no address");
const MALFORMED_PATH: &Denial = &Denial {
    code: Cow::Borrowed("malformed-request"),
    reason: Cow::Borrowed("the socket path is not absolute, or holds `.`, `..` or an empty component"),
    tell_user: Some(Cow::Borrowed(
        "a socket path must be absolute and must not hold `.`, `..` or an empty component",
    )),
};
const NOTHING_TO_KEEP: &Denial = &denial(
    "malformed-request",
    "the rewrite keeps a host or port that a socket does not have",
);

const fn denial(code: &'static str, reason: &'static str) -> Denial {
    Denial {
        code: Cow::Borrowed(code),
        reason: Cow::Borrowed(reason),
        tell_user: None,
    }
}

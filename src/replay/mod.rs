//! Decides recorded requests again, with other policies.
//!
//! A policy depends only on its input from the host, and the audit log has all of that: user, connection, time, and the addresses
//! of names. So another policy can decide a recorded request again, in a fresh instance, exactly as in the gateway. The
//! differences are the effect of the change.
//!
//! A replay asks the policies directly ([`Generation::decide`]) and not the judgement: switches, keys and floors decide without a
//! policy, then as now. It must not know the command line, and prints nothing.

mod ask;
mod decision;
mod live;
mod log;
mod outcome;
mod recorded;
mod tally;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

pub(crate) use self::ask::{AskError, Order, Progress};
pub(crate) use self::decision::Skipped;
pub(crate) use self::live::Heard;
pub(crate) use self::log::{Broken, LogError, Logs, Seen};
pub(crate) use self::outcome::Outcome;
pub(crate) use self::recorded::{Kind, Line, Lines, Sessions, Text};
pub(crate) use self::tally::{Count, Example, Group, Tally};

use self::ask::{Asker, Open};
use self::recorded::Session;
use crate::config::{Config, Grant};
use crate::names::{Elsewhere, Names, Resolver};
use crate::policy::{Clock, Generation, LoadErrors, Policies, PolicyRef, SetClock, Workshop};

/// What is asked, and with what it is compared where that is not the log.
pub(crate) struct Replay {
    candidate: Side,
    baseline: Option<Side>,
    open: Open,
    clock: SetClock,
}

/// How it is asked.
pub(crate) struct Manner {
    /// Who is asked for names of which the log says nothing.
    pub(crate) elsewhere: Elsewhere,
    /// Whether policies are told that nobody acts on the verdict.
    pub(crate) dry_run: bool,
    /// How many differences are kept one by one.
    pub(crate) examples: usize,
}

/// What came of it.
pub(crate) struct Replayed {
    pub(crate) policies: Vec<PolicyRef>,
    /// Absent: it was compared with what the log says.
    pub(crate) against: Option<Vec<PolicyRef>>,
    pub(crate) order: Order,
    pub(crate) tally: Tally,
    pub(crate) seen: Seen,
}

/// A chain, and how it is configured.
struct Side {
    config: Config,
    policies: Arc<Generation>,
}

impl Replay {
    /// Loads the chains of two configurations through the gates of a start; `workshop` says where each is compiled.
    ///
    /// # Errors
    /// Each plugin of the first chain that does not load, by its name.
    pub(crate) async fn load(
        candidate: Config,
        baseline: Option<Config>,
        workshop: impl Fn(&Config) -> Workshop,
    ) -> Result<Self, LoadErrors> {
        let (open, clock) = (Open::default(), SetClock::default());
        let candidate = Side::load(workshop(&candidate), candidate, &open, &clock).await?;
        let baseline = match baseline {
            Some(config) => Some(Side::load(workshop(&config), config, &open, &clock).await?),
            None => None,
        };
        Ok(Self {
            candidate,
            baseline,
            open,
            clock,
        })
    }

    /// Asks every decision of the logs again. Takes as long as that takes, and all cores where it can.
    ///
    /// # Errors
    /// What cannot be read of the logs, or that a thread cannot be had.
    pub(crate) fn run(self, logs: &Logs, manner: &Manner, progress: &Progress) -> Result<Replayed, AskError> {
        let order = match self.grants(Grant::State) || self.grants(Grant::View) {
            true => Order::Log,
            false => Order::Any,
        };
        let names = match self.grants(Grant::Names) {
            true => logs.names()?,
            false => Names::new(),
        };
        let policies = self.candidate.references();
        let against = self.baseline.as_ref().map(Side::references);
        let sessions = sessions(&self.candidate.config);
        let resolver = Resolver::new(&self.candidate.config.names).map_err(AskError::Failed)?;
        let asker = Asker {
            candidate: self.candidate.policies,
            baseline: self.baseline.map(|side| side.policies),
            resolver,
            names: Arc::new(names),
            elsewhere: manner.elsewhere,
            open: self.open,
            clock: self.clock,
            order,
            dry_run: manner.dry_run,
        };
        let (tally, seen) = asker.run(logs, sessions, manner.examples, progress)?;
        Ok(Replayed {
            policies,
            against,
            order,
            tally,
            seen,
        })
    }

    /// Whether either of them is to have this: what one needs of the log does the other no harm.
    fn grants(&self, grant: Grant) -> bool {
        self.candidate.grants(grant) || self.baseline.as_ref().is_some_and(|side| side.grants(grant))
    }
}

impl Side {
    async fn load(workshop: Workshop, config: Config, open: &Open, clock: &SetClock) -> Result<Self, LoadErrors> {
        let counts = Arc::clone(open);
        let open_forwards = Arc::new(move |user: &str| {
            let counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.get(user).copied().unwrap_or(0)
        });
        let clock = Clock::Set(clock.clone());
        let (_, policies) = Policies::load_by(workshop, &config.policy, open_forwards, clock).await?;
        Ok(Self { config, policies })
    }

    fn grants(&self, grant: Grant) -> bool {
        let mut plugins = self.config.policy.plugins.iter();
        plugins.any(|plugin| plugin.grants.contains(&grant))
    }

    fn references(&self) -> Vec<PolicyRef> {
        self.policies.policies().cloned().collect()
    }
}

/// Where the log does not have what a login tells a policy, the configuration's users are as good as it gets.
fn sessions(config: &Config) -> Sessions {
    let users: HashMap<_, _> = config
        .users
        .iter()
        .map(|user| (user.name.clone(), user.clone()))
        .collect();
    Sessions::new(move |session: &mut Session| {
        let Some(user) = users.get(&session.principal.user) else {
            return;
        };
        let principal = Arc::make_mut(&mut session.principal);
        principal.groups.clone_from(&user.groups);
        principal.claims.clone_from(&user.claims);
    })
}

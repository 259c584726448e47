//! The configuration in force, and when each part of a new one takes effect.
//!
//! A configuration takes effect as a whole, by one pointer, once its policies are prepared. That may take a minute, or fail,
//! and a removed user must not stay in meanwhile. So the *restrictions* of a new configuration apply at once: until its policies
//! are in force, both the old and the new configuration must admit a user, and the stricter switches, floors and limits of the
//! two apply. *New permissions* wait for the new policies, because the old ones were not written for new users or lifted
//! floors.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::accounts::Accounts;
use crate::config::Config;
use crate::judgement::{Current, House, Judge, OwnListeners};
use crate::names::Resolver;
use crate::outbound::Routes;
use crate::policy::Generation;

/// A configuration that was read without a fault, with what belongs to it besides its policies.
pub(super) struct Settled {
    /// Counts the configurations that were read.
    pub(super) number: u64,
    /// When the authorities of its accounts began to be read, in the same count.
    pub(super) authorities_at: u64,
    /// As meant.
    pub(super) config: Arc<Config>,
    /// Who may log in.
    pub(super) accounts: Arc<Accounts>,
    /// Who is asked for names.
    pub(super) names: Resolver,
    /// How targets are connected to.
    pub(super) routes: Arc<Routes>,
}

/// What came of putting a configuration in force.
pub(super) enum Settling {
    /// It is, and this was before.
    InForce(Arc<Current>),
    /// A newer one is.
    Outdated,
    /// Other policies were put in force while its own were made.
    Overtaken,
    /// The authorities in force were read after its own.
    Stale,
}

/// Which configurations are in force.
pub(super) struct InForce {
    own: OwnListeners,
    ledger: Mutex<Ledger>,
}

#[derive(Clone)]
pub(super) struct Ledger {
    /// The one whose policies serve.
    whole: Arc<Settled>,
    /// The one that was read last: the same, or one whose policies do not serve, or not yet.
    newest: Arc<Settled>,
}

impl InForce {
    /// This one, as a whole.
    pub(super) fn new(own: OwnListeners, settled: Settled) -> Self {
        let whole = Arc::new(settled);
        let newest = Arc::clone(&whole);
        Self {
            own,
            ledger: Mutex::new(Ledger { whole, newest }),
        }
    }

    /// What requests are judged by at the beginning.
    pub(super) fn first(&self, generation: Arc<Generation>) -> Current {
        self.lock().current(&self.own, generation)
    }

    /// The configuration whose policies serve.
    pub(super) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.lock().whole.config)
    }

    /// Puts another configuration in force as a whole. One that was read before the one in force changes nothing, and neither
    /// does one whose policies were made after others than those in force now, or whose authorities are older.
    pub(super) fn settle(
        &self,
        judge: &Judge,
        settled: &Arc<Settled>,
        generation: Arc<Generation>,
        after: &Arc<Generation>,
    ) -> Settling {
        let mut ledger = self.lock();
        if settled.number < ledger.whole.number {
            return Settling::Outdated;
        }
        if !Arc::ptr_eq(&judge.current().generation, after) {
            return Settling::Overtaken;
        }
        // Its authorities may have been read again while its policies were made.
        let newest = &ledger.newest;
        let is_fresher = newest.number == settled.number && newest.authorities_at > settled.authorities_at;
        let settled = Arc::clone(if is_fresher { newest } else { settled });
        // Nothing is noted that is not put in force.
        if settled.authorities_at < ledger.whole.authorities_at {
            return Settling::Stale;
        }
        ledger.note(&settled);
        ledger.whole = settled;
        Settling::InForce(self.put_in_force(judge, &ledger, generation))
    }

    /// Puts these plugins of a chain in force, and leaves the others as they are now; not if the configuration has been replaced
    /// meanwhile. Returns what was in force before.
    pub(super) fn swap(
        &self,
        judge: &Judge,
        config: &Arc<Config>,
        generation: &Generation,
        plugins: &[String],
    ) -> Option<Arc<Current>> {
        let ledger = self.lock();
        if !Arc::ptr_eq(config, &ledger.whole.config) {
            return None;
        }
        let mut next = Arc::clone(&judge.current().generation);
        for plugin in plugins {
            next = next.with(generation, plugin)?;
        }
        Some(self.put_in_force(judge, &ledger, next))
    }

    /// What would be in force with this chain, and with this configuration where it is a new one.
    pub(super) fn supposed(
        &self,
        judge: &Judge,
        settled: Option<&Arc<Settled>>,
        generation: Arc<Generation>,
    ) -> Arc<Current> {
        let ledger = self.lock();
        let supposed = match settled {
            Some(settled) => Ledger {
                whole: Arc::clone(settled),
                newest: Arc::clone(settled),
            },
            None => Ledger {
                whole: Arc::clone(&ledger.whole),
                newest: Arc::clone(&ledger.newest),
            },
        };
        let current = supposed.current(&self.own, generation);
        Arc::new(current.keeping(&judge.current()))
    }

    /// Applies what a configuration takes away, whose policies do not serve yet.
    pub(super) fn narrow(&self, judge: &Judge, settled: &Arc<Settled>) -> Option<Arc<Current>> {
        let mut ledger = self.lock();
        if settled.number <= ledger.newest.number {
            return None;
        }
        ledger.note(settled);
        let generation = Arc::clone(&judge.current().generation);
        Some(self.put_in_force(judge, &ledger, generation))
    }

    /// What is in force now.
    pub(super) fn ledger(&self) -> Ledger {
        self.lock().clone()
    }

    /// Puts the same configurations in force with other authorities; not if others have taken their place meanwhile. Returns
    /// what was in force before.
    pub(super) fn put_authorities(&self, judge: &Judge, was: &Ledger, is: Ledger) -> Option<Arc<Current>> {
        let mut ledger = self.lock();
        if !Arc::ptr_eq(&ledger.whole, &was.whole) || !Arc::ptr_eq(&ledger.newest, &was.newest) {
            return None;
        }
        *ledger = is;
        let generation = Arc::clone(&judge.current().generation);
        Some(self.put_in_force(judge, &ledger, generation))
    }

    /// Under the lock, so that what is in force is always what the ledger says.
    fn put_in_force(&self, judge: &Judge, ledger: &Ledger, generation: Arc<Generation>) -> Arc<Current> {
        let next = ledger.current(&self.own, generation);
        judge.put_in_force(next.keeping(&judge.current()))
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settled {
    /// The same with its files of authorities read again, from `authorities_at` on. It may wait for a file server.
    ///
    /// # Errors
    /// Each file that cannot be used.
    pub(super) fn with_authorities_again(&self, authorities_at: u64) -> Result<Arc<Self>, Vec<String>> {
        Ok(Arc::new(Self {
            number: self.number,
            authorities_at,
            config: Arc::clone(&self.config),
            accounts: Arc::new(self.accounts.with_authorities_again()?),
            names: self.names.clone(),
            routes: Arc::clone(&self.routes),
        }))
    }
}

impl Ledger {
    /// The same with all files of authorities read again, as [`Settled::with_authorities_again`].
    ///
    /// # Errors
    /// Each file that cannot be used.
    pub(super) fn with_authorities_again(&self, authorities_at: u64) -> Result<Self, Vec<String>> {
        let whole = self.whole.with_authorities_again(authorities_at)?;
        let newest = match Arc::ptr_eq(&self.whole, &self.newest) {
            true => Arc::clone(&whole),
            false => self.newest.with_authorities_again(authorities_at)?,
        };
        Ok(Self { whole, newest })
    }

    fn note(&mut self, settled: &Arc<Settled>) {
        let age = |settled: &Settled| (settled.number, settled.authorities_at);
        if age(settled) > age(&self.newest) {
            self.newest = Arc::clone(settled);
        }
    }

    fn current(&self, own: &OwnListeners, generation: Arc<Generation>) -> Current {
        let house = |config: &Config| House::new(config.forwarding, config.floors.clone(), own.clone());
        let (whole, newest) = (&self.whole, &self.newest);
        let (on_swap, on_doubt) = (whole.config.policy.on_swap, whole.config.policy.on_doubt);
        if Arc::ptr_eq(whole, newest) {
            return Current {
                house: Arc::new(house(&whole.config)),
                generation,
                names: whole.names.clone(),
                routes: Arc::clone(&whole.routes),
                accounts: Arc::clone(&whole.accounts),
                limits: Arc::new(whole.config.limits.clone()),
                on_swap,
                on_doubt,
            };
        }
        Current {
            house: Arc::new(house(&newest.config).narrowed_by(&house(&whole.config))),
            generation,
            // Neither way is stricter than the other: those of the policies in force count.
            names: whole.names.clone(),
            routes: Arc::clone(&whole.routes),
            accounts: Arc::new(newest.accounts.narrowed_by(&whole.accounts)),
            limits: Arc::new(newest.config.limits.narrowed_by(&whole.config.limits)),
            on_swap,
            on_doubt,
        }
    }
}

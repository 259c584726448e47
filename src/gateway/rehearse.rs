//! What a reload would do, with nothing of it done.

use std::sync::Arc;

use super::Parts;
use super::blocking::away;
use super::changes::changes;
use super::current::Settled;
use super::prepare::{host_keys, policy_faults, resolver, signers_fault};
use super::pulls::{Unpulled, pull_aside};
use super::reload::Reloaded;
use crate::accounts::Accounts;
use crate::config::{Config, Draft, Fault, Faults};
use crate::names::Resolver;
use crate::outbound::Routes;

impl Parts {
    /// Reads configuration, keys and policies through every gate of a reload, and applies nothing.
    pub(super) async fn rehearse(self: &Arc<Self>) -> Reloaded {
        let read = {
            let _turn = self.reading.lock().await;
            let parts = Arc::clone(self);
            away(move || parts.read_aside()).await
        };
        let (mut config, accounts, names, routes, faults) = match read {
            Ok(read) => read,
            Err(faults) => return Reloaded::nothing(faults),
        };
        let meant = config.clone();
        let (unpulled, _aside) = pull_aside(&mut config, &self.origin.compiler()).await;
        let settled = Arc::new(Settled {
            number: 0,
            authorities_at: 0,
            config: Arc::new(config),
            accounts: Arc::new(accounts),
            names,
            routes: Arc::new(routes),
        });
        let outcome = self.prepare_aside(&settled, faults, &unpulled).await;
        Reloaded::new(changes(&self.in_force.config(), &meant), outcome)
    }

    fn read_aside(&self) -> Result<(Config, Accounts, Resolver, Routes, Vec<Fault>), Faults> {
        let Draft { config, settings_files } = self.origin.draft()?;
        let accounts = Accounts::new(&config, self.origin.file()).map_err(|faults| self.invalid(faults))?;
        let routes = Routes::new(&config, self.origin.file()).map_err(|faults| self.invalid(faults))?;
        let names = resolver(&config, self.origin.file()).map_err(|fault| self.invalid(vec![fault]))?;
        Ok((config, accounts, names, routes, settings_files))
    }

    async fn prepare_aside(
        self: &Arc<Self>,
        settled: &Arc<Settled>,
        mut faults: Vec<Fault>,
        unpulled: &Unpulled,
    ) -> Result<Faults, Faults> {
        let _turn = self.reloading.lock().await;
        let (config, file, judge) = (&settled.config, self.origin.file(), &self.judge);
        faults.extend(
            away({
                let (config, file) = (Arc::clone(config), file.to_owned());
                move || {
                    let unusable = host_keys(&config, &file).err().into_iter().flatten();
                    unusable.chain(signers_fault(&config, &file)).collect::<Vec<_>>()
                }
            })
            .await,
        );
        if !faults.is_empty() {
            return Err(self.invalid(faults));
        }
        let prepared = judge
            .policies()
            .prepare(&judge.current().generation, &config.policy)
            .await;
        let rejected = |errors: Vec<_>| self.invalid(policy_faults(config, file, &unpulled.explain(errors)));
        let prepared = prepared.map_err(rejected)?;
        match self.refused_reload(settled, &prepared.generation).await {
            Some((_, stopped)) => Err(self.stopped_reload(&stopped)),
            None => Ok(self.passed_over(&prepared.passed_over)),
        }
    }
}

impl Reloaded {
    /// What keeps a reload from applying as a whole.
    pub(super) fn would_fail(&self) -> Option<String> {
        let faults = self.faults.as_ref()?;
        if self.applied.is_empty() || self.only_passed_over {
            return Some(faults.to_string());
        }
        let keys = self.applied.join(", ");
        Some(format!(
            "{faults}\na reload would apply only the restrictions in the new configuration ({keys})"
        ))
    }
}

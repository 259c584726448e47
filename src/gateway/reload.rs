//! The whole configuration anew, or none of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::Shared;
use super::prepare::{host_keys, policy_faults, signers_fault};
use super::start::settings;
use super::swap::millis;
use crate::accounts::Accounts;
use crate::audit::{Event, Subject};
use crate::config::{Faults, OnSwap};
use crate::judgement::House;

impl Shared {
    pub(super) async fn reload(self: &Arc<Self>) -> Result<(), Faults> {
        let _turn = self.reloading.lock().await;
        self.desk().audit.reopen();
        let reloaded = self.try_reload().await;
        let event = Event::ConfigReloaded {
            ok: reloaded.is_ok(),
            reason: reloaded.as_ref().err().map(ToString::to_string),
        };
        self.desk().audit.record(&Subject::default(), &event);
        match &reloaded {
            Ok(()) => tracing::info!("configuration reloaded"),
            Err(faults) => tracing::error!("configuration not reloaded, the one in force goes on:\n{faults}"),
        }
        self.swaps.send_modify(|count| *count += 1);
        reloaded
    }

    async fn try_reload(self: &Arc<Self>) -> Result<(), Faults> {
        let file = self.origin.file();
        let config = self.origin.load()?;
        let invalid = |faults| Faults {
            file: file.to_owned(),
            faults,
        };
        if let Some(fault) = signers_fault(&config, file) {
            return Err(invalid(vec![fault]));
        }
        let accounts = Accounts::new(&config, file).map_err(invalid)?;
        let host_keys = host_keys(&config, file).map_err(invalid)?;
        let began = Instant::now();
        let desk = self.desk();
        let replaced = desk.judge.policies().replace(&config.policy).await;
        let swapped = replaced.map_err(|errors| {
            for (name, error) in &errors {
                self.rejected(name, error.sha256(), error.to_string());
            }
            invalid(policy_faults(&config, file, &errors))
        })?;
        if config.server.listen != self.config.load().server.listen {
            tracing::warn!("server.listen has changed: that takes a restart");
        }
        if config.policy.directory != self.config.load().policy.directory {
            tracing::warn!("policy.directory has changed: that takes a restart");
        }
        let house = House::new(config.forwarding, config.floors.clone(), self.own.clone());
        desk.judge.replace_house(house);
        desk.limits.store(Arc::new(config.limits.clone()));
        let reevaluates = config.policy.on_swap == OnSwap::Reevaluate;
        desk.reevaluates.store(reevaluates, Ordering::Relaxed);
        self.service.replace(settings(&config, accounts, host_keys));
        self.config.store(Arc::new(config));
        for swapped in swapped {
            let event = Event::PolicySwapped {
                policy: swapped.now,
                previous: swapped.before,
                millis: millis(began),
            };
            desk.audit.record(&Subject::default(), &event);
        }
        self.after_swap();
        Ok(())
    }
}

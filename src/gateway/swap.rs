//! One policy for another, whenever the file of a component changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Shared;
use crate::audit::{Event, Subject};
use crate::config::{Config, Plugin};
use crate::policy::{PolicyRef, Vetted, Watch};

impl Shared {
    /// Swaps a plugin when its file changes.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            let config = self.config.load_full();
            let mut watch = Watch::new(&config.policy);
            // What changed after the files were read and before they were watched.
            for plugin in config.policy.plugins.iter().filter(|plugin| plugin.watch) {
                self.swap(&config, plugin).await;
            }
            while Arc::ptr_eq(&config, &self.config.load_full()) {
                let changed = tokio::select! {
                    changed = watch.changed() => changed,
                    () = self.closing.cancelled() => return,
                    () = sleep(RECHECK_CONFIG) => continue,
                };
                for name in changed {
                    let plugin = config.policy.plugins.iter().find(|plugin| plugin.name == name);
                    if let Some(plugin) = plugin {
                        self.swap(&config, plugin).await;
                    }
                }
            }
        }
    }

    async fn swap(self: &Arc<Self>, config: &Arc<Config>, plugin: &Plugin) {
        let _turn = self.reloading.lock().await;
        if !Arc::ptr_eq(config, &self.config.load_full()) {
            return;
        }
        let began = Instant::now();
        let policies = Arc::clone(self.desk().judge.policies());
        let mut sha256 = None;
        let swapped = match plugin.settings_again() {
            Ok(plugin) => match Vetted::read_aside(plugin.clone(), config.policy.signatures.clone()).await {
                Ok(vetted) if policies.serves(&plugin, &vetted) => return,
                Ok(vetted) => {
                    sha256 = Some(vetted.digest());
                    let replaced = policies.replace_one(&plugin, vetted).await;
                    replaced.map_err(|error| error.to_string())
                }
                Err(error) => {
                    sha256 = error.sha256();
                    Err(error.to_string())
                }
            },
            Err(faults) => Err(faults.to_string()),
        };
        match swapped {
            Ok(swapped) => {
                let PolicyRef { name, sha256, .. } = &swapped.now.policy;
                tracing::info!(policy = name, sha256, "policy swapped");
                let event = Event::PolicySwapped {
                    policy: swapped.now,
                    previous: swapped.before,
                    millis: millis(began),
                };
                self.desk().audit.record(&Subject::default(), &event);
                self.after_swap();
            }
            Err(reason) => self.rejected(&plugin.name, sha256, reason),
        }
        self.swaps.send_modify(|count| *count += 1);
    }

    pub(super) fn rejected(&self, name: &str, sha256: Option<String>, reason: String) {
        tracing::error!(policy = name, reason, "policy rejected; the one in force goes on");
        let event = Event::PolicyRejected {
            name: name.to_owned(),
            sha256,
            reason,
        };
        self.desk().audit.record(&Subject::default(), &event);
    }

    pub(super) fn after_swap(&self) {
        if self.desk().reevaluates.load(Ordering::Relaxed) {
            let desk = Arc::clone(self.desk());
            self.tasks().spawn(async move { desk.reconsider_all().await });
        }
    }
}

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

const RECHECK_CONFIG: Duration = Duration::from_secs(1);

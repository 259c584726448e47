//! Reloads the configuration: restrictions apply at once, all of it once its policies are ready.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::Parts;
use super::blocking::away;
use super::changes::{Applies, changes};
use super::current::{Settled, Settling};
use super::gates::{Change, Stopped};
use super::prepare::{host_keys, policy_faults, resolver, signers_fault};
use super::pulls::Unpulled;
use super::rollout::Way;
use super::start::settings;
use crate::accounts::Accounts;
use crate::config::{Draft, Fault, Faults};
use crate::events::{Event, Subject};
use crate::judgement::Current;
use crate::open_files;
use crate::outbound::Routes;
use crate::policy::{Generation, Named, PassedOver, Prepared};
use crate::vital::caught;

/// What came of a reload.
pub(super) struct Reloaded {
    /// Keys that changed and apply.
    pub(super) applied: Vec<&'static str>,
    /// Keys that changed and apply after a restart.
    pub(super) needs_restart: Vec<&'static str>,
    /// What keeps the rest from applying.
    pub(super) faults: Option<Faults>,
    /// The rest is only what was rolled back before.
    pub(super) only_passed_over: bool,
}

impl Parts {
    pub(super) async fn reload(self: &Arc<Self>) -> Reloaded {
        self.rollouts.another_reload();
        self.events.audit().reopen();
        let reloaded = caught(self.try_reload()).await.unwrap_or_else(|panic| {
            let words = format!("internal error during the reload: {panic}");
            Reloaded::nothing(self.invalid(vec![Fault::of_key(self.origin.file(), "policy", words)]))
        });
        let event = Event::ConfigReloaded {
            ok: reloaded.faults.is_none(),
            applied: reloaded.applied.clone(),
            needs_restart: reloaded.needs_restart.clone(),
            reason: reloaded.reason(),
        };
        self.events.emit(&Subject::default(), &event);
        self.swaps.send_modify(|count| *count += 1);
        reloaded
    }

    async fn try_reload(self: &Arc<Self>) -> Reloaded {
        let read = {
            let _turn = self.reading.lock().await;
            let parts = Arc::clone(self);
            away(move || parts.read()).await
        };
        let (settled, settings_files) = match read {
            Ok(read) => read,
            Err(faults) => return Reloaded::nothing(faults),
        };
        let old = self.in_force.config();
        // Most policies are unchanged or ready in a moment, and then there is nothing in between.
        let mut policies = pin!(self.put_in_force(&settled, settings_files));
        let outcome = match timeout(AT_ONCE, &mut policies).await {
            Ok(outcome) => outcome,
            Err(_) => {
                self.take_away(&settled);
                tracing::info!(
                    "preparing policies; restrictions in the new configuration (users, keys, revocations, switches, \
                     floors, limits) already apply"
                );
                policies.await
            }
        };
        if outcome.is_err() {
            self.take_away(&settled);
        }
        let outcome = outcome.map(|over| self.passed_over(&over));
        Reloaded::new(changes(&old, &settled.config), outcome)
    }

    /// The faults of plugins that the configuration names and that were rolled back before.
    pub(super) fn passed_over(&self, over: &[PassedOver]) -> Faults {
        let fault = |over: &PassedOver| {
            let words = format!("{}: {}", over.plugin, over.reason);
            Fault::of_key(self.origin.file(), PLUGINS, words)
        };
        self.invalid(over.iter().map(fault).collect())
    }

    /// Reads the configuration, and what belongs to it besides its policies; the faults of settings files apart.
    fn read(&self) -> Result<(Arc<Settled>, Vec<Fault>), Faults> {
        let number = self.next_reading();
        let Draft { config, settings_files } = self.origin.draft()?;
        let file = self.origin.file();
        let accounts = Accounts::new(&config, file).map_err(|faults| self.invalid(faults))?;
        let routes = Routes::new(&config, file).map_err(|faults| self.invalid(faults))?;
        let names = resolver(&config, file).map_err(|fault| self.invalid(vec![fault]))?;
        let settled = Settled {
            number,
            authorities_at: number,
            config: Arc::new(config),
            accounts: Arc::new(accounts),
            // The one in force if nothing of it has changed, with its connections and what it keeps.
            names: names.after(&self.judge.current().names),
            routes: Arc::new(routes),
        };
        Ok((Arc::new(settled), settings_files))
    }

    /// The place of what is read now among all that was read.
    pub(super) fn next_reading(&self) -> u64 {
        self.read_so_far.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Prepares policies and host keys, and puts all of the configuration in force with them, but for what is returned.
    async fn put_in_force(
        self: &Arc<Self>,
        settled: &Arc<Settled>,
        mut faults: Vec<Fault>,
    ) -> Result<Vec<PassedOver>, Faults> {
        // Before its turn, because a slow registry must not hold up what changes in files.
        let unpulled = self.pull(&settled.config).await;
        let _turn = self.reloading.lock().await;
        let began = Instant::now();
        let (config, file) = (&settled.config, self.origin.file());
        let (host_keys, unsigned) = away({
            let (config, file) = (Arc::clone(config), file.to_owned());
            move || (host_keys(&config, &file), signers_fault(&config, &file))
        })
        .await;
        let host_keys = host_keys.map_err(|found| faults.extend(found)).ok();
        faults.extend(unsigned);
        let Some(host_keys) = host_keys.filter(|_| faults.is_empty()) else {
            return Err(self.invalid(faults));
        };
        let Some((before, named, over)) = self.settle(settled, &unpulled, began).await? else {
            return Ok(Vec::new());
        };
        self.service.replace(settings(config, &settled.accounts, host_keys));
        open_files::provide(config.limits.sessions);
        self.rollouts.ring.resize(config.policy.gates.replay.decisions);
        let way = Way {
            by: BY_RELOAD.to_owned(),
            reason: None,
            confirm_within: None,
        };
        self.switched(before, named, &way, began).await;
        Ok(over)
    }

    /// Prepares the policies and puts them in force; again where an administrator rolled one back meanwhile.
    async fn settle(
        self: &Arc<Self>,
        settled: &Arc<Settled>,
        unpulled: &Unpulled,
        began: Instant,
    ) -> Result<Option<(Arc<Current>, Named, Vec<PassedOver>)>, Faults> {
        let (config, file) = (&settled.config, self.origin.file());
        let mut settled = Arc::clone(settled);
        loop {
            let old = Arc::clone(&self.judge.current().generation);
            let prepared = self.judge.policies().prepare(&old, &config.policy).await;
            let prepared = prepared.map_err(|errors| {
                let errors = unpulled.explain(errors);
                for (name, error) in &errors {
                    self.stopped_loading(name, BY_RELOAD, error, began);
                    self.rejected(name, error.sha256(), error.to_string());
                }
                self.invalid(policy_faults(config, file, &errors))
            })?;
            let Prepared {
                generation,
                passed_over,
                named,
            } = prepared;
            for over in &passed_over {
                self.rejected(&over.plugin, over.sha256.clone(), over.reason.clone());
            }
            self.pass_reload(&settled, &generation, &named).await?;
            match self.in_force.settle(&self.judge, &settled, generation, &old) {
                Settling::InForce(before) => return Ok(Some((before, named, passed_over))),
                Settling::Outdated => return Ok(None),
                Settling::Overtaken => tracing::info!("policies were changed during the reload: preparing them again"),
                Settling::Stale => {
                    let (at, stale) = (self.next_reading(), Arc::clone(&settled));
                    let read = away(move || stale.with_authorities_again(at)).await;
                    let fault = |words| Fault::of_key(file, "auth.trusted-user-ca-keys", words);
                    settled = read.map_err(|faults| self.invalid(faults.into_iter().map(fault).collect()))?;
                }
            }
        }
    }

    /// What changes of the policies passes the gates of the new configuration.
    async fn pass_reload(
        self: &Arc<Self>,
        settled: &Arc<Settled>,
        next: &Arc<Generation>,
        named: &Named,
    ) -> Result<(), Faults> {
        let Some((changed, stopped)) = self.refused_reload(settled, next).await else {
            return Ok(());
        };
        let plugins = changed.iter().map(|(name, _)| name.clone()).collect();
        self.all_stopped(changed, &stopped, named);
        if stopped.waits {
            self.reload_after_the_canaries(&settled.config, plugins);
        }
        Err(self.stopped_reload(&stopped))
    }

    /// The fault of a reload that a gate stops.
    pub(super) fn stopped_reload(&self, stopped: &Stopped) -> Faults {
        let file = self.origin.file();
        let fault = match stopped.waits {
            true => Fault::of_key(
                file,
                "policy.rollout",
                format!("{}; the reload is then tried again by itself", stopped.sentence()),
            ),
            false => Fault::of_key(file, "policy.gates", stopped.sentence()),
        };
        self.invalid(vec![fault])
    }

    /// What changes of the policies, with the digests, and the gate that stops it; none where nothing does.
    pub(super) async fn refused_reload(
        &self,
        settled: &Arc<Settled>,
        next: &Arc<Generation>,
    ) -> Option<(Vec<(String, Option<String>)>, Stopped)> {
        let old = Arc::clone(&self.judge.current().generation);
        let swapped = next.swapped_since(&old).into_iter().map(|one| one.now.policy);
        let changed: Vec<_> = swapped.map(|policy| (policy.name, Some(policy.sha256))).collect();
        if changed.is_empty() {
            return None;
        }
        let plugins: Vec<_> = changed.iter().map(|(name, _)| name.clone()).collect();
        let change = Change {
            old: &old,
            next,
            config: &settled.config,
            settled: Some(settled),
            plugins: &plugins,
            by: BY_RELOAD,
            force: false,
            dry_run: false,
        };
        self.pass(&change).await.err().map(|stopped| (changed, stopped))
    }

    fn take_away(self: &Arc<Self>, settled: &Arc<Settled>) {
        if let Some(before) = self.in_force.narrow(&self.judge, settled) {
            self.follow(before);
        }
    }

    pub(super) fn invalid(&self, faults: Vec<Fault>) -> Faults {
        Faults {
            file: self.origin.file().to_owned(),
            faults,
        }
    }
}

impl Reloaded {
    pub(super) fn nothing(faults: Faults) -> Self {
        Self {
            applied: Vec::new(),
            needs_restart: Vec::new(),
            faults: Some(faults),
            only_passed_over: false,
        }
    }

    /// Of these changes; an outcome without a fault names what was rolled back before, and so is not in force.
    pub(super) fn new(changes: Vec<(&'static str, Applies)>, outcome: Result<Faults, Faults>) -> Self {
        let keys = |wanted: &[Applies]| {
            let found = changes.iter().filter(|(_, applies)| wanted.contains(applies));
            found.map(|(key, _)| *key).collect::<Vec<_>>()
        };
        let needs_restart = keys(&[Applies::AfterRestart]);
        let both = keys(&[Applies::TakesAtOnce, Applies::WithPolicies]);
        match outcome {
            // The administrator who rolled it back knows; whoever changes the plugins now does not.
            Ok(over) if over.faults.is_empty() || !both.contains(&PLUGINS) => Self {
                applied: both,
                needs_restart,
                faults: None,
                only_passed_over: false,
            },
            Ok(over) => Self {
                applied: both.into_iter().filter(|key| *key != PLUGINS).collect(),
                needs_restart,
                faults: Some(over),
                only_passed_over: true,
            },
            Err(faults) => Self {
                applied: keys(&[Applies::TakesAtOnce]),
                needs_restart,
                faults: Some(faults),
                only_passed_over: false,
            },
        }
    }

    pub(super) fn reason(&self) -> Option<String> {
        let faults = self.faults.as_ref()?;
        if self.only_passed_over {
            return Some(format!("{faults}\nthe rest of the configuration is in force"));
        }
        if self.applied.is_empty() {
            return Some(faults.to_string());
        }
        Some(format!(
            "{faults}\nrestrictions in the new configuration already apply ({}); the rest waits for a reload without faults",
            self.applied.join(", ")
        ))
    }
}

const PLUGINS: &str = "policy.plugin";
/// Who wanted it.
const BY_RELOAD: &str = "reload";
/// How long policies may take before what a configuration takes away is applied without them.
const AT_ONCE: Duration = Duration::from_millis(250);

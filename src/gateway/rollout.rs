//! Puts policies in force and takes them back: by an administrator's word, by a burn-in, or because nobody confirmed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until};

use super::Parts;
use super::candidates::{BURN_IN, CONFIRM};
use super::gates::Change;
use super::swap::millis;
use crate::admin::Declined;
use crate::config::{self, BurnIn, Config, Source};
use crate::events::{Event, Subject, Swap};
use crate::judgement::Current;
use crate::policy::{Counts, Entry, Generation, LoadError, Named, Policies, Swapped};
use crate::rollout::{Row, Verdict};

/// How a candidate is to be put in force.
pub(super) struct Way {
    /// Who wants it: `file`, `reload`, `rollback` or an administrator's name.
    pub(super) by: String,
    /// Why, where it was said.
    pub(super) reason: Option<String>,
    /// It is taken back unless it is confirmed within this time.
    pub(super) confirm_within: Option<Duration>,
}

/// What an administrator wants loaded.
pub(super) struct Wish {
    /// The component, `builtin:NAME` or a path; absent: the one in force.
    pub(super) component: Option<String>,
    /// A file of settings; absent: those in force.
    pub(super) settings: Option<PathBuf>,
}

impl Parts {
    /// Others serve since `before`: records it, lets what is open follow, and waits for what may take it back.
    pub(super) async fn switched(self: &Arc<Self>, before: Arc<Current>, named: Named, way: &Way, began: Instant) {
        let current = self.judge.current();
        let (generation, config) = (&current.generation, self.in_force.config());
        let swapped = generation.swapped_since(&before.generation);
        let kept = config.policy.generations;
        self.begin(generation, &before.generation, named, &way.by, kept).await;
        self.rollouts.shadows.serve(self.judge.policies(), generation);
        for one in swapped {
            let plugin = one.now.policy.name.clone();
            let had_one = one.before.is_some();
            self.rollouts
                .note_gate(&plugin, Row::passed(SWITCH, "it decides", began));
            self.now_serves(one, way, began);
            if had_one {
                self.wait(&plugin, generation, config.policy.gates.burn_in, way.confirm_within)
                    .await;
            }
        }
        self.follow(before);
    }

    /// What is recorded of generations is on the disk before anybody hears of it.
    async fn begin(
        &self,
        generation: &Arc<Generation>,
        before: &Arc<Generation>,
        named: Named,
        by: &str,
        kept: config::Generations,
    ) {
        let policies = Arc::clone(self.judge.policies());
        let (generation, before, by) = (Arc::clone(generation), Arc::clone(before), by.to_owned());
        let written = spawn_blocking(move || policies.begin(&generation, &before, &named, &by, kept));
        let _ = written.await;
    }

    /// Waits for failures and for a confirmation, and takes the plugin back where that is due.
    async fn wait(
        self: &Arc<Self>,
        plugin: &str,
        generation: &Generation,
        burn_in: Option<BurnIn>,
        confirm_within: Option<Duration>,
    ) {
        self.rollouts.wait_no_more(plugin, BURN_IN);
        self.rollouts.wait_no_more(plugin, CONFIRM);
        let Some(number) = self.judge.policies().known(plugin).map(|known| known.active) else {
            return;
        };
        if let (Some(burn_in), Some(counts)) = (burn_in, generation.counts_of(plugin)) {
            let words = format!("for {:?}, at most {} may fail", burn_in.time, burn_in.max_failed);
            self.rollouts
                .note_gate(plugin, Row::of(BURN_IN, Verdict::Waiting, words, None));
            let stop = self.rollouts.wait_for(plugin, BURN_IN);
            let (gateway, plugin) = (Arc::clone(self), plugin.to_owned());
            self.tasks.spawn(async move {
                tokio::select! {
                    () = gateway.burn_in(&plugin, number, &counts, burn_in) => {
                        gateway.rollouts.waited(&plugin, BURN_IN, &stop);
                    }
                    () = stop.cancelled() => {}
                    () = gateway.ending.cancelled() => {}
                }
                counts.burn_in(false);
            });
        }
        if let Some(within) = confirm_within {
            self.must_be_confirmed(plugin, Some(within)).await;
            let words = format!("rolls back by itself unless it is confirmed within {within:?}");
            self.rollouts
                .note_gate(plugin, Row::of(CONFIRM, Verdict::Waiting, words, None));
            let stop = self.rollouts.wait_for(plugin, CONFIRM);
            let (gateway, plugin) = (Arc::clone(self), plugin.to_owned());
            self.tasks.spawn(async move {
                tokio::select! {
                    () = sleep(within) => {
                        let reason = format!("nobody confirmed it within {within:?}");
                        gateway.take_back(&plugin, number, CONFIRM, &reason).await;
                    }
                    () = stop.cancelled() => {}
                    () = gateway.ending.cancelled() => {}
                }
            });
        }
    }

    async fn must_be_confirmed(&self, plugin: &str, within: Option<Duration>) {
        let (policies, plugin) = (Arc::clone(self.judge.policies()), plugin.to_owned());
        let written = spawn_blocking(move || policies.must_be_confirmed(&plugin, within));
        let _ = written.await;
    }

    /// Ends with the burn-in, or once too much has failed and the plugin was taken back.
    async fn burn_in(self: &Arc<Self>, plugin: &str, number: u64, counts: &Counts, burn_in: BurnIn) {
        let began = Instant::now();
        counts.burn_in(true);
        let end = tokio::time::Instant::now() + burn_in.time;
        loop {
            tokio::select! {
                () = counts.failure() => {}
                () = sleep_until(end) => break,
            }
            let found = counts.burned_in();
            let too_many = burn_in.max_failed.is_exceeded_by(found.failures, found.decisions);
            // One user of several may know a request over which a good policy fails.
            let is_alone = found.failed_users < 2 && found.users > 1;
            if found.decisions >= burn_in.min_decisions && too_many && !is_alone {
                let (failures, decisions, most) = (found.failures, found.decisions, burn_in.max_failed);
                let reason = format!("{failures} of {decisions} decisions failed, more than {most}");
                return self.take_back(plugin, number, BURN_IN, &reason).await;
            }
        }
        let found = counts.burned_in();
        let words = format!("{} of {} decisions failed", found.failures, found.decisions);
        self.rollouts.note_gate(plugin, Row::passed(BURN_IN, words, began));
    }

    /// Goes back by itself.
    async fn take_back(self: &Arc<Self>, plugin: &str, generation: u64, gate: &'static str, reason: &str) {
        let known = self.judge.policies().known(plugin);
        if known.is_none_or(|known| known.active != generation) {
            return;
        }
        let row = Row::of(gate, Verdict::Refused, reason, None);
        self.rollouts.note_gate(plugin, row);
        let way = Way {
            by: "rollback".to_owned(),
            reason: Some(reason.to_owned()),
            confirm_within: None,
        };
        // In a task of its own: what waits for this plugin ends with the change.
        let (gateway, name) = (Arc::clone(self), plugin.to_owned());
        self.tasks.spawn(async move {
            if let Err(declined) = gateway.go_back(&name, None, way).await {
                tracing::error!(policy = name, reason = declined.words(), "cannot roll back by itself");
            }
        });
    }

    /// Puts an earlier generation in force: the one before where no number is given. It has served, so no gate holds it up, and
    /// it waits for no other change: it is recorded first, so that what is prepared meanwhile finds it.
    pub(super) async fn go_back(self: &Arc<Self>, plugin: &str, to: Option<u64>, way: Way) -> Result<(), Declined> {
        let began = Instant::now();
        configured(&self.in_force.config(), plugin)?;
        let entry = self.judge.policies().earlier(plugin, to).map_err(Declined::Conflict)?;
        let mut next = self.loaded_again(plugin, entry.clone()).await?;
        self.record_going_back(&next, plugin, entry.generation, &way).await;
        let plugins = [plugin.to_owned()];
        let before = loop {
            let config = self.in_force.config();
            match self.in_force.swap(&self.judge, &config, &next, &plugins) {
                Some(before) => break before,
                // Another engine, or another configuration.
                None => next = self.loaded_again(plugin, entry.clone()).await?,
            }
        };
        self.rollouts.wait_no_more(plugin, BURN_IN);
        self.rollouts.wait_no_more(plugin, CONFIRM);
        let current = self.judge.current();
        self.rollouts.shadows.serve(self.judge.policies(), &current.generation);
        for one in current.generation.swapped_since(&before.generation) {
            self.now_serves(one, &way, began);
        }
        self.follow(before);
        self.swaps.send_modify(|count| *count += 1);
        Ok(())
    }

    /// A kept generation in its place in the chain in force.
    pub(super) async fn loaded_again(&self, plugin: &str, entry: Entry) -> Result<Arc<Generation>, Declined> {
        let config = self.in_force.config();
        let configured = configured(&config, plugin)?;
        let (policies, signatures) = (Arc::clone(self.judge.policies()), config.policy.signatures.clone());
        let kept = spawn_blocking(move || policies.kept(&configured, &entry, signatures.as_ref()));
        let fresh = kept.await.map_err(|error| Declined::Refused(error.to_string()))?;
        let old = Arc::clone(&self.judge.current().generation);
        let prepared = self
            .judge
            .policies()
            .prepare_some(&old, vec![(plugin.to_owned(), fresh)]);
        prepared.await.map_err(|errors| refused(&errors))
    }

    async fn record_going_back(&self, next: &Arc<Generation>, plugin: &str, to: u64, way: &Way) {
        let policies = Arc::clone(self.judge.policies());
        let kept = self.in_force.config().policy.generations;
        let reason = way.reason.clone().unwrap_or_else(|| format!("by {}", way.by));
        let (generation, plugin, by) = (Arc::clone(next), plugin.to_owned(), way.by.clone());
        let written = spawn_blocking(move || {
            policies.go_back(&generation, &plugin, to, (&by, &reason), kept);
        });
        let _ = written.await;
    }

    /// Sends a candidate through the gates, and puts it in force unless that is only tried.
    pub(super) async fn load(
        self: &Arc<Self>,
        plugin: &str,
        wish: Wish,
        force: bool,
        dry_run: bool,
        way: Way,
    ) -> Result<(), Declined> {
        let _turn = self.reloading.lock().await;
        let began = Instant::now();
        let (config, next) = self.candidate(plugin, wish, (&way.by, dry_run), began).await?;
        self.pass_alone(plugin, &config, &next, &way.by, (force, dry_run))
            .await?;
        if dry_run {
            return Ok(());
        }
        self.put(&config, &next, &[plugin.to_owned()], Named::new(), way, began)
            .await
    }

    /// Sends one plugin of a chain through the gates.
    async fn pass_alone(
        &self,
        plugin: &str,
        config: &Arc<Config>,
        next: &Arc<Generation>,
        by: &str,
        (force, dry_run): (bool, bool),
    ) -> Result<(), Declined> {
        let old = Arc::clone(&self.judge.current().generation);
        let change = Change {
            old: &old,
            next,
            config,
            settled: None,
            plugins: &[plugin.to_owned()],
            by,
            force,
            dry_run,
        };
        let Err(stopped) = self.pass(&change).await else {
            return Ok(());
        };
        let words = stopped.sentence();
        if !dry_run {
            self.rejected(plugin, next.sha256_of(plugin), words.clone());
        }
        Err(Declined::Refused(words))
    }

    /// A candidate, loaded as a part of the chain in force.
    async fn candidate(
        &self,
        plugin: &str,
        wish: Wish,
        (by, dry_run): (&str, bool),
        began: Instant,
    ) -> Result<(Arc<Config>, Arc<Generation>), Declined> {
        let config = self.in_force.config();
        let configured = configured(&config, plugin)?;
        let old = Arc::clone(&self.judge.current().generation);
        let wanted = wanted(configured, wish, &old)?;
        let signatures = config.policy.signatures.clone();
        let read = spawn_blocking(move || Policies::candidate(wanted, signatures.as_ref()));
        let fresh = read.await.map_err(|error| Declined::Refused(error.to_string()))?;
        let prepared = self
            .judge
            .policies()
            .prepare_some(&old, vec![(plugin.to_owned(), fresh)])
            .await;
        match prepared {
            Ok(next) => Ok((config, next)),
            Err(errors) => {
                for (name, error) in &errors {
                    self.stopped_loading(name, by, error, began);
                    if !dry_run {
                        self.rejected(name, error.sha256(), error.to_string());
                    }
                }
                Err(refused(&errors))
            }
        }
    }

    /// Puts these plugins in force.
    pub(super) async fn put(
        self: &Arc<Self>,
        config: &Arc<Config>,
        next: &Arc<Generation>,
        plugins: &[String],
        named: Named,
        way: Way,
        began: Instant,
    ) -> Result<(), Declined> {
        let Some(before) = self.in_force.swap(&self.judge, config, next, plugins) else {
            let words = "the configuration was replaced meanwhile: try again";
            return Err(Declined::Conflict(words.to_owned()));
        };
        self.switched(before, named, &way, began).await;
        self.swaps.send_modify(|count| *count += 1);
        Ok(())
    }

    /// Asks a candidate beside the policies in force from now on.
    pub(super) async fn shadow(self: &Arc<Self>, plugin: &str, wish: Wish, by: &str) -> Result<(), Declined> {
        let _turn = self.reloading.lock().await;
        let began = Instant::now();
        let (_, next) = self.candidate(plugin, wish, (by, false), began).await?;
        self.begin_shadow(plugin, next, by);
        Ok(())
    }

    /// Begins a shadow with what was loaded.
    pub(super) fn begin_shadow(&self, plugin: &str, next: Arc<Generation>, by: &str) {
        let found = next.policies().find(|policy| policy.name == plugin).cloned();
        let Some(candidate) = found else { return };
        let (policies, events) = (self.judge.policies(), self.events.clone());
        self.rollouts
            .shadows
            .begin(policies, next, candidate, by.to_owned(), events);
    }

    /// Puts the shadow of a plugin in force, through the gates.
    pub(super) async fn promote(self: &Arc<Self>, plugin: &str, force: bool, way: Way) -> Result<(), Declined> {
        let _turn = self.reloading.lock().await;
        let began = Instant::now();
        let config = self.in_force.config();
        let configured = configured(&config, plugin)?;
        let shadow = self.rollouts.shadows.of(plugin).ok_or_else(|| no_shadow(plugin))?;
        let candidate = Arc::clone(&shadow.generation);
        let signatures = config.policy.signatures.clone();
        let fits = spawn_blocking(move || Policies::still_fits(&candidate, &configured, signatures.as_ref()));
        let fits = fits.await.map_err(|error| Declined::Refused(error.to_string()))?;
        fits.map_err(|words| Declined::Conflict(format!("{words}: begin the shadow again")))?;
        let next = self.judge.current().generation.with(&shadow.generation, plugin);
        let next = next.ok_or_else(|| Declined::Conflict(SHADOW_IS_OLD.to_owned()))?;
        self.pass_alone(plugin, &config, &next, &way.by, (force, false)).await?;
        self.rollouts.shadows.end(plugin);
        self.put(&config, &next, &[plugin.to_owned()], Named::new(), way, began)
            .await
    }

    /// Ends the wait for a confirmation.
    pub(super) async fn confirm(&self, plugin: &str) -> Result<(), Declined> {
        configured(&self.in_force.config(), plugin)?;
        let known = self.judge.policies().known(plugin);
        if known.is_none_or(|known| known.confirm_by.is_none()) {
            return Err(Declined::Conflict(format!("`{plugin}` waits for no confirmation")));
        }
        self.must_be_confirmed(plugin, None).await;
        self.rollouts.confirmed(plugin);
        Ok(())
    }

    /// A plugin that waits for a confirmation.
    pub(super) fn unconfirmed(&self) -> Option<String> {
        let policies = self.judge.policies();
        let current = self.judge.current();
        let names = current.generation.policies().map(|policy| policy.name.clone());
        let waits = |name: &String| policies.known(name).is_some_and(|known| known.confirm_by.is_some());
        names.into_iter().find(waits)
    }

    /// Says that a policy serves.
    fn now_serves(&self, swapped: Swapped, way: &Way, began: Instant) {
        let known = self.judge.policies().known(&swapped.now.policy.name);
        let event = Event::PolicySwapped(Box::new(Swap {
            policy: swapped.now,
            previous: swapped.before,
            millis: millis(began),
            generation: known.map(|known| known.active),
            by: way.by.clone(),
            reason: way.reason.clone(),
        }));
        self.events.emit(&Subject::default(), &event);
    }
}

/// The plugin as it is configured.
fn configured(config: &Config, plugin: &str) -> Result<config::Plugin, Declined> {
    let found = config.policy.plugins.iter().find(|one| one.name == plugin);
    found.cloned().ok_or_else(|| {
        let names: Vec<_> = config.policy.plugins.iter().map(|one| one.name.as_str()).collect();
        Declined::Unknown(format!(
            "no plugin is called `{plugin}`: there are {}",
            names.join(", ")
        ))
    })
}

/// The plugin as it is configured, with another component or other settings.
fn wanted(configured: config::Plugin, wish: Wish, serving: &Generation) -> Result<config::Plugin, Declined> {
    let component = match wish.component.as_deref() {
        None => configured.component.clone(),
        Some("builtin:rules") => Source::Builtin("rules".to_owned()),
        Some(path) => Source::File(PathBuf::from(path)),
    };
    let (settings, settings_file) = match wish.settings {
        Some(file) => {
            let read = config::settings_from_file(&file).map_err(|faults| Declined::Refused(faults.to_string()))?;
            (read, Some(file))
        }
        None => {
            let serving = serving.settings_of(&configured.name).unwrap_or("{}");
            let settings = serde_json::from_str(serving).map_err(|error| Declined::Refused(error.to_string()))?;
            (settings, None)
        }
    };
    Ok(config::Plugin {
        component,
        settings,
        settings_file,
        ..configured
    })
}

fn refused(errors: &[(String, LoadError)]) -> Declined {
    let words: Vec<_> = errors.iter().map(|(name, error)| format!("{name}: {error}")).collect();
    Declined::Refused(words.join("; "))
}

pub(super) fn no_shadow(plugin: &str) -> Declined {
    Declined::Conflict(format!(
        "`{plugin}` has no shadow: begin one with `portreeve ctl policy shadow`"
    ))
}

const SHADOW_IS_OLD: &str = "`policy.memory` has changed since the shadow was loaded: begin it again";
const SWITCH: &str = "switch";

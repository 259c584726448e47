//! Swaps policies when their files change; files that change together are swapped together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Parts;
use super::gates::{Change, Stopped};
use super::rollout::Way;
use crate::config::{Config, OnChange};
use crate::events::{Event, Subject};
use crate::judgement::Current;
use crate::policy::{Fresh, Generation, LoadError, Named, ReadPlugins, Watch};

impl Parts {
    /// Swaps plugins when their files change.
    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            let config = self.in_force.config();
            let mut watch = Watch::new(&config.policy);
            let mut rejected = Groups::default();
            let mut waiting = Groups::default();
            // What changed after the files were read and before they were watched.
            let watched = config
                .policy
                .plugins
                .iter()
                .filter(|plugin| plugin.watch != OnChange::Wait);
            let mut changed: BTreeSet<_> = watched.map(|plugin| plugin.name.clone()).collect();
            while Arc::ptr_eq(&config, &self.in_force.config()) {
                if !changed.is_empty() {
                    let names = rejected.joined_by(std::mem::take(&mut changed));
                    waiting.without(&names);
                    match self.swap(&config, &watch, &names).await {
                        Looked::Moving => changed = names,
                        Looked::Done => {}
                        Looked::Rejected(together) => rejected.add(together),
                        Looked::Waiting(together) => {
                            waiting.add(together.clone());
                            rejected.add(together);
                        }
                    }
                }
                tokio::select! {
                    more = watch.changed() => changed.extend(more),
                    () = self.ending.cancelled() => return,
                    () = sleep(RECHECK_CONFIG) => {}
                }
                // What waits by itself holds up no other.
                for together in std::mem::take(&mut waiting.0) {
                    match self.still_wait(&config, &together).await {
                        true => waiting.add(together),
                        false => changed.extend(together),
                    }
                }
            }
        }
    }

    /// Puts what changed in one look in force by one pointer, or none of it.
    async fn swap(self: &Arc<Self>, config: &Arc<Config>, watch: &Watch, names: &BTreeSet<String>) -> Looked {
        let _turn = self.reloading.lock().await;
        let began = Instant::now();
        let plugins = config
            .policy
            .plugins
            .iter()
            .filter(|plugin| names.contains(&plugin.name));
        let mut fresh = Fresh::read(plugins.cloned().collect(), config.policy.signatures.clone()).await;
        if !watch.is_still(names) {
            return Looked::Moving;
        }
        let policies = self.judge.policies();
        let old = Arc::clone(&self.judge.current().generation);
        fresh.retain(|(_, fresh)| match fresh {
            Ok(fresh) if old.serves(fresh) => {
                policies.names(fresh.name(), fresh.identity());
                false
            }
            _ => true,
        });
        let only_asked = |name: &String| {
            let mut plugins = config.policy.plugins.iter();
            plugins.any(|plugin| plugin.name == *name && plugin.watch == OnChange::Shadow)
        };
        let (shadows, fresh): (Vec<_>, Vec<_>) = policies
            .wanted(fresh)
            .into_iter()
            .partition(|(name, _)| only_asked(name));
        for (name, fresh) in shadows {
            self.shadow_of(&old, name, fresh, began).await;
        }
        if fresh.is_empty() {
            return Looked::Done;
        }
        let looked = self.swap_these(config, &old, fresh, began).await;
        self.swaps.send_modify(|count| *count += 1);
        looked
    }

    /// A plugin whose files are only asked for their opinion.
    async fn shadow_of(&self, old: &Arc<Generation>, name: String, fresh: Result<Fresh, LoadError>, began: Instant) {
        let is_asked = |fresh: &Fresh| {
            let shadow = self.rollouts.shadows.of(&name);
            shadow.is_some_and(|shadow| shadow.generation.serves(fresh))
        };
        if fresh.as_ref().is_ok_and(is_asked) {
            return;
        }
        let sha256 = fresh.as_ref().ok().map(Fresh::digest);
        match self
            .judge
            .policies()
            .prepare_some(old, vec![(name.clone(), fresh)])
            .await
        {
            Ok(next) => self.begin_shadow(&name, next, BY_FILE),
            Err(errors) => self.all_rejected(vec![(name, sha256)], &errors, BY_FILE, began),
        }
        self.swaps.send_modify(|count| *count += 1);
    }

    /// All of these through the gates, and then in force by one pointer, or none of them.
    async fn swap_these(
        self: &Arc<Self>,
        config: &Arc<Config>,
        old: &Arc<Generation>,
        fresh: ReadPlugins,
        began: Instant,
    ) -> Looked {
        let changed: Vec<_> = fresh
            .iter()
            .map(|(name, fresh)| (name.clone(), fresh.as_ref().ok().map(Fresh::digest)))
            .collect();
        let read = fresh
            .iter()
            .filter_map(|(name, fresh)| Some((name, fresh.as_ref().ok()?)));
        let named: Named = read.map(|(name, fresh)| (name.clone(), fresh.identity())).collect();
        let plugins: Vec<_> = changed.iter().map(|(name, _)| name.clone()).collect();
        let together = || Looked::Rejected(plugins.iter().cloned().collect());
        let next = match self.judge.policies().prepare_some(old, fresh).await {
            Ok(next) => next,
            Err(errors) => {
                self.all_rejected(changed, &errors, BY_FILE, began);
                return together();
            }
        };
        let change = Change {
            old,
            next: &next,
            config,
            settled: None,
            plugins: &plugins,
            by: BY_FILE,
            force: false,
            dry_run: false,
        };
        if let Err(stopped) = self.pass(&change).await {
            self.all_stopped(changed, &stopped, &named);
            return match (stopped.waits, together()) {
                (true, Looked::Rejected(names)) => Looked::Waiting(names),
                (_, looked) => looked,
            };
        }
        let way = Way {
            by: BY_FILE.to_owned(),
            reason: None,
            confirm_within: None,
        };
        // If the configuration was replaced meanwhile, the next look is by the new one.
        let _ = self.put(config, &next, &plugins, named, way, began).await;
        Looked::Done
    }

    /// A gate stopped all that changed together; a restart does not get past it either.
    pub(super) fn all_stopped(&self, changed: Vec<(String, Option<String>)>, stopped: &Stopped, named: &Named) {
        for (name, sha256) in changed {
            if let Some(named) = named.get(&name) {
                self.judge.policies().refuse(&name, named.clone());
            }
            self.rejected(&name, sha256, stopped.sentence());
        }
    }

    /// One line for each plugin that changed: its own fault, or whose fault it is that it does not serve.
    fn all_rejected(
        &self,
        changed: Vec<(String, Option<String>)>,
        errors: &[(String, LoadError)],
        by: &str,
        began: Instant,
    ) {
        let faulty: Vec<_> = errors.iter().map(|(name, _)| name.as_str()).collect();
        for (name, sha256) in changed {
            let error = errors
                .iter()
                .find(|(faulty, _)| *faulty == name)
                .map(|(_, error)| error);
            let sha256 = error.and_then(LoadError::sha256).or(sha256);
            if let Some(error) = error {
                self.stopped_loading(&name, by, error, began);
            }
            let reason = match error {
                Some(error) => error.to_string(),
                None => format!(
                    "it changed together with {}, which was rejected: such changes take effect together or not at all",
                    faulty.join(", ")
                ),
            };
            self.rejected(&name, sha256, reason);
        }
    }

    pub(super) fn rejected(&self, name: &str, sha256: Option<String>, reason: String) {
        let event = Event::PolicyRejected {
            name: name.to_owned(),
            sha256,
            reason,
        };
        self.events.emit(&Subject::default(), &event);
    }

    /// Lets what is open follow the change from `before` to what is in force now.
    pub(super) fn follow(&self, before: Arc<Current>) {
        let review = self.review();
        self.tasks.spawn(async move { review.follow(&before).await });
    }
}

/// What came of one look.
enum Looked {
    /// A file changed meanwhile: the next look takes all of it.
    Moving,
    /// What changed serves.
    Done,
    /// What changed does not serve: these.
    Rejected(BTreeSet<String>),
    /// What changed does not serve yet: these wait for the canaries of the fleet.
    Waiting(BTreeSet<String>),
}

/// Plugins that changed together and were rejected together. If one of them changes again, the others are tried with it:
/// they still wait to be put in force. What was rejected by itself holds up no other.
#[derive(Default)]
struct Groups(Vec<BTreeSet<String>>);

impl Groups {
    /// These plugins, and whatever waits for one of them, which no longer waits.
    fn joined_by(&mut self, mut names: BTreeSet<String>) -> BTreeSet<String> {
        while let Some(index) = self.0.iter().position(|group| !group.is_disjoint(&names)) {
            names.append(&mut self.0.swap_remove(index));
        }
        names
    }

    /// None of these waits any more.
    fn without(&mut self, names: &BTreeSet<String>) {
        self.0.retain(|group| group.is_disjoint(names));
    }

    fn add(&mut self, names: BTreeSet<String>) {
        self.0.push(names);
    }
}

pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Who wanted it: nobody but the file.
const BY_FILE: &str = "file";
const RECHECK_CONFIG: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &str) -> BTreeSet<String> {
        names.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn what_was_rejected_together_is_tried_together_again() {
        let mut groups = Groups::default();
        groups.add(names("a b"));
        groups.add(names("c"));
        assert_eq!(
            groups.joined_by(names("d")),
            names("d"),
            "a stale fault holds up no other"
        );
        assert_eq!(groups.joined_by(names("b d")), names("a b d"));
        groups.add(names("a b d"));
        assert_eq!(groups.joined_by(names("a c")), names("a b c d"));
        assert_eq!(groups.joined_by(names("a")), names("a"), "nothing waits any more");
        groups.add(names("a b"));
        groups.add(names("c"));
        groups.without(&names("b d"));
        assert_eq!(groups.joined_by(names("a")), names("a"));
        assert_eq!(groups.joined_by(names("c")), names("c"));
    }
}

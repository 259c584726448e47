//! The generations of each plugin: what serves and served, kept with its settings over restarts, to go back to.
//!
//! It decides what serves where the configuration names one thing and something else was put in force since (`record.rs`); it does
//! not load anything. Invariant: a record names only components that are on the disk before it is.

mod record;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

pub use self::record::{Entry, Quarantined};

use self::record::{Begins, Choice, Record, deadline};
use crate::config::{Generations, OnChange, Plugin, Policy, Signatures, Source};
use crate::policy::compile::Workshop;
use crate::policy::load::{Counted, Counts, Loaded};
use crate::policy::source::{Component, Fresh, ReadPlugins, Vetted};
use crate::policy::{BUILTIN, Identity, LoadError};

/// What serves and served of every plugin. One that belongs to no gateway keeps nothing.
pub(in crate::policy) struct History {
    workshop: Arc<Workshop>,
    plugins: Mutex<BTreeMap<String, Past>>,
}

#[derive(Default)]
struct Past {
    record: Record,
    /// The bytes of what served, where they cannot be kept on disk.
    components: Vec<Component>,
    /// What each generation has decided since the start.
    counts: HashMap<u64, Tally>,
}

#[derive(Default)]
struct Tally {
    before: Counted,
    now: Arc<Counts>,
}

/// What is known of the generations of a plugin.
pub struct Known {
    /// In the order in which they last served, the one in force last.
    pub entries: Vec<(Entry, Counted)>,
    /// The number of the one in force.
    pub active: u64,
    /// What was rolled back.
    pub quarantined: Vec<Quarantined>,
    /// Until when the one in force must be confirmed.
    pub confirm_by: Option<Timestamp>,
}

/// What the configuration names and does not serve.
#[derive(Clone, Debug)]
pub struct PassedOver {
    /// The plugin.
    pub plugin: String,
    /// Of the component, where it could be read.
    pub sha256: Option<String>,
    /// Why, and what serves instead.
    pub reason: String,
}

impl History {
    pub(in crate::policy) fn new(workshop: &Arc<Workshop>) -> Self {
        Self {
            workshop: Arc::clone(workshop),
            plugins: Mutex::default(),
        }
    }

    /// What is to serve for each plugin as it was read: itself, or what was put in force since. What was named and is not to
    /// serve is told. At a start what cannot be read is replaced by what served last.
    pub(in crate::policy) fn settle(
        &self,
        fresh: ReadPlugins,
        config: &Policy,
        at_start: bool,
    ) -> (ReadPlugins, Vec<PassedOver>) {
        let mut over = Vec::new();
        let settled = fresh.into_iter().map(|(name, fresh)| {
            let Some(plugin) = config.plugins.iter().find(|plugin| plugin.name == name) else {
                return (name, fresh);
            };
            let settled = self.settled(plugin, fresh, config, at_start, &mut over);
            (name, settled)
        });
        (settled.collect(), over)
    }

    fn settled(
        &self,
        plugin: &Plugin,
        fresh: Result<Fresh, LoadError>,
        config: &Policy,
        at_start: bool,
        over: &mut Vec<PassedOver>,
    ) -> Result<Fresh, LoadError> {
        let signatures = config.signatures.as_ref();
        let past = self.past_of(&plugin.name, at_start);
        let named = match &fresh {
            Ok(fresh) => fresh.identity(),
            Err(error) if at_start && error.is_of_what_is_at(&plugin.component) => {
                let Some(entry) = past.in_force() else { return fresh };
                let found = self.fresh_of(plugin, entry, signatures);
                return match found {
                    Ok(found) => {
                        over.push(PassedOver {
                            plugin: plugin.name.clone(),
                            sha256: error.sha256(),
                            reason: format!(
                                "{error}; generation {}, which served last, serves instead",
                                entry.generation
                            ),
                        });
                        Ok(found)
                    }
                    Err(_) => fresh,
                };
            }
            Err(_) => return fresh,
        };
        // At a start nobody can be asked yet how the canaries of the fleet are with it.
        let follows = at_start && config.rollout.as_ref().is_some_and(|rollout| rollout.follows);
        let is_new = !past.is_named(&named);
        let only_by_name = plugin.watch == OnChange::Shadow || follows;
        let (entry, reason) = match past.choose(&named, only_by_name, at_start) {
            Choice::Configured => return fresh,
            Choice::Kept(entry) if follows && is_new && plugin.watch == OnChange::Wait => {
                (entry, Some(WAITS_FOR_RELOAD.to_owned()))
            }
            Choice::Kept(entry) => (entry, None),
            Choice::InsteadOf(entry, quarantined) => {
                let reason = LoadError::Quarantined {
                    since: quarantined.since,
                    reason: quarantined.reason,
                };
                (entry, Some(reason.to_string()))
            }
        };
        let found = self.fresh_of(plugin, &entry, signatures);
        if let (Ok(_), Some(reason)) = (&found, reason) {
            over.push(PassedOver {
                plugin: plugin.name.clone(),
                sha256: None,
                reason: format!("{reason}; generation {} serves", entry.generation),
            });
        }
        // What waits to be promoted, or for others, is not what the configuration was last seen to name: it is still wanted.
        let seen = match !is_new || !only_by_name {
            true => named,
            false => past.last_named().cloned().unwrap_or(named),
        };
        found.map(|fresh| fresh.for_what_names(seen, entry.generation))
    }

    /// Whether something that served in the place of this plugin is kept.
    pub(in crate::policy) fn has_served(&self, plugin: &str) -> bool {
        self.past_of(plugin, true).in_force().is_some()
    }

    /// Whether this component with these settings was rolled back.
    pub(in crate::policy) fn refuses(&self, plugin: &str, named: &Identity) -> Option<LoadError> {
        let plugins = self.plugins();
        let quarantined = plugins.get(plugin)?.record.quarantined(named)?;
        Some(LoadError::Quarantined {
            since: quarantined.since,
            reason: quarantined.reason.clone(),
        })
    }

    /// Whether what the configuration names has been replaced since it named it: then nothing new is wanted.
    pub(in crate::policy) fn has_replaced(&self, plugin: &str, named: &Identity) -> bool {
        let plugins = self.plugins();
        plugins.get(plugin).is_some_and(|past| past.record.has_replaced(named))
    }

    /// A generation to go back to, as it was kept: the one before where no number is given.
    ///
    /// # Errors
    /// In words: that there is none.
    pub(in crate::policy) fn earlier(&self, plugin: &str, generation: Option<u64>) -> Result<Entry, String> {
        let plugins = self.plugins();
        let record = plugins.get(plugin).map(|past| &past.record);
        let Some(record) = record else {
            return Err(format!("no generation of `{plugin}` is kept"));
        };
        match generation {
            None => record
                .before()
                .cloned()
                .ok_or_else(|| "there is no earlier generation that was not rolled back".to_owned()),
            Some(number) if number == record.active => Err(format!("generation {number} is in force")),
            Some(number) => record
                .entry(number)
                .cloned()
                .ok_or_else(|| format!("there is no generation {number}: see `portreeve ctl policy show {plugin}`")),
        }
    }

    /// A kept generation, ready to be loaded with the grants that the configuration gives now.
    pub(in crate::policy) fn fresh_of(
        &self,
        plugin: &Plugin,
        entry: &Entry,
        signatures: Option<&Signatures>,
    ) -> Result<Fresh, LoadError> {
        let settings = serde_json::from_str(&entry.settings);
        let settings = settings.map_err(|error| LoadError::Engine(format!("the kept settings: {error}")))?;
        let mut plugin = Plugin {
            settings,
            settings_file: None,
            allow_downgrade: true,
            ..plugin.clone()
        };
        if let Some(name) = entry.identity.component.strip_prefix(BUILTIN) {
            plugin.component = Source::Builtin(name.to_owned());
            let vetted = Vetted::read(&plugin, signatures)?;
            return Ok(Fresh::of(plugin, vetted));
        }
        let component = match self.workshop.kept_component(&entry.sha256) {
            Some(path) => {
                plugin.component = Source::File(path);
                Component::read(&plugin.component)?
            }
            None => self.in_memory(&plugin.name, entry)?,
        };
        if component.sha256() != entry.sha256 {
            return Err(LoadError::Damaged("what was kept is not what served".to_owned()));
        }
        let vetted = Vetted::of(component, &plugin, signatures)?;
        Ok(Fresh::of(plugin, vetted))
    }

    fn in_memory(&self, plugin: &str, entry: &Entry) -> Result<Component, LoadError> {
        let plugins = self.plugins();
        let kept = plugins.get(plugin).map(|past| past.components.as_slice());
        let found = kept.unwrap_or_default().iter().find(|one| one.sha256() == entry.sha256);
        found.cloned().ok_or_else(|| LoadError::Read {
            path: format!("generation {}", entry.generation),
            error: "its component is not kept any more".to_owned(),
        })
    }

    /// These serve now; `named` is what the configuration names, where it has been read again.
    pub(in crate::policy) fn begin(
        &self,
        chain: &[Arc<Loaded>],
        named: &HashMap<String, Identity>,
        by: &str,
        kept: Generations,
    ) {
        let now = Timestamp::now();
        for loaded in chain {
            let name = &loaded.reference.name;
            self.keep(loaded);
            let begins = Begins {
                identity: loaded.identity(),
                sha256: loaded.reference.sha256.clone(),
                version: loaded.reference.version.clone(),
                settings: loaded.settings.clone(),
                signer: loaded.signer.as_ref().map(|signer| signer.principal.clone()),
                by: by.to_owned(),
                now,
            };
            self.change(name, |past| {
                let number = past.record.begin(begins, named.get(name).cloned());
                past.counts_go_to(number, loaded);
                past.record.trim(kept, now);
            });
        }
        self.workshop.sweep();
    }

    /// Keeps the bytes of a component that begins to serve: on disk, or else in memory.
    fn keep(&self, loaded: &Loaded) {
        let component = loaded.component.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(component) = component.filter(|_| !loaded.is_builtin()) else {
            return;
        };
        if self.workshop.keep_component(&component) {
            return;
        }
        let mut plugins = self.plugins();
        let kept = &mut plugins.entry(loaded.reference.name.clone()).or_default().components;
        kept.retain(|one| one.sha256() != component.sha256());
        kept.push(component);
        let excess = kept.len().saturating_sub(MOST_IN_MEMORY);
        kept.drain(..excess);
    }

    /// Changes what is known of a plugin, and records it.
    fn change(&self, plugin: &str, change: impl FnOnce(&mut Past)) {
        let mut plugins = self.plugins();
        let past = plugins.entry(plugin.to_owned()).or_default();
        change(past);
        let written = past.record.clone();
        drop(plugins);
        self.write(plugin, &written);
    }

    /// The configuration names this for a plugin now, and that asks for nothing new.
    pub(in crate::policy) fn names(&self, plugin: &str, named: Identity) {
        if !self.past_of(plugin, false).is_named(&named) {
            self.change(plugin, |past| past.record.names(named));
        }
    }

    /// The configuration names this for a plugin now, and a gate refused it.
    pub(in crate::policy) fn refuse(&self, plugin: &str, named: Identity) {
        self.change(plugin, |past| past.record.refuse(named));
    }

    /// An earlier generation serves again.
    pub(in crate::policy) fn go_back(&self, loaded: &Arc<Loaded>, to: u64, by: &str, reason: &str, kept: Generations) {
        let now = Timestamp::now();
        self.change(&loaded.reference.name, |past| {
            past.record.go_back(to, by, reason, now);
            past.counts_go_to(to, loaded);
            past.record.trim(kept, now);
        });
        self.workshop.sweep();
    }

    /// The one in force must be confirmed within this time, or need not be any more.
    pub(in crate::policy) fn must_be_confirmed(&self, plugin: &str, within: Option<Duration>) {
        let until = within.map(|within| deadline(Timestamp::now(), within));
        self.change(plugin, |past| past.record.confirm_by = until);
    }

    /// What is known of a plugin.
    pub(in crate::policy) fn known(&self, plugin: &str) -> Option<Known> {
        let plugins = self.plugins();
        let past = plugins.get(plugin)?;
        let counted = |entry: &Entry| past.counts.get(&entry.generation).map(Tally::sum).unwrap_or_default();
        let entries = past.record.entries.iter();
        Some(Known {
            entries: entries.map(|entry| (entry.clone(), counted(entry))).collect(),
            active: past.record.active,
            quarantined: past.record.quarantined.clone(),
            confirm_by: past.record.confirm_by,
        })
    }

    /// What is recorded of a plugin; at a start what nobody had confirmed is rolled back first.
    fn past_of(&self, plugin: &str, at_start: bool) -> Record {
        let mut plugins = self.plugins();
        let past = plugins.entry(plugin.to_owned()).or_insert_with(|| Past {
            record: self.read(plugin).unwrap_or_default(),
            ..Past::default()
        });
        if at_start
            && past.record.confirm_by.is_some()
            && let Some(before) = past.record.before().map(|entry| entry.generation)
        {
            let reason = "the gateway ended before it was confirmed";
            past.record.go_back(before, "start", reason, Timestamp::now());
        }
        past.record.clone()
    }

    fn read(&self, plugin: &str) -> Option<Record> {
        let bytes = self.workshop.record(plugin)?;
        match serde_json::from_slice(&bytes) {
            Ok(record) => Some(record),
            Err(error) => {
                tracing::warn!(plugin, %error, "the record of a policy's generations cannot be understood: ignored");
                None
            }
        }
    }

    fn write(&self, plugin: &str, record: &Record) {
        self.workshop
            .keep_record(plugin, &serde_json::to_vec(record).unwrap_or_default());
    }

    fn plugins(&self) -> MutexGuard<'_, BTreeMap<String, Past>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Past {
    fn counts_go_to(&mut self, generation: u64, loaded: &Arc<Loaded>) {
        let tally = self.counts.entry(generation).or_default();
        if !Arc::ptr_eq(&tally.now, &loaded.counts) {
            tally.before = tally.sum();
            tally.now = Arc::clone(&loaded.counts);
        }
        let entries = &self.record.entries;
        self.counts
            .retain(|number, _| entries.iter().any(|entry| entry.generation == *number));
    }
}

impl Tally {
    fn sum(&self) -> Counted {
        let (before, now) = (self.before, self.now.now());
        Counted {
            decisions: before.decisions + now.decisions,
            denials: before.denials + now.denials,
            failures: before.failures + now.failures,
        }
    }
}

/// Why what is new does not serve at a start.
const WAITS_FOR_RELOAD: &str = "what is new waits here for the canaries of `policy.rollout`, and this plugin is not watched: \
                                `portreeve ctl reload` sends it through the gates";
/// Components that are kept in memory of each plugin where there is no folder to keep them in.
const MOST_IN_MEMORY: usize = 3;

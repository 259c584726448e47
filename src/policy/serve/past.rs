//! Goes back to what served before, and tells what is known of it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::generation::Generation;
use super::policies::{Named, Policies};
use crate::config;
use crate::policy::history::{Entry, Known};
use crate::policy::source::{Fresh, ReadPlugins, Vetted};
use crate::policy::{Identity, LoadError};

impl Policies {
    /// What serves from now on instead of `before`; `named` is what the configuration names, where that has been read again.
    pub fn begin(
        &self,
        generation: &Generation,
        before: &Generation,
        named: &Named,
        by: &str,
        kept: config::Generations,
    ) {
        let is_new = |loaded: &&Arc<_>| !before.chain.iter().any(|old| Arc::ptr_eq(old, loaded));
        let chain: Vec<_> = generation.chain.iter().filter(is_new).cloned().collect();
        self.history.begin(&chain, named, by, kept);
        // Also where the one in force is what is named now, and was put there by another way.
        for (plugin, named) in named {
            self.history.names(plugin, named.clone());
        }
    }

    /// What changed and is wanted: not what was put out of force since the configuration named it, and not what was rolled back.
    #[must_use]
    pub fn wanted(&self, fresh: ReadPlugins) -> ReadPlugins {
        let wanted = fresh.into_iter().filter_map(|(name, fresh)| {
            let Ok(fresh) = fresh else { return Some((name, fresh)) };
            let named = fresh.identity();
            if self.history.has_replaced(&name, &named) {
                return None;
            }
            match self.history.refuses(&name, &named) {
                Some(refusal) => Some((name, Err(refusal))),
                None => Some((name, Ok(fresh))),
            }
        });
        wanted.collect()
    }

    /// The configuration names this now, and that asks for nothing new.
    pub fn names(&self, plugin: &str, named: Identity) {
        self.history.names(plugin, named);
    }

    /// The configuration names this now, and a gate refused it.
    pub fn refuse(&self, plugin: &str, named: Identity) {
        self.history.refuse(plugin, named);
    }

    /// The component at this path as this plugin.
    ///
    /// # Errors
    /// If it cannot be read, or is not signed as demanded.
    pub fn candidate(plugin: config::Plugin, signatures: Option<&config::Signatures>) -> Result<Fresh, LoadError> {
        let vetted = Vetted::read(&plugin, signatures)?;
        Ok(Fresh::of(plugin, vetted))
    }

    /// Whether a candidate that was loaded earlier would be loaded as it is by the configuration of now.
    ///
    /// # Errors
    /// In words, why not.
    pub fn still_fits(
        candidate: &Generation,
        plugin: &config::Plugin,
        signatures: Option<&config::Signatures>,
    ) -> Result<(), String> {
        let Some(loaded) = candidate.loaded(&plugin.name) else {
            return Err("it is not in the chain".to_owned());
        };
        let wanted = config::Plugin {
            component: loaded.config.component.clone(),
            settings: loaded.config.settings.clone(),
            ..plugin.clone()
        };
        if !wanted.decides_as(&loaded.config) {
            return Err("the plugin's configuration has changed since".to_owned());
        }
        let bytes = loaded.component.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let vetted = match bytes {
            Some(component) => Vetted::of(component, &wanted, signatures),
            None => Vetted::read(&wanted, signatures),
        };
        vetted.map(|_| ()).map_err(|error| error.to_string())
    }

    /// A generation to go back to: the one before where no number is given.
    ///
    /// # Errors
    /// In words, that there is none.
    pub fn earlier(&self, plugin: &str, generation: Option<u64>) -> Result<Entry, String> {
        self.history.earlier(plugin, generation)
    }

    /// A kept generation of this plugin, to be prepared.
    ///
    /// # Errors
    /// If it cannot be read any more, or is not signed as demanded now.
    pub fn kept(
        &self,
        plugin: &config::Plugin,
        entry: &Entry,
        signatures: Option<&config::Signatures>,
    ) -> Result<Fresh, LoadError> {
        self.history.fresh_of(plugin, entry, signatures)
    }

    /// That generation of the plugin serves again.
    pub fn go_back(
        &self,
        generation: &Generation,
        plugin: &str,
        to: u64,
        (by, reason): (&str, &str),
        kept: config::Generations,
    ) {
        if let Some(loaded) = generation.loaded(plugin) {
            self.history.go_back(loaded, to, by, reason, kept);
        }
    }

    /// What serves must be confirmed within this time, or need not be any more.
    pub fn must_be_confirmed(&self, plugin: &str, within: Option<Duration>) {
        self.history.must_be_confirmed(plugin, within);
    }

    /// Another process serves in this one's place, and what is recorded of generations is its business.
    pub fn record_no_more(&self) {
        self.workshop.look_only();
    }

    /// What is known of the generations of a plugin.
    #[must_use]
    pub fn known(&self, plugin: &str) -> Option<Known> {
        self.history.known(plugin)
    }
}

//! What is known of the past of one plugin, and what follows from it. Pure: reading and writing is done elsewhere.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::config::Generations;
use crate::policy::Identity;

/// One generation that serves or served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its number among those of the plugin, from 1.
    pub generation: u64,
    /// Component and settings.
    pub identity: Identity,
    /// SHA-256 of the component, hexadecimal.
    pub sha256: String,
    /// The version that the component states.
    pub version: String,
    /// The settings, as JSON.
    pub(super) settings: String,
    /// Who signed the component, where that was demanded.
    pub signer: Option<String>,
    /// Since when it serves, or last served.
    pub since: Timestamp,
    /// Until when it served; absent while it does.
    pub until: Option<Timestamp>,
    /// Who put it in force: `start`, `file`, `reload`, `rollback` or an administrator's name.
    pub by: String,
}

/// What was rolled back: neither a file nor a start brings it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Component and settings.
    pub identity: Identity,
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub reason: String,
}

/// The past of one plugin.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The number of the last generation.
    last: u64,
    /// The number of the one in force.
    pub(super) active: u64,
    /// What the configuration named when that was put in force: if it still names this, nothing new is wanted.
    configured: Option<Identity>,
    /// What the configuration named last that did not pass a gate.
    #[serde(default)]
    refused: Option<Identity>,
    /// Until when the one in force must be confirmed.
    pub(super) confirm_by: Option<Timestamp>,
    /// In the order in which they last served.
    pub(super) entries: Vec<Entry>,
    pub(super) quarantined: Vec<Quarantined>,
}

/// What is to serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// What the configuration names.
    Configured,
    /// What was put in force since the configuration last changed.
    Kept(Entry),
    /// The same, because what the configuration names was rolled back.
    InsteadOf(Entry, Quarantined),
}

/// What begins to serve.
pub(super) struct Begins {
    pub(super) identity: Identity,
    pub(super) sha256: String,
    pub(super) version: String,
    pub(super) settings: String,
    pub(super) signer: Option<String>,
    pub(super) by: String,
    pub(super) now: Timestamp,
}

impl Record {
    pub(super) fn entry(&self, generation: u64) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.generation == generation)
    }

    pub(super) fn in_force(&self) -> Option<&Entry> {
        self.entry(self.active)
    }

    pub(super) fn quarantined(&self, identity: &Identity) -> Option<&Quarantined> {
        self.quarantined.iter().find(|one| one.identity == *identity)
    }

    /// What is to serve where the configuration names this. `only_by_name`: something new does not serve before it is promoted.
    /// At a start the gates are not there that refused it before.
    pub(super) fn choose(&self, named: &Identity, only_by_name: bool, at_start: bool) -> Choice {
        let Some(active) = self.in_force().filter(|active| active.identity != *named) else {
            return Choice::Configured;
        };
        match self.quarantined(named) {
            Some(quarantined) => Choice::InsteadOf(active.clone(), quarantined.clone()),
            None if self.configured.as_ref() == Some(named) || only_by_name => Choice::Kept(active.clone()),
            None if at_start && self.refused.as_ref() == Some(named) => Choice::Kept(active.clone()),
            None => Choice::Configured,
        }
    }

    /// Another one serves now; `configured` is what the configuration names, where that has been read again. Returns its number.
    pub(super) fn begin(&mut self, begins: Begins, configured: Option<Identity>) -> u64 {
        if let Some(configured) = configured {
            self.configured = Some(configured);
        }
        self.confirm_by = None;
        self.refused = None;
        let serves = self.in_force().is_some_and(|active| active.identity == begins.identity);
        if serves {
            return self.active;
        }
        self.leave(begins.now);
        self.quarantined.retain(|one| one.identity != begins.identity);
        self.last += 1;
        self.active = self.last;
        self.entries.push(Entry {
            generation: self.last,
            identity: begins.identity,
            sha256: begins.sha256,
            version: begins.version,
            settings: begins.settings,
            signer: begins.signer,
            since: begins.now,
            until: None,
            by: begins.by,
        });
        self.last
    }

    /// The configuration names this now, and that asks for nothing new.
    pub(super) fn names(&mut self, configured: Identity) {
        self.configured = Some(configured);
    }

    /// Whether the configuration named this last, and something else was put in force since.
    pub(super) fn has_replaced(&self, named: &Identity) -> bool {
        self.is_named(named) && self.in_force().is_some_and(|active| active.identity != *named)
    }

    /// What the configuration named last.
    pub(super) fn last_named(&self) -> Option<&Identity> {
        self.configured.as_ref()
    }

    /// Whether that is what the configuration named last.
    pub(super) fn is_named(&self, named: &Identity) -> bool {
        self.configured.as_ref() == Some(named)
    }

    /// The configuration names this now, and a gate refused it.
    pub(super) fn refuse(&mut self, named: Identity) {
        self.refused = Some(named);
    }

    /// The one before: what served last and was not rolled back.
    pub(super) fn before(&self) -> Option<&Entry> {
        let active = self.in_force()?;
        let mut others = self.entries.iter().rev();
        others.find(|entry| entry.identity != active.identity && self.quarantined(&entry.identity).is_none())
    }

    /// An earlier one serves again, and the one in force is not to come back by itself.
    pub(super) fn go_back(&mut self, to: u64, by: &str, reason: &str, now: Timestamp) {
        let Some(mut entry) = self.entry(to).cloned() else {
            return;
        };
        let gone = self.in_force().map(|active| active.identity.clone());
        self.leave(now);
        self.confirm_by = None;
        self.quarantined.retain(|one| one.identity != entry.identity);
        if let Some(identity) = gone.filter(|gone| *gone != entry.identity) {
            self.quarantined.retain(|one| one.identity != identity);
            self.quarantined.push(Quarantined {
                identity,
                since: now,
                reason: reason.to_owned(),
            });
        }
        self.entries.retain(|one| one.generation != to);
        (entry.since, entry.until) = (now, None);
        by.clone_into(&mut entry.by);
        self.entries.push(entry);
        self.active = to;
    }

    /// Forgets what is older or more than is kept; what is in force and the one before it always are.
    pub(super) fn trim(&mut self, kept: Generations, now: Timestamp) {
        let age = SignedDuration::try_from(kept.max_age).unwrap_or(SignedDuration::MAX);
        let before = self.before().map(|entry| entry.generation);
        let active = self.active;
        let stays = |entry: &Entry| entry.generation == active || Some(entry.generation) == before;
        self.entries
            .retain(|entry| stays(entry) || entry.until.is_none_or(|until| now.duration_since(until) <= age));
        while self.entries.len() > kept.keep + 1 {
            let Some(oldest) = self.entries.iter().position(|entry| !stays(entry)) else {
                break;
            };
            self.entries.remove(oldest);
        }
        let most = MOST_QUARANTINED.max(kept.keep);
        let excess = self.quarantined.len().saturating_sub(most);
        self.quarantined.drain(..excess);
    }

    fn leave(&mut self, now: Timestamp) {
        let active = self.active;
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.generation == active) {
            entry.until = Some(now);
        }
    }
}

/// The time until which something must be confirmed.
pub(super) fn deadline(now: Timestamp, within: Duration) -> Timestamp {
    let within = SignedDuration::try_from(within).unwrap_or(SignedDuration::MAX);
    now.checked_add(within).unwrap_or(Timestamp::MAX)
}

const MOST_QUARANTINED: usize = 100;

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;

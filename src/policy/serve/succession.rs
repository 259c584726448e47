//! Compares two generations: which policies stay, which are swapped, and which end.

use std::sync::Arc;

use super::generation::Generation;
use crate::policy::load::Loaded;
use crate::policy::source::{Fresh, Lineage};
use crate::policy::{Installed, PolicyRef};

/// A swap that took place.
pub struct Swapped {
    /// What serves now.
    pub now: Installed,
    /// What served before.
    pub before: Option<PolicyRef>,
}

impl Generation {
    /// Whether exactly this component, signed by the same, serves with exactly these settings.
    #[must_use]
    pub fn serves(&self, fresh: &Fresh) -> bool {
        let settings = fresh.plugin.settings.to_string();
        let serves = |loaded: &Arc<Loaded>| {
            loaded.reference.name == fresh.plugin.name
                && loaded.reference.sha256 == fresh.vetted.component().sha256()
                && loaded.settings == settings
                && loaded.signer.as_ref() == fresh.vetted.signer()
        };
        self.chain.iter().any(serves)
    }

    /// The policies of this generation that are not those of `old`.
    #[must_use]
    pub fn swapped_since(&self, old: &Self) -> Vec<Swapped> {
        let replaced = self
            .chain
            .iter()
            .filter(|now| !old.chain.iter().any(|before| Arc::ptr_eq(before, now)));
        replaced
            .map(|now| Swapped {
                now: now.installed(),
                before: old.policies().find(|before| before.name == now.reference.name).cloned(),
            })
            .collect()
    }

    /// Another one serves from now on. Instances that were made ahead for what it does not have go at once.
    pub fn give_way_to(&self, new: &Self) {
        new.loader.workshop.now_serve(new.signed());
        let stays = |one: &&Arc<Loaded>| new.chain.iter().any(|other| Arc::ptr_eq(one, other));
        for gone in self.chain.iter().filter(|one| !stays(one)) {
            if let Some(pool) = &gone.pool {
                pool.close();
            }
        }
    }

    /// The policies that had to be signed, by the names of their plugins.
    pub(super) fn signed(&self) -> impl Iterator<Item = (&str, &Lineage)> {
        let signed = self.chain.iter().filter(|loaded| loaded.signer.is_some());
        signed.map(|loaded| (loaded.reference.name.as_str(), &loaded.lineage))
    }

    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.loader, &other.loader)
            && Arc::ptr_eq(&self.facts, &other.facts)
            && self.deadline == other.deadline
            && self.chain.len() == other.chain.len()
            && self
                .chain
                .iter()
                .zip(&other.chain)
                .all(|(one, other)| Arc::ptr_eq(one, other))
    }
}

//! The policies in force at one moment, and a view of them.

use std::sync::Arc;
use std::time::Duration;

use super::spare::Spare;
use crate::policy::load::{Loaded, Loader};
use crate::policy::pool::Pooled;
use crate::policy::sandbox::{Facts, Places};
use crate::policy::{Installed, PolicyRef};

/// The policies in force at one moment; never changed, only replaced.
pub struct Generation {
    pub(in crate::policy) loader: Arc<Loader>,
    pub(in crate::policy) facts: Arc<Facts>,
    pub(in crate::policy) chain: Vec<Arc<Loaded>>,
    pub(in crate::policy) deadline: Duration,
    pub(in crate::policy) places: Places,
    pub(in crate::policy) spare: Arc<Spare>,
}

impl Generation {
    /// Whether the thread runs that interrupts its guests at their deadlines.
    #[must_use]
    pub fn is_interrupted(&self) -> bool {
        self.loader.sandbox.interrupts()
    }

    /// Whether the thread runs that makes instances ahead.
    #[must_use]
    pub fn is_refilled(&self) -> bool {
        self.loader.refill.runs()
    }

    /// The policies of this generation, in order.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyRef> {
        self.chain.iter().map(|loaded| &loaded.reference)
    }

    /// The policies of this generation, in order, with who signed them.
    pub fn installed(&self) -> impl Iterator<Item = Installed> {
        self.chain.iter().map(|loaded| loaded.installed())
    }

    /// What each policy says of itself: its summary and the JSON Schema of its settings.
    pub fn descriptions(&self) -> impl Iterator<Item = (&PolicyRef, &str, Option<&str>)> {
        self.chain
            .iter()
            .map(|loaded| (&loaded.reference, loaded.summary.as_str(), loaded.schema.as_deref()))
    }

    /// The policies of this generation, in order, with the name that each component states of itself.
    pub fn components(&self) -> impl Iterator<Item = (&PolicyRef, &str)> {
        self.chain
            .iter()
            .map(|loaded| (&loaded.reference, loaded.lineage.component.as_str()))
    }

    /// What is ready of each policy, in order.
    #[must_use]
    pub fn pooled(&self) -> Vec<Pooled> {
        let pools = self.chain.iter().filter_map(|loaded| loaded.pool.as_ref());
        pools.map(|pool| pool.pooled()).collect()
    }
}

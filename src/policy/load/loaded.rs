//! A component that passed every check.

use std::sync::Arc;

use wasmtime::component::ComponentExportIndex;

use crate::policy::contract::PolicyPre;
use crate::policy::pool::Pool;
use crate::policy::sandbox::{Guest, Label};
use crate::policy::source::Lineage;
use crate::policy::{Installed, PolicyRef};
use crate::signature::Signer;

/// A component that passed every check and can be asked.
pub(in crate::policy) struct Loaded {
    pub(in crate::policy) config: crate::config::Plugin,
    pub(in crate::policy) reference: PolicyRef,
    /// Who signed it, where that was demanded.
    pub(in crate::policy) signer: Option<Signer>,
    /// What it says of itself.
    pub(in crate::policy) lineage: Lineage,
    pub(in crate::policy) pre: PolicyPre<Guest>,
    /// Where it exports `on-ended`, if it does.
    pub(in crate::policy) observer: Option<ComponentExportIndex>,
    /// Whether each instance must be configured; not where the component is a snapshot that was
    /// taken after `configure`.
    pub(in crate::policy) configures: bool,
    /// The settings it was configured with, as JSON.
    pub(in crate::policy) settings: String,
    pub(in crate::policy) rewrite: bool,
    /// See [`Guest::names_refused`].
    pub(in crate::policy) names_refused: bool,
    pub(in crate::policy) inert: bool,
    pub(in crate::policy) summary: String,
    pub(in crate::policy) schema: Option<String>,
    /// The names used in the log.
    pub(in crate::policy) label: (Arc<str>, Arc<str>),
    /// Instances that are made ahead, where making one takes long.
    pub(in crate::policy) pool: Option<Arc<Pool>>,
}

impl Loaded {
    pub(in crate::policy) fn installed(&self) -> Installed {
        Installed {
            policy: self.reference.clone(),
            signer: self.signer.clone(),
        }
    }

    /// What each instance is configured with, where it is not a snapshot.
    pub(in crate::policy) fn settings_for_each(&self) -> Option<&str> {
        self.configures.then_some(self.settings.as_str())
    }

    pub(in crate::policy) fn label_for(&self, forward: String) -> Label {
        let (policy, digest) = self.label.clone();
        Label {
            policy,
            digest,
            forward,
        }
    }
}

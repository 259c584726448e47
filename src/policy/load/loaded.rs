//! A component that passed every check.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use wasmtime::component::ComponentExportIndex;

use super::counts::Counts;
use super::trial::Step;
use crate::config::Source;
use crate::policy::contract::PolicyPre;
use crate::policy::pool::Pool;
use crate::policy::sandbox::{Guest, Label};
use crate::policy::source::{self, Lineage};
use crate::policy::{Identity, Installed, PolicyRef};
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
    /// What it imports, besides the types of the contract.
    pub(in crate::policy) imports: Vec<String>,
    /// Its bytes, until they are kept elsewhere.
    pub(in crate::policy) component: Mutex<Option<source::Component>>,
    /// What it has decided.
    pub(in crate::policy) counts: Arc<Counts>,
    /// How long each step of loading took.
    pub(in crate::policy) steps: Vec<(Step, Duration)>,
}

impl Loaded {
    pub(in crate::policy) fn installed(&self) -> Installed {
        Installed {
            policy: self.reference.clone(),
            signer: self.signer.clone(),
        }
    }

    /// It was read in so long a time.
    pub(in crate::policy) fn read_in(mut self, took: Duration) -> Self {
        self.steps.insert(0, (Step::Read, took));
        self
    }

    /// Component and settings.
    pub(in crate::policy) fn identity(&self) -> Identity {
        Identity::of(
            &self.config.component,
            &self.reference.sha256,
            &self.reference.settings_sha256,
        )
    }

    /// Whether it is part of the program.
    pub(in crate::policy) fn is_builtin(&self) -> bool {
        matches!(self.config.component, Source::Builtin(_))
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

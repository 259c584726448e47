//! Every gate of a swap, one by one, so that an author sees everything that is missing at once.

use super::{Candidate, Offline};
use crate::config::{Plugin, Signatures};
use crate::policy::inspect::{Gate, Parts, at_rest, gates};
use crate::policy::source::{Component, Vetted};

impl Offline {
    /// Sends a component through every gate, also that of its signature where `signatures` demands one. Those that need no
    /// running report all that they find; those after the first that was not passed are unknown.
    pub async fn gates(
        &self,
        plugin: &Plugin,
        component: Component,
        signatures: Option<&Signatures>,
    ) -> (Vec<Gate>, Option<Candidate>) {
        let (parts, mut faults) = match self.inspect(&component).await {
            Ok(parts) => {
                let faults = at_rest(&parts, plugin, &component);
                (parts, faults)
            }
            Err(error) => (Parts::bare(component.bytes()), vec![error]),
        };
        let mut signer = None;
        let mut candidate = None;
        match Vetted::of(component, plugin, signatures) {
            Ok(vetted) => {
                signer = vetted.signer().cloned();
                if faults.is_empty() {
                    match self.load_vetted(plugin, vetted).await {
                        Ok(loaded) => candidate = Some(loaded),
                        Err(error) => faults.push(error),
                    }
                }
            }
            Err(error) => faults.push(error),
        }
        let snapshot = candidate.as_ref().map(Candidate::is_snapshot);
        let gates = gates(faults, &parts, plugin, signer.as_ref(), snapshot);
        (gates, candidate)
    }
}

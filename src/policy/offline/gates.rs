//! Every gate of a swap, one by one, for the author who wants to know all that is missing at once.

use bytes::Bytes;

use super::{Candidate, Workbench};
use crate::config::{Plugin, Signatures};
use crate::policy::inspect::{Anatomy, Gate, at_rest, gates};
use crate::policy::source::Vetted;

impl Workbench {
    /// Sends a component through every gate. Those that need no running report all that they find;
    /// those after the first that was not passed are unknown.
    pub async fn gates(
        &self,
        plugin: &Plugin,
        bytes: Vec<u8>,
        signatures: Option<&Signatures>,
    ) -> (Vec<Gate>, Option<Candidate>) {
        let bytes: Bytes = bytes.into();
        let (anatomy, mut faults) = match self.anatomy(&bytes).await {
            Ok(anatomy) => {
                let faults = at_rest(&anatomy, plugin, &bytes);
                (anatomy, faults)
            }
            Err(error) => (Anatomy::bare(&bytes), vec![error]),
        };
        let signer = match Vetted::read(plugin, signatures) {
            Ok(vetted) => vetted.signer,
            Err(error) => {
                faults.push(error);
                None
            }
        };
        let candidate = if faults.is_empty() {
            match self.load(plugin, bytes.to_vec()).await {
                Ok(candidate) => match signer.as_ref().map(|_| candidate.is_meant(plugin)) {
                    Some(Err(error)) => {
                        faults.push(error);
                        None
                    }
                    _ => Some(candidate),
                },
                Err(error) => {
                    faults.push(error);
                    None
                }
            }
        } else {
            None
        };
        let snapshot = candidate.as_ref().map(Candidate::is_snapshot);
        let gates = gates(faults, &anatomy, plugin, signer.as_ref(), snapshot);
        (gates, candidate)
    }
}

//! What an administrator learns of a policy before it decides, and while it does.
//!
//! The last decisions are kept to be asked again ([`Ring`]); a candidate is asked beside the policies in force and decides nothing
//! ([`Shadow`]); each candidate's way through the gates is noted ([`Report`]); and what other gateways of a fleet learned of it is judged
//! ([`Ruling`]). The room must not know how a policy is put in
//! force. Invariant: nothing here delays, changes or takes part in a decision.

mod canary;
mod report;
mod ring;
mod shadow;

use std::sync::Arc;
use std::time::Instant;

use crate::names::{Elsewhere, Names, Resolver};
use crate::policy::Generation;
use crate::replay::{Heard, Tally};

pub(crate) use canary::{Account, NotThere, Ruling, Serves};
pub(crate) use report::{CANARY, Report, Row, Verdict};
pub(crate) use ring::Ring;
pub(crate) use shadow::{Shadow, Shadows};

/// What two chains decide otherwise, of these decisions. Both should be [apart](crate::policy::Policies::apart) from what serves.
/// After `until`, what is left is not asked.
pub(crate) async fn differences(
    before: &Arc<Generation>,
    after: &Arc<Generation>,
    decisions: &[Heard],
    until: Instant,
) -> Tally {
    let mut tally = Tally::new(EXAMPLES);
    let resolver = Resolver::silent();
    let names = decisions.iter().flat_map(|heard| heard.names.iter());
    let names: Names = names.map(|(name, answer)| (name.clone(), answer.clone())).collect();
    let names = Arc::new(names);
    for (number, heard) in (1..).zip(decisions) {
        if Instant::now() > until {
            break;
        }
        let served = heard.ask(before, &resolver, &names, Elsewhere::Nobody).await;
        let found = heard.ask(after, &resolver, &names, Elsewhere::Nobody).await;
        tally.count(number, &heard.request, served, found);
        tokio::task::yield_now().await;
    }
    tally
}

/// Differences that are shown one by one.
const EXAMPLES: usize = 20;

//! A decision of the running gateway, kept to be asked again.

use std::sync::Arc;

use super::ask::outcome;
use super::outcome::Outcome;
use crate::names::{Elsewhere, Lookups, Names, Resolver};
use crate::policy::{Failure, Generation};
use crate::request::{ForwardRequest, Verdict};

/// A request as the policies saw it, with what they were told of names. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Heard {
    /// The request, before any rewrite.
    pub(crate) request: Arc<ForwardRequest>,
    /// What they were told of names.
    pub(crate) names: Arc<Names>,
}

impl Heard {
    /// A request that was just decided with these look-ups.
    pub(crate) fn new(request: &Arc<ForwardRequest>, lookups: &Lookups) -> Self {
        let answered = lookups.answered();
        Self {
            request: Arc::clone(request),
            names: Arc::new(
                answered
                    .map(|(name, answer)| (name.to_owned(), answer.clone()))
                    .collect(),
            ),
        }
    }

    /// What came of it.
    pub(crate) fn outcome(&self, verdict: Result<Verdict, Failure>) -> Outcome {
        outcome(verdict, &self.request, &self.names)
    }

    /// Asks these policies. Of a name, they hear what was heard then, or what is in `others`, or what `elsewhere` says.
    pub(crate) async fn ask(
        &self,
        policies: &Arc<Generation>,
        resolver: &Resolver,
        others: &Arc<Names>,
        elsewhere: Elsewhere,
    ) -> Outcome {
        let resolver = resolver.recorded(Arc::clone(&self.names), Arc::clone(others), elsewhere);
        let opinion = policies.decide(Arc::clone(&self.request), Lookups::new(resolver)).await;
        self.outcome(opinion.counted())
    }
}

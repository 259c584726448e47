//! The proof that something may be done, and what is known of it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::{Current, Direction};
use crate::auth::ForwardLimits;
use crate::outbound::Proxy;
use crate::policy::PolicyRef;
use crate::request::{Endpoint, ForwardRequest, Terms};

/// The proof that a request was allowed and that the audit log says so. It is good for one thing, which consumes it: a
/// `Permit<Connect>` for one connection, a `Permit<Listen>` for one listener, a `Permit<Deliver>` for one delivery.
///
/// [`Judgement::record`](super::Judgement::record) makes it, and nothing else.
#[must_use = "what is allowed is not done yet"]
pub struct Permit<D: Direction> {
    allowed: Arc<Allowed>,
    way: D::Way,
}

/// What was allowed, and on which terms: facts, which permit nothing.
pub struct Allowed {
    /// What was asked.
    pub request: Arc<ForwardRequest>,
    /// Where it goes, after any rewrite.
    pub effective: Endpoint,
    /// On which terms. How the target is connected to has the configured defaults in it.
    pub terms: Terms,
    /// Through which proxy the target is reached; none where it is connected to directly.
    pub(crate) through: Option<Arc<Proxy>>,
    /// What was in force when it was judged.
    pub judged_by: Arc<Current>,
    /// What the key or certificate permitted when it was judged.
    pub limits: Arc<ForwardLimits>,
    /// The policy that decided; none where no policy was asked.
    pub policy: Option<PolicyRef>,
    /// What it said of the forward for those who watch.
    pub tags: BTreeMap<String, String>,
}

impl<D: Direction> Permit<D> {
    pub(super) fn new(allowed: Allowed, way: D::Way) -> Self {
        Self {
            allowed: Arc::new(allowed),
            way,
        }
    }

    /// What was allowed.
    #[must_use]
    pub fn allowed(&self) -> &Arc<Allowed> {
        &self.allowed
    }

    /// The addresses that it names.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        D::addresses(&self.way)
    }

    /// Uses it up, for what it names.
    pub(crate) fn spend(self) -> (Arc<Allowed>, D::Way) {
        (self.allowed, self.way)
    }
}

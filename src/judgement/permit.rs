use std::net::SocketAddr;
use std::sync::Arc;

use super::Current;
use crate::auth::ForwardLimits;
use crate::paths::{Place, Socket};
use crate::request::{Endpoint, ForwardRequest, Terms};

/// The proof that a request was judged and may go ahead, exactly this way.
pub struct Permit {
    request: Arc<ForwardRequest>,
    effective: Endpoint,
    terms: Terms,
    way: Way,
    judged_by: Arc<Current>,
    limits: Arc<ForwardLimits>,
}

/// What may be done.
#[derive(Clone, Debug)]
pub enum Way {
    /// Dial these addresses, in turn.
    Dial(Vec<SocketAddr>),
    /// Connect to what was found at the path of this Unix-domain socket.
    Socket(Socket),
    /// Bind all of these addresses, with one port.
    Bind(Vec<SocketAddr>),
    /// Make a Unix-domain socket in this place.
    BindSocket(Place),
    /// Hand the accepted connection to the client.
    Deliver,
}

impl Permit {
    pub(super) fn new(
        request: Arc<ForwardRequest>,
        effective: Endpoint,
        terms: Terms,
        way: Way,
        judged_by: Arc<Current>,
        limits: Arc<ForwardLimits>,
    ) -> Self {
        Self {
            request,
            effective,
            terms,
            way,
            judged_by,
            limits,
        }
    }

    /// What was asked.
    #[must_use]
    pub fn request(&self) -> &Arc<ForwardRequest> {
        &self.request
    }

    /// Where it goes, after any rewrite.
    #[must_use]
    pub fn effective(&self) -> &Endpoint {
        &self.effective
    }

    /// On which terms.
    #[must_use]
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// What may be done.
    #[must_use]
    pub fn way(&self) -> &Way {
        &self.way
    }

    /// What the key or certificate permitted when it was judged.
    #[must_use]
    pub fn limits(&self) -> &Arc<ForwardLimits> {
        &self.limits
    }

    /// What was in force when it was judged.
    #[must_use]
    pub fn judged_by(&self) -> &Arc<Current> {
        &self.judged_by
    }
}

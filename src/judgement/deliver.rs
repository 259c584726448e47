//! Somebody has connected to a listener: whether the client may be given the connection.

use std::net::SocketAddr;

use super::House;
use super::aside::Aside;
use super::direction::{Direction, Weighing, limited, narrow, sealed};
use crate::auth::ForwardLimits;
use crate::request::{Action, Endpoint, Refusal, Requested};

/// To hand a connection that was accepted to the client. The audit log calls it `accept`.
#[derive(Clone, Debug)]
pub struct Deliver {
    /// Where it was accepted.
    pub listener: Listener,
    /// Who connected; a peer of a Unix-domain socket has no address.
    pub peer: Option<SocketAddr>,
}

/// A listener that was granted to the client earlier.
#[derive(Clone, Debug)]
pub struct Listener {
    /// As the client asked for it.
    pub requested: Requested,
    /// Where it listens, with the port that it got.
    pub endpoint: Endpoint,
}

impl sealed::Sealed for Deliver {}

impl Direction for Deliver {
    const ACTION: Action = Action::Accept;
    type Way = Self;
    type Target = Endpoint;

    fn requested(&self) -> &Requested {
        &self.listener.requested
    }

    fn originator(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// The listener was judged when it was made, by what the client sent then; the key may be limited since.
    fn endpoint(&self, limits: &ForwardLimits, _: &House) -> Result<Endpoint, Refusal> {
        match &self.listener.requested {
            Requested::Tcp { host, port } => limits.listen_tcp(host, narrow(*port)?).map_err(limited)?,
            Requested::Socket(_) => limits.listen_socket().map_err(limited)?,
        }
        Ok(self.listener.endpoint.clone())
    }

    async fn follow(endpoint: Endpoint, _: Aside<'_>) -> Result<Endpoint, Refusal> {
        Ok(endpoint)
    }

    fn endpoint_of(target: &Endpoint) -> Endpoint {
        target.clone()
    }

    async fn way(&self, _: Endpoint, _: Weighing<'_>) -> Result<Self, Refusal> {
        Ok(self.clone())
    }

    fn addresses(_: &Self) -> Vec<SocketAddr> {
        Vec::new()
    }
}

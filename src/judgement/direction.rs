//! The three things that may be asked. Each has its own question, its own way through the judgement and its own permit.

use std::net::SocketAddr;

use super::House;
use super::aside::Aside;
use super::connect::Route;
use super::findings::Findings;
use crate::auth::ForwardLimits;
use crate::names::Lookups;
use crate::outbound::Routes;
use crate::request::{Action, Endpoint, EndpointError, Refusal, Requested, Terms};

/// A direction: [`Connect`](super::Connect), [`Listen`](super::Listen) or [`Deliver`](super::Deliver). A value of it is what is
/// asked.
///
/// The order of the judgement is the same for all and stands in [`Judge`](super::Judge); these are the steps that differ.
/// Only this room has directions.
pub trait Direction: sealed::Sealed + Clone + Send + Sync + 'static {
    /// The word for it in the audit log.
    const ACTION: Action;

    /// What a permit names: this may be used, and nothing else.
    type Way: Send + Sync + 'static;

    /// An endpoint with what its path leads to.
    type Target: Clone + Send + 'static;

    /// The endpoint exactly as the client sent it.
    fn requested(&self) -> &Requested;

    /// The peer of an accepted connection, or what the client claims.
    fn originator(&self) -> Option<SocketAddr>;

    /// What the client means, if its key or certificate permits what it sent.
    ///
    /// # Errors
    /// What the limits of the login refuse, or what is no endpoint.
    fn endpoint(&self, limits: &ForwardLimits, house: &House) -> Result<Endpoint, Refusal>;

    /// The target of the question.
    fn target(
        &self,
        endpoint: Endpoint,
        aside: Aside<'_>,
    ) -> impl Future<Output = Result<Self::Target, Refusal>> + Send {
        let _ = self;
        Self::follow(endpoint, aside)
    }

    /// The target that an endpoint is, with its path followed.
    fn follow(endpoint: Endpoint, aside: Aside<'_>) -> impl Future<Output = Result<Self::Target, Refusal>> + Send;

    /// The endpoint of a target.
    fn endpoint_of(target: &Self::Target) -> Endpoint;

    /// What may be used of a target that the policies allow: the last step.
    fn way(
        &self,
        target: Self::Target,
        weighing: Weighing<'_>,
    ) -> impl Future<Output = Result<Self::Way, Refusal>> + Send;

    /// The addresses that a permit names.
    fn addresses(way: &Self::Way) -> Vec<SocketAddr>;

    /// How a permit says that a target is connected to, if it is for that.
    fn route(way: &Self::Way) -> Option<&Route> {
        let _ = way;
        None
    }
}

/// What the last step weighs a target by.
pub struct Weighing<'a> {
    pub(super) house: &'a House,
    pub(super) routes: &'a Routes,
    pub(super) terms: &'a Terms,
    pub(super) lookups: &'a mut Lookups,
    pub(super) findings: &'a mut Findings,
    pub(super) aside: Aside<'a>,
}

/// The port of the wire as TCP has it.
pub(super) fn narrow(port: u32) -> Result<u16, Refusal> {
    u16::try_from(port).map_err(|_| malformed(EndpointError::Port(port)))
}

/// The client named no endpoint.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(super) fn malformed(error: EndpointError) -> Refusal {
    Refusal::told(crate::request::By::Floor, "bad-endpoint", error.to_string())
}

/// The key or certificate does not permit it.
pub(super) fn limited(limited: crate::auth::Limited) -> Refusal {
    Refusal::told(crate::request::By::Key, limited.code, limited.reason)
}

pub(super) mod sealed {
    /// What only this room can be.
    pub trait Sealed {}
}

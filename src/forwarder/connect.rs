//! A client asks for a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::judge::{Attempt, Refused};
use super::tunnel::{Ends, Joined};
use super::{Desk, Visit};
use crate::judgement::Connect;
use crate::relay::{self, Queued, Sink, Source};
use crate::request::{Refusal, Requested};

/// A channel that waits for its answer. Dropped, it is refused.
pub trait Pending: Send {
    /// The client's sending side, once accepted.
    type Source: Source + 'static;
    /// The client's receiving side, once accepted.
    type Sink: Sink + 'static;
    /// Opens the channel; with it comes the count of what waits in it.
    fn accept(self) -> impl Future<Output = Option<(Self::Source, Self::Sink, Queued)>> + Send;
    /// Refuses it with the reason.
    fn refuse(self, refusal: &Refusal, forward: &str) -> impl Future<Output = ()> + Send;
}

impl Desk {
    /// A client asks for a connection: judge, dial, confirm, copy.
    pub async fn connect<P: Pending>(
        self: Arc<Self>,
        visit: Arc<Visit>,
        requested: Requested,
        originator: Option<SocketAddr>,
        pending: P,
    ) {
        // In a box that is gone before the tunnel begins.
        let reached = Box::pin(self.reach(&visit, requested, originator, pending)).await;
        if let Some(joined) = reached {
            self.tunnel(&visit, joined).await;
        }
    }

    async fn reach<P: Pending>(
        &self,
        visit: &Visit,
        requested: Requested,
        originator: Option<SocketAddr>,
        pending: P,
    ) -> Option<Box<Joined<P::Source, P::Sink>>> {
        let question = visit.question(Connect::new(requested, originator));
        let place = self.tunnel_place(visit);
        let judged = match &place {
            Ok(_) => self.judge_to_dial(visit, question).await,
            Err(full) => Err(self.exhausted(visit, &question, *full).await),
        };
        let (permit, dialling) = match judged {
            Ok(judged) => judged,
            Err(Refused { refusal, forward }) => {
                pending.refuse(&refusal, &forward).await;
                return None;
            }
        };
        let attempt = Attempt::with(&permit);
        let patience = attempt.allowed.judged_by.limits.dial_timeout;
        let dialled = tokio::select! {
            dialled = relay::dial(permit, patience) => dialled,
            _ = visit.stop.ended() => {
                self.unreached(&attempt, "the session ended first".to_owned());
                return None;
            }
        };
        drop(dialling);
        let dialled = match dialled {
            Ok(dialled) => dialled,
            Err(refusal) => {
                self.unreached(&attempt, refusal.sentence());
                self.slow_down(visit).await;
                pending.refuse(&refusal, &attempt.allowed.request.id).await;
                return None;
            }
        };
        let Some((source, sink, queue)) = pending.accept().await else {
            self.unreached(&attempt, UNTAKEN.to_owned());
            return None;
        };
        let ends = Ends {
            source,
            sink,
            queue,
            stream: dialled.stream,
        };
        Some(Box::new(Joined {
            allowed: attempt.allowed,
            ends,
            dialled: Some(dialled.place),
            address: dialled.address,
            place: place.ok()?,
        }))
    }
}

/// The channel could not be opened: its client is gone, or does not want it any more.
pub(super) const UNTAKEN: &str = "the client did not take the connection";

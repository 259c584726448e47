//! A client asks for a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::tunnel::{Ends, Joined};
use super::{Desk, Visit};
use crate::relay::{self, Queued, Sink, Source};
use crate::request::{Action, Refusal, Requested};

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
        let question = visit.question(Action::Connect, requested, originator);
        let id = question.id.clone();
        let place = self.tunnel_place(visit);
        let judged = match &place {
            Ok(_) => self.judge_to_dial(visit, question).await,
            Err(full) => Err(self.exhausted(visit, &question, *full).await),
        };
        let (permit, dialling) = match judged {
            Ok(judged) => judged,
            Err(refusal) => {
                pending.refuse(&refusal, &id).await;
                return None;
            }
        };
        let patience = permit.judged_by().limits.dial_timeout;
        let dialled = tokio::select! {
            dialled = relay::dial(&permit, patience) => dialled,
            _ = visit.stop.ended() => return None,
        };
        drop(dialling);
        let dialled = match dialled {
            Ok(dialled) => dialled,
            Err(refusal) => {
                tracing::info!(forward = id, reason = refusal.sentence(), "the target was not reached");
                pending.refuse(&refusal, &id).await;
                return None;
            }
        };
        let (source, sink, queue) = pending.accept().await?;
        let ends = Ends {
            source,
            sink,
            queue,
            stream: dialled.stream,
        };
        Some(Box::new(Joined {
            permit,
            ends,
            dialled: Some(dialled.place),
            address: dialled.address,
            place: place.ok()?,
        }))
    }
}

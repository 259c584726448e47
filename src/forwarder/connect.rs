//! A client asks for a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::tunnel::Ends;
use super::{Desk, Visit};
use crate::relay::{self, Dialled, Queued, Sink, Source};
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
        &self,
        visit: &Visit,
        requested: Requested,
        originator: Option<SocketAddr>,
        pending: P,
    ) {
        let question = visit.question(Action::Connect, requested, originator);
        let id = question.id.clone();
        let place = Arc::clone(&visit.tunnels).try_acquire_owned();
        let judged = match &place {
            Ok(_) => self.judge(visit, question).await,
            Err(_) => self.exhausted(visit, &question, "tunnels-per-session").await,
        };
        let permit = match judged {
            Ok(permit) => permit,
            Err(refusal) => return pending.refuse(&refusal, &id).await,
        };
        let patience = self.limits.load().dial_timeout;
        let dialled = tokio::select! {
            dialled = relay::dial(&permit, patience) => dialled,
            _ = visit.stop.ended() => return,
        };
        match dialled {
            Ok(Dialled {
                stream,
                place: dialled,
                address,
            }) => {
                if let Some((source, sink, queue)) = pending.accept().await {
                    let ends = Ends {
                        source,
                        sink,
                        queue,
                        stream,
                    };
                    self.tunnel(visit, &permit, ends, Some(dialled), address, place.ok())
                        .await;
                }
            }
            Err(refusal) => {
                tracing::info!(forward = id, reason = refusal.sentence(), "the target was not reached");
                pending.refuse(&refusal, &id).await;
            }
        }
    }
}

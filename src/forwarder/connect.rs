//! A client asks for a connection.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use super::decisions::{Attempt, Refused};
use super::tunnel::{Ends, Joined};
use super::{Channels, Forwarder, Opened};
use crate::judgement::Connect;
use crate::relay;
use crate::request::{Refusal, Requested};
use crate::sessions::Session;

/// A channel that waits for its answer. Dropped, it is refused.
pub(crate) trait Pending: Channels + Send {
    /// Opens the channel.
    fn accept(self) -> impl Future<Output = Option<Opened<Self>>> + Send
    where
        Self: Sized;
    /// Refuses it with the reason.
    fn refuse(self, refusal: &Refusal, forward: &str) -> impl Future<Output = ()> + Send;
}

impl Forwarder {
    /// A client asks for a connection: judge, dial, confirm, copy.
    pub(crate) async fn connect<P: Pending>(
        self: Arc<Self>,
        session: Arc<Session>,
        requested: Requested,
        originator: Option<SocketAddr>,
        pending: P,
    ) {
        // Each in a box of its own: the first is gone before the tunnel begins, and a refusal has none of the second. A task is
        // moved when it begins and when it ends, so it is small.
        let reached = Box::pin(self.reach(&session, requested, originator, pending)).await;
        if let Some(joined) = reached {
            Box::pin(self.tunnel(&session, joined)).await;
        }
    }

    async fn reach<P: Pending>(
        &self,
        session: &Arc<Session>,
        requested: Requested,
        originator: Option<SocketAddr>,
        pending: P,
    ) -> Option<Box<Joined<P::Source, P::Sink, P::Queue>>> {
        let question = session.question(Connect::new(requested, originator));
        let place = self.tunnel_place(session);
        let judged = match &place {
            Ok(_) => pin!(self.decisions.judge_to_dial(session, question)).await,
            Err(full) => Err(Box::pin(self.decisions.exhausted(session, &question, *full)).await),
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
            _ = session.stop.ended() => {
                let reason = "the session ended first".to_owned();
                self.decisions.unreached(&attempt, None, None, reason);
                return None;
            }
        };
        drop(dialling);
        let dialled = match dialled {
            Ok(dialled) => dialled,
            Err(relay::Undialled { step, refusal }) => {
                let why = match &refusal {
                    Refusal::Unreachable { why, .. } => Some(*why),
                    _ => None,
                };
                let reason = refusal.sentence();
                self.decisions.unreached(&attempt, why, Some(step), reason);
                self.decisions.slow_down(session).await;
                pending.refuse(&refusal, &attempt.allowed.request.id).await;
                return None;
            }
        };
        let Some((source, sink, queue)) = pending.accept().await else {
            self.decisions.unreached(&attempt, None, None, UNTAKEN.to_owned());
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

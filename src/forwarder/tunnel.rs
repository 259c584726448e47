//! A tunnel from its opening to its one end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::task::yield_now;
use tokio::time::sleep;

use super::{Forwarder, millis};
use crate::config::Limits;
use crate::events::{Event, Events, Subject, TunnelEnd};
use crate::judgement::Allowed;
use crate::relay::{self, Patience, Queue, Sink, Source, Stream};
use crate::request::{Cause, Endpoint};
use crate::sessions::{Forward, ForwardGuard, Place, Session};

/// What a tunnel is between: a channel of the client, and a connection.
pub(super) struct Ends<S, K, Q> {
    pub(super) source: S,
    pub(super) sink: K,
    pub(super) queue: Q,
    pub(super) stream: Stream,
}

/// A tunnel whose ends are joined from now on.
pub(super) struct Joined<S, K, Q> {
    pub(super) allowed: Arc<Allowed>,
    pub(super) ends: Ends<S, K, Q>,
    pub(super) dialled: Option<Endpoint>,
    pub(super) address: Option<SocketAddr>,
    pub(super) place: Place,
}

impl Forwarder {
    pub(super) async fn tunnel<S: Source, K: Sink, Q: Queue>(
        &self,
        session: &Arc<Session>,
        joined: Box<Joined<S, K, Q>>,
    ) {
        let judged_by = Arc::clone(&joined.allowed.judged_by);
        let patience = patience(session, &judged_by.limits);
        let (
            mut closing,
            place,
            Ends {
                mut source,
                mut sink,
                queue,
                mut stream,
            },
        ) = self.open(session, joined);
        let carried = relay::run(&mut source, &mut sink, &mut stream, &closing.guard, queue, &patience);
        closing.cause = tokio::select! {
            cause = carried => cause,
            cause = self.review.recheck(judged_by, &closing.guard) => cause,
            cause = outlived(session, &closing.guard) => cause,
        };
        // The client goes when its session is ended: both can be seen at once, and only one of them is the cause.
        if let (Cause::Closed, Some(ended @ (Cause::Revoked | Cause::Killed))) = (closing.cause, session.stop.cause()) {
            closing.cause = ended;
        }
        let alone = matches!(closing.cause, Cause::Closed | Cause::Failed);
        // It is over and recorded, even where the client takes no message any more.
        drop(closing);
        if !alone {
            // All tunnels that end together are on record before any of their clients and targets, once told, compete for the
            // processors.
            yield_now().await;
        }
        drop(stream);
        if !relay::part(&mut source, &mut sink, patience.close).await {
            session.litter();
        }
        session.leave(place);
    }

    /// Enters the tunnel and records it; what is kept while it lasts is no more than its end needs.
    #[expect(clippy::boxed_local, reason = "the box is gone before the tunnel begins")]
    fn open<S, K, Q>(
        &self,
        session: &Arc<Session>,
        joined: Box<Joined<S, K, Q>>,
    ) -> (Closing<'_>, Place, Ends<S, K, Q>) {
        let Joined {
            allowed,
            ends,
            dialled,
            address,
            place,
        } = *joined;
        let request = &allowed.request;
        let guard = self.sessions.open(Forward::new(session, &allowed).dialled(address));
        self.events.emit(
            &Subject::of(request),
            &Event::TunnelOpened {
                action: request.action,
                requested: request.requested.clone(),
                effective: allowed.effective.clone(),
                dialled: dialled.clone(),
            },
        );
        let closing = Closing {
            events: &self.events,
            guard,
            began: Instant::now(),
            dialled,
            cause: Cause::Closed,
        };
        (closing, place, ends)
    }
}

fn patience(session: &Session, limits: &Limits) -> Patience {
    Patience {
        idle: limits.idle_timeout,
        stall: limits.stall_timeout,
        close: session.close_patience(),
    }
}

/// Ends once the session is gone and the target takes nothing more of what came before its end; at once if the user may no
/// longer log in or an administrator ended it.
async fn outlived(session: &Session, forward: &Forward) -> Cause {
    let cause = session.stop.ended().await;
    if matches!(cause, Cause::Revoked | Cause::Killed) {
        return cause;
    }
    let last = Instant::now() + MOST_AFTER_SESSION;
    loop {
        let before = forward.bytes.up.load(Ordering::Relaxed);
        sleep(STILL).await;
        if forward.bytes.up.load(Ordering::Relaxed) == before || Instant::now() >= last {
            return Cause::Closed;
        }
    }
}

/// Records the end of a tunnel, exactly once, however its task ends.
struct Closing<'a> {
    events: &'a Events,
    guard: ForwardGuard,
    began: Instant,
    dialled: Option<Endpoint>,
    cause: Cause,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let (bytes_up, bytes_down) = self.guard.bytes.both();
        let ended = TunnelEnd {
            dialled: self.dialled.take(),
            bytes_up,
            bytes_down,
            millis: millis(self.began),
            cause: self.cause,
        };
        let subject = Subject::of(&self.guard.request);
        self.events.emit(&subject, &Event::TunnelClosed(ended));
    }
}

/// A target that takes nothing for so long, of a session that is gone, gets no more.
const STILL: Duration = Duration::from_secs(1);
/// How long what a session left behind is delivered at most.
const MOST_AFTER_SESSION: Duration = Duration::from_secs(30);

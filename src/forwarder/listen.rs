//! A client asks for a listener, and somebody connects to it.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::{CancellationToken, DropGuard};

use super::connect::UNTAKEN;
use super::decisions::{Attempt, Refused};
use super::tunnel::{Ends, Joined};
use super::{Channels, Forwarder, Opened, millis};
use crate::events::{Event, Subject};
use crate::judgement::{Current, Deliver, Listen, Listener, Permit};
use crate::relay::{Accepted, ListeningSockets};
use crate::request::{Cause, Endpoint, Refusal, Requested, Step};
use crate::sessions::{Forward, ForwardGuard, Place, Session, Stop};

/// Opens channels to the client, for connections that arrive at a listener.
pub(crate) trait Opener: Channels + Clone + Send + Sync + 'static {
    /// Opens a channel for a connection that may be delivered.
    fn open(&self, permit: Permit<Deliver>) -> impl Future<Output = Result<Opened<Self>, Unopened>> + Send;
}

/// Why there is no channel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unopened {
    /// The client said no, or is gone.
    Refused,
    /// It said nothing, and may still.
    Unanswered,
}

/// A remote forward that was granted.
#[derive(Clone)]
pub(crate) struct Listening {
    /// The port that was bound; none for a socket file.
    pub port: Option<u16>,
    /// Ends it.
    pub stop: Stop,
    /// Cancelled once nothing listens any more.
    pub gone: CancellationToken,
}

impl Forwarder {
    /// A client asks to listen: judge, bind, and serve what connects until the forward ends.
    ///
    /// # Errors
    /// Why nothing listens.
    pub(crate) async fn listen<O: Opener>(
        self: &Arc<Self>,
        session: &Arc<Session>,
        requested: Requested,
        opener: O,
    ) -> Result<Listening, (Refusal, String)> {
        let question = session.question(Listen { requested });
        let id = question.id().to_owned();
        let told = |Refused { refusal, forward }: Refused| (refusal, forward);
        let place = match self.listener_place(session) {
            Ok(place) => place,
            Err(full) => return Err(told(self.decisions.exhausted(session, &question, full).await)),
        };
        let permit = self.decisions.judge(session, question).await.map_err(told)?;
        let attempt = Attempt::with(&permit);
        let allowed = Arc::clone(&attempt.allowed);
        let bound = match ListeningSockets::new(permit) {
            Ok(bound) => bound,
            Err(refusal) => {
                self.decisions
                    .unreached(&attempt, None, Some(Step::Bind), refusal.sentence());
                return Err((refusal, id));
            }
        };
        let listening = Listening {
            port: bound.port(),
            stop: Stop::default(),
            gone: CancellationToken::new(),
        };
        let effective = effective_listener(&allowed.effective, bound.port());
        let forward = Forward::new(session, &allowed).listening(effective, listening.stop.clone());
        let guard = self.sessions.open(forward);
        self.events.emit(
            &Subject::of(&guard.request),
            &Event::ListenerOpened {
                requested: guard.request.requested.clone(),
                effective: guard.effective.clone(),
                bound: bound.places(),
            },
        );
        let forwarder = Arc::clone(self);
        let session = Arc::clone(session);
        let serving = Serving {
            bound,
            guard,
            judged_by: Arc::clone(&allowed.judged_by),
            place,
            gone: listening.gone.clone().drop_guard(),
        };
        self.tasks
            .spawn(async move { forwarder.serve(&session, serving, opener).await });
        Ok(listening)
    }

    async fn serve<O: Opener>(self: &Arc<Self>, session: &Arc<Session>, serving: Serving, opener: O) {
        let Serving {
            bound,
            guard,
            judged_by,
            place,
            gone,
        } = serving;
        let began = Instant::now();
        let expires = guard
            .terms
            .max_seconds
            .map(|seconds| Duration::from_secs(u64::from(seconds)));
        let expired = async {
            match expires {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let recheck = self.review.recheck(judged_by, &guard);
        tokio::pin!(expired, recheck);
        let cause = loop {
            let accepted = tokio::select! {
                accepted = bound.accept() => accepted,
                cause = guard.stop.ended() => break cause,
                cause = session.stop.ended() => break cause,
                () = &mut expired => break Cause::Expired,
                cause = &mut recheck => break cause,
            };
            let forwarder = Arc::clone(self);
            let session = Arc::clone(session);
            let listener = Arc::clone(&guard);
            let opener = opener.clone();
            self.tasks
                .spawn(async move { forwarder.accepted(&session, &listener, accepted, opener).await });
        };
        drop(bound);
        drop(gone);
        session.release(place);
        self.events.emit(
            &Subject::of(&guard.request),
            &Event::ListenerClosed {
                millis: millis(began),
                cause,
            },
        );
    }

    /// Somebody connected to a listener: judge it, open a channel to the client, copy.
    async fn accepted<O: Opener>(&self, session: &Arc<Session>, listener: &Forward, accepted: Accepted, opener: O) {
        // In boxes as in `connect`.
        let delivered = Box::pin(self.deliver(session, listener, accepted, opener)).await;
        if let Some(joined) = delivered {
            Box::pin(self.tunnel(session, joined)).await;
        }
    }

    async fn deliver<O: Opener>(
        &self,
        session: &Arc<Session>,
        listener: &Forward,
        accepted: Accepted,
        opener: O,
    ) -> Option<Box<Joined<O::Source, O::Sink, O::Queue>>> {
        let question = session.question(Deliver {
            listener: Listener {
                requested: listener.request.requested.clone(),
                endpoint: listener.effective.clone(),
            },
            peer: accepted.peer,
        });
        let place = self.tunnel_place(session);
        let judged = match &place {
            Ok(_) => pin!(self.decisions.judge(session, question)).await,
            Err(full) => Err(Box::pin(self.decisions.exhausted(session, &question, *full)).await),
        };
        let permit = judged.ok()?;
        let attempt = Attempt::with(&permit);
        let opened = tokio::select! {
            opened = opener.open(permit) => opened,
            _ = session.stop.ended() => Err(Unopened::Refused),
        };
        let place = place.ok()?;
        if opened.as_ref().is_err_and(|why| *why == Unopened::Unanswered) {
            session.litter();
        }
        let Ok((source, sink, queue)) = opened else {
            session.leave(place);
            self.decisions.unreached(&attempt, None, None, UNTAKEN.to_owned());
            return None;
        };
        let ends = Ends {
            source,
            sink,
            queue,
            stream: accepted.stream,
        };
        Some(Box::new(Joined {
            allowed: attempt.allowed,
            ends,
            dialled: None,
            address: None,
            place,
        }))
    }
}

struct Serving {
    bound: ListeningSockets,
    guard: ForwardGuard,
    judged_by: Arc<Current>,
    place: Place,
    gone: DropGuard,
}

/// A listener is known by the port that it got.
pub(super) fn effective_listener(endpoint: &Endpoint, port: Option<u16>) -> Endpoint {
    match (endpoint, port) {
        (Endpoint::Tcp { host, .. }, Some(port)) => Endpoint::Tcp {
            host: host.clone(),
            port,
        },
        _ => endpoint.clone(),
    }
}

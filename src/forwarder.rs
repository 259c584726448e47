//! The story of one request: judge it, record it, dial or listen, hand it back or refuse it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::audit::{Audit, Cause, Decided, Ended, Event, Subject};
use crate::auth::ForwardLimits;
use crate::config::Limits;
use crate::judgement::{Judge, Judgement, Permit, Question, Verdicts};
use crate::names::places_of_one;
use crate::policy::{ForwardEnded, Policies};
use crate::registry::{Bytes, Forward, ForwardGuard, Registry, Stop};
use crate::relay::{self, Accepted, Bound, Dialled, Patience, Queued, Sink, Source, Stream};
use crate::request::{Action, Connection, Endpoint, Principal, Refusal, Requested, new_id};

/// What every request of the gateway shares.
pub struct Desk {
    /// Who judges.
    pub judge: Judge,
    /// Where it is recorded.
    pub audit: Audit,
    /// What is open.
    pub registry: Registry,
    /// Defaults and ceilings.
    pub limits: ArcSwap<Limits>,
    /// Whether a swap judges again what is open.
    pub reevaluates: AtomicBool,
    /// The gateway stops: nothing new is forwarded.
    pub draining: AtomicBool,
    /// Every task.
    pub tasks: TaskTracker,
}

/// The user's side of a session, shared by its requests.
pub struct Visit {
    /// Who.
    pub principal: Arc<Principal>,
    /// From where.
    pub connection: Arc<Connection>,
    /// What the key or certificate permits.
    pub limits: Arc<ForwardLimits>,
    /// For the audit log.
    pub subject: Subject,
    /// Ends with the session.
    pub stop: Stop,
    /// What is decided, for the status channel.
    pub news: broadcast::Sender<Arc<News>>,
    verdicts: Arc<Verdicts>,
    names: Arc<Semaphore>,
    carried: AtomicUsize,
    tunnels: Arc<Semaphore>,
    most_tunnels: usize,
    listeners: Arc<Semaphore>,
}

/// One decision, as the status channel shows it.
pub struct News {
    /// What was decided.
    pub decided: Decided,
    /// The sentence for the user, of a refusal.
    pub sentence: Option<String>,
    /// The audit log's `forward`.
    pub forward: String,
}

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

/// Opens channels to the client, for connections that arrive at a listener.
pub trait Opener: Clone + Send + Sync + 'static {
    /// The client's sending side.
    type Source: Source + 'static;
    /// The client's receiving side.
    type Sink: Sink + 'static;
    /// Opens a channel for a connection to the listener that the client knows as `requested`.
    fn open(
        &self,
        requested: &Requested,
        port: Option<u16>,
        originator: Option<SocketAddr>,
    ) -> impl Future<Output = Option<(Self::Source, Self::Sink, Queued)>> + Send;
}

impl Visit {
    /// A session of this user.
    #[must_use]
    pub fn new(principal: Principal, connection: Connection, limits: ForwardLimits, ceilings: &Limits) -> Self {
        Self {
            subject: Subject {
                session: Some(connection.id.clone()),
                user: Some(principal.user.clone()),
                client: Some(connection.client),
                forward: None,
            },
            principal: Arc::new(principal),
            connection: Arc::new(connection),
            limits: Arc::new(limits),
            stop: Stop::default(),
            news: broadcast::channel(NEWS).0,
            verdicts: Arc::default(),
            names: places_of_one(),
            carried: AtomicUsize::new(0),
            tunnels: Arc::new(Semaphore::new(ceilings.tunnels_per_session)),
            most_tunnels: ceilings.tunnels_per_session,
            listeners: Arc::new(Semaphore::new(ceilings.listeners_per_session)),
        }
    }

    /// Tunnels that are open or asked for.
    #[must_use]
    pub fn open_tunnels(&self) -> usize {
        self.most_tunnels.saturating_sub(self.tunnels.available_permits())
    }

    /// Whether a tunnel or a status channel is open.
    #[must_use]
    pub fn is_used(&self) -> bool {
        self.open_tunnels() > 0 || self.news.receiver_count() > 0
    }

    /// How long the next tunnel may wait for the client to close it, once both directions are done.
    ///
    /// russh forgets a channel wholly only where the client's close comes first, and most clients close at once. But
    /// `ssh -W`, and so `-J`, waits for the server: it has one tunnel, so the first few are not kept waiting.
    fn close_patience(&self) -> Duration {
        match self.carried.fetch_add(1, Ordering::Relaxed) {
            0..CLOSED_AT_ONCE => Duration::ZERO,
            _ => CLOSE_PATIENCE,
        }
    }

    fn question(&self, action: Action, requested: Requested, originator: Option<SocketAddr>) -> Question {
        Question {
            id: new_id("f"),
            action,
            requested,
            listener: None,
            originator,
            principal: Arc::clone(&self.principal),
            connection: Arc::clone(&self.connection),
            limits: Arc::clone(&self.limits),
            dry_run: false,
            again: None,
            verdicts: Some(Arc::clone(&self.verdicts)),
            names: Arc::clone(&self.names),
        }
    }
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

    /// A client asks to listen: judge, bind, and serve what connects until the forward ends.
    ///
    /// # Errors
    /// Why nothing listens.
    pub async fn listen<O: Opener>(
        self: &Arc<Self>,
        visit: &Arc<Visit>,
        requested: Requested,
        opener: O,
    ) -> Result<Listening, (Refusal, String)> {
        let question = visit.question(Action::Listen, requested, None);
        let id = question.id.clone();
        let refuse = |refusal| (refusal, id.clone());
        let place = Arc::clone(&visit.listeners).try_acquire_owned();
        let judged = match &place {
            Ok(_) => self.judge(visit, question).await,
            Err(_) => self.exhausted(visit, &question, "listeners-per-session").await,
        };
        let permit = judged.map_err(refuse)?;
        let bound = Bound::new(&permit).map_err(refuse)?;
        let listening = Listening {
            requested: permit.request().requested.clone(),
            port: bound.port(),
            stop: Stop::default(),
            gone: CancellationToken::new(),
        };
        let guard = self.registry.enter(Forward {
            request: Arc::clone(permit.request()),
            effective: effective_listener(permit.effective(), bound.port()),
            dialled: None,
            limits: Arc::clone(&visit.limits),
            terms: permit.terms().clone(),
            stop: listening.stop.clone(),
            bytes: Bytes::default(),
        });
        self.audit.record(
            &visit.subject.with_forward(&guard.request.id),
            &Event::ListenerOpened {
                requested: guard.request.requested.clone(),
                effective: guard.effective.clone(),
                bound: bound.places(),
            },
        );
        let desk = Arc::clone(self);
        let visit = Arc::clone(visit);
        let serving = Serving {
            bound,
            guard,
            permit,
            place: place.ok(),
            gone: listening.gone.clone().drop_guard(),
        };
        self.tasks
            .spawn(async move { desk.serve(&visit, serving, opener).await });
        Ok(listening)
    }

    async fn serve<O: Opener>(self: &Arc<Self>, visit: &Arc<Visit>, serving: Serving, opener: O) {
        let Serving {
            bound,
            guard,
            permit,
            place: _place,
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
        let recheck = self.recheck(&permit, &guard);
        tokio::pin!(expired, recheck);
        let cause = loop {
            let accepted = tokio::select! {
                accepted = bound.accept() => accepted,
                cause = guard.stop.ended() => break cause,
                cause = visit.stop.ended() => break cause,
                () = &mut expired => break Cause::Expired,
                cause = &mut recheck => break cause,
            };
            let desk = Arc::clone(self);
            let visit = Arc::clone(visit);
            let listener = Arc::clone(&guard);
            let opener = opener.clone();
            self.tasks
                .spawn(async move { desk.accepted(&visit, &listener, accepted, opener).await });
        };
        drop(bound);
        drop(gone);
        let told = ForwardEnded::new(&guard, cause, millis(began));
        self.judge.policies().current().observe(told);
        self.audit.record(
            &visit.subject.with_forward(&guard.request.id),
            &Event::ListenerClosed {
                millis: millis(began),
                cause,
            },
        );
    }

    /// Somebody connected to a listener: judge it, open a channel to the client, copy.
    async fn accepted<O: Opener>(&self, visit: &Visit, listener: &Forward, accepted: Accepted, opener: O) {
        let requested = listener.request.requested.clone();
        let mut question = visit.question(Action::Accept, requested.clone(), accepted.peer);
        question.listener = Some(listener.effective.clone());
        let place = Arc::clone(&visit.tunnels).try_acquire_owned();
        let judged = match &place {
            Ok(_) => self.judge(visit, question).await,
            Err(_) => self.exhausted(visit, &question, "tunnels-per-session").await,
        };
        let Ok(permit) = judged else {
            return;
        };
        let port = match &listener.effective {
            Endpoint::Tcp { port, .. } => Some(*port),
            Endpoint::Socket(_) => None,
        };
        let opened = tokio::select! {
            opened = opener.open(&requested, port, accepted.peer) => opened,
            _ = visit.stop.ended() => None,
        };
        let Some((source, sink, queue)) = opened else {
            tracing::info!(listener = %listener.effective, "the client did not take a connection to its listener");
            return;
        };
        let ends = Ends {
            source,
            sink,
            queue,
            stream: accepted.stream,
        };
        self.tunnel(visit, &permit, ends, None, None, place.ok()).await;
    }

    /// Judges and records; an allow counts only once it is in the log.
    async fn judge(&self, visit: &Visit, question: Question) -> Result<Permit, Refusal> {
        let id = question.id.clone();
        if !self.audit.takes_lines() {
            return Err(unrecorded());
        }
        if self.draining.load(Ordering::Relaxed) {
            let stopping = Judgement::exhausted(&question, "draining", "the gateway is stopping".to_owned());
            return self.publish(visit, &id, stopping).await;
        }
        let judgement = match question.action {
            // The session waits for this one.
            Action::Listen => self.judge.judge_within(question, LISTEN_PATIENCE).await,
            _ => self.judge.judge(question).await,
        };
        self.publish(visit, &id, judgement).await
    }

    async fn exhausted(&self, visit: &Visit, question: &Question, limit: &'static str) -> Result<Permit, Refusal> {
        let reason = format!("this session has reached limits.{limit}");
        let judgement = Judgement::exhausted(question, limit, reason);
        self.publish(visit, &question.id, judgement).await
    }

    async fn publish(&self, visit: &Visit, id: &str, judgement: Judgement) -> Result<Permit, Refusal> {
        let Judgement { decided, outcome } = judgement;
        let sentence = outcome.as_ref().err().map(Refusal::sentence);
        if let Err(refusal) = &outcome {
            log_refusal(id, &visit.principal.user, &decided, refusal);
        }
        let subject = visit.subject.with_forward(id);
        let event = Event::ForwardDecided(Box::new(decided.clone()));
        let news = News {
            decided,
            sentence,
            forward: id.to_owned(),
        };
        let _ = visit.news.send(Arc::new(news));
        if outcome.is_err() {
            self.audit.record(&subject, &event);
        } else if !self.audit.record_surely(&subject, &event).confirmed().await {
            return Err(unrecorded());
        }
        outcome
    }

    async fn tunnel<S: Source, K: Sink>(
        &self,
        visit: &Visit,
        permit: &Permit,
        ends: Ends<S, K>,
        place: Option<Endpoint>,
        address: Option<SocketAddr>,
        held: Option<OwnedSemaphorePermit>,
    ) {
        let request = permit.request();
        let guard = self.registry.enter(Forward {
            request: Arc::clone(request),
            effective: permit.effective().clone(),
            dialled: address,
            limits: Arc::clone(&visit.limits),
            terms: permit.terms().clone(),
            stop: Stop::default(),
            bytes: Bytes::default(),
        });
        let subject = visit.subject.with_forward(&request.id);
        self.audit.record(
            &subject,
            &Event::TunnelOpened {
                action: request.action,
                requested: request.requested.clone(),
                effective: permit.effective().clone(),
                dialled: place.clone(),
            },
        );
        let mut closing = Closing {
            audit: &self.audit,
            policies: self.judge.policies(),
            subject,
            guard,
            began: Instant::now(),
            dialled: place,
            cause: Cause::Closed,
            _held: held,
        };
        let limits = self.limits.load();
        let patience = Patience {
            idle: limits.idle_timeout,
            stall: limits.stall_timeout,
            close: visit.close_patience(),
        };
        let Ends {
            source,
            mut sink,
            queue,
            stream,
        } = ends;
        let carried = relay::run(source, &mut sink, stream, &closing.guard, queue, patience);
        closing.cause = tokio::select! {
            cause = carried => cause,
            cause = self.recheck(permit, &closing.guard) => cause,
        };
        // It is over and recorded, even where the client takes no message any more.
        drop(closing);
        sink.close().await;
    }

    /// Asks again about something open, as often as its terms say, until that ends it. Whoever
    /// carries it notices the end by itself, so this never answers first.
    async fn recheck(&self, permit: &Permit, forward: &Forward) -> Cause {
        self.catch_up(permit, forward).await;
        let Some(seconds) = forward.terms.recheck_seconds else {
            return std::future::pending().await;
        };
        let pause = Duration::from_secs(u64::from(seconds.max(1)));
        while forward.stop.cause().is_none() {
            tokio::time::sleep(pause).await;
            self.reconsider(forward, "recheck").await;
        }
        std::future::pending().await
    }
}

impl Desk {
    /// Judges everything that is open by the policies in force now, and closes what they refuse or
    /// would send elsewhere. The rest of each connection is left alone.
    pub async fn reconsider_all(&self) {
        for forward in self.registry.forwards() {
            self.reconsider(&forward, "swap").await;
        }
    }

    /// Judges one open tunnel or listener again. What cannot be decided is refused, but not because of one moment in which
    /// the machine had no time: nobody waits for this answer.
    pub async fn reconsider(&self, forward: &Forward, why: &'static str) {
        let mut outcome = self.judge_once_more(forward, why).await;
        for _ in 1..ATTEMPTS {
            if !outcome.as_ref().is_err_and(Refusal::came_too_late) || forward.stop.cause().is_some() {
                break;
            }
            outcome = self.judge_once_more(forward, why).await;
        }
        let keeps = match &outcome {
            Ok(permit) => {
                let house = self.judge.house();
                let address = forward
                    .dialled
                    .is_none_or(|dialled| permit.terms().address_rules.permit(dialled.ip()) && house.may_dial(dialled));
                address && same_place(permit.effective(), forward)
            }
            // A name that does not resolve any more says nothing about a connection that stands.
            Err(Refusal::Unreachable { .. }) => true,
            Err(_) => false,
        };
        if !keeps {
            forward.stop.end(Cause::Revoked);
        }
    }

    async fn judge_once_more(&self, forward: &Forward, why: &'static str) -> Result<Permit, Refusal> {
        let Judgement { decided, outcome } = self.judge.judge_again(&forward.request, &forward.limits, why).await;
        let request = &forward.request;
        let subject = Subject {
            session: Some(request.connection.id.clone()),
            user: Some(request.principal.user.clone()),
            client: Some(request.connection.client),
            forward: Some(request.id.clone()),
        };
        self.audit.record(&subject, &Event::ForwardDecided(Box::new(decided)));
        outcome
    }

    /// What was decided by policies that were replaced meanwhile is judged again.
    async fn catch_up(&self, permit: &Permit, forward: &Forward) {
        let current = self.judge.policies().current();
        if self.reevaluates.load(Ordering::Relaxed) && !Arc::ptr_eq(permit.generation(), &current) {
            self.reconsider(forward, "swap").await;
        }
    }
}

/// A listener that was to have any port has one now.
fn same_place(effective: &Endpoint, forward: &Forward) -> bool {
    let effective = match (effective, &forward.effective) {
        (Endpoint::Tcp { port: 0, .. }, Endpoint::Tcp { port, .. }) => effective_listener(effective, Some(*port)),
        _ => effective.clone(),
    };
    effective == forward.effective
}

struct Ends<S, K> {
    source: S,
    sink: K,
    queue: Queued,
    stream: Stream,
}

struct Serving {
    bound: Bound,
    guard: ForwardGuard,
    permit: Permit,
    place: Option<OwnedSemaphorePermit>,
    gone: DropGuard,
}

/// A remote forward that was granted.
#[derive(Clone)]
pub struct Listening {
    /// As the client asked for it.
    pub requested: Requested,
    /// The port that was bound; none for a socket file.
    pub port: Option<u16>,
    /// Ends it.
    pub stop: Stop,
    /// Cancelled once nothing listens any more.
    pub gone: CancellationToken,
}

/// Records the end of a tunnel, exactly once, however its task ends.
struct Closing<'a> {
    audit: &'a Audit,
    policies: &'a Policies,
    subject: Subject,
    guard: ForwardGuard,
    began: Instant,
    dialled: Option<Endpoint>,
    cause: Cause,
    _held: Option<OwnedSemaphorePermit>,
}

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        let ended = Ended {
            dialled: self.dialled.take(),
            bytes_up: self.guard.bytes.up.load(Ordering::Relaxed),
            bytes_down: self.guard.bytes.down.load(Ordering::Relaxed),
            millis: millis(self.began),
            cause: self.cause,
        };
        let told = ForwardEnded::new(&self.guard, ended.cause, ended.millis);
        self.policies.current().observe(told);
        self.audit.record(&self.subject, &Event::TunnelClosed(ended));
    }
}

impl ForwardEnded {
    fn new(forward: &Forward, cause: Cause, millis: u64) -> Self {
        Self {
            id: forward.request.id.clone(),
            cause: cause.as_str(),
            millis,
            bytes_up: forward.bytes.up.load(Ordering::Relaxed),
            bytes_down: forward.bytes.down.load(Ordering::Relaxed),
            dialled: forward.dialled,
        }
    }
}

/// A listener is known by the port that it got.
fn effective_listener(endpoint: &Endpoint, port: Option<u16>) -> Endpoint {
    match (endpoint, port) {
        (Endpoint::Tcp { host, .. }, Some(port)) => Endpoint::Tcp {
            host: host.clone(),
            port,
        },
        _ => endpoint.clone(),
    }
}

fn log_refusal(forward: &str, user: &str, decided: &Decided, refusal: &Refusal) {
    let requested = decided.requested.to_string();
    let action = decided.action.as_str();
    let code = decided.code.as_deref().unwrap_or_default();
    match refusal {
        Refusal::Undecided { reason, .. } => {
            tracing::warn!(
                forward,
                user,
                action,
                requested,
                code,
                reason,
                "the policy failed to decide"
            );
        }
        _ => {
            let reason = decided.reason.as_deref().unwrap_or_default();
            tracing::info!(forward, user, action, requested, code, reason, "refused");
        }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Nothing is allowed that cannot be recorded.
fn unrecorded() -> Refusal {
    Refusal::Exhausted {
        code: "audit",
        reason: "the gateway cannot write its audit log".to_owned(),
    }
}

/// How often something open is judged where the time is not enough, before it is closed.
const ATTEMPTS: usize = 3;
/// Decisions that a slow status channel may fall behind.
const NEWS: usize = 64;
/// Tunnels of a session that do not wait for the client's close.
const CLOSED_AT_ONCE: usize = 4;
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// A decision on a remote forward that takes longer is a refusal.
const LISTEN_PATIENCE: Duration = Duration::from_secs(2);

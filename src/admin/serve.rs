//! Both listeners: bounded in connections, in header size and in time, each connection in its own task.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::peer::{Administrator, Admins};
use super::{ControlSocket, Steered, Token, monitoring, routes};

/// How long an interface is served.
#[derive(Clone, Debug)]
pub(crate) struct Until {
    /// From then on another process accepts: what is asked already is answered. With `ending` at the latest.
    pub leaving: CancellationToken,
    /// From then on nothing is answered.
    pub ending: CancellationToken,
}

/// Serves the monitoring listener.
pub(crate) async fn monitor<S: Steered>(
    listener: Arc<std::net::TcpListener>,
    token: Option<Token>,
    gateway: Arc<S>,
    tasks: TaskTracker,
    until: Until,
) {
    let listener = match listener.try_clone().and_then(TcpListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot serve the monitoring listener"),
    };
    let router = monitoring::monitored(gateway, token);
    let listener = &listener;
    let accept = || async move { listener.accept().await.map(|(stream, _)| stream) };
    let leaving = until.leaving.clone();
    // Nothing can be changed here.
    let serve = move |stream| connection(stream, router.clone(), None, LONGEST_LOOK, leaving.clone());
    serve_all(accept, serve, MONITORS, &tasks, &until).await;
}

/// Serves the control socket. What changes something runs in `urgent`, once its request has been read.
pub(crate) async fn control<S: Steered>(
    socket: Arc<ControlSocket>,
    admins: Admins,
    gateway: Arc<S>,
    tasks: TaskTracker,
    urgent: Handle,
    until: Until,
) {
    let listener = match socket.listener().try_clone().and_then(UnixListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot serve the control socket"),
    };
    let router = routes::control(gateway).layer(axum::Extension(until.clone()));
    let listener = &listener;
    let accept = || async move { listener.accept().await.map(|(stream, _)| stream) };
    let leaving = until.leaving.clone();
    let changes = Urgent {
        tasks: tasks.clone(),
        runtime: urgent,
    };
    let serve = move |stream| admitted(stream, admins.clone(), router.clone(), changes.clone(), leaving.clone());
    serve_all(accept, serve, ADMINISTRATORS, &tasks, &until).await;
}

/// Where changes are made, however much is asked besides.
#[derive(Clone)]
struct Urgent {
    tasks: TaskTracker,
    runtime: Handle,
}

impl Urgent {
    /// It goes on to its end, also if who asked goes away.
    async fn answer(
        &self,
        answering: impl Future<Output = Result<Response, Infallible>> + Send + 'static,
    ) -> Result<Response, Infallible> {
        let answered = self.tasks.spawn_on(answering, &self.runtime).await;
        answered.unwrap_or_else(|_| Ok(routes::broken()))
    }
}

/// Serves each connection in its own task. If there are `most` already, the oldest makes room, so that no client that stays keeps
/// others out.
async fn serve_all<C, A, F>(
    accept: impl Fn() -> A,
    serve: impl Fn(C) -> F,
    most: usize,
    tasks: &TaskTracker,
    until: &Until,
) where
    A: Future<Output = io::Result<C>>,
    F: Future<Output = ()> + Send + 'static,
{
    let mut open = VecDeque::<CancellationToken>::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept() => accepted,
            () = until.leaving.cancelled() => return,
        };
        let serving = match accepted {
            Ok(stream) => serve(stream),
            Err(error) => {
                rest(&error).await;
                continue;
            }
        };
        open.retain(|one| !one.is_cancelled());
        if open.len() >= most
            && let Some(oldest) = open.pop_front()
        {
            oldest.cancel();
        }
        let end = until.ending.child_token();
        open.push_back(end.clone());
        tasks.spawn(async move {
            let _over = end.clone().drop_guard();
            tokio::select! {
                () = serving => {}
                () = end.cancelled() => {}
            }
        });
    }
}

/// Serves the peer of a control connection, or tells it that it is not permitted.
///
/// The names of users and groups may be far away (LDAP), so they are looked up aside and not waited for without end. Root and the
/// gateway's own user need none.
async fn admitted(stream: UnixStream, admins: Admins, router: Router, changes: Urgent, leaving: CancellationToken) {
    let administrator = match stream.peer_cred() {
        Ok(peer) => {
            let looks = admins.clone();
            let looked_up = timeout(ADMISSION, spawn_blocking(move || looks.admit(peer))).await;
            looked_up
                .unwrap_or_else(|_| Ok(admins.admit_unnamed(peer)))
                .ok()
                .flatten()
        }
        Err(_) => None,
    };
    let router = match administrator {
        Some(administrator) => router.layer(axum::Extension::<Administrator>(administrator)),
        None => routes::refused(),
    };
    connection(stream, router, Some(changes), LONGEST, leaving).await;
}

/// A peer that was gone before it was accepted costs nothing; a lack of files passes.
async fn rest(error: &io::Error) {
    tracing::debug!(%error, "cannot accept a connection on an administration listener");
    sleep(REST).await;
}

/// One connection; it ends when it is idle for long, after `longest`, or after its last request, which is the one under way or the
/// first one once another process accepts.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    changes: Option<Urgent>,
    longest: Duration,
    leaving: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let asked = Arc::new(Notify::new());
    let asking = Arc::clone(&asked);
    let service = service_fn(move |request: Request<Incoming>| {
        asking.notify_one();
        let changes = changes.clone().filter(|_| !request.method().is_safe());
        let answered = hyper::service::Service::call(&router, request);
        async move {
            let answered = async {
                match changes {
                    Some(changes) => changes.answer(answered).await,
                    None => answered.await,
                }
            };
            // The body included: it is read inside.
            timeout(REQUEST, answered)
                .await
                .unwrap_or_else(|_| Ok(routes::too_slow()))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let served = timeout(longest, async {
        let left = async {
            leaving.cancelled().await;
            // Who was accepted a moment before has not asked yet.
            let _ = timeout(FIRST_REQUEST, asked.notified()).await;
        };
        tokio::select! {
            served = serving.as_mut() => return served,
            () = left => {}
        }
        serving.as_mut().graceful_shutdown();
        serving.await
    });
    if let Ok(Err(error)) = served.await {
        tracing::debug!(%error, "an administration connection ended");
    }
}

/// Connections at once.
const ADMINISTRATORS: usize = 64;
const MONITORS: usize = 64;
/// How long the head of a request may take, which is also how long a connection may be idle.
const HEADERS: Duration = Duration::from_secs(10);
/// How long a connection may take to its first request after another process accepts.
const FIRST_REQUEST: Duration = Duration::from_secs(1);
/// How long a request may take in all.
const REQUEST: Duration = Duration::from_secs(300);
/// How long a connection of an administrator lives, and one of monitoring.
const LONGEST: Duration = Duration::from_secs(3600);
const LONGEST_LOOK: Duration = Duration::from_secs(60);
/// How long looking up the names of a peer may take.
const ADMISSION: Duration = Duration::from_secs(2);
const BUFFER: usize = 64 << 10;
const REST: Duration = Duration::from_millis(100);

//! Both listeners: bounded in connections, in header size and in time, each connection in its own task.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::peer::{Administrator, Admins};
use super::{ControlSocket, Steered, Token, health, routes};

/// Serves the monitoring listener until `stop`.
pub async fn monitor<S: Steered>(
    listener: Arc<std::net::TcpListener>,
    token: Option<Token>,
    gateway: Arc<S>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let listener = match listener.try_clone().and_then(TcpListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot serve the monitoring listener"),
    };
    let router = health::monitored(gateway, token);
    let places = Arc::new(Semaphore::new(MONITORS));
    loop {
        let Some(place) = next_place(&places, &stop).await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let serving = connection(stream, router.clone(), place, stop.clone());
                tasks.spawn(serving);
            }
            Err(error) => rest(&error).await,
        }
    }
}

/// Serves the control socket until `stop`.
pub async fn control<S: Steered>(
    socket: Arc<ControlSocket>,
    admins: Admins,
    gateway: Arc<S>,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let listener = match socket.listener().try_clone().and_then(UnixListener::from_std) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "cannot serve the control socket"),
    };
    let router = routes::control(gateway);
    let places = Arc::new(Semaphore::new(ADMINISTRATORS));
    loop {
        let Some(place) = next_place(&places, &stop).await else {
            return;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((stream, _)) => {
                let Some(administrator) = stream.peer_cred().ok().and_then(|peer| admins.admit(peer)) else {
                    let refusing = connection(stream, routes::refused(), place, stop.clone());
                    tasks.spawn(refusing);
                    continue;
                };
                let router = router.clone().layer(axum::Extension::<Administrator>(administrator));
                tasks.spawn(connection(stream, router, place, stop.clone()));
            }
            Err(error) => rest(&error).await,
        }
    }
}

async fn next_place(places: &Arc<Semaphore>, stop: &CancellationToken) -> Option<OwnedSemaphorePermit> {
    tokio::select! {
        place = Arc::clone(places).acquire_owned() => place.ok(),
        () = stop.cancelled() => None,
    }
}

/// A peer that was gone before it was accepted costs nothing; a lack of files passes.
async fn rest(error: &io::Error) {
    tracing::debug!(%error, "cannot accept a connection on an administration listener");
    sleep(REST).await;
}

/// One connection; it ends when it is idle for long, with `stop`, or after its last request.
async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    place: OwnedSemaphorePermit,
    stop: CancellationToken,
) {
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |request: Request<Incoming>| {
        let answered = hyper::service::Service::call(&router, request);
        async move {
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
    let ended = tokio::select! {
        ended = timeout(LONGEST, serving) => ended,
        () = stop.cancelled() => return,
    };
    if let Ok(Err(error)) = ended {
        tracing::debug!(%error, "an administration connection ended");
    }
    drop(place);
}

/// Connections at once; further ones wait in the backlog of the listener.
const ADMINISTRATORS: usize = 64;
const MONITORS: usize = 64;
/// How long the head of a request may take, which is also how long a connection may be idle.
const HEADERS: Duration = Duration::from_secs(10);
/// How long a request may take in all.
const REQUEST: Duration = Duration::from_secs(300);
/// How long a connection lives.
const LONGEST: Duration = Duration::from_secs(3600);
const BUFFER: usize = 64 << 10;
const REST: Duration = Duration::from_millis(100);

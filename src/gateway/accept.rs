//! Accepts connections within the limits, and hands them to the SSH server.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use super::Parts;
use super::doorway::{self, Most};
use crate::proxy_header;
use crate::relay::is_ours;
use crate::request::Ends;

impl Parts {
    pub(super) async fn accept(self: Arc<Self>, listener: Arc<TcpListener>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.greet(stream, peer),
                Err(error) if is_ours(&error) => {
                    tracing::warn!(%error, "cannot accept connections: raise the limit on open files (ulimit -n, LimitNOFILE)");
                    sleep(Duration::from_secs(1)).await;
                }
                Err(error) => tracing::debug!(%error, "a client disconnected before it was accepted"),
            }
        }
    }

    /// Lets a client in, or closes its connection where there are too many.
    fn greet(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(place) = self.admit(peer) else {
            return;
        };
        let server = stream.local_addr().unwrap_or(peer);
        let server = SocketAddr::new(server.ip().to_canonical(), server.port());
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a client disconnected before the handshake");
            return;
        }
        let since = Instant::now();
        let serve = |stream| {
            let Place { session, login } = place;
            let shared = Arc::clone(self);
            self.tasks.track_future(async move {
                let _session = session;
                let ending = shared.ending.clone();
                let evicted = login.evicted();
                let ends = tokio::select! {
                    ends = shared.ends(stream, Ends { client: peer, server }) => ends,
                    () = evicted.cancelled() => return,
                    () = ending.cancelled() => return,
                };
                match ends {
                    Ok((stream, ends)) => {
                        // A balancer that speaks for itself counts as itself.
                        login.is_of(ends.client.ip(), shared.most());
                        let service = &shared.service;
                        service.serve((stream, since), ends, login, evicted, ending).await;
                    }
                    Err(error) => {
                        tracing::info!(%peer, %error, "the PROXY protocol header that this source must send is missing or malformed")
                    }
                }
            })
        };
        if let Err(error) = self.workers.serve(stream, serve) {
            tracing::warn!(%error, "cannot serve a connection");
        }
    }

    /// Whether a connection from there begins with a header that says who it is.
    fn is_balancer(&self, peer: IpAddr) -> bool {
        let config = self.in_force.config();
        config.server.proxy_protocol.iter().any(|net| net.contains(&peer))
    }

    /// The two ends of a connection: what a trusted balancer says of them, or what they are.
    async fn ends(&self, mut stream: TcpStream, seen: Ends) -> io::Result<(TcpStream, Ends)> {
        if !self.is_balancer(seen.client.ip()) {
            return Ok((stream, seen));
        }
        let patience = self.in_force.config().auth.login_grace;
        let read = timeout(patience, proxy_header::read(&mut stream)).await;
        let told = read.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        Ok((stream, told.unwrap_or(seen)))
    }

    fn admit(&self, peer: SocketAddr) -> Option<Place> {
        let refuse = |why| {
            let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = refusals.say() {
                tracing::warn!(%peer, count, "{why}");
            }
        };
        // Who comes through a balancer is known once it has said so.
        let address = (!self.is_balancer(peer.ip())).then_some(peer.ip());
        let Ok(login) = self.doorway.enter(address, self.most()) else {
            refuse("too many unauthenticated clients (limits.unauthenticated)");
            return None;
        };
        let session = Counted::enter(&self.clients);
        if session.count > self.judge.current().limits.sessions {
            refuse("too many sessions (limits.sessions)");
            return None;
        }
        Some(Place { session, login })
    }

    fn most(&self) -> Most {
        let limits = Arc::clone(&self.judge.current().limits);
        Most {
            all: limits.unauthenticated,
            of_source: limits.unauthenticated_per_source,
        }
    }
}

struct Place {
    session: Counted,
    login: doorway::Place,
}

/// Counts a client, as long as it lasts.
struct Counted {
    all: Arc<AtomicUsize>,
    count: usize,
}

impl Counted {
    fn enter(all: &Arc<AtomicUsize>) -> Self {
        Self {
            count: all.fetch_add(1, Ordering::Relaxed) + 1,
            all: Arc::clone(all),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

//! Who comes in: accept, limit, and hand over to the SSH server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

use super::Shared;
use crate::proxy_header;
use crate::relay::is_ours;

impl Shared {
    pub(super) async fn accept(self: Arc<Self>, listener: Arc<TcpListener>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.closing.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.greet(stream, peer),
                Err(error) if is_ours(&error) => {
                    tracing::warn!(%error, "cannot accept: raise the limit of open files (ulimit -n, LimitNOFILE)");
                    sleep(Duration::from_secs(1)).await;
                }
                Err(error) => tracing::debug!(%error, "a client was gone before it was accepted"),
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
            tracing::debug!(%error, "a client was gone before it was greeted");
            return;
        }
        let serve = |stream| {
            let Place { session, login } = place;
            let shared = Arc::clone(self);
            self.tasks().track_future(async move {
                let _session = session;
                let ending = shared.ending.clone();
                match shared.ends(stream, peer, server).await {
                    Ok((stream, peer, server)) => shared.service.serve(stream, peer, server, login, ending).await,
                    Err(error) => {
                        tracing::info!(%peer, %error, "no PROXY protocol header from a source that must send one")
                    }
                }
            })
        };
        if let Err(error) = self.workers.serve(stream, serve) {
            tracing::warn!(%error, "a connection cannot be served");
        }
    }

    /// The two ends of a connection: what a trusted balancer says of them, or what they are.
    async fn ends(
        &self,
        mut stream: TcpStream,
        peer: SocketAddr,
        server: SocketAddr,
    ) -> io::Result<(TcpStream, SocketAddr, SocketAddr)> {
        let config = self.in_force.config();
        if !config.server.proxy_protocol.iter().any(|net| net.contains(&peer.ip())) {
            return Ok((stream, peer, server));
        }
        let patience = config.auth.login_grace;
        let read = timeout(patience, proxy_header::read(&mut stream)).await;
        let (peer, server) = read
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?
            .unwrap_or((peer, server));
        Ok((stream, peer, server))
    }

    fn admit(&self, peer: SocketAddr) -> Option<Place> {
        let limits = Arc::clone(&self.desk().judge.current().limits);
        let login = Counted::enter(&self.unauthenticated);
        // OpenSSH's MaxStartups: at random past the limit, ever more likely towards twice of it.
        let past = login.count.saturating_sub(limits.unauthenticated);
        if past > 0 && past >= chance(limits.unauthenticated) {
            tracing::warn!(%peer, "too many clients that have not logged in (limits.unauthenticated)");
            return None;
        }
        let session = Counted::enter(&self.sessions);
        if session.count > limits.sessions {
            tracing::warn!(%peer, "too many sessions (limits.sessions)");
            return None;
        }
        Some(Place { session, login })
    }
}

struct Place {
    session: Counted,
    login: Counted,
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

/// A number from 1 to `limit`, from the randomness of a new hash seed.
fn chance(limit: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0);
    1 + usize::try_from(random % (limit as u64).max(1)).unwrap_or(0)
}

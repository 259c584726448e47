//! Following the path of a Unix socket, without holding up the threads that serve.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::paths::{PathError, Place, Socket};
use crate::request::{Action, By, Endpoint, Host, Refusal, SocketPath};

/// Looks at file systems, of which one may be slow: so many paths at once, and each for so long.
#[derive(Clone)]
pub(super) struct Follower(Arc<Semaphore>);

/// A target in the form in which it is judged, with what its path leads to.
#[derive(Clone)]
pub(super) enum Led {
    /// A host, which has no path.
    Tcp {
        /// Name or address.
        host: Host,
        /// The port.
        port: u16,
    },
    /// A socket to connect to.
    Socket(Socket),
    /// A socket to make.
    Place(Place),
    /// A socket that exists and was judged when it was made: a connection came in there.
    Accepted(SocketPath),
}

impl Led {
    /// The endpoint to judge.
    pub(super) fn target(&self) -> Endpoint {
        match self {
            Self::Tcp { host, port } => Endpoint::Tcp {
                host: host.clone(),
                port: *port,
            },
            Self::Socket(socket) => Endpoint::Socket(socket.path().clone()),
            Self::Place(place) => Endpoint::Socket(place.path().clone()),
            Self::Accepted(path) => Endpoint::Socket(path.clone()),
        }
    }
}

impl Follower {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// Follows the path of a target, where it has one.
    pub(super) async fn follow(&self, action: Action, target: Endpoint) -> Result<Led, Refusal> {
        let path = match target {
            Endpoint::Tcp { host, port } => return Ok(Led::Tcp { host, port }),
            Endpoint::Socket(path) => path,
        };
        match action {
            Action::Connect => self.aside(path, Socket::follow).await.map(Led::Socket),
            Action::Listen => self.aside(path, Place::follow).await.map(Led::Place),
            Action::Accept => Ok(Led::Accepted(path)),
        }
    }

    async fn aside<T: Send + 'static>(
        &self,
        path: SocketPath,
        follow: fn(&SocketPath) -> Result<T, PathError>,
    ) -> Result<T, Refusal> {
        let places = Arc::clone(&self.0);
        let followed = timeout(PATIENCE, async move {
            let place = places.acquire_owned().await.ok();
            // The place is given back when the file system has answered, not when nothing waits for it any more.
            let look = move || {
                let _place = place;
                follow(&path)
            };
            tokio::task::spawn_blocking(look).await.ok()
        });
        match followed.await {
            Ok(Some(Ok(found))) => Ok(found),
            Ok(Some(Err(error))) => Err(refused(&error)),
            Ok(None) | Err(_) => Err(Refusal::Undecided {
                code: "socket-path",
                reason: format!(
                    "the file system did not say within {} s where the path leads",
                    PATIENCE.as_secs()
                ),
            }),
        }
    }
}

fn refused(error: &PathError) -> Refusal {
    let code = match error {
        PathError::HardLinks { .. } => "hard-links",
        _ => "bad-endpoint",
    };
    Refusal::told(By::Floor, code, error.to_string())
}

const MOST: usize = 32;
/// A remote forward is refused if it is not decided in two seconds.
const PATIENCE: Duration = Duration::from_secs(1);

//! The SSH server of one gateway: what all of its connections have in common.

use std::borrow::Cow;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use russh::server::{Config, RunningSession, run_stream};
use russh::{Disconnect, Limits as RekeyLimits, MethodKind, MethodSet, SshId};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::algorithms::{preferred, unnegotiated};
use super::failures::Failures;
use super::flow::{Bounds, Flows, Memory};
use super::handler::Client;
use super::heard::{Counted, Heard};
use super::host_key::HostKeys;
use super::wire::Wire;
use crate::accounts::Accounts;
use crate::config;
use crate::events::{Event, Events, Subject};
use crate::forwarder::Forwarder;
use crate::judgement::Judge;
use crate::locks::Locks;
use crate::request::{Cause, Ends, printable};
use crate::sessions::{self, Sessions};

/// The SSH server behind every accepted connection.
pub(crate) struct Service {
    pub(super) serves: Serves,
    settings: ArcSwap<Live>,
    memory: Memory,
    /// A password hash is made to cost memory and time: few at once.
    hashing: Arc<Semaphore>,
    failures: Arc<Failures>,
}

/// What an SSH connection is served with.
pub(crate) struct Serves {
    /// Who takes what its user asks for.
    pub forwarder: Arc<Forwarder>,
    /// Who knows users and limits.
    pub judge: Arc<Judge>,
    /// Where logins and ends are announced.
    pub events: Events,
    /// Where it is entered.
    pub sessions: Sessions,
    /// Who is locked out.
    pub locks: Locks,
    /// What runs beside it.
    pub tasks: TaskTracker,
}

/// What the configuration says of the SSH side.
pub(crate) struct Settings {
    /// The gateway's keys.
    pub host_keys: HostKeys,
    /// Whether any user has a password.
    pub passwords: bool,
    /// Shown before the login.
    pub banner: Option<String>,
    /// How long a login may take.
    pub login_grace: Duration,
    /// Logins that may fail in one connection.
    pub max_attempts: u32,
    /// Ceilings, for keepalive and buffers.
    pub limits: config::Limits,
    /// What may be negotiated.
    pub algorithms: config::Algorithms,
}

struct Live {
    russh: Arc<Config>,
    banner: Option<String>,
    login_grace: Duration,
    max_attempts: u32,
    limits: config::Limits,
}

impl Service {
    /// A server with these settings.
    #[must_use]
    pub(crate) fn new(serves: Serves, settings: Settings) -> Self {
        Self {
            serves,
            settings: ArcSwap::from_pointee(Live::new(settings)),
            memory: Memory::default(),
            hashing: Arc::new(Semaphore::new(HASHES)),
            failures: Arc::default(),
        }
    }

    /// Serves new connections with other settings; those that are open keep what they began with.
    pub(crate) fn replace(&self, settings: Settings) {
        self.settings.store(Arc::new(Live::new(settings)));
    }

    /// Bytes that wait in the tunnels of all sessions.
    #[must_use]
    pub(crate) fn buffered(&self) -> usize {
        self.memory.bytes()
    }

    pub(super) fn accounts(&self) -> Arc<Accounts> {
        Arc::clone(&self.serves.judge.current().accounts)
    }

    /// Waits for a turn to hash a password; it lasts as long as the hashing does.
    pub(super) async fn turn_to_hash(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.hashing).acquire_owned().await.ok()
    }

    pub(super) fn banner(&self) -> Option<String> {
        self.settings.load().banner.clone()
    }

    pub(super) fn max_attempts(&self) -> u32 {
        self.settings.load().max_attempts
    }

    /// How much the tunnels of a session that begins now may hold.
    pub(super) fn bounds(&self) -> Bounds {
        bounds(&self.settings.load().limits)
    }

    /// Serves one connection, which was accepted at a certain time, until it ends, or until `stop`: then the client is told to
    /// go.
    /// `login` is held until a user has logged in; until then `evicted` also ends the connection.
    pub(crate) async fn serve<G: Send>(
        self: &Arc<Self>,
        (stream, since): (TcpStream, Instant),
        ends: Ends,
        login: G,
        evicted: CancellationToken,
        stop: CancellationToken,
    ) {
        let client = ends.client;
        let settings = self.settings.load_full();
        let cut = CancellationToken::new();
        // Whoever has not logged in by the end of this waits for nothing any more.
        let _cut = cut.clone().drop_guard();
        let (entered, mut entering) = oneshot::channel();
        let flows = Flows::new(&self.memory, settings.limits.buffer_memory);
        let patience = settings.limits.keepalive.map(|keepalive| keepalive.patience());
        let heard = Heard::default();
        let wire = Wire::new(stream, cut.clone(), flows.clone(), patience);
        let wire = Box::new(Counted::new(wire, heard.clone()));
        let handler = Box::new(Client::new(Arc::clone(self), ends, flows, heard, (cut, entered)));
        let grace = since + settings.login_grace;
        // What only begins and ends a connection is in boxes, which are gone meanwhile.
        let greeting = Box::pin(run_stream(Arc::clone(&settings.russh), wire, handler));
        let mut session = tokio::select! {
            greeted = greeting => match greeted {
                Ok(session) => session,
                Err(error) => return tracing::debug!(%client, %error, "not an SSH client"),
            },
            () = sleep_until(grace) => return,
            () = evicted.cancelled() => return,
            () = stop.cancelled() => return,
        };
        let mut entered = tokio::select! {
            ended = &mut session => return self.unfinished(client, ended),
            entered = &mut entering => match entered {
                Ok(entered) => entered,
                // Whoever would have said so is gone, and so is the session.
                Err(_) => return self.unfinished(client, (&mut session).await),
            },
            () = sleep_until(grace) => {
                tracing::info!(%client, "login timed out");
                return;
            }
            () = evicted.cancelled() => return,
            () = stop.cancelled() => return,
        };
        drop((login, evicted));
        let ours = Arc::clone(&entered.session);
        let unused = self.unused(&ours, settings.limits.unused_connection_timeout);
        let reason = tokio::select! {
            ended = &mut session => {
                entered.reason = note_end(client, ended);
                return;
            }
            () = unused => "the connection is unused",
            () = stop.cancelled() => "the gateway is stopping",
            cause = ours.stop.ended() => match (cause, ours.sentence()) {
                (Cause::Closed, _) => return,
                (_, Some(sentence)) => sentence,
                _ if ours.is_littered() => "the client left too many finished tunnels open",
                _ => "the session was ended",
            },
        };
        entered.reason = Some(reason.to_owned());
        Box::pin(end(session, reason)).await;
    }

    /// Records what a client failed at before its login, unless so much waits to be written that nobody could log in either.
    pub(super) fn failed(&self, subject: Subject, event: Event) {
        if self.serves.events.audit().has_room() {
            self.failures
                .emit(&self.serves.events, &self.serves.tasks, subject, event);
        }
    }

    /// A connection ended before its login.
    fn unfinished(&self, client: SocketAddr, ended: Result<(), russh::Error>) {
        if let Some(event) = ended.as_ref().err().and_then(unnegotiated) {
            self.failed(Subject::from_client(client), event);
        }
        note_end(client, ended);
    }

    /// Ends when the session has had nothing open for that long. Unlike OpenSSH's
    /// `UnusedConnectionTimeout` it counts a listener as a use: its client waits for connections.
    async fn unused(&self, ours: &sessions::Session, limit: Option<Duration>) {
        let Some(limit) = limit else {
            return std::future::pending().await;
        };
        let mut since = ours.unused_since();
        while since.elapsed() < limit {
            sleep(limit.saturating_sub(since.elapsed())).await;
            since = ours.unused_since();
        }
    }
}

fn bounds(limits: &config::Limits) -> Bounds {
    Bounds::new(limits.tunnel_buffer, limits.buffer_memory, limits.stall_timeout)
}

/// Tells the client, waits a moment for it to go, and lets the wire be cut.
async fn end(mut session: RunningSession<Box<Client>>, reason: &str) {
    let handle = session.handle();
    let told = handle.disconnect(Disconnect::ByApplication, reason.to_owned(), "en".to_owned());
    let _ = timeout(FAREWELL, async {
        let _ = told.await;
        let _ = (&mut session).await;
    })
    .await;
}

/// Why a connection ended, where the client did not simply leave.
fn note_end(client: SocketAddr, ended: Result<(), russh::Error>) -> Option<String> {
    let error = ended.err()?;
    tracing::debug!(%client, %error, "the connection ended");
    Some(match error {
        // So `ssh` ends where it has nothing more to do.
        russh::Error::IO(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
        russh::Error::IO(error) => error.to_string(),
        error => printable(&error.to_string(), MAX_REASON),
    })
}

impl Live {
    fn new(settings: Settings) -> Self {
        let mut methods = MethodSet::from([MethodKind::PublicKey].as_slice());
        if settings.passwords {
            methods.push(MethodKind::Password);
        }
        let keepalive = settings.limits.keepalive;
        let rekey_bytes = usize::try_from(settings.limits.rekey_bytes).unwrap_or(usize::MAX);
        let russh = Config {
            server_id: SshId::Standard(Cow::Borrowed(concat!("SSH-2.0-portreeve_", env!("CARGO_PKG_VERSION")))),
            methods,
            auth_rejection_time: REJECTION,
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: settings.host_keys.0,
            window_size: bounds(&settings.limits).initial(),
            maximum_packet_size: PACKET,
            channel_buffer_size: 64,
            event_buffer_size: 16,
            limits: RekeyLimits {
                rekey_write_limit: rekey_bytes,
                rekey_read_limit: rekey_bytes,
                rekey_time_limit: settings.limits.rekey_time,
            },
            preferred: preferred(settings.algorithms.preset),
            // The opening `none` is among what the library counts.
            max_auth_attempts: usize::try_from(settings.max_attempts).map_or(usize::MAX, |most| most.saturating_add(1)),
            inactivity_timeout: None,
            keepalive_interval: keepalive.map(|keepalive| keepalive.interval),
            // The wire counts: a client that takes what it is sent is there, too.
            keepalive_max: 0,
            nodelay: true,
            ..Config::default()
        };
        Self {
            russh: Arc::new(russh),
            banner: settings.banner,
            login_grace: settings.login_grace,
            max_attempts: settings.max_attempts,
            limits: settings.limits,
        }
    }
}

/// What OpenSSH's sshd takes (`channels.h`, `CHAN_TCP_PACKET_DEFAULT`).
const PACKET: u32 = 32 << 10;
/// Every failed login takes at least so long.
const REJECTION: Duration = Duration::from_millis(100);
/// What a library says of a connection.
const MAX_REASON: usize = 400;
const FAREWELL: Duration = Duration::from_secs(1);
const HASHES: usize = 4;

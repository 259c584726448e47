//! From a configuration to a gateway that serves.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use nix::errno::Errno;
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::candidates::Rollouts;
use super::current::{InForce, Settled};
use super::observers::Observers;
use super::prepare::locks_of;
use super::steer::Bound;
use super::{Gateway, Origin, Parts, Prepared, fleet};
use crate::accounts::Accounts;
use crate::admin;
use crate::audit::Audit;
use crate::config::{Config, Faults};
use crate::events::{Event, Events, Listener, Subject};
use crate::forwarder::Forwarder;
use crate::handover::{Label, Sockets};
use crate::history::History;
use crate::judgement::{Judge, OwnListeners};
use crate::locks::{Locks, LocksError};
use crate::metrics::Metrics;
use crate::open_files;
use crate::shares::Shares;
use crate::ssh::{HostKeys, Serves, Service, Settings};
use crate::vital::{Vital, Vitals};
use crate::workers::Workers;

/// Why the gateway does not start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration, a key or a policy is faulty.
    #[error(transparent)]
    Invalid(#[from] Faults),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The operating system's words.
        error: io::Error,
    },
    /// The audit log cannot be opened.
    #[error("cannot write the audit log: {0}")]
    Audit(io::Error),
    /// The control socket or the monitoring listener cannot be bound.
    #[error("{0}")]
    Admin(String),
    /// Who is locked out cannot be read.
    #[error("cannot read who is locked out: {0}")]
    Locks(#[from] LocksError),
    /// The system gives no threads.
    #[error("cannot start a thread: {0}")]
    Threads(io::Error),
}

impl Gateway {
    /// Loads, binds and serves.
    ///
    /// # Errors
    /// What is wrong, before anything is served.
    pub async fn start(origin: impl Origin) -> Result<Self, StartError> {
        Self::start_with(origin, Sockets::default(), &[]).await
    }

    /// The same on sockets that other processes serve, the last of which this one replaces. Unless it serves, theirs stay as they
    /// are.
    ///
    /// # Errors
    /// What is wrong, before anything is served.
    pub(crate) async fn start_with(
        origin: impl Origin,
        mut sockets: Sockets,
        processes: &[u32],
    ) -> Result<Self, StartError> {
        let config = origin.load()?;
        let prepared = Prepared::compiled_by(origin.compiler(), config, origin.file()).await?;
        prepared.keeps_to(origin.invariants(), origin.file()).await?;
        let Prepared {
            config,
            accounts,
            names,
            routes,
            host_keys,
            policies,
            generation,
            sessions,
            ..
        } = prepared;
        let (fleet, generation) = fleet::join(&config.fleet, origin.file(), &sessions, generation)?;
        let locks = Locks::read(locks_of(&config))?;
        let files = open_files::provide(config.limits.sessions);
        let audit_file = config.audit.file.clone();
        let audit = Audit::open(&config.audit).map_err(StartError::Audit)?;
        let own = OwnListeners::default();
        let (mut listeners, mut shared_sockets) = (Vec::new(), Sockets::default());
        let bind = |address| sockets.take_ssh(address).map_or_else(|| bind(address), Ok);
        for (asked, bound) in bind_all(&config.server.listen, bind)? {
            let address = bound.local_addr().unwrap_or(asked);
            let again = bound.try_clone();
            let again = again.map_err(|error| StartError::Bind { address, error })?;
            shared_sockets.add(Label::Ssh { asked }, again);
            own.add(address);
            listeners.push((address, bound));
        }
        let addresses: Vec<_> = listeners.iter().map(|(address, _)| *address).collect();
        let bound = Bound::new(&config.admin, origin.control_socket(), &own, &mut sockets)?;
        if let Some(address) = sockets.unused() {
            let words =
                "the service manager passes this socket, and neither server.listen nor admin.http names its address";
            let error = io::Error::other(words);
            return Err(StartError::Bind { address, error });
        }
        let ending = CancellationToken::new();
        let succession = bound.share(shared_sockets, processes, &ending)?;
        let accounts = Arc::new(accounts);
        let settings = settings(&config, &accounts, host_keys);
        let decisions_kept = config.policy.gates.replay.decisions;
        let settled = Settled {
            number: 0,
            authorities_at: 0,
            config: Arc::new(config),
            accounts,
            names,
            routes: Arc::new(routes),
        };
        let in_force = InForce::new(own, settled);
        let policies = Arc::new(policies);
        let judge = Arc::new(Judge::new(
            in_force.first(Arc::clone(&generation)),
            Arc::clone(&policies),
        ));
        let observers = Observers(Arc::clone(&judge));
        let metrics = Metrics::default();
        let history = History::default();
        let mut listening: Vec<Box<dyn Listener>> = vec![Box::new(observers), Box::new(metrics.clone())];
        if bound.is_monitored() {
            listening.push(Box::new(history.clone()));
        }
        #[cfg(feature = "otlp")]
        listening.extend(crate::otlp::sessions());
        let events = Events::new(audit, listening);
        let tasks = TaskTracker::new();
        let files = Shares::new(files, FILES_OF_ONE);
        let forwarder = Arc::new(Forwarder::new(&judge, &events, &sessions, files, &tasks));
        let started = Event::GatewayStarted {
            version: env!("CARGO_PKG_VERSION"),
            process: std::process::id(),
            replaces: processes.last().copied(),
            listen: addresses.clone(),
            policies: generation.installed().collect(),
        };
        let on_record = events.emit_surely(&Subject::default(), &started);
        if !on_record.confirmed().await {
            tracing::error!("the audit log cannot be written: every forward will be refused");
        }
        let serves = Serves {
            forwarder: Arc::clone(&forwarder),
            judge: Arc::clone(&judge),
            events: events.clone(),
            sessions: sessions.clone(),
            locks: locks.clone(),
            tasks: tasks.clone(),
        };
        let (swaps, swapped) = watch::channel(0);
        let rollouts = Rollouts::new(decisions_kept);
        judge.heard_by(rollouts.witness());
        let shared = Arc::new(Parts {
            origin: Box::new(origin),
            service: Arc::new(Service::new(serves, settings)),
            forwarder,
            judge,
            events,
            metrics,
            history,
            sessions,
            locks,
            tasks,
            clients: Arc::default(),
            in_force,
            workers: Workers::start().map_err(StartError::Threads)?,
            desk: admin::Thread::start().map_err(StartError::Threads)?,
            doorway: Arc::default(),
            refusals: Mutex::default(),
            closing: CancellationToken::new(),
            ending,
            swaps,
            reading: tokio::sync::Mutex::new(()),
            read_so_far: AtomicU64::new(0),
            reloading: tokio::sync::Mutex::new(()),
            finished: Mutex::new(false),
            vitals: Vitals::default(),
            started: Timestamp::now(),
            listen: addresses.clone(),
            leave: CancellationToken::new(),
            patience: Mutex::default(),
            rollouts,
            succession,
            fleet,
        });
        for (address, listener) in listeners {
            let accept = |listener| {
                let (listener, accepts) = (Arc::new(listener), Arc::clone(&shared));
                let make = move || Arc::clone(&accepts).accept(Arc::clone(&listener));
                let kept = shared
                    .vitals
                    .keep(Vital::Accepting(address), shared.closing.clone(), make);
                shared.tasks.track_future(kept)
            };
            let accepting = shared.workers.accept(listener, accept);
            accepting.map_err(|error| StartError::Bind { address, error })?;
        }
        // What takes access away goes on while tunnels may end by themselves.
        let ending = || shared.ending.clone();
        let watches = Arc::clone(&shared);
        let watching = move || Arc::clone(&watches).watch();
        let watching = shared.vitals.keep(Vital::Watching, ending(), watching);
        shared.tasks.spawn(watching);
        let watches = Arc::clone(&shared);
        let watching = move || Arc::clone(&watches).watch_registries();
        let watching = shared.vitals.keep(Vital::Polling, ending(), watching);
        shared.tasks.spawn(watching);
        let watches = Arc::clone(&shared);
        let watching = move || Arc::clone(&watches).watch_keys();
        let watching = shared.vitals.keep(Vital::WatchingKeys, ending(), watching);
        shared.tasks.spawn(watching);
        shared.keep_fleet();
        shared.hear_orders();
        shared.keep_followers_informed();
        let events = shared.events.clone();
        shared
            .vitals
            .register(Vital::Auditing, move || events.audit().is_served());
        let judge = Arc::clone(&shared.judge);
        shared
            .vitals
            .register(Vital::Epochs, move || judge.current().generation.is_interrupted());
        let judge = Arc::clone(&shared.judge);
        shared
            .vitals
            .register(Vital::Preparing, move || judge.current().generation.is_refilled());
        for over in policies.passed_over() {
            shared.rejected(&over.plugin, over.sha256.clone(), over.reason.clone());
        }
        let admin = bound.serve(&shared);
        sockets
            .unused_controls()
            .for_each(|(path, made)| admin::remove_socket(path, made));
        Ok(Self {
            shared,
            addresses,
            audit_file,
            swapped,
            admin,
        })
    }
}

pub(super) fn settings(config: &Config, accounts: &Accounts, host_keys: HostKeys) -> Settings {
    Settings {
        host_keys,
        passwords: accounts.have_passwords(),
        banner: config.server.banner.clone(),
        login_grace: config.auth.login_grace,
        max_attempts: config.auth.max_attempts,
        limits: config.limits.clone(),
        algorithms: config.algorithms,
    }
}

/// Binds all addresses. Of several, those are left out that belong to a protocol which this system does not have, such as IPv6
/// where the kernel has none.
fn bind_all<L>(
    addresses: &[SocketAddr],
    mut bind: impl FnMut(SocketAddr) -> io::Result<L>,
) -> Result<Vec<(SocketAddr, L)>, StartError> {
    let (mut bound, mut absent) = (Vec::new(), Vec::new());
    for &address in addresses {
        match bind(address) {
            Ok(listener) => bound.push((address, listener)),
            Err(error) if is_unknown_protocol(&error) => absent.push((address, error)),
            Err(error) => return Err(StartError::Bind { address, error }),
        }
    }
    for (address, error) in absent {
        if bound.is_empty() {
            return Err(StartError::Bind { address, error });
        }
        let protocol = if address.is_ipv6() { "IPv6" } else { "IPv4" };
        tracing::warn!("this system has no {protocol}: not listening on {address}");
    }
    Ok(bound)
}

fn is_unknown_protocol(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EAFNOSUPPORT as i32)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

const BACKLOG: i32 = 1024;

/// One user who is alone may have three quarters of the files of all forwards, see [`Shares`].
const FILES_OF_ONE: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of addresses whose binding ends so: those that were bound, or the one that failed.
    fn bound(ends: &[(&str, Option<Errno>)]) -> Result<Vec<String>, String> {
        let addresses: Vec<SocketAddr> = ends.iter().map(|(address, _)| address.parse().unwrap()).collect();
        let bind = |address: SocketAddr| {
            let end = ends.iter().find(|(text, _)| *text == address.to_string());
            end.and_then(|(_, error)| *error)
                .map_or(Ok(()), |error| Err(io::Error::from_raw_os_error(error as i32)))
        };
        match bind_all(&addresses, bind) {
            Ok(bound) => Ok(bound.iter().map(|(address, ())| address.to_string()).collect()),
            Err(StartError::Bind { address, .. }) => Err(address.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn it_listens_on_what_there_is_and_an_address_in_use_stays_an_error() {
        let (four, six) = ("0.0.0.0:2222", "[::]:2222");
        let (absent, used) = (Some(Errno::EAFNOSUPPORT), Some(Errno::EADDRINUSE));
        let listens = |addresses: &[&str]| Ok(addresses.iter().map(|&address| address.to_owned()).collect());
        let fails = |address: &str| Err(address.to_owned());
        #[rustfmt::skip]
        let rows = [
            (vec![(four, None), (six, None)],     listens(&[four, six])),
            (vec![(four, None), (six, absent)],   listens(&[four])),
            (vec![(six, absent), (four, None)],   listens(&[four])),
            (vec![(four, absent), (six, None)],   listens(&[six])),
            (vec![(six, absent)],                 fails(six)),
            (vec![(six, absent), (four, absent)], fails(six)),
            (vec![(four, None), (six, used)],     fails(six)),
            (vec![(four, used), (six, absent)],   fails(four)),
            (vec![(four, None), (six, Some(Errno::EADDRNOTAVAIL))], fails(six)),
        ];
        for (ends, expected) in rows {
            assert_eq!(bound(&ends), expected, "{ends:?}");
        }
    }
}

//! From a configuration to a gateway that serves.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex};

use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::current::{InForce, Settled};
use super::{Gateway, Origin, Prepared, Shared};
use crate::accounts::Accounts;
use crate::audit::{Audit, Event, Subject};
use crate::config::{Config, Faults};
use crate::forwarder::{Desk, Quotas, Sessions};
use crate::judgement::{Judge, OwnListeners};
use crate::names::Resolver;
use crate::open_files;
use crate::shares::Shares;
use crate::ssh::{HostKeys, Service, Settings};
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
        let config = origin.load()?;
        let prepared = Prepared::compiled_by(origin.compiler(), config, origin.file()).await?;
        let Prepared {
            config,
            accounts,
            host_keys,
            policies,
            generation,
            registry,
        } = prepared;
        let files = open_files::provide(config.limits.sessions);
        let audit = Audit::open(&config.audit).map_err(StartError::Audit)?;
        let own = OwnListeners::default();
        let mut listeners = Vec::new();
        for address in &config.server.listen {
            let bound = bind(*address).map_err(|error| StartError::Bind {
                address: *address,
                error,
            })?;
            let address = bound.local_addr().unwrap_or(*address);
            own.add(address);
            listeners.push((address, bound));
        }
        let addresses: Vec<_> = listeners.iter().map(|(address, _)| *address).collect();
        let accounts = Arc::new(accounts);
        let settings = settings(&config, &accounts, host_keys);
        let settled = Settled {
            number: 0,
            config: Arc::new(config),
            accounts,
        };
        let in_force = InForce::new(own, settled);
        let policies = Arc::new(policies);
        let desk = Arc::new(Desk {
            judge: Judge::new(
                in_force.first(Arc::clone(&generation)),
                Arc::clone(&policies),
                Resolver::system(),
            ),
            audit,
            registry,
            sessions: Sessions::default(),
            quotas: Quotas::default(),
            files: Shares::new(files, FILES_OF_ONE),
            draining: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        });
        let started = Event::GatewayStarted {
            listen: addresses.clone(),
            policies: generation.installed().collect(),
        };
        if !desk
            .audit
            .record_surely(&Subject::default(), &started)
            .confirmed()
            .await
        {
            tracing::error!("the audit log cannot be written: every forward will be refused");
        }
        let (swaps, swapped) = watch::channel(0);
        let shared = Arc::new(Shared {
            origin: Box::new(origin),
            service: Arc::new(Service::new(desk, settings)),
            sessions: Arc::default(),
            in_force,
            workers: Workers::start().map_err(StartError::Threads)?,
            unauthenticated: Arc::default(),
            closing: CancellationToken::new(),
            ending: CancellationToken::new(),
            swaps,
            reading: tokio::sync::Mutex::new(()),
            read_so_far: AtomicU64::new(0),
            reloading: tokio::sync::Mutex::new(()),
            finished: Mutex::new(false),
        });
        for (address, listener) in listeners {
            let accept = |listener| shared.tasks().track_future(Arc::clone(&shared).accept(listener));
            let accepting = shared.workers.accept(listener, accept);
            accepting.map_err(|error| StartError::Bind { address, error })?;
        }
        shared.tasks().spawn(Arc::clone(&shared).watch());
        shared.tasks().spawn(Arc::clone(&shared).watch_keys());
        shared
            .tasks()
            .spawn(async move { policies.keep_last_good(&generation).await });
        Ok(Self {
            shared,
            addresses,
            swapped,
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
    }
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

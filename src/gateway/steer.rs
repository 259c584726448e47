//! The gateway's side of the administration interface.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::hardening::hardening;
use super::start::StartError;
use super::upgrade::Succession;
use super::{Parts, state_directory};
use crate::admin::{
    self, Admins, AuditView, ControlSocket, PolicyView, Relatives, Reloaded, SocketError, Status, Steered, Token,
    Unready, Until,
};
use crate::config;
use crate::events::Events;
use crate::fleet::Fleet;
use crate::handover::{Label, Sockets};
use crate::history::History;
use crate::judgement::OwnListeners;
use crate::locks::Locks;
use crate::metrics::{Component, Now};
use crate::policy::{Installed, PolicyRef};
use crate::request::Action;
use crate::sessions::Sessions;
use crate::vital::Vital;
use tokio_util::task::TaskTracker;

/// Where administrators and monitoring reach a gateway.
#[derive(Clone, Debug, Default)]
pub struct Interfaces {
    /// The control socket.
    pub socket: Option<PathBuf>,
    /// The monitoring listener.
    pub http: Option<SocketAddr>,
}

/// The default control socket: in `$XDG_RUNTIME_DIR/portreeve`, or if that is not set in the
/// state directory.
#[must_use]
pub fn control_socket() -> Option<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .map(|path| path.join("portreeve"));
    Some(runtime.or_else(state_directory)?.join("admin.sock"))
}

/// Both listeners, bound and not served yet.
pub(super) struct Bound {
    control: Option<(ControlSocket, Admins)>,
    http: Option<(SocketAddr, TcpListener)>,
    /// As configured.
    http_asked: Option<SocketAddr>,
    token: Option<Token>,
}

impl Bound {
    /// Fails if a configured socket cannot be bound. The default one is left out with a warning, so that a user can run a second
    /// gateway without a configuration.
    pub(super) fn new(
        config: &config::Admin,
        default: Option<PathBuf>,
        own: &OwnListeners,
        sockets: &mut Sockets,
    ) -> Result<Self, StartError> {
        let admins = Admins::new(config.group.as_deref());
        let admins = admins.map_err(|words| StartError::Admin(format!("admin.group: {words}")))?;
        let path = config.socket.clone().or(default);
        let bind = |path: PathBuf| match sockets.take_control(&path) {
            Some((listener, made)) => match ControlSocket::taken(&path, listener, made, &admins)? {
                Some(taken) => Ok(taken),
                None => ControlSocket::bind(&path, &admins),
            },
            None => ControlSocket::bind(&path, &admins),
        };
        let control = match path.map(bind).transpose() {
            Ok(socket) => socket.map(|socket| (socket, admins)),
            Err(error) if config.socket.is_some() => return Err(StartError::Admin(error.to_string())),
            Err(error @ SocketError::InUse(_)) => {
                tracing::warn!(%error, "this gateway has no control socket");
                None
            }
            Err(error) => {
                tracing::warn!(%error, "this gateway has no control socket: set admin.socket");
                None
            }
        };
        if let Some((socket, _)) = &control {
            own.add_socket(socket.path());
        }
        let token = config.token_file.as_deref().map(Token::read).transpose();
        let token = token.map_err(|words| StartError::Admin(format!("admin.token-file: {words}")))?;
        let http = match config.http {
            Some(address) => {
                let taken = sockets.take_monitoring(address);
                let bound = taken.map_or_else(|| TcpListener::bind(address), Ok);
                let bound = bound.and_then(|bound| bound.set_nonblocking(true).map(|()| bound));
                let bound = bound.map_err(|error| StartError::Bind { address, error })?;
                let address = bound.local_addr().unwrap_or(address);
                own.add(address);
                Some((address, bound))
            }
            None => None,
        };
        Ok(Self {
            control,
            http,
            http_asked: config.http,
            token,
        })
    }

    /// What a process that replaces this one gets: `sockets`, and these two.
    pub(super) fn share(
        &self,
        mut sockets: Sockets,
        processes: &[u32],
        ending: &CancellationToken,
    ) -> Result<Succession, StartError> {
        let unshared = |error| StartError::Admin(format!("cannot share a listening socket: {error}"));
        if let (Some((address, listener)), Some(asked)) = (&self.http, self.http_asked) {
            let again = listener.try_clone();
            let again = again.map_err(|error| StartError::Bind {
                address: *address,
                error,
            })?;
            sockets.add(Label::Monitoring { asked }, again);
        }
        let mut relatives = Relatives::default();
        if let Some((socket, admins)) = &self.control {
            let (path, made) = (socket.path().to_owned(), socket.made());
            sockets.add(
                Label::Control { path, made },
                socket.listener().try_clone().map_err(unshared)?,
            );
            relatives = admins.relatives().clone();
        }
        processes.iter().for_each(|process| relatives.add(*process));
        let ownership = self.control.as_ref().map(|(socket, _)| socket.ownership());
        Ok(Succession::new(sockets, ownership, relatives, ending.child_token()))
    }

    /// Whether anyone can look at the status page.
    pub(super) fn is_monitored(&self) -> bool {
        self.http.is_some()
    }

    /// Serves both until the gateway has stopped.
    pub(super) fn serve(self, shared: &Arc<Parts>) -> Interfaces {
        let interfaces = Interfaces {
            socket: self.control.as_ref().map(|(socket, _)| socket.path().to_owned()),
            http: self.http.as_ref().map(|(address, _)| *address),
        };
        let (tasks, callers) = (&shared.tasks, &shared.succession.callers);
        let until = Until {
            leaving: shared.succession.leaving.clone(),
            ending: shared.ending.clone(),
        };
        let stop = until.leaving.clone();
        let desk = shared.desk.handle();
        if let Some((socket, admins)) = self.control {
            socket.ownership().take();
            let (socket, gateway) = (Arc::new(socket), Arc::clone(shared));
            let (callers, until) = (callers.clone(), until.clone());
            let urgent = Handle::current();
            let serving = shared.vitals.keep(Vital::Steering, stop.clone(), move || {
                let (callers, urgent, until) = (callers.clone(), urgent.clone(), until.clone());
                admin::control(
                    Arc::clone(&socket),
                    admins.clone(),
                    Arc::clone(&gateway),
                    callers,
                    urgent,
                    until,
                )
            });
            tasks.spawn_on(serving, desk);
        }
        if let Some((address, listener)) = self.http {
            let (listener, gateway) = (Arc::new(listener), Arc::clone(shared));
            let ending = shared.ending.clone();
            let callers = callers.clone();
            let serving = shared.vitals.keep(Vital::Monitoring(address), stop.clone(), move || {
                let (callers, until) = (callers.clone(), until.clone());
                let token = self.token.clone();
                admin::monitor(Arc::clone(&listener), token, Arc::clone(&gateway), callers, until)
            });
            tasks.spawn_on(serving, desk);
            let gateway = Arc::clone(shared);
            let keeping = shared.vitals.keep(Vital::Sampling, ending, move || {
                let history = gateway.history.clone();
                history.keep(gateway.sessions.clone(), gateway.ending.clone())
            });
            tasks.spawn(keeping);
        }
        interfaces
    }
}

impl Parts {
    pub(super) fn is_leaving(&self) -> bool {
        self.forwarder.refuses_all() || self.succession.leaving.is_cancelled()
    }
}

impl Steered for Parts {
    fn status(&self) -> Status {
        let forwards = self.sessions.forwards();
        let listeners = forwards
            .iter()
            .filter(|forward| forward.request.action == Action::Listen);
        let listeners = listeners.count();
        let (writable, pending) = self.events.audit().state();
        let current = self.judge.current();
        Status {
            version: env!("CARGO_PKG_VERSION"),
            process: std::process::id(),
            started: self.started,
            listen: self.listen.clone(),
            draining: self.is_leaving(),
            sessions: self.sessions.count(),
            tunnels: forwards.len() - listeners,
            listeners,
            buffered_bytes: self.service.buffered(),
            audit: AuditView { writable, pending },
            policies: current
                .generation
                .installed()
                .map(|installed| self.policy_view(installed))
                .collect(),
            hardening: hardening(),
        }
    }

    fn unready(&self) -> Vec<Unready> {
        let mut reasons = Vec::new();
        if self.judge.current().generation.policies().next().is_none() {
            reasons.push(Unready::NoPolicy);
        }
        if self.is_leaving() {
            reasons.push(Unready::Draining);
        }
        if !self.events.audit().takes_lines() {
            reasons.push(Unready::Audit);
        }
        if let Some(why) = self.fleet_trouble().filter(|_| self.sessions.refuses_new()) {
            reasons.push(Unready::CutOff(why));
        }
        let mut absent = self.vitals.absent();
        // These stop on purpose.
        let listens = |task: &Vital| matches!(task, Vital::Accepting(_) | Vital::Steering | Vital::Monitoring(_));
        absent.retain(|task| !(self.is_leaving() && listens(task)));
        reasons.extend(absent.into_iter().map(|task| Unready::Absent(task.to_string())));
        reasons
    }

    fn remarks(&self) -> Vec<String> {
        self.fleet_trouble().into_iter().collect()
    }

    fn metrics(&self) -> String {
        let current = self.judge.current();
        let component = |(policy, name): (&PolicyRef, &str)| Component {
            plugin: policy.name.clone(),
            name: name.to_owned(),
            version: policy.version.clone(),
            sha256: policy.sha256.clone(),
        };
        self.metrics.text(Now {
            totals: self.sessions.totals(),
            buffered_bytes: self.service.buffered(),
            unauthenticated: self.doorway.count(),
            penalised_sources: self.doorway.full_sources(current.limits.unauthenticated_per_source),
            audit: self.events.audit().lines(),
            lookups: current.names.outcomes(),
            policies: current.generation.components().map(component).collect(),
            redis: self.redis(),
        })
    }

    fn history(&self) -> &History {
        &self.history
    }

    fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    fn locks(&self) -> &Locks {
        &self.locks
    }

    fn fleet(&self) -> Option<&Fleet> {
        self.fleet.as_ref()
    }

    fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    fn events(&self) -> &Events {
        &self.events
    }

    async fn reload(self: Arc<Self>) -> Result<Reloaded, String> {
        // In a task of its own: it goes on if the administrator does not wait for it.
        let gateway = Arc::clone(&self);
        let reloading = self.tasks.spawn(async move { Parts::reload(&gateway).await });
        let reloaded = reloading.await.map_err(|error| format!("the reload failed: {error}"))?;
        match reloaded.reason() {
            Some(reason) => Err(reason),
            None => Ok(Reloaded {
                applied: reloaded.applied,
                needs_restart: reloaded.needs_restart,
            }),
        }
    }

    async fn rehearse(self: Arc<Self>) -> Result<Reloaded, String> {
        let gateway = Arc::clone(&self);
        let rehearsing = self.tasks.spawn(async move { Parts::rehearse(&gateway).await });
        let rehearsed = rehearsing
            .await
            .map_err(|error| format!("the dry run failed: {error}"))?;
        match rehearsed.would_fail() {
            Some(reason) => Err(reason),
            None => Ok(Reloaded {
                applied: rehearsed.applied,
                needs_restart: rehearsed.needs_restart,
            }),
        }
    }

    fn drain(&self, patience: Option<Duration>) {
        if let Some(patience) = patience {
            *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = Some(patience);
        }
        self.leave.cancel();
    }
}

impl Parts {
    fn policy_view(&self, installed: Installed) -> PolicyView {
        let plugin = installed.policy.name.clone();
        let known = self.judge.policies().known(&plugin);
        let confirm_by = known.as_ref().and_then(|known| known.confirm_by);
        let in_force = known.and_then(|known| {
            let mut entries = known.entries.into_iter().map(|(entry, _)| entry);
            entries.find(|entry| entry.generation == known.active)
        });
        let shadow = self.rollouts.shadows.of(&plugin);
        PolicyView {
            plugin,
            policy: installed.policy,
            signer: installed.signer.map(|signer| signer.principal),
            generation: in_force.as_ref().map(|entry| entry.generation),
            since: in_force.map(|entry| entry.since),
            shadow: shadow.map(|shadow| shadow.candidate.clone()),
            confirm_by,
        }
    }
}

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::channel::{Asked, Back, Outgoing, halves, sentence};
use super::credential::{aside, blob, look_up, present};
use super::server::Service;
use super::status;
use crate::accounts::Admitted;
use crate::audit::{Cause, Event, LoggedIn, Subject};
use crate::config::GatewayPorts;
use crate::forwarder::{Desk, Listening, Visit};
use crate::registry::SessionGuard;
use crate::relay::{Flows, Throttle};
use crate::request::{Connection, Requested, clipped, new_id};

/// One SSH connection, from its first packet to its last.
pub(super) struct Client {
    service: Arc<Service>,
    id: String,
    client: SocketAddr,
    server: SocketAddr,
    began: Instant,
    flows: Flows,
    throttle: Throttle,
    login: Login,
    /// Told once the user is in.
    entered: Option<oneshot::Sender<Entered>>,
    visit: Option<Arc<Visit>>,
    guard: Option<SessionGuard>,
    listeners: HashMap<(Requested, Option<u16>), Listening>,
    shells: HashMap<ChannelId, Shell>,
    /// For session channels.
    places: Arc<Semaphore>,
}

/// How far the login is.
enum Login {
    Nobody,
    Proven(Box<Admitted>),
    Done,
}

/// A session channel that has no request yet.
struct Shell {
    screen: Outgoing,
    left: CancellationToken,
    terminal: bool,
    place: OwnedSemaphorePermit,
}

type Answer<T> = Result<T, russh::Error>;

impl Client {
    pub(super) fn new(
        service: Arc<Service>,
        client: SocketAddr,
        server: SocketAddr,
        flows: Flows,
        entered: oneshot::Sender<Entered>,
    ) -> Self {
        Self {
            throttle: Throttle::new(flows.clone(), service.bounds()),
            flows,
            service,
            id: new_id("s"),
            client,
            server,
            began: Instant::now(),
            login: Login::Nobody,
            entered: Some(entered),
            visit: None,
            guard: None,
            listeners: HashMap::new(),
            shells: HashMap::new(),
            places: Arc::new(Semaphore::new(MAX_SHELLS)),
        }
    }

    /// Lets the user in, or says in the log why not.
    fn conclude(
        &mut self,
        user: &str,
        method: &'static str,
        fingerprint: Option<String>,
        admitted: Result<Admitted, String>,
    ) -> Auth {
        let refused = match admitted {
            Ok(admitted) => match self.enter(user) {
                true => {
                    self.login = Login::Proven(Box::new(admitted));
                    return Auth::Accept;
                }
                false => "the user has too many sessions (limits.sessions-per-user)".to_owned(),
            },
            Err(reason) => reason,
        };
        self.refused(user, method, fingerprint, refused);
        Auth::reject()
    }

    fn enter(&mut self, user: &str) -> bool {
        let per_user = self.service.desk.limits.load().sessions_per_user;
        self.guard = self.service.desk.registry.enter_session(user, per_user);
        self.guard.is_some()
    }

    fn refused(&self, user: &str, method: &'static str, fingerprint: Option<String>, reason: String) {
        let user = &clipped(user);
        tracing::info!(session = self.id, user, client = %self.client, method, reason, "login refused");
        let subject = Subject {
            session: Some(self.id.clone()),
            user: Some(user.to_owned()),
            client: Some(self.client),
            forward: None,
        };
        let event = Event::AuthFailed {
            method,
            fingerprint,
            reason,
        };
        self.service.desk.audit.record(&subject, &event);
    }

    /// The visit; russh passes requests only after the login.
    fn visit(&self) -> Answer<Arc<Visit>> {
        self.visit.clone().ok_or(russh::Error::NotAuthenticated)
    }

    fn connect(
        &self,
        requested: Requested,
        originator: Option<SocketAddr>,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Answer<()> {
        let visit = self.visit()?;
        let asked = Asked {
            queue: self.flows.queue(channel.id().into()),
            channel,
            reply,
        };
        let desk = Arc::clone(&self.service.desk);
        let tasks = desk.tasks.clone();
        tasks.spawn(async move { desk.connect(&visit, requested, originator, asked).await });
        Ok(())
    }

    /// The one place where the session loop waits: SSH replies to global requests in their order.
    async fn listen(&mut self, requested: Requested, session: &mut Session) -> Answer<Option<Listening>> {
        let visit = self.visit()?;
        let back = Back {
            handle: session.handle(),
            flows: self.flows.clone(),
        };
        let listening = self.service.desk.listen(&visit, requested, back);
        let refused = match listening.await {
            Ok(listening) => return Ok(Some(listening)),
            Err((refusal, forward)) => sentence(&refusal, &forward),
        };
        session.debug(false, &refused, "en")?;
        Ok(None)
    }

    async fn cancel(&mut self, requested: Requested, port: Option<u16>) -> bool {
        let Some(listening) = self.listeners.remove(&(requested, port)) else {
            return false;
        };
        listening.stop.end(Cause::Closed);
        let _ = timeout(CANCEL_PATIENCE, listening.gone.cancelled()).await;
        true
    }

    /// russh takes whatever comes, so this is where the windows are enforced.
    fn count(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Answer<()> {
        if self.throttle.arrived(channel.into(), data.len()).is_ok() {
            return Ok(());
        }
        if let Some(visit) = &self.visit {
            visit.stop.end(Cause::Failed);
        }
        session.disconnect(
            russh::Disconnect::ProtocolError,
            "more data than the window allows",
            "en",
        )
    }

    fn refuse_program(&mut self, channel: ChannelId, session: &mut Session) -> Answer<()> {
        if self.shells.remove(&channel).is_none() {
            return session.channel_failure(channel);
        }
        session.channel_success(channel)?;
        session.extended_data(channel, 1, format!("{PURPOSE}\r\n").into_bytes())?;
        session.exit_status_request(channel, 1)?;
        session.eof(channel)?;
        session.close(channel)
    }
}

impl Handler for Client {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Answer<Option<String>> {
        Ok(self
            .service
            .banner()
            .map(|banner| banner.trim_end().to_owned() + "\r\n"))
    }

    async fn auth_none(&mut self, _user: &str) -> Answer<Auth> {
        Ok(Auth::reject())
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Answer<Auth> {
        if !self.service.accounts().have_passwords() {
            return Ok(Auth::reject());
        }
        let (name, password) = (user.to_owned(), password.to_owned());
        let service = Arc::clone(&self.service);
        let _turn = service.turn_to_hash().await;
        let accounts = service.accounts();
        let admitted = aside(move || accounts.by_password(&name, &password)).await;
        Ok(self.conclude(user, "password", None, admitted))
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Answer<Auth> {
        let Some(key) = blob(offer.public_key.key_data()) else {
            return Ok(Auth::reject());
        };
        let (name, client) = (user.to_owned(), self.client.ip());
        let fingerprint = key.fingerprint();
        // russh shows the key of a certificate here as if it came without one, so where a certificate
        // could let the user in, the answer waits for the proof.
        let known = look_up(self.service.accounts(), move |accounts| {
            match accounts.by_key(&name, &key, client) {
                Err(_) if accounts.take_certificates(&name) => Ok(()),
                admitted => admitted.map(drop),
            }
        });
        match known.await {
            Ok(()) => Ok(Auth::Accept),
            Err(reason) => {
                self.refused(user, "publickey", Some(fingerprint), reason);
                Ok(Auth::reject())
            }
        }
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Answer<Auth> {
        let Some(key) = blob(key.public_key.key_data()) else {
            return Ok(Auth::reject());
        };
        let (name, client) = (user.to_owned(), self.client.ip());
        let fingerprint = Some(key.fingerprint());
        let accounts = self.service.accounts();
        let admitted = look_up(accounts, move |accounts| accounts.by_key(&name, &key, client)).await;
        Ok(self.conclude(user, "publickey", fingerprint, admitted))
    }

    async fn auth_openssh_certificate(&mut self, user: &str, certificate: &Certificate) -> Answer<Auth> {
        let presented = present(certificate);
        let fingerprint = presented.as_ref().ok().map(|presented| presented.key.fingerprint());
        let (name, client) = (user.to_owned(), self.client.ip());
        let accounts = self.service.accounts();
        let admitted = look_up(accounts, move |accounts| {
            accounts.by_certificate(&name, &presented?, client)
        });
        let admitted = admitted.await;
        Ok(self.conclude(user, "certificate", fingerprint, admitted))
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Answer<()> {
        let Login::Proven(admitted) = std::mem::replace(&mut self.login, Login::Done) else {
            return Err(russh::Error::NotAuthenticated);
        };
        let connection = Connection {
            id: self.id.clone(),
            client: self.client,
            server: self.server,
            software: String::from_utf8_lossy(session.remote_sshid()).trim_end().to_owned(),
            since: Timestamp::now(),
        };
        let Admitted { principal, limits } = *admitted;
        let event = Event::AuthSucceeded(Box::new(LoggedIn::new(&principal, &connection)));
        let ceilings = self.service.desk.limits.load_full();
        let visit = Arc::new(Visit::new(principal, connection, limits, &ceilings));
        self.service.desk.audit.record(&visit.subject, &event);
        tracing::info!(session = self.id, user = visit.principal.user, client = %self.client, "logged in");
        if let Some(entered) = self.entered.take() {
            let _ = entered.send(Entered {
                desk: Arc::clone(&self.service.desk),
                visit: Arc::clone(&visit),
                began: self.began,
                _guard: self.guard.take(),
            });
        }
        self.visit = Some(visit);
        Ok(())
    }

    async fn channel_open_direct_tcpip(
        &mut self,
        channel: Channel<Msg>,
        host: &str,
        port: u32,
        originator: &str,
        originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Answer<()> {
        let address = originator.parse::<IpAddr>().ok();
        let claimed = address.zip(u16::try_from(originator_port).ok());
        let requested = Requested::Tcp {
            host: clipped(host),
            port,
        };
        self.connect(requested, claimed.map(SocketAddr::from), channel, reply)
    }

    async fn channel_open_direct_streamlocal(
        &mut self,
        channel: Channel<Msg>,
        path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Answer<()> {
        self.connect(Requested::Socket(clipped(path)), None, channel, reply)
    }

    async fn tcpip_forward(&mut self, address: &str, port: &mut u32, session: &mut Session) -> Answer<bool> {
        let requested = Requested::Tcp {
            host: clipped(address),
            port: *port,
        };
        if self.service.desk.judge.house().gateway_ports() == GatewayPorts::Yes
            && !matches!(address, "" | "*" | "0.0.0.0")
        {
            session.debug(
                false,
                "the server's gateway-ports setting overrides the listen address",
                "en",
            )?;
        }
        let key = requested.clone();
        let Some(listening) = self.listen(requested, session).await? else {
            return Ok(false);
        };
        if *port == 0 {
            *port = u32::from(listening.port.unwrap_or(0));
        }
        let known_by = u16::try_from(*port).ok();
        self.listeners.insert((wildcard_port(key), known_by), listening);
        Ok(true)
    }

    async fn cancel_tcpip_forward(&mut self, address: &str, port: u32, _session: &mut Session) -> Answer<bool> {
        let requested = Requested::Tcp {
            host: address.to_owned(),
            port: 0,
        };
        Ok(self.cancel(requested, u16::try_from(port).ok()).await)
    }

    async fn streamlocal_forward(&mut self, path: &str, session: &mut Session) -> Answer<bool> {
        let requested = Requested::Socket(clipped(path));
        let Some(listening) = self.listen(requested.clone(), session).await? else {
            return Ok(false);
        };
        self.listeners.insert((requested, None), listening);
        Ok(true)
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _session: &mut Session) -> Answer<bool> {
        Ok(self.cancel(Requested::Socket(path.to_owned()), None).await)
    }

    async fn channel_open_confirmation(
        &mut self,
        channel: ChannelId,
        _max_packet_size: u32,
        _window_size: u32,
        _session: &mut Session,
    ) -> Answer<()> {
        self.flows.open(channel.into());
        Ok(())
    }

    fn adjust_window(&mut self, channel: ChannelId, current: u32) -> u32 {
        self.throttle.topped_up(channel.into(), current, Instant::now())
    }

    async fn window_adjusted(&mut self, channel: ChannelId, window: u32, _session: &mut Session) -> Answer<()> {
        self.flows.granted(channel.into(), window);
        Ok(())
    }

    async fn data(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Answer<()> {
        self.count(channel, data, session)
    }

    async fn extended_data(
        &mut self,
        channel: ChannelId,
        _code: u32,
        data: &[u8],
        session: &mut Session,
    ) -> Answer<()> {
        self.count(channel, data, session)
    }

    async fn channel_open_session(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Answer<()> {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            reply.reject(other(4, "too many session channels")).await;
            return Ok(());
        };
        let id = channel.id();
        let (keys, screen) = halves(channel);
        // What the client types is taken at once, or the session would wait for it.
        let left = CancellationToken::new();
        self.service
            .desk
            .tasks
            .spawn(status::wait_for_leaving(keys, left.clone()));
        let shell = Shell {
            screen,
            left,
            terminal: false,
            place,
        };
        self.shells.insert(id, shell);
        reply.accept().await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        _columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Answer<()> {
        match self.shells.get_mut(&channel) {
            Some(shell) => {
                shell.terminal = true;
                session.channel_success(channel)
            }
            None => session.channel_failure(channel),
        }
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Answer<()> {
        let visit = self.visit()?;
        let Some(shell) = self.shells.remove(&channel) else {
            return session.channel_failure(channel);
        };
        session.channel_success(channel)?;
        let view = status::View {
            visit,
            registry: self.service.desk.registry.clone(),
            handle: session.handle(),
            channel,
            terminal: shell.terminal,
        };
        self.service.desk.tasks.spawn(async move {
            let _place = shell.place;
            view.show(shell.left, shell.screen).await;
        });
        Ok(())
    }

    async fn exec_request(&mut self, channel: ChannelId, _command: &[u8], session: &mut Session) -> Answer<()> {
        self.refuse_program(channel, session)
    }

    async fn subsystem_request(&mut self, channel: ChannelId, _name: &str, session: &mut Session) -> Answer<()> {
        self.refuse_program(channel, session)
    }

    async fn env_request(
        &mut self,
        channel: ChannelId,
        _name: &str,
        _value: &str,
        session: &mut Session,
    ) -> Answer<()> {
        session.channel_failure(channel)
    }

    async fn x11_request(
        &mut self,
        channel: ChannelId,
        _single: bool,
        _protocol: &str,
        _cookie: &str,
        _screen: u32,
        session: &mut Session,
    ) -> Answer<()> {
        session.debug(false, PURPOSE, "en")?;
        session.channel_failure(channel)
    }

    async fn agent_request(&mut self, channel: ChannelId, session: &mut Session) -> Answer<bool> {
        session.debug(false, PURPOSE, "en")?;
        session.channel_failure(channel)?;
        Ok(false)
    }

    async fn channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator: &str,
        _port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Answer<()> {
        reply.reject(other(1, PURPOSE)).await;
        Ok(())
    }

    async fn channel_open_forwarded_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host: &str,
        _port: u32,
        _originator: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Answer<()> {
        reply
            .reject(other(1, "only a server opens forwarded-tcpip channels"))
            .await;
        Ok(())
    }

    async fn channel_close(&mut self, channel: ChannelId, _session: &mut Session) -> Answer<()> {
        self.shells.remove(&channel);
        self.throttle.closed(channel.into());
        Ok(())
    }
}

/// A user who is in. Held by whoever serves the connection, so that the end of the session does not
/// depend on what the protocol waits for.
pub(super) struct Entered {
    desk: Arc<Desk>,
    pub(super) visit: Arc<Visit>,
    began: Instant,
    _guard: Option<SessionGuard>,
}

impl Drop for Entered {
    /// Listeners and tunnels belong to their session and go with it.
    fn drop(&mut self) {
        self.visit.stop.end(Cause::Closed);
        let event = Event::SessionClosed {
            millis: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            reason: None,
        };
        self.desk.audit.record(&self.visit.subject, &event);
    }
}

/// A listener is known by its host string and the port that it got, so the port asked for is no
/// part of the key.
fn wildcard_port(requested: Requested) -> Requested {
    match requested {
        Requested::Tcp { host, .. } => Requested::Tcp { host, port: 0 },
        socket @ Requested::Socket(_) => socket,
    }
}

fn other(code: u32, reason: &str) -> ChannelOpenFailure {
    ChannelOpenFailure::Other {
        code,
        reason: reason.to_owned(),
    }
}

/// What this server is for.
const PURPOSE: &str = "portreeve only forwards ports: use ssh -N with -L, -R, -D, -W or -J";
/// How long a cancelled listener may take to be gone.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);
const MAX_SHELLS: usize = 10;

//! One SSH connection: routes the library's callbacks to the code that handles them.

mod forwarding;
mod login;
mod shell;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Weak};
use std::time::Instant;

use russh::keys::Certificate;
use russh::server::{Auth, ChannelOpenHandle, Handler, Msg, PublicKeyOffer, Session, VerifiedPublicKey};
use russh::{Channel, ChannelId, ChannelOpenFailure, Pty};
use tokio::sync::{Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use super::entered::Entered;
use super::flow::{Flows, Throttle};
use super::heard::Heard;
use super::server::Service;
use crate::accounts::Accounts;
use crate::forwarder::Listening;
use crate::request::{Ends, Requested, clipped, new_id};
use crate::sessions::{self, Seat};

use forwarding::claimed;
use login::{Login, Tried};
use shell::Shell;

/// One SSH connection, from its first packet to its last.
pub(super) struct Client {
    service: Arc<Service>,
    id: String,
    client: SocketAddr,
    server: SocketAddr,
    began: Instant,
    flows: Flows,
    throttle: Throttle,
    heard: Heard,
    login: Login,
    /// Who said last whether the user may log in.
    asked: Weak<Accounts>,
    tried: Tried,
    /// Told once the user is in.
    entered: Option<oneshot::Sender<Entered>>,
    /// The session of the user who is in; the library's own is another.
    ours: Option<Arc<sessions::Session>>,
    seat: Option<Seat>,
    /// Cancelled once nobody serves the connection any more.
    cut: CancellationToken,
    listeners: HashMap<(Requested, Option<u16>), Listening>,
    shells: HashMap<ChannelId, Shell>,
    /// The terminals of session channels.
    terminals: HashMap<ChannelId, Weak<AtomicU32>>,
    /// For session channels.
    places: Arc<Semaphore>,
}

type Answer<T> = Result<T, russh::Error>;

impl Client {
    pub(super) fn new(
        service: Arc<Service>,
        Ends { client, server }: Ends,
        flows: Flows,
        heard: Heard,
        (cut, entered): (CancellationToken, oneshot::Sender<Entered>),
    ) -> Self {
        Self {
            heard,
            tried: Tried::new(service.max_attempts()),
            throttle: Throttle::new(flows.clone(), service.bounds()),
            flows,
            service,
            id: new_id("s"),
            client,
            server,
            began: Instant::now(),
            login: Login::Nobody,
            asked: Weak::new(),
            entered: Some(entered),
            ours: None,
            seat: None,
            cut,
            listeners: HashMap::new(),
            shells: HashMap::new(),
            terminals: HashMap::new(),
            places: Arc::new(Semaphore::new(MAX_SHELLS)),
        }
    }

    /// The user's session; russh passes requests only after the login.
    fn ours(&self) -> Answer<Arc<sessions::Session>> {
        self.ours.clone().ok_or(russh::Error::NotAuthenticated)
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The library keeps room for a handler, and for the largest of these futures, several times in the task of a session, as
/// long as it lasts. So the handler is in a box, and so is what takes much room and is asked for now and then.
impl Handler for Box<Client> {
    type Error = russh::Error;

    async fn authentication_banner(&mut self) -> Answer<Option<String>> {
        let banner = self.service.banner();
        let banner = banner.as_deref().map(str::trim_end);
        // Of an empty one, OpenSSH would show an empty line.
        let banner = banner.filter(|banner| !banner.is_empty());
        Ok(banner.map(|banner| banner.to_owned() + "\r\n"))
    }

    async fn auth_none(&mut self, _user: &str) -> Answer<Auth> {
        Ok(self.ask_for_methods())
    }

    async fn auth_password(&mut self, user: &str, password: &str) -> Answer<Auth> {
        if !self.can_be_recorded() {
            return Ok(Auth::reject());
        }
        Box::pin(self.show_password(user, password)).await
    }

    async fn auth_publickey_offered(&mut self, user: &str, offer: PublicKeyOffer<'_>) -> Answer<Auth> {
        if !self.can_be_recorded() {
            return Ok(Auth::reject());
        }
        Box::pin(self.offer_key(user, offer)).await
    }

    async fn auth_publickey(&mut self, user: &str, key: VerifiedPublicKey<'_>) -> Answer<Auth> {
        if !self.can_be_recorded() {
            return Ok(Auth::reject());
        }
        Box::pin(self.show_key(user, key)).await
    }

    async fn auth_openssh_certificate(&mut self, user: &str, certificate: &Certificate) -> Answer<Auth> {
        if !self.can_be_recorded() {
            return Ok(Auth::reject());
        }
        Box::pin(self.show_certificate(user, certificate)).await
    }

    async fn auth_succeeded(&mut self, session: &mut Session) -> Answer<()> {
        self.begin(session)
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
        let requested = Requested::Tcp {
            host: clipped(host),
            port,
        };
        self.connect(requested, claimed(originator, originator_port), channel, reply)
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
        Box::pin(self.listen_at_port(address, port, session)).await
    }

    async fn cancel_tcpip_forward(&mut self, address: &str, port: u32, _session: &mut Session) -> Answer<bool> {
        let requested = Requested::Tcp {
            host: clipped(address),
            port: 0,
        };
        Ok(self.cancel(requested, u16::try_from(port).ok()).await)
    }

    async fn streamlocal_forward(&mut self, path: &str, session: &mut Session) -> Answer<bool> {
        Box::pin(self.listen_at_socket(path, session)).await
    }

    async fn cancel_streamlocal_forward(&mut self, path: &str, _session: &mut Session) -> Answer<bool> {
        Ok(self.cancel(Requested::Socket(clipped(path)), None).await)
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
        Box::pin(self.open_shell(channel, reply)).await;
        Ok(())
    }

    async fn pty_request(
        &mut self,
        channel: ChannelId,
        _term: &str,
        columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _modes: &[(Pty, u32)],
        session: &mut Session,
    ) -> Answer<()> {
        self.give_terminal(channel, columns, session)
    }

    async fn window_change_request(
        &mut self,
        channel: ChannelId,
        columns: u32,
        _rows: u32,
        _width: u32,
        _height: u32,
        _session: &mut Session,
    ) -> Answer<()> {
        self.resize_terminal(channel, columns);
        Ok(())
    }

    async fn shell_request(&mut self, channel: ChannelId, session: &mut Session) -> Answer<()> {
        self.show_status(channel, session)
    }

    async fn exec_request(&mut self, channel: ChannelId, _command: &[u8], session: &mut Session) -> Answer<()> {
        self.refuse_program(channel, session).await
    }

    async fn subsystem_request(&mut self, channel: ChannelId, _name: &str, session: &mut Session) -> Answer<()> {
        self.refuse_program(channel, session).await
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
        self.terminals.remove(&channel);
        self.throttle.closed(channel.into());
        Ok(())
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
const MAX_SHELLS: usize = 10;

//! Forwarding requests, and the data of granted ones.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use russh::server::{ChannelOpenHandle, Msg, Session};
use russh::{Channel, ChannelId};
use tokio::time::timeout;

use super::{Answer, Client};
use crate::config::GatewayPorts;
use crate::forwarder::Listening;
use crate::request::{Cause, Requested, clipped};
use crate::ssh::channel::{Asked, Back, sentence};

impl Client {
    pub(super) fn connect(
        &self,
        requested: Requested,
        originator: Option<SocketAddr>,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
    ) -> Answer<()> {
        let ours = self.ours()?;
        let asked = Box::new(Asked {
            queue: self.flows.queue(channel.id().into()),
            flows: self.flows.clone(),
            channel,
            reply,
        });
        let forwarder = Arc::clone(&self.service.serves.forwarder);
        let connecting = forwarder.connect(ours, requested, originator, asked);
        self.service.serves.tasks.spawn(connecting);
        Ok(())
    }

    pub(super) async fn listen_at_port(
        &mut self,
        address: &str,
        port: &mut u32,
        session: &mut Session,
    ) -> Answer<bool> {
        let requested = Requested::Tcp {
            host: clipped(address),
            port: *port,
        };
        if self.service.serves.judge.current().house.gateway_ports() == GatewayPorts::Yes
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

    pub(super) async fn listen_at_socket(&mut self, path: &str, session: &mut Session) -> Answer<bool> {
        let requested = Requested::Socket(clipped(path));
        let Some(listening) = self.listen(requested.clone(), session).await? else {
            return Ok(false);
        };
        self.listeners.insert((requested, None), listening);
        Ok(true)
    }

    /// The one place where the session loop waits: SSH replies to global requests in their order.
    async fn listen(&mut self, requested: Requested, session: &mut Session) -> Answer<Option<Listening>> {
        let ours = self.ours()?;
        let back = Back {
            handle: session.handle(),
            flows: self.flows.clone(),
        };
        let listening = self.service.serves.forwarder.listen(&ours, requested, back);
        let refused = match listening.await {
            Ok(listening) => return Ok(Some(listening)),
            Err((refusal, forward)) => sentence(&refusal, &forward),
        };
        session.debug(false, &refused, "en")?;
        Ok(None)
    }

    pub(super) async fn cancel(&mut self, requested: Requested, port: Option<u16>) -> bool {
        let Some(listening) = self.listeners.remove(&(requested, port)) else {
            return false;
        };
        listening.stop.end(Cause::Closed);
        let _ = timeout(CANCEL_PATIENCE, listening.gone.cancelled()).await;
        true
    }

    /// russh takes whatever comes, so this is where the windows are enforced.
    pub(super) fn count(&mut self, channel: ChannelId, data: &[u8], session: &mut Session) -> Answer<()> {
        if self.throttle.arrived(channel.into(), data.len()).is_ok() {
            return Ok(());
        }
        if let Some(ours) = &self.ours {
            ours.stop.end(Cause::Failed);
        }
        session.disconnect(
            russh::Disconnect::ProtocolError,
            "more data than the window allows",
            "en",
        )
    }
}

/// Where the client says that a connection began.
pub(super) fn claimed(originator: &str, port: u32) -> Option<SocketAddr> {
    let address = originator.parse::<IpAddr>().ok();
    address.zip(u16::try_from(port).ok()).map(SocketAddr::from)
}

/// A listener is known by its host string and the port that it got, so the port asked for is no
/// part of the key.
fn wildcard_port(requested: Requested) -> Requested {
    match requested {
        Requested::Tcp { host, .. } => Requested::Tcp { host, port: 0 },
        socket @ Requested::Socket(_) => socket,
    }
}

/// How long a cancelled listener may take to be gone.
const CANCEL_PATIENCE: Duration = Duration::from_secs(1);

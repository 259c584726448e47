//! What stands above every policy: the switches, the floors, and that the gateway never reaches itself.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::{Floors, Forwarding, GatewayPorts};
use crate::request::{Action, By, Endpoint, ForwardRequest, Host, Refusal, Requested};

/// What stands above every policy: switches, floors and the gateway's own sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct House {
    forwarding: Forwarding,
    floors: Floors,
    own: OwnListeners,
}

/// The sockets on which the gateway itself listens; nobody may dial them through it.
#[derive(Clone, Debug, Default)]
pub struct OwnListeners(Arc<RwLock<Vec<SocketAddr>>>);

/// Two are the same if they share one list, whatever is in it.
impl PartialEq for OwnListeners {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for OwnListeners {}

impl OwnListeners {
    /// Adds one.
    pub fn add(&self, address: SocketAddr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(address);
    }

    fn reach(&self, target: SocketAddr) -> Option<Reach> {
        let own = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut reach = Some(Reach::Free);
        for own in own.iter().filter(|own| own.port() == target.port()) {
            let everywhere = own.ip().is_unspecified() || target.ip().is_unspecified();
            let ours = target.ip().is_loopback() || target.ip().is_unspecified();
            // One loopback address is as good as another: `localhost` names both families.
            let loopback = own.ip().is_loopback() && target.ip().is_loopback();
            if own.ip().to_canonical() == target.ip() || loopback || everywhere && ours {
                return None;
            }
            if everywhere {
                reach = Some(Reach::UnlessOurs);
            }
        }
        reach
    }
}

/// What the floors can say of an address by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// It may be dialled.
    Free,
    /// It may be dialled unless it is an address of this machine: the gateway listens there on all of them.
    UnlessOurs,
}

impl House {
    /// The rules of a configuration.
    #[must_use]
    pub fn new(forwarding: Forwarding, floors: Floors, own: OwnListeners) -> Self {
        Self {
            forwarding,
            floors,
            own,
        }
    }

    /// How bind addresses of remote forwards are read.
    #[must_use]
    pub fn gateway_ports(&self) -> GatewayPorts {
        self.forwarding.gateway_ports
    }

    pub(super) fn switches(&self, action: Action, requested: &Requested) -> Result<(), Refusal> {
        let (on, key, what) = match (action, requested) {
            (Action::Connect, Requested::Tcp { .. }) => (self.forwarding.local, "local", "local forwarding"),
            (Action::Connect, Requested::Socket(_)) => (
                self.forwarding.local_sockets,
                "local-sockets",
                "local socket forwarding",
            ),
            (_, Requested::Tcp { .. }) => (self.forwarding.remote, "remote", "remote forwarding"),
            (_, Requested::Socket(_)) => (
                self.forwarding.remote_sockets,
                "remote-sockets",
                "remote socket forwarding",
            ),
        };
        if on {
            return Ok(());
        }
        Err(Refusal::told(
            By::Switch,
            key,
            format!("{what} is switched off on this gateway"),
        ))
    }

    /// Whether switches and floors still permit something that is open, as far as they can tell without asking anyone.
    /// What a name means now they cannot, nor which addresses this machine has: then it is to be judged again.
    #[must_use]
    pub fn still_permits(&self, request: &ForwardRequest, effective: &Endpoint, dialled: Option<SocketAddr>) -> bool {
        let place = match (request.action, effective) {
            (Action::Listen, Endpoint::Tcp { host, port }) => {
                let address = match host {
                    Host::Address(address) => self.address(*address).is_ok(),
                    Host::Name(name) => name.as_str() == "localhost",
                    Host::Any => true,
                };
                address && self.listen(host, *port).is_ok()
            }
            _ => dialled.is_none_or(|dialled| self.dial(dialled) == Ok(Reach::Free)),
        };
        place && self.switches(request.action, &request.requested).is_ok()
    }

    /// What both permit.
    #[must_use]
    pub fn narrowed_by(&self, other: &Self) -> Self {
        let mut floors = self.floors.clone();
        floors
            .deny
            .extend(other.floors.deny.iter().filter(|net| !self.floors.deny.contains(net)));
        floors.own_listeners |= other.floors.own_listeners;
        floors.privileged_listen_ports &= other.floors.privileged_listen_ports;
        let (one, two) = (self.forwarding, other.forwarding);
        Self {
            forwarding: Forwarding {
                local: one.local && two.local,
                remote: one.remote && two.remote,
                local_sockets: one.local_sockets && two.local_sockets,
                remote_sockets: one.remote_sockets && two.remote_sockets,
                gateway_ports: match (one.gateway_ports, two.gateway_ports) {
                    (GatewayPorts::No, _) | (_, GatewayPorts::No) => GatewayPorts::No,
                    (one, _) => one,
                },
            },
            floors,
            own: self.own.clone(),
        }
    }

    pub(super) fn dial(&self, target: SocketAddr) -> Result<Reach, Refusal> {
        self.address(target.ip())?;
        match self.floors.own_listeners {
            true => self.own.reach(target).ok_or_else(|| Self::own_listener(target)),
            false => Ok(Reach::Free),
        }
    }

    pub(super) fn own_listener(target: SocketAddr) -> Refusal {
        Refusal::told(By::Floor, "own-listeners", format!("{target} is the gateway itself"))
    }

    pub(super) fn address(&self, address: IpAddr) -> Result<(), Refusal> {
        let Some(net) = self.floors.deny.iter().find(|net| net.contains(&address)) else {
            return Ok(());
        };
        let reason = format!("{address} is in {net}, which this gateway never forwards to");
        Err(Refusal::told(By::Floor, "deny", reason))
    }

    pub(super) fn listen(&self, host: &Host, port: u16) -> Result<(), Refusal> {
        if (1..1024).contains(&port) && !self.floors.privileged_listen_ports {
            let reason = format!("port {port} is privileged and may not be listened on");
            return Err(Refusal::told(By::Floor, "privileged-listen-ports", reason));
        }
        let loopback = match host {
            Host::Any => false,
            Host::Name(name) => name.as_str() == "localhost",
            Host::Address(address) => address.is_loopback(),
        };
        if loopback || self.forwarding.gateway_ports != GatewayPorts::No {
            return Ok(());
        }
        let reason = format!("gateway-ports is off, so nothing may listen on {host}");
        Err(Refusal::told(By::Switch, "gateway-ports", reason))
    }
}

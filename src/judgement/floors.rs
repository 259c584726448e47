//! What stands above every policy: the switches, the floors, and that the gateway never reaches itself.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};

use crate::config::{Floors, Forwarding, GatewayPorts};
use crate::paths::{FileId, Socket};
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
pub struct OwnListeners(Arc<RwLock<Own>>);

#[derive(Debug, Default)]
struct Own {
    addresses: Vec<SocketAddr>,
    /// Unix-domain sockets: the path without a link in it, and which file it is.
    sockets: Vec<(PathBuf, Option<FileId>)>,
}

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
        self.write().addresses.push(address);
    }

    /// Adds the Unix-domain socket at this path, where one is.
    pub fn add_socket(&self, path: &Path) {
        let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let file = std::fs::metadata(path).ok().map(|found| FileId::of(&found));
        self.write().sockets.push((real, file));
    }

    /// Whether this is one of them, by its path or as the same file under another.
    fn has(&self, socket: &Socket) -> bool {
        let own = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let file = socket.file();
        own.sockets
            .iter()
            .any(|(path, own)| path == Path::new(socket.path().as_str()) || own.is_some() && *own == file)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Own> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn reach(&self, target: SocketAddr) -> Option<Reach> {
        let own = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut reach = Some(Reach::Free);
        for own in own.addresses.iter().filter(|own| own.port() == target.port()) {
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

#[derive(Clone, Copy)]
enum Medium {
    Tcp,
    Socket,
}

/// The IPv4 address to which a translator or a tunnel on the way would send what is meant for this address: NAT64 (RFC 6052,
/// RFC 8215), 6to4 (RFC 3056), IPv4-translated (RFC 2765) and IPv4-compatible (RFC 4291).
fn embedded(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(address) = address else { return None };
    let [one, two, three, _, five, six, seven, eight] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (one, two) {
        (0x64, 0xff9b) => Some(join(seven, eight)),
        (0x2002, _) => Some(join(two, three)),
        (0, 0) if (five, six) == (0xffff, 0) || (five, six) == (0, 0) && seven != 0 => Some(join(seven, eight)),
        _ => None,
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

    /// Whether what the client asks for is switched on.
    pub(super) fn switches(&self, action: Action, requested: &Requested) -> Result<(), Refusal> {
        let medium = match requested {
            Requested::Tcp { .. } => Medium::Tcp,
            Requested::Socket(_) => Medium::Socket,
        };
        self.switch(action, medium)
    }

    /// Whether that to which a policy leads a request is switched on: no rewrite goes around a switch.
    pub(super) fn switches_to(&self, action: Action, effective: &Endpoint) -> Result<(), Refusal> {
        let medium = match effective {
            Endpoint::Tcp { .. } => Medium::Tcp,
            Endpoint::Socket(_) => Medium::Socket,
        };
        self.switch(action, medium)
    }

    fn switch(&self, action: Action, medium: Medium) -> Result<(), Refusal> {
        let (on, key, what) = match (action, medium) {
            (Action::Connect, Medium::Tcp) => (self.forwarding.local, "local", "local forwarding"),
            (Action::Connect, Medium::Socket) => (
                self.forwarding.local_sockets,
                "local-sockets",
                "local socket forwarding",
            ),
            (_, Medium::Tcp) => (self.forwarding.remote, "remote", "remote forwarding"),
            (_, Medium::Socket) => (
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
            // A proxy looked the name up.
            (Action::Connect, Endpoint::Tcp { .. }) => {
                dialled.is_some_and(|dialled| self.dial(dialled) == Ok(Reach::Free))
            }
            _ => true,
        };
        let switched_on = |place: &Requested| self.switches(request.action, place).is_ok();
        place && switched_on(&request.requested) && self.switches_to(request.action, effective).is_ok()
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

    /// Whether a Unix-domain socket may be dialled.
    pub(super) fn socket(&self, socket: &Socket) -> Result<(), Refusal> {
        match self.floors.own_listeners && self.own.has(socket) {
            true => Err(Self::own_listener(socket.path())),
            false => Ok(()),
        }
    }

    /// Whether a listener there would take the place of one of the gateway's own: on another address of the same machine it
    /// would be taken for it.
    pub(super) fn beside_own(&self, address: SocketAddr) -> Result<(), Refusal> {
        match self.floors.own_listeners && address.port() != 0 && self.own.reach(address).is_none() {
            true => Err(Self::own_listener(address)),
            false => Ok(()),
        }
    }

    pub(super) fn own_listener(target: impl Display) -> Refusal {
        Refusal::told(By::Floor, "own-listeners", format!("{target} is the gateway itself"))
    }

    pub(super) fn address(&self, address: IpAddr) -> Result<(), Refusal> {
        let denied = |address: IpAddr| self.floors.deny.iter().find(|net| net.contains(&address));
        if let Some(net) = denied(address) {
            let reason = format!("{address} is in {net}, which this gateway never forwards to");
            return Err(Refusal::told(By::Floor, "deny", reason));
        }
        let leads_to = embedded(address).map(IpAddr::from);
        if let Some((inner, net)) = leads_to.and_then(|inner| Some((inner, denied(inner)?))) {
            let reason =
                format!("{address} may lead to {inner}, which is in {net}, which this gateway never forwards to");
            return Err(Refusal::told(By::Floor, "deny", reason));
        }
        Ok(())
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

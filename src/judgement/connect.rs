//! A client asks for a connection: what it may be made to.

use std::net::{IpAddr, SocketAddr};

use super::House;
use super::aside::Aside;
use super::direction::{Direction, Weighing, limited, malformed, narrow, sealed};
use super::floors::Reach;
use crate::auth::ForwardLimits;
use crate::machine;
use crate::paths::Socket;
use crate::request::{Action, By, Endpoint, Host, Refusal, Requested, SocketPath, Terms, Unreached};

/// To connect to something for the client.
#[derive(Clone, Debug)]
pub struct Connect {
    /// The endpoint exactly as the client sent it.
    pub requested: Requested,
    /// Where the client says that the connection began. Nothing proves it.
    pub originator: Option<SocketAddr>,
    /// The socket that is connected to already, of a tunnel that is judged again: its path may lead elsewhere by now.
    pub(super) connected: Option<SocketPath>,
}

/// What a permit to connect names.
#[derive(Clone, Debug)]
pub enum Dial {
    /// These addresses, in turn.
    Addresses(Vec<SocketAddr>),
    /// What was found at the path of this Unix-domain socket.
    Socket(Socket),
}

/// An endpoint to connect to, with what its path leads to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A host, which has no path.
    Tcp(Host, u16),
    /// A socket.
    Socket(Socket),
}

impl Connect {
    /// A client's wish to reach what it `requested`.
    #[must_use]
    pub fn new(requested: Requested, originator: Option<SocketAddr>) -> Self {
        Self {
            requested,
            originator,
            connected: None,
        }
    }
}

impl sealed::Sealed for Connect {}

impl Direction for Connect {
    const ACTION: Action = Action::Connect;
    type Way = Dial;
    type Target = Target;

    fn requested(&self) -> &Requested {
        &self.requested
    }

    fn originator(&self) -> Option<SocketAddr> {
        self.originator
    }

    fn endpoint(&self, limits: &ForwardLimits, _: &House) -> Result<Endpoint, Refusal> {
        match &self.requested {
            Requested::Tcp { host, port } => {
                limits.connect_tcp(host, narrow(*port)?).map_err(limited)?;
                Endpoint::to_connect(host, *port).map_err(malformed)
            }
            Requested::Socket(path) => {
                limits.connect_socket(path).map_err(limited)?;
                Endpoint::socket(path).map_err(malformed)
            }
        }
    }

    async fn target(&self, endpoint: Endpoint, aside: Aside<'_>) -> Result<Target, Refusal> {
        match (&self.connected, endpoint) {
            (Some(path), Endpoint::Socket(_)) => Ok(Target::Socket(Socket::connected(path.clone()))),
            (_, endpoint) => Self::follow(endpoint, aside).await,
        }
    }

    async fn follow(endpoint: Endpoint, aside: Aside<'_>) -> Result<Target, Refusal> {
        match endpoint {
            Endpoint::Tcp { host, port } => Ok(Target::Tcp(host, port)),
            Endpoint::Socket(path) => aside.follow(path, Socket::follow).await.map(Target::Socket),
        }
    }

    fn endpoint_of(target: &Target) -> Endpoint {
        match target {
            Target::Tcp(host, port) => Endpoint::Tcp {
                host: host.clone(),
                port: *port,
            },
            Target::Socket(socket) => Endpoint::Socket(socket.path().clone()),
        }
    }

    async fn way(&self, target: Target, weighing: Weighing<'_>) -> Result<Dial, Refusal> {
        match target {
            Target::Tcp(host, port) => weighing.addresses(&host, port).await.map(Dial::Addresses),
            Target::Socket(socket) => Ok(Dial::Socket(socket)),
        }
    }

    fn addresses(way: &Dial) -> Vec<SocketAddr> {
        match way {
            Dial::Addresses(addresses) => addresses.clone(),
            Dial::Socket(_) => Vec::new(),
        }
    }
}

impl Weighing<'_> {
    /// Every address of the host is judged; those that nothing refuses may be dialled.
    async fn addresses(self, host: &Host, port: u16) -> Result<Vec<SocketAddr>, Refusal> {
        let found = self.lookups.settle(host).await;
        let found = found.map_err(|error| Refusal::Unreachable {
            why: Unreached::Name,
            reason: format!("{host}: {error}"),
        })?;
        self.findings.resolve(host, &found);
        let (mut permitted, mut first) = (Vec::new(), None);
        for address in found {
            let target = SocketAddr::new(address, port);
            match judge_address(self.house, target, self.terms, self.aside).await {
                Ok(()) => permitted.push(target),
                Err(refusal) => {
                    first.get_or_insert(refusal);
                }
            }
        }
        match first {
            Some(refusal) if permitted.is_empty() => Err(refusal),
            _ => Ok(permitted),
        }
    }
}

async fn judge_address(house: &House, target: SocketAddr, terms: &Terms, aside: Aside<'_>) -> Result<(), Refusal> {
    let address = target.ip();
    if !terms.address_rules.permit(address) {
        let reason = format!("the policy's address rules refuse {address}");
        return Err(Refusal::denied(By::Policy, "address-rule", reason));
    }
    may_dial(house, target, aside).await
}

/// Whether the floors let this address be dialled.
pub(super) async fn may_dial(house: &House, target: SocketAddr, aside: Aside<'_>) -> Result<(), Refusal> {
    match house.dial(target)? {
        Reach::Free => Ok(()),
        Reach::UnlessOurs => {
            let address: IpAddr = target.ip();
            match aside.look(move || machine::owns(address)).await {
                Some(false) => Ok(()),
                Some(true) => Err(House::own_listener(target)),
                None => Err(Refusal::Undecided {
                    code: "own-listeners",
                    reason: format!("the system did not say in time whether {address} is an address of this machine"),
                }),
            }
        }
    }
}

//! A client asks for a connection: what it may be made to.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::House;
use super::aside::Aside;
use super::direction::{Direction, Weighing, limited, malformed, narrow, sealed};
use super::floors::Reach;
use crate::auth::ForwardLimits;
use crate::config::Names;
use crate::machine;
use crate::names::NameError;
use crate::outbound::Proxy;
use crate::paths::Socket;
use crate::request::{Action, By, Endpoint, Host, Outbound, Refusal, Requested, SocketPath, Terms, Unreached};

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

/// What a permit to connect names: where to, and how.
pub struct Route {
    /// What is connected to.
    pub dial: Dial,
    /// How: the obligations of the policy, and the configured defaults.
    pub outbound: Outbound,
    /// The proxy on the way; never to a Unix socket.
    pub(crate) through: Option<Through>,
}

/// What a permit to connect names as its target.
#[derive(Clone, Debug)]
pub enum Dial {
    /// These addresses, in turn.
    Addresses(Vec<SocketAddr>),
    /// This name and port, which the proxy on the way looks up.
    Name(String, u16),
    /// What was found at the path of this Unix-domain socket.
    Socket(Socket),
}

/// A proxy on the way to a target.
pub(crate) struct Through {
    pub(crate) proxy: Arc<Proxy>,
    /// Where it is, in turn. The administrator named it, so the floors are not asked about it.
    pub(crate) addresses: Vec<SocketAddr>,
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
    type Way = Route;
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

    async fn way(&self, target: Target, weighing: Weighing<'_>) -> Result<Route, Refusal> {
        match target {
            Target::Tcp(host, port) => weighing.host_route(&host, port).await,
            Target::Socket(socket) => weighing.socket_route(socket),
        }
    }

    fn addresses(way: &Route) -> Vec<SocketAddr> {
        match &way.dial {
            Dial::Addresses(addresses) => addresses.clone(),
            Dial::Name(..) | Dial::Socket(_) => Vec::new(),
        }
    }

    fn route(way: &Route) -> Option<&Route> {
        Some(way)
    }
}

impl Weighing<'_> {
    /// A socket of this machine, to which no network leads.
    fn socket_route(self, socket: Socket) -> Result<Route, Refusal> {
        self.house.socket(&socket)?;
        if let Some(name) = self.terms.outbound.needs_network() {
            let path = socket.path();
            return Err(unkept(format!(
                "the obligation `{name}` cannot be kept: {path} is a Unix socket"
            )));
        }
        Ok(Route {
            dial: Dial::Socket(socket),
            outbound: self.routes.to_socket(&self.terms.outbound),
            through: None,
        })
    }

    /// Every address of the host is judged; those that nothing refuses may be connected to. A proxy that looks the name up
    /// itself may choose any of them, so then all must be permitted.
    async fn host_route(mut self, host: &Host, port: u16) -> Result<Route, Refusal> {
        let found = self.lookups.settle(host).await;
        let addresses = found.as_deref().unwrap_or_default();
        if found.is_ok() {
            self.findings.resolve(host, addresses);
        }
        let (permitted, refused) = self.sift(addresses, port).await;
        let here: Vec<IpAddr> = permitted.iter().map(SocketAddr::ip).collect();
        let outbound = self.routes.to_host(&self.terms.outbound, host, &here);
        let through = self.routes.through(&outbound);
        let through = through.map_err(|name| unkept(format!("no [[via]] has the name `{name}`")))?;
        let proxy = through.map(Arc::clone);
        let hands_on = proxy.as_ref().is_some_and(|proxy| proxy.names == Names::HandOn);
        let dial = match (host, hands_on, refused) {
            (Host::Name(name), true, None) => {
                let name = name.as_str().to_owned();
                self.hand_on(&name, port, found.as_ref().err())?
            }
            (_, true, Some(refusal)) => return Err(refusal),
            (_, _, Some(refusal)) if permitted.is_empty() => return Err(refusal),
            _ => {
                found.map_err(|error| unresolved(host, &error))?;
                Dial::Addresses(permitted)
            }
        };
        let through = match proxy {
            Some(proxy) => Some(self.proxy(proxy).await?),
            None => None,
        };
        Ok(Route {
            dial,
            outbound,
            through,
        })
    }

    /// The addresses that may be connected to, and why the first of the others may not.
    async fn sift(&self, addresses: &[IpAddr], port: u16) -> (Vec<SocketAddr>, Option<Refusal>) {
        let (mut permitted, mut first) = (Vec::new(), None);
        for address in addresses {
            let target = SocketAddr::new(*address, port);
            match judge_address(self.house, target, self.terms, self.aside).await {
                Ok(()) => permitted.push(target),
                Err(refusal) => {
                    first.get_or_insert(refusal);
                }
            }
        }
        (permitted, first)
    }

    /// A name that the proxy looks up, all known addresses of which are permitted.
    ///
    /// That the gateway finds none is no refusal by itself: a name that only the proxy knows is what handing on is for, and a
    /// name server that keeps silent gains nothing over one that says there is no such name. Address rules of the policy can
    /// then not be judged, and what cannot be judged is refused.
    fn hand_on(&self, name: &str, port: u16, error: Option<&NameError>) -> Result<Dial, Refusal> {
        match error {
            Some(error) if !self.terms.address_rules.is_empty() => Err(unkept(format!(
                "the policy's address rules cannot be judged for {name}, which the gateway cannot resolve: {error}"
            ))),
            Some(NameError::OverBudget) => Err(Refusal::Unreachable {
                why: Unreached::Name,
                reason: format!("{name}: {}", NameError::OverBudget),
            }),
            _ => Ok(Dial::Name(name.to_owned(), port)),
        }
    }

    /// Where the proxy is.
    async fn proxy(&mut self, proxy: Arc<Proxy>) -> Result<Through, Refusal> {
        let found = self.lookups.settle(&proxy.host).await;
        let found = found.map_err(|error| Refusal::Unreachable {
            why: Unreached::Name,
            reason: format!("the proxy `{}` cannot be resolved: {error}", proxy.name),
        })?;
        let addresses = found.into_iter().map(|address| SocketAddr::new(address, proxy.port));
        Ok(Through {
            addresses: addresses.collect(),
            proxy,
        })
    }
}

fn unresolved(host: &Host, error: &NameError) -> Refusal {
    Refusal::Unreachable {
        why: Unreached::Name,
        reason: format!("{host}: {error}"),
    }
}

/// What the policy demands cannot be done: that is no denial, but it is not allowed either.
fn unkept(reason: String) -> Refusal {
    Refusal::Undecided {
        code: "bad-obligation",
        reason,
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

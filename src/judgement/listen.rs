//! A client asks for a listener: where it may be. The rules are those of OpenSSH's `channel_fwd_bind_addr` (`channels.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::House;
use super::aside::Aside;
use super::direction::{Direction, Weighing, limited, malformed, narrow, sealed};
use crate::auth::ForwardLimits;
use crate::config::GatewayPorts;
use crate::paths::Place;
use crate::request::{Action, Endpoint, EndpointError, Host, Name, Refusal, Requested, Unreached};

/// To listen for the client.
#[derive(Clone, Debug)]
pub struct Listen {
    /// The endpoint exactly as the client sent it.
    pub requested: Requested,
}

/// What a permit to listen names.
#[derive(Clone, Debug)]
pub enum Bind {
    /// All of these addresses, with one port.
    Addresses(Vec<SocketAddr>),
    /// A Unix-domain socket that is made in this place.
    Socket(Place),
}

/// An endpoint to listen on, with what its path leads to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A host, which has no path.
    Tcp(Host, u16),
    /// A place for a socket.
    Place(Place),
}

impl sealed::Sealed for Listen {}

impl Direction for Listen {
    const ACTION: Action = Action::Listen;
    type Way = Bind;
    type Target = Target;

    fn requested(&self) -> &Requested {
        &self.requested
    }

    fn originator(&self) -> Option<SocketAddr> {
        None
    }

    fn endpoint(&self, limits: &ForwardLimits, house: &House) -> Result<Endpoint, Refusal> {
        match &self.requested {
            Requested::Tcp { host, port } => {
                let port = narrow(*port)?;
                limits.listen_tcp(host, port).map_err(limited)?;
                meant(host, port, house.gateway_ports()).map_err(malformed)
            }
            Requested::Socket(path) => {
                limits.listen_socket().map_err(limited)?;
                Endpoint::socket(path).map_err(malformed)
            }
        }
    }

    async fn follow(endpoint: Endpoint, aside: Aside<'_>) -> Result<Target, Refusal> {
        match endpoint {
            Endpoint::Tcp { host, port } => Ok(Target::Tcp(host, port)),
            Endpoint::Socket(path) => aside.follow(path, Place::follow).await.map(Target::Place),
        }
    }

    fn endpoint_of(target: &Target) -> Endpoint {
        match target {
            Target::Tcp(host, port) => Endpoint::Tcp {
                host: host.clone(),
                port: *port,
            },
            Target::Place(place) => Endpoint::Socket(place.path().clone()),
        }
    }

    async fn way(&self, target: Target, weighing: Weighing<'_>) -> Result<Bind, Refusal> {
        match target {
            Target::Tcp(host, port) => {
                let house = weighing.house;
                house.listen(&host, port)?;
                let addresses = addresses(&host, port, weighing).await?;
                addresses.iter().try_for_each(|address| house.beside_own(*address))?;
                Ok(Bind::Addresses(addresses))
            }
            Target::Place(place) => Ok(Bind::Socket(place)),
        }
    }

    fn addresses(way: &Bind) -> Vec<SocketAddr> {
        match way {
            Bind::Addresses(addresses) => addresses.clone(),
            Bind::Socket(_) => Vec::new(),
        }
    }
}

/// The endpoint that a client means when it asks to listen on `host`.
///
/// With `gateway-ports` off everything is loopback, and `127.0.0.1` and `::1` stay what they are;
/// with it on everything is the wildcard; with `client-specified` it is as asked.
fn meant(host: &str, port: u16, gateway_ports: GatewayPorts) -> Result<Endpoint, EndpointError> {
    let localhost = || Host::Name(Name::localhost());
    let host = match (gateway_ports, host) {
        (GatewayPorts::Yes, _) | (GatewayPorts::ClientSpecified, "" | "*") => Host::Any,
        (GatewayPorts::No, "127.0.0.1" | "::1") => Host::parse(host)?,
        (GatewayPorts::No, _) => localhost(),
        (GatewayPorts::ClientSpecified, _) => Host::parse(host)?,
    };
    Ok(Endpoint::Tcp { host, port })
}

/// The addresses to bind: IPv4 first, so that a port that the system chooses is chosen there.
async fn addresses(host: &Host, port: u16, weighing: Weighing<'_>) -> Result<Vec<SocketAddr>, Refusal> {
    let addresses: Vec<IpAddr> = match host {
        Host::Any => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        Host::Name(name) if name.as_str() == "localhost" => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        host => {
            let found = weighing.lookups.settle(host).await;
            let found = found.map_err(|error| Refusal::Unreachable {
                why: Unreached::Name,
                reason: format!("{host}: {error}"),
            })?;
            weighing.findings.resolved.clone_from(&found);
            for address in found.iter().filter(|address| !address.is_unspecified()) {
                weighing.house.address(*address)?;
            }
            found
        }
    };
    Ok(addresses
        .into_iter()
        .map(|address| SocketAddr::new(address, port))
        .collect())
}

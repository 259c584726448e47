//! Where a remote forward listens: OpenSSH's rules of `channel_fwd_bind_addr` (`channels.c`).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::floors::House;
use crate::config::GatewayPorts;
use crate::events::Decided;
use crate::names::Lookups;
use crate::request::{Endpoint, EndpointError, Host, Name, Refusal};

/// The endpoint that a client means when it asks to listen on `host`.
///
/// With `gateway-ports` off everything is loopback, and `127.0.0.1` and `::1` stay what they are;
/// with it on everything is the wildcard; with `client-specified` it is as asked.
pub(super) fn target(host: &str, port: u16, gateway_ports: GatewayPorts) -> Result<Endpoint, EndpointError> {
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
pub(super) async fn addresses(
    host: &Host,
    port: u16,
    house: &House,
    lookups: &mut Lookups,
    decided: &mut Decided,
) -> Result<Vec<SocketAddr>, Refusal> {
    let addresses: Vec<IpAddr> = match host {
        Host::Any => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
        Host::Name(name) if name.as_str() == "localhost" => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        host => {
            let found = lookups.settle(host).await.map_err(|error| Refusal::Unreachable {
                reason: format!("{host}: {error}"),
            })?;
            decided.resolved.clone_from(&found);
            for address in found.iter().filter(|address| !address.is_unspecified()) {
                house.address(*address)?;
            }
            found
        }
    };
    Ok(addresses
        .into_iter()
        .map(|address| SocketAddr::new(address, port))
        .collect())
}

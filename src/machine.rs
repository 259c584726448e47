//! Which addresses are this machine's own, as the system sees it now.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Whether the address can be bound, as only an address of this machine can. It asks the system, so call it where blocking is
/// fine.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn owns(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// The address of this machine from which the system would connect to another one; `None` if there is no route. Nothing is sent.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn source_to(address: IpAddr) -> Option<IpAddr> {
    let unspecified: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((unspecified, 0)).ok()?;
    socket.connect((address, DISCARD)).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Any port will do.
const DISCARD: u16 = 9;

//! Which addresses are this machine's own, as the system sees it now.

use std::net::{IpAddr, UdpSocket};

/// Whether the address can be bound, as only an address of this machine can. It asks the system, so call it where blocking is
/// fine.
#[expect(clippy::disallowed_methods, reason = "this is the one place that asks")]
pub(crate) fn owns(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

//! What a socket gets before it is connected: a mark, a class of service, a source address.

use std::io;
use std::net::{IpAddr, SocketAddr};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpSocket;

use crate::request::Outbound;

/// A new socket for a connection to this address. It has everything that is demanded: if anything cannot be set, there is
/// no socket.
///
/// # Errors
/// What could not be set, and the words of the system.
pub(crate) fn prepare(outbound: &Outbound, to: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(mark) = outbound.mark.filter(|mark| *mark != 0) {
        let set = setsockopt(&socket, sockopt::Mark, &mark);
        set.map_err(|error| because(&format!("cannot set the mark {mark}"), error.into()))?;
    }
    if let Some(dscp) = outbound.dscp {
        let octet = i32::from(dscp.octet());
        let set = match to {
            SocketAddr::V4(_) => setsockopt(&socket, sockopt::Ipv4Tos, &octet),
            SocketAddr::V6(_) => setsockopt(&socket, sockopt::Ipv6TClass, &octet),
        };
        set.map_err(|error| because("cannot set the class of service", error.into()))?;
    }
    if let Some(address) = outbound.source_address {
        // The port is chosen when the target is known, so that one address is not used up by 28,000 connections in all. A
        // kernel without that chooses it now.
        let _ = setsockopt(&socket, sockopt::IpBindAddressNoPort, &true);
        let bound = socket.bind(SocketAddr::new(address, 0));
        bound.map_err(|error| because(&format!("cannot connect from {address}"), error))?;
    }
    Ok(socket)
}

/// Whether a connection to this address can be made from this one.
pub(crate) fn fits(source: Option<IpAddr>, to: IpAddr) -> bool {
    source.is_none_or(|source| source.is_ipv4() == to.is_ipv4())
}

/// Tries to mark a socket, which is closed again.
///
/// # Errors
/// The words of the system.
pub(crate) fn can_mark(mark: u32) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    Ok(setsockopt(&socket, sockopt::Mark, &mark)?)
}

fn because(what: &str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;

    fn of(json: &str) -> Outbound {
        serde_json::from_str(json).unwrap()
    }

    #[tokio::test]
    async fn a_socket_has_what_is_demanded_before_it_is_connected() {
        let outbound = of(r#"{"dscp":"af41","source-address":"127.0.0.9"}"#);
        let socket = prepare(&outbound, "127.0.0.1:9".parse().unwrap()).unwrap();
        assert_eq!(getsockopt(&socket, sockopt::Ipv4Tos).unwrap(), 34 << 2);
        assert!(getsockopt(&socket, sockopt::IpBindAddressNoPort).unwrap());
        assert_eq!(socket.local_addr().unwrap().to_string(), "127.0.0.9:0");
        let outbound = of(r#"{"dscp":"ef","source-address":"::1"}"#);
        let socket = prepare(&outbound, "[::1]:9".parse().unwrap()).unwrap();
        assert!(getsockopt(&socket, sockopt::IpBindAddressNoPort).unwrap());
        assert_eq!(getsockopt(&socket, sockopt::Ipv6TClass).unwrap(), 46 << 2);
    }

    #[tokio::test]
    async fn what_cannot_be_set_leaves_no_socket() {
        let elsewhere = of(r#"{"source-address":"192.0.2.77"}"#);
        let words = prepare(&elsewhere, "127.0.0.1:9".parse().unwrap())
            .unwrap_err()
            .to_string();
        assert!(words.starts_with("cannot connect from 192.0.2.77: "), "{words}");
        // Only some may mark: whoever may gets the mark, and whoever may not gets no socket.
        let marked = prepare(&of(r#"{"mark":7}"#), "127.0.0.1:9".parse().unwrap());
        match (can_mark(7), marked) {
            (Ok(()), Ok(socket)) => assert_eq!(getsockopt(&socket, sockopt::Mark).unwrap(), 7),
            (Err(_), Err(error)) => assert!(error.to_string().starts_with("cannot set the mark 7: "), "{error}"),
            (may, marked) => panic!("{may:?} {marked:?}"),
        }
        assert!(prepare(&of(r#"{"mark":0}"#), "127.0.0.1:9".parse().unwrap()).is_ok());
    }

    #[test]
    fn a_source_address_fits_its_own_family() {
        let table = [
            (None, "10.0.0.1", true),
            (Some("10.0.0.5"), "10.0.0.1", true),
            (Some("10.0.0.5"), "2001:db8::1", false),
            (Some("2001:db8::5"), "2001:db8::1", true),
            (Some("2001:db8::5"), "10.0.0.1", false),
        ];
        for (source, to, expected) in table {
            let source = source.map(|text| text.parse().unwrap());
            assert_eq!(fits(source, to.parse().unwrap()), expected, "{source:?} {to}");
        }
    }
}

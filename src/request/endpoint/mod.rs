//! Endpoints: a host and a port, or the path of a Unix socket; and what a client sent for one.

mod host;
mod socket_path;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use serde::{Serialize, Serializer};
use thiserror::Error;

pub use host::{Host, Name};
pub use socket_path::SocketPath;

/// A place to connect to or to listen on, in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// A TCP host and port.
    Tcp {
        /// Name or address.
        host: Host,
        /// 0 only where the system is to choose a port to listen on.
        port: u16,
    },
    /// A Unix-domain socket.
    Socket(SocketPath),
}

/// An endpoint exactly as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requested {
    /// The host string and the port.
    Tcp {
        /// Uninterpreted.
        host: String,
        /// Uninterpreted; RFC 4254 carries 32 bits.
        port: u32,
    },
    /// The path.
    Socket(String),
}

/// Why a text is no endpoint.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum EndpointError {
    /// The port does not fit in 16 bits.
    #[error("port {0} is above 65535")]
    Port(u32),
    /// Port 0 cannot be connected to.
    #[error("cannot connect to port 0")]
    PortZero,
    /// The port is no number.
    #[error("`{0}` is not a port: use a number from 0 to 65535")]
    PortText(String),
    /// Nothing where a host belongs.
    #[error("the host is empty")]
    EmptyHost,
    /// The host is neither a name nor an address.
    #[error("`{0}` is neither a host name nor an address")]
    Host(String),
    /// All numeric, but no IPv4 address.
    #[error("`{0}` looks like an IPv4 address but is not one")]
    Ipv4(String),
    /// An IPv6 address with a zone.
    #[error("`{0}` has a zone; addresses with a zone are not supported")]
    Zone(String),
    /// The path is not absolute, not plain or too long.
    #[error("`{path}` is not a socket path: {why}")]
    Path {
        /// As sent.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No colon between host and port.
    #[error("`{0}` is not an endpoint: use host:port, [v6]:port or unix:/path")]
    Form(String),
}

impl Endpoint {
    /// The endpoint that a client asks to connect to.
    ///
    /// # Errors
    /// If the host is neither a name nor an address, or the port is 0 or above 65535.
    pub fn to_connect(host: &str, port: u32) -> Result<Self, EndpointError> {
        match narrow(port)? {
            0 => Err(EndpointError::PortZero),
            port => Ok(Self::Tcp {
                host: Host::parse(host)?,
                port,
            }),
        }
    }

    /// The endpoint of a Unix-domain socket.
    ///
    /// # Errors
    /// As [`SocketPath::parse`].
    pub fn socket(path: &str) -> Result<Self, EndpointError> {
        SocketPath::parse(path).map(Self::Socket)
    }

    /// The address, if the host is one.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp {
                host: Host::Address(address),
                ..
            } => Some(*address),
            _ => None,
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    /// Reads `host:port`, `[v6]:port` or `unix:/path`. `*` as the host means every address.
    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Self::socket(path);
        }
        let form = || EndpointError::Form(text.to_owned());
        let (host, port) = text.rsplit_once(':').ok_or_else(form)?;
        let plain = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']').ok_or_else(form)?,
            None if host.contains(':') => return Err(form()),
            None => host,
        };
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let number = if digits { port.parse().ok() } else { None };
        let number: u32 = number.ok_or_else(|| EndpointError::PortText(port.to_owned()))?;
        let host = match plain {
            "*" => Host::Any,
            _ => Host::parse(plain)?,
        };
        Ok(Self::Tcp {
            host,
            port: narrow(number)?,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp {
                host: Host::Address(IpAddr::V6(address)),
                port,
            } => write!(out, "[{address}]:{port}"),
            Self::Tcp { host, port } => write!(out, "{host}:{port}"),
            Self::Socket(path) => write!(out, "unix:{path}"),
        }
    }
}

impl Serialize for Endpoint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp {
            host: Host::Address(address.ip().to_canonical()),
            port: address.port(),
        }
    }
}

impl fmt::Display for Requested {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') && !host.starts_with('[') => write!(out, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(out, "{host}:{port}"),
            Self::Socket(path) => write!(out, "unix:{path}"),
        }
    }
}

impl Serialize for Requested {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl From<&Endpoint> for Requested {
    fn from(endpoint: &Endpoint) -> Self {
        match endpoint {
            Endpoint::Tcp { host, port } => Self::Tcp {
                host: host.to_string(),
                port: u32::from(*port),
            },
            Endpoint::Socket(path) => Self::Socket(path.as_str().to_owned()),
        }
    }
}

/// A 32-bit port of the wire as the 16 bits that TCP has.
pub(super) fn narrow(port: u32) -> Result<u16, EndpointError> {
    u16::try_from(port).map_err(|_| EndpointError::Port(port))
}

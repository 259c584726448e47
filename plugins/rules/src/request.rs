//! What the gateway asks, borrowed from wherever it came, and what the rules make of it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::network;

/// What the client wants to do with the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Connect to it.
    Connect,
    /// Listen on it for the client.
    Listen,
    /// Hand over a peer that connected to a listener.
    Accept,
}

/// Where a connection goes to, or comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint<'a> {
    /// A host and a port.
    Tcp(&'a str, u16),
    /// The path of a Unix-domain socket.
    Socket(&'a str),
}

/// The parts of a forwarding request that rules look at.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Unix milliseconds.
    pub now: u64,
    /// What is to be done.
    pub action: Action,
    /// With what, in canonical form.
    pub target: Endpoint<'a>,
    /// The target's address, where its host is one.
    pub address: Option<&'a str>,
    /// The address of the peer that connected. Only for [`Action::Accept`]: for a connect it is only a claim.
    pub peer: Option<&'a str>,
    /// The address of the SSH client.
    pub client: &'a str,
    /// Who asks.
    pub identity: Identity<'a>,
}

/// Who asks, and how they proved it.
#[derive(Debug, Clone, Copy)]
pub struct Identity<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The user's groups.
    pub groups: &'a [String],
    /// The SSH authentication method.
    pub method: &'a str,
    /// Fingerprint of the user's key.
    pub key: Option<&'a str>,
    /// Fingerprint of the certificate authority that signed the key.
    pub issuer: Option<&'a str>,
    /// The principals of the certificate.
    pub principals: &'a [String],
}

/// Looks up the addresses of a name; `None` where that fails.
pub type Resolve<'a> = &'a dyn Fn(&str) -> Option<Vec<String>>;

/// A request with its addresses read and its name looked up at most once.
pub(crate) struct Facts<'a> {
    pub request: Request<'a>,
    pub client: IpAddr,
    /// In lower case and without a trailing dot, whatever the gateway sent.
    pub host: Cow<'a, str>,
    resolve: Resolve<'a>,
    resolved: OnceCell<Option<Vec<IpAddr>>>,
}

/// What is known about the addresses of a target.
pub(crate) enum Addresses<'a> {
    /// There are exactly these.
    Known(&'a [IpAddr]),
    /// A listener on every address of the gateway.
    Every,
    /// Nothing is known.
    Unknown,
}

/// Why a request is not even looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    /// The client's address is no address.
    Client,
    /// The socket's path is not absolute, or holds `.`, `..` or an empty component.
    Path,
}

impl<'a> Facts<'a> {
    pub fn new(request: Request<'a>, resolve: Resolve<'a>) -> Result<Self, Malformed> {
        let client = network::address(request.client).ok_or(Malformed::Client)?;
        let host = match request.target {
            Endpoint::Tcp(host, _) => {
                let host = host.strip_suffix('.').unwrap_or(host);
                if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
                    host.to_ascii_lowercase().into()
                } else {
                    host.into()
                }
            }
            Endpoint::Socket(path) if is_plain(path) => Cow::Borrowed(""),
            Endpoint::Socket(_) => return Err(Malformed::Path),
        };
        Ok(Self {
            request,
            client,
            host,
            resolve,
            resolved: OnceCell::new(),
        })
    }

    /// The address in the target itself, without a look-up.
    pub fn literal(&self) -> Option<IpAddr> {
        let address = network::address(self.request.address.unwrap_or(&self.host))?;
        (self.request.action == Action::Connect || !address.is_unspecified()).then_some(address)
    }

    /// All addresses of the target, looked up on first use.
    pub fn addresses(&self) -> Addresses<'_> {
        if self.request.action != Action::Connect && (&*self.host == "*" || self.unspecified()) {
            return Addresses::Every;
        }
        match self.resolved.get_or_init(|| self.find_addresses()) {
            Some(addresses) if !addresses.is_empty() => Addresses::Known(addresses),
            _ => Addresses::Unknown,
        }
    }

    /// Whether the addresses have been looked up already.
    pub fn is_resolved(&self) -> bool {
        self.resolved.get().is_some()
    }

    fn find_addresses(&self) -> Option<Vec<IpAddr>> {
        if let Some(address) = self.literal() {
            return Some(vec![address]);
        }
        if self.request.action != Action::Connect && &*self.host == "localhost" {
            return Some(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        (self.resolve)(&self.host)?
            .iter()
            .map(|text| network::address(text))
            .collect()
    }

    fn unspecified(&self) -> bool {
        network::address(self.request.address.unwrap_or(&self.host)).is_some_and(|address| address.is_unspecified())
    }
}

fn is_plain(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|part| !matches!(part, "" | "." | "..")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_absolute_paths_without_detours_are_plain() {
        for (path, expected) in [
            ("/run/a.sock", true),
            ("/a", true),
            ("/run/..a", true),
            ("run/a", false),
            ("/run/../a", false),
            ("/run/./a", false),
            ("/run//a", false),
            ("/run/", false),
            ("/", false),
            ("", false),
        ] {
            assert_eq!(is_plain(path), expected, "{path}");
        }
    }
}

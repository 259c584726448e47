//! The conditions of a rule. A rule matches when all of them hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::network::{self, Networks};
use crate::pattern::{Pattern, PatternList};
use crate::range::RangeSet;
use crate::request::{Action, Addresses, Endpoint, Facts};
use crate::time::Window;

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// It holds for a part, or nobody knows: enough for a `deny` rule, too little for any other.
    Unsure,
}

impl From<bool> for Answer {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// A text about the request that a list of patterns can be held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// The user's name.
    User,
    /// The user's groups.
    Groups,
    /// The authentication method.
    Method,
    /// The fingerprint of the user's key.
    Key,
    /// The fingerprint of the certificate's authority.
    Issuer,
    /// The principals of the certificate.
    Principals,
    /// The host of the target.
    Host,
    /// The path of the target.
    Socket,
}

/// One condition; [`cost`](Condition::cost) puts them in order.
#[derive(Debug, Clone)]
pub enum Condition {
    /// A text matches a list.
    Text(Text, PatternList),
    /// The port is in a set.
    Ports(RangeSet<u16>),
    /// Host and port together, or the path, match a list.
    Targets(Box<[TargetPattern]>),
    /// The SSH client's address lies in a network.
    Clients(Networks),
    /// The address of the peer of an `accept` lies in a network.
    Peers(Networks),
    /// The request is made not before this Unix second.
    Starts(i64),
    /// The request is made before this Unix second.
    Expires(i64),
    /// One of the windows is open.
    When(Box<[Window]>),
    /// The addresses of the target lie in a network.
    Addresses(Networks),
}

/// A pattern for a whole endpoint, such as `*.db:5432`.
#[derive(Debug, Clone)]
pub struct TargetPattern {
    /// Whether it is an exception.
    pub is_exception: bool,
    /// What it stands for.
    pub endpoint: EndpointPattern,
}

/// What a [`TargetPattern`] stands for.
#[derive(Debug, Clone)]
pub enum EndpointPattern {
    /// A host and a port.
    Tcp(Pattern, RangeSet<u16>),
    /// The path of a socket.
    Socket(Pattern),
}

impl Condition {
    /// Cheap conditions first; the one that may need a name look-up last.
    pub fn cost(&self) -> u8 {
        match self {
            Self::Text(..) => 0,
            Self::Ports(_) => 1,
            Self::Targets(_) => 2,
            Self::Clients(_) | Self::Peers(_) => 3,
            Self::Starts(_) | Self::Expires(_) => 4,
            Self::When(_) => 5,
            Self::Addresses(_) => 6,
        }
    }

    pub(crate) fn holds(&self, facts: &Facts) -> Answer {
        let request = &facts.request;
        let second = || i64::try_from(request.now / 1000).unwrap_or(i64::MAX);
        match self {
            Self::Text(text, list) => text.matches(list, facts).into(),
            Self::Ports(ports) => matches!(request.target, Endpoint::Tcp(_, port) if ports.contains(port)).into(),
            Self::Targets(patterns) => targets_match(patterns, facts).into(),
            Self::Clients(networks) => networks.contains(facts.client).into(),
            Self::Peers(networks) => match request.peer.and_then(network::address) {
                Some(peer) if request.action == Action::Accept => networks.contains(peer).into(),
                _ => Answer::Unsure,
            },
            Self::Starts(start) => (second() >= *start).into(),
            Self::Expires(end) => (second() < *end).into(),
            Self::When(windows) => windows.iter().any(|window| window.is_open(second())).into(),
            Self::Addresses(networks) => addresses_lie_in(networks, facts),
        }
    }
}

impl Text {
    fn matches(self, list: &PatternList, facts: &Facts) -> bool {
        let identity = &facts.request.identity;
        let one = |text: &str| list.matches(std::iter::once(text));
        let some = |text: Option<&str>| text.is_some_and(|text| list.matches(std::iter::once(text)));
        let all = |texts: &[String]| list.matches(texts.iter().map(String::as_str));
        match (self, facts.request.target) {
            (Self::User, _) => one(identity.user),
            (Self::Groups, _) => all(identity.groups),
            (Self::Method, _) => one(identity.method),
            (Self::Key, _) => some(identity.key),
            (Self::Issuer, _) => some(identity.issuer),
            (Self::Principals, _) => all(identity.principals),
            (Self::Host, Endpoint::Tcp(..)) => one(&facts.host),
            (Self::Socket, Endpoint::Socket(path)) => one(path),
            (Self::Host | Self::Socket, _) => false,
        }
    }
}

fn targets_match(patterns: &[TargetPattern], facts: &Facts) -> bool {
    let mut found = false;
    for pattern in patterns {
        let matches = match (&pattern.endpoint, facts.request.target) {
            (EndpointPattern::Tcp(host, ports), Endpoint::Tcp(_, port)) => {
                ports.contains(port) && host.matches(&facts.host)
            }
            (EndpointPattern::Socket(path), Endpoint::Socket(target)) => path.matches(target),
            _ => false,
        };
        if matches && pattern.is_exception {
            return false;
        }
        found |= matches;
    }
    found
}

fn addresses_lie_in(networks: &Networks, facts: &Facts) -> Answer {
    let Endpoint::Tcp(..) = facts.request.target else {
        return Answer::No;
    };
    let inside = |address: &IpAddr| networks.contains(*address);
    match facts.addresses() {
        Addresses::Known(addresses) if addresses.iter().all(inside) => Answer::Yes,
        Addresses::Known(addresses) if !addresses.iter().any(inside) => Answer::No,
        Addresses::Known(_) | Addresses::Unknown => Answer::Unsure,
        // Every address of the gateway lies in the list only where it names the wildcard addresses themselves.
        Addresses::Every
            if [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
                .iter()
                .all(inside) =>
        {
            Answer::Yes
        }
        Addresses::Every => Answer::Unsure,
    }
}

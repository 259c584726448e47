//! `[names]`: who is asked for the addresses of names.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::value::Value;
use super::walk::Table;
use crate::request::Host;

/// `[names]`: the name servers, and how they are asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Naming {
    /// The servers, in the order in which they are asked; at most 8. Default: none, and the system's resolver looks names up.
    pub servers: Vec<NameServer>,
    /// Domains in which a name without a dot at its end is looked up, too, in this order; at most 6. Default: none.
    pub search: Vec<String>,
    /// A name with at least so many dots is looked up as it is before it is looked up in `search`; with fewer, after it. From 0
    /// to 15. Default: 1.
    pub ndots: usize,
    /// How long one server may take for one answer, from 50ms to 30s. Then the next one is asked. Default: 2s.
    pub timeout: Duration,
    /// How often each server is asked until one answers, from 1 to 5. Default: 2.
    pub attempts: usize,
    /// What is kept of the answers.
    pub cache: NameCache,
}

/// `names.cache`: what is kept of the answers, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameCache {
    /// How many names, from 0 to 1,000,000; each takes less than 1 KiB. 0: none is kept. Default: 10,000.
    pub entries: usize,
    /// Addresses are kept for so long even if the server says less, from 0 to 1h. Default: 0.
    pub min_ttl: Duration,
    /// Addresses are kept for so long at most, whatever the server says, up to 1d. Default: 1h.
    pub max_ttl: Duration,
    /// That there is no such name is believed for so long at most, up to 1h. Default: 1m.
    pub max_negative_ttl: Duration,
}

impl Default for Naming {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(2),
            attempts: 2,
            cache: NameCache::default(),
        }
    }
}

impl Default for NameCache {
    fn default() -> Self {
        Self {
            entries: 10_000,
            min_ttl: Duration::ZERO,
            max_ttl: HOUR,
            max_negative_ttl: Duration::from_secs(60),
        }
    }
}

/// One name server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameServer {
    /// Where it is. It may be in a denied network: the administrator named it.
    pub address: SocketAddr,
    /// How it is asked.
    pub transport: NameTransport,
}

/// How a name server is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameTransport {
    /// Over UDP, and over TCP if the answer is too long for UDP (RFC 1035, RFC 7766).
    Plain,
    /// Over TLS (RFC 7858). The certificate must be valid for this name or address.
    Tls(String),
}

impl fmt::Display for NameServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            NameTransport::Plain => self.address.fmt(f),
            NameTransport::Tls(name) => write!(f, "tls://{}#{name}", self.address),
        }
    }
}

pub(super) fn names(table: &mut Table<'_>) -> Naming {
    let default = Naming::default();
    let naming = Naming {
        servers: table.or("servers", default.servers, servers),
        search: table.or("search", default.search, search),
        ndots: table.or("ndots", default.ndots, |value| value.number(0..=15)),
        timeout: table.or("timeout", default.timeout, |value| {
            value.duration(Duration::from_millis(50)..=Duration::from_secs(30))
        }),
        attempts: table.or("attempts", default.attempts, |value| value.number(1..=5)),
        cache: table.section("cache", cache),
    };
    if !table.has("servers") {
        for key in ["search", "ndots", "timeout", "attempts", "cache"] {
            if table.has(key) {
                table.fault(key, "needs `servers`, the name servers to ask");
            }
        }
    }
    naming
}

fn cache(table: &mut Table<'_>) -> NameCache {
    let default = NameCache::default();
    let cache = NameCache {
        entries: table.or("entries", default.entries, |value| value.number(0..=1_000_000)),
        min_ttl: table.or("min-ttl", default.min_ttl, |value| {
            value.duration(Duration::ZERO..=HOUR)
        }),
        max_ttl: table.or("max-ttl", default.max_ttl, |value| value.duration(Duration::ZERO..=DAY)),
        max_negative_ttl: table.or("max-negative-ttl", default.max_negative_ttl, |value| {
            value.duration(Duration::ZERO..=HOUR)
        }),
    };
    if cache.min_ttl > cache.max_ttl {
        table.fault("min-ttl", "must not be longer than `max-ttl`");
    }
    cache
}

fn servers(value: &Value<'_>) -> Option<Vec<NameServer>> {
    let mut seen = BTreeMap::new();
    let servers = value.list(|value| {
        let server = server(value.text()?).map_or_else(|words| value.fault(words), Some)?;
        value.unique(&server.address.to_string(), &mut seen).map(|()| server)
    })?;
    match value.toml().as_array().map_or(0, |items| items.len()) {
        0 => value.fault("must name at least one server; leave the key out for the system's resolver"),
        more if more > MOST_SERVERS => value.wrong(format_args!("at most {MOST_SERVERS} servers")),
        _ => Some(servers),
    }
}

/// `ADDRESS`, `ADDRESS:PORT` or `tls://ADDRESS[:PORT][#NAME]`; an IPv6 address before a port is in brackets.
fn server(text: &str) -> Result<NameServer, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
    let tls = match scheme {
        "" => false,
        "tls" => true,
        _ => return Err(format!("has the unknown scheme `{}`: {FORM}", scheme.escape_debug())),
    };
    let (place, name) = match rest.split_once('#') {
        Some((place, name)) => (place, Some(name)),
        None => (rest, None),
    };
    let address = address(place, if tls { TLS_PORT } else { PORT })?;
    let transport = match (tls, name) {
        (false, None) => NameTransport::Plain,
        (false, Some(_)) => return Err(format!("only a server with tls:// has a name after `#`: {FORM}")),
        // RFC 8310 section 8.1: the certificate may be one for the address.
        (true, None) => NameTransport::Tls(address.ip().to_string()),
        (true, Some(name)) => match Host::parse(name) {
            Ok(Host::Name(name)) => NameTransport::Tls(name.as_str().to_owned()),
            Ok(Host::Address(address)) => NameTransport::Tls(address.to_string()),
            _ => return Err("after `#` must be the name in the server's certificate".to_owned()),
        },
    };
    Ok(NameServer { address, transport })
}

fn address(place: &str, port: u16) -> Result<SocketAddr, String> {
    let bare = place.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let alone = match bare {
        Some(address) => address.parse().ok().map(IpAddr::V6),
        None => place.parse().ok(),
    };
    let address = match alone {
        Some(address) => SocketAddr::new(address, port),
        None => place
            .parse()
            .map_err(|_| format!("must be an address, because a name would need a server first: {FORM}"))?,
    };
    let ip = address.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    if ip.is_unspecified() || ip.is_multicast() || broadcast || address.port() == 0 {
        return Err(format!("`{address}` is not the address of one server: {FORM}"));
    }
    Ok(SocketAddr::new(ip, address.port()))
}

fn search(value: &Value<'_>) -> Option<Vec<String>> {
    let domains = value.list(|value| match Host::parse(value.text()?) {
        Ok(Host::Name(name)) => Some(name.as_str().to_owned()),
        _ => value.wrong("a domain, as in \"corp.example\""),
    })?;
    if domains.len() > MOST_DOMAINS {
        return value.wrong(format_args!("at most {MOST_DOMAINS} domains"));
    }
    Some(domains)
}

const FORM: &str =
    "write \"10.0.0.53\", \"10.0.0.53:5353\", \"[2001:db8::53]:5353\" or \"tls://10.0.0.53#dns.example.com\"";
const PORT: u16 = 53;
/// RFC 7858 section 3.1.
const TLS_PORT: u16 = 853;
const MOST_SERVERS: usize = 8;
/// As resolv.conf(5) had it for long. Each one may be asked for before a name is found not to exist.
const MOST_DOMAINS: usize = 6;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

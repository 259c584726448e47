//! `[outbound]` and `[[via]]`: how targets are connected to, and the proxies on the way.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use ipnet::IpNet;

use super::value::Value;
use super::walk::Table;
use crate::request::{Dscp, Host, NetworkError, Outbound as Manner, Via, network, source_address};

/// `[outbound]`: how targets are connected to if the policy demands nothing else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbound {
    /// For every target. Default: no header, and what the system has for the rest.
    pub default: Manner,
    /// `[[outbound.for]]`: for some targets instead; the first that names the target counts, and what it leaves open is as in
    /// `default`. Default: none.
    pub exceptions: Vec<OutboundFor>,
}

/// One table of `[[outbound.for]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboundFor {
    /// The targets that it is for; at least one.
    pub targets: Vec<Target>,
    /// How those are connected to.
    pub manner: Manner,
}

impl OutboundFor {
    /// Whether it names this host, of which these addresses may be dialled.
    #[must_use]
    pub fn names(&self, host: &Host, addresses: &[IpAddr]) -> bool {
        self.targets.iter().any(|target| target.is(host, addresses))
    }
}

/// A target, or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Hosts all of whose addresses are in this network.
    Network(IpNet),
    /// This name.
    Name(String),
    /// Every name below this one, as `*.internal`; it begins with a dot.
    Below(String),
}

impl Target {
    fn is(&self, host: &Host, addresses: &[IpAddr]) -> bool {
        match (self, host) {
            (Self::Network(network), _) => {
                !addresses.is_empty() && addresses.iter().all(|address| network.contains(address))
            }
            (Self::Name(name), Host::Name(host)) => name == host.as_str(),
            (Self::Below(domain), Host::Name(host)) => host.as_str().ends_with(domain.as_str()),
            (Self::Name(_) | Self::Below(_), Host::Any | Host::Address(_)) => false,
        }
    }
}

/// `[[via]]`: a proxy through which targets are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// What obligations and defaults call it. Letters, digits, `-`, `_` and `.`; at most 64 bytes, not `direct`.
    pub name: String,
    /// What it speaks.
    pub kind: ProxyKind,
    /// Where it is. It may be in a denied network: the administrator named it.
    pub host: Host,
    /// Its port.
    pub port: u16,
    /// A file with `user:password` in its first line, which only its owner and its group can read. Default: none is needed.
    pub credentials_file: Option<PathBuf>,
    /// Who looks up the names of targets. Default `resolve`.
    pub names: Names,
}

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyKind {
    /// SOCKS version 5 (RFC 1928, RFC 1929).
    Socks5,
    /// The method CONNECT of HTTP/1.1 (RFC 9110 section 9.3.6).
    HttpConnect,
}

impl ProxyKind {
    /// Its key.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Socks5 => "socks5",
            Self::HttpConnect => "http-connect",
        }
    }
}

/// Who looks up the names of targets that are reached through a proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// `resolve`: the gateway, and the proxy gets an address that was judged.
    Resolve,
    /// `hand-on`: the proxy, which gets the name. The gateway still looks it up, and every address that it finds must be
    /// permitted. It cannot judge an address that only the proxy finds.
    HandOn,
}

pub(super) fn outbound(table: &mut Table<'_>, proxies: &[Proxy]) -> Outbound {
    Outbound {
        default: manner(table, proxies),
        exceptions: table
            .read("for", |value| value.tables(|table| exception(table, proxies)))
            .unwrap_or_default(),
    }
}

fn exception(table: &mut Table<'_>, proxies: &[Proxy]) -> Option<OutboundFor> {
    let targets = table.required(
        "targets",
        "the targets, as in [\"10.0.0.0/8\", \"*.internal\"]",
        |value| {
            let targets = value.list(target)?;
            if value.toml().as_array().is_some_and(|items| items.is_empty()) {
                return value.fault("must name at least one target");
            }
            Some(targets)
        },
    );
    let manner = manner(table, proxies);
    Some(OutboundFor {
        targets: targets?,
        manner,
    })
}

fn manner(table: &mut Table<'_>, proxies: &[Proxy]) -> Manner {
    Manner {
        proxy_protocol: table.read("proxy-protocol", |value| parsed(value, value.text()?.parse())),
        source_address: table.read("source-address", |value| parsed(value, source_address(value.text()?))),
        mark: table.read("mark", |value| value.number(0..=u32::MAX)),
        dscp: table.read("dscp", |value| match value.toml().as_integer() {
            Some(_) => parsed(value, Dscp::try_from(value.number(i64::MIN..=i64::MAX)?)),
            None => parsed(value, value.text()?.parse()),
        }),
        via: table.read("via", |value| {
            let via = parsed(value, value.text()?.parse())?;
            match &via {
                Via::Proxy(name) if !proxies.iter().any(|proxy| proxy.name == *name) => value.fault(format_args!(
                    "no [[via]] has the name `{name}`: add one, or use one of: {}",
                    known(proxies)
                )),
                _ => Some(via),
            }
        }),
    }
}

/// The names that a key may have.
fn known(proxies: &[Proxy]) -> String {
    let names = proxies.iter().map(|proxy| proxy.name.as_str());
    names.chain([Via::DIRECT]).collect::<Vec<_>>().join(", ")
}

fn parsed<T>(value: &Value<'_>, parsed: Result<T, String>) -> Option<T> {
    parsed.map_or_else(|words| value.fault(words), Some)
}

fn target(value: &Value<'_>) -> Option<Target> {
    let text = value.text()?;
    match network(text) {
        Err(NetworkError::Form(_)) => {}
        _ => return value.network().map(Target::Network),
    }
    let (domain, below) = match text.strip_prefix("*.") {
        Some(domain) => (domain, true),
        None => (text, false),
    };
    match (Host::parse(domain), below) {
        (Ok(Host::Name(name)), false) => Some(Target::Name(name.as_str().to_owned())),
        (Ok(Host::Name(name)), true) => Some(Target::Below(format!(".{}", name.as_str()))),
        _ => {
            value.wrong("a network, a name or names below one, as in \"10.0.0.0/8\", \"db.internal\" or \"*.internal\"")
        }
    }
}

pub(super) fn proxies(value: &Value<'_>) -> Option<Vec<Proxy>> {
    let mut seen = BTreeMap::new();
    value.tables(|table| proxy(table, &mut seen))
}

fn proxy(table: &mut Table<'_>, seen: &mut BTreeMap<String, usize>) -> Option<Proxy> {
    let name = table.required("name", "what `via` calls the proxy", |value| {
        match parsed(value, value.text()?.parse())? {
            Via::Direct => value.fault("`direct` stands for no proxy: choose another name"),
            Via::Proxy(name) => value.unique(&name, seen).map(|()| name),
        }
    });
    let kinds = [ProxyKind::Socks5, ProxyKind::HttpConnect];
    let there = kinds.map(|kind| table.has(kind.as_str()));
    let places = kinds.map(|kind| table.read(kind.as_str(), place));
    let credentials_file = table.read("credentials-file", |value| value.path());
    let names = table.or("names", Names::Resolve, |value| {
        value.one_of(&[("resolve", Names::Resolve), ("hand-on", Names::HandOn)])
    });
    let (kind, (host, port)) = match (there, places) {
        ([true, false], [place, _]) => (ProxyKind::Socks5, place?),
        ([false, true], [_, place]) => (ProxyKind::HttpConnect, place?),
        ([true, true], _) => {
            table.fault(
                "http-connect",
                "a proxy has either `socks5` or `http-connect`, not both",
            );
            return None;
        }
        ([false, false], _) => {
            table.fault("socks5", "missing: where the proxy is, as `socks5` or `http-connect`");
            return None;
        }
    };
    Some(Proxy {
        name: name?,
        kind,
        host,
        port,
        credentials_file,
        names,
    })
}

/// `host:port`.
fn place(value: &Value<'_>) -> Option<(Host, u16)> {
    let (host, port) = value.text()?.rsplit_once(':').unwrap_or_default();
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse().ok().map(IpAddr::V6).map(Host::Address),
        None => Host::parse(host).ok().filter(|_| !host.contains(':')),
    };
    match (host, port.parse()) {
        (Some(host @ (Host::Name(_) | Host::Address(_))), Ok(port @ 1..)) => Some((host, port)),
        _ => value.wrong("a host and a port, as in \"proxy.internal:1080\" or \"[2001:db8::1]:1080\""),
    }
}

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Deref;
use std::str::FromStr;

use idna::AsciiDenyList;
use serde::{Serialize, Serializer};
use thiserror::Error;

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

/// A host in canonical form: two spellings of one host are equal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// Every address of the gateway; only to listen on (`*`).
    Any,
    /// A name.
    Name(Name),
    /// IPv4-mapped IPv6 is unmapped.
    Address(IpAddr),
}

/// A host name: lower case, ASCII (IDNA), and not readable as an address.
///
/// A dot at the end says that the name is complete: a resolver then appends no search domain. It is no part of what is compared,
/// so `db.example.com.` and `db.example.com` are equal, but it is kept for the lookup ([`Name::asked`]).
#[derive(Clone, Debug)]
pub struct Name {
    /// With the dot at its end if there was one.
    text: String,
}

/// An absolute path without `.`, `..`, empty components or NUL, short enough for `sun_path`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketPath(String);

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

impl Host {
    /// Reads a host as a resolver would, so that nothing is judged under one name and dialled
    /// under another: case and IDNA are folded, a trailing dot is not compared, and the IPv4 spellings of
    /// `inet_aton(3)` (`127.1`, `0x7f.1`, `2130706433`) become the address that they mean.
    ///
    /// # Errors
    /// If it is not a host, or numeric but not an IPv4 address, or an IPv6 address with a zone.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        if text.is_empty() {
            return Err(EndpointError::EmptyHost);
        }
        let unbracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let literal = unbracketed.unwrap_or(text);
        if literal.contains(':') || unbracketed.is_some() {
            return ipv6(literal);
        }
        if literal.contains('%') {
            return Err(EndpointError::Host(text.to_owned()));
        }
        let no_host = || EndpointError::Host(text.to_owned());
        let ascii = idna::domain_to_ascii_cow(text.as_bytes(), AsciiDenyList::URL).map_err(|_| no_host())?;
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        let last = name.rsplit('.').next().unwrap_or_default();
        if is_numeric(last) {
            return inet_aton(name)
                .map(|address| Self::Address(IpAddr::V4(address)))
                .ok_or_else(|| EndpointError::Ipv4(text.to_owned()));
        }
        if name.len() > MAX_NAME || !name.split('.').all(is_label) {
            return Err(no_host());
        }
        Ok(Self::Name(Name {
            text: ascii.into_owned(),
        }))
    }
}

impl Name {
    /// The name `localhost`.
    #[must_use]
    pub fn localhost() -> Self {
        Self {
            text: "localhost".to_owned(),
        }
    }

    /// The name without a dot at its end: what is compared, printed and told to policies.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.strip_suffix('.').unwrap_or(&self.text)
    }

    /// The name as a resolver is to be asked for it.
    #[must_use]
    pub fn asked(&self) -> &str {
        &self.text
    }

    /// Whether it has the dot at its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.text.ends_with('.')
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Name {}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => out.write_str("*"),
            Self::Name(name) => name.fmt(out),
            Self::Address(address) => write!(out, "{address}"),
        }
    }
}

impl SocketPath {
    /// Reads the path of a Unix-domain socket.
    ///
    /// # Errors
    /// If it is not absolute, has an empty, `.` or `..` component, a control character, or is
    /// longer than the 107 bytes that `sun_path` holds.
    pub fn parse(path: &str) -> Result<Self, EndpointError> {
        let why = if !path.starts_with('/') {
            "it must be absolute"
        } else if path.len() > MAX_SUN_PATH {
            "it is longer than 107 bytes"
        } else if path.chars().any(char::is_control) {
            "it has a control character"
        } else if path.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
            "it must not have empty, `.` or `..` components"
        } else {
            return Ok(Self(path.to_owned()));
        };
        Err(EndpointError::Path {
            path: path.to_owned(),
            why,
        })
    }

    /// The path as a text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SocketPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
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
            Endpoint::Socket(path) => Self::Socket(path.0.clone()),
        }
    }
}

/// A 32-bit port of the wire as the 16 bits that TCP has.
pub(super) fn narrow(port: u32) -> Result<u16, EndpointError> {
    u16::try_from(port).map_err(|_| EndpointError::Port(port))
}

fn ipv6(text: &str) -> Result<Host, EndpointError> {
    if text.contains('%') {
        return Err(EndpointError::Zone(text.to_owned()));
    }
    let address: Ipv6Addr = text.parse().map_err(|_| EndpointError::Host(text.to_owned()))?;
    Ok(Host::Address(IpAddr::V6(address).to_canonical()))
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= MAX_LABEL
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// The test of the URL standard for "ends in a number": such a host is an address or an error.
fn is_numeric(label: &str) -> bool {
    match label.strip_prefix("0x") {
        Some(hex) => hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// `inet_aton(3)`: one to four parts, decimal, octal or hexadecimal, the last filling the rest.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(aton_part).collect::<Option<_>>()?;
    let (last, leading) = parts.split_last()?;
    if leading.len() > 3 || leading.iter().any(|part| *part > 255) {
        return None;
    }
    let free_bits = 32 - 8 * u32::try_from(leading.len()).ok()?;
    if u64::from(*last) >= 1 << free_bits {
        return None;
    }
    let high = leading
        .iter()
        .zip([24, 16, 8])
        .fold(0, |sum, (part, shift)| sum | part << shift);
    Some(Ipv4Addr::from(high | last))
}

fn aton_part(part: &str) -> Option<u32> {
    let (digits, radix) = match part.as_bytes() {
        [b'0', b'x', ..] => (part.get(2..)?, 16),
        [b'0', _, ..] => (part.get(1..)?, 8),
        _ => (part, 10),
    };
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if plain {
        u32::from_str_radix(digits, radix).ok()
    } else {
        None
    }
}

/// RFC 1035 section 2.3.4, without the root.
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;
/// `sizeof(sun_path) - 1` on Linux, unix(7).
const MAX_SUN_PATH: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_host_becomes_one() {
        let table = [
            ("DB.Example.COM.", "db.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("_service.example", "_service.example"),
            ("127.0.0.1", "127.0.0.1"),
            ("127.1", "127.0.0.1"),
            ("0x7f.1", "127.0.0.1"),
            ("0X7F.1", "127.0.0.1"),
            ("0177.0.0.1", "127.0.0.1"),
            ("2130706433", "127.0.0.1"),
            ("0x7f000001", "127.0.0.1"),
            ("127.0.0.1.", "127.0.0.1"),
            ("１２７.１", "127.0.0.1"),
            ("0", "0.0.0.0"),
            ("::ffff:10.0.0.1", "10.0.0.1"),
            ("::FFFF:a00:1", "10.0.0.1"),
            ("[::1]", "::1"),
            ("0:0:0:0:0:0:0:1", "::1"),
            ("2001:DB8::0:1", "2001:db8::1"),
        ];
        for (sent, canonical) in table {
            assert_eq!(Host::parse(sent).unwrap().to_string(), canonical, "{sent}");
        }
    }

    #[test]
    fn a_dot_at_the_end_is_asked_for_and_not_compared() {
        #[rustfmt::skip]
        let table = [
            // sent                compared            asked
            ("db.example.com.",    "db.example.com",   "db.example.com."),
            ("DB.Example.com.",    "db.example.com",   "db.example.com."),
            ("db.example.com。",   "db.example.com",   "db.example.com."),
            ("bücher.example.",    "xn--bcher-kva.example", "xn--bcher-kva.example."),
            ("db.example.com",     "db.example.com",   "db.example.com"),
            ("db.",                "db",               "db."),
            ("db",                 "db",               "db"),
        ];
        for (sent, compared, asked) in table {
            let Ok(Host::Name(name)) = Host::parse(sent) else {
                panic!("{sent}")
            };
            assert_eq!((name.as_str(), name.asked()), (compared, asked), "{sent}");
            assert_eq!(name.to_string(), compared);
            assert_eq!(Host::parse(compared), Ok(Host::Name(name)), "{sent}");
        }
        assert!(Host::parse("db..").is_err());
    }

    #[test]
    fn what_was_asked_has_one_pair_of_brackets_around_an_address() {
        for (host, shown) in [
            ("::1", "[::1]:80"),
            ("[::1]", "[::1]:80"),
            ("db", "db:80"),
            ("[db", "[db:80"),
        ] {
            let requested = Requested::Tcp {
                host: host.to_owned(),
                port: 80,
            };
            assert_eq!(requested.to_string(), shown);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for sent in [
            "",
            ".",
            "a..b",
            "a b",
            "a\0b",
            "a/b",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.256",
            "08.1.1.1",
            "4294967296",
            "0xfffffffff",
            "foo.1",
            "fe80::1%eth0",
            "[::1",
            "::1]",
            ":::",
            "::ffff:1.2.3.256",
            "eth0%1",
            "*",
            "a*b",
            "-+-.1",
            "1.+2",
            "a@b",
            "\u{202e}db",
        ] {
            assert!(Host::parse(sent).is_err(), "{sent:?} became {:?}", Host::parse(sent));
        }
        assert!(Host::parse(&"a".repeat(64)).is_err());
        assert!(Host::parse(&["a"; 127].join(".")).is_ok());
        assert!(Host::parse(&["a"; 128].join(".")).is_err());
    }

    #[test]
    fn a_port_is_parsed_and_never_cast() {
        assert_eq!(Endpoint::to_connect("db", 65536), Err(EndpointError::Port(65536)));
        assert_eq!(Endpoint::to_connect("db", 65536 + 22), Err(EndpointError::Port(65558)));
        assert_eq!(Endpoint::to_connect("db", 0), Err(EndpointError::PortZero));
        assert!(Endpoint::to_connect("db", 65535).is_ok());
        for text in ["db", "db:", "db:+22", "db:2 2", "::1:22", "[::1]22", "db:99999"] {
            assert!(text.parse::<Endpoint>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_endpoint_reads_what_it_prints() {
        for text in [
            "db:22",
            "10.0.0.1:5432",
            "[::1]:80",
            "unix:/run/app.sock",
            "unix:80",
            "*:0",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_socket_path_that_is_not_plain_is_refused() {
        for path in [
            "",
            "run/x",
            "/",
            "/run//x",
            "/run/../etc/x",
            "/run/./x",
            "/run/x/",
            "/a\nb",
            "/a\0b",
        ] {
            assert!(SocketPath::parse(path).is_err(), "{path:?}");
        }
        assert!(SocketPath::parse(&format!("/{}", "a".repeat(106))).is_ok());
        assert!(SocketPath::parse(&format!("/{}", "a".repeat(107))).is_err());
    }
}

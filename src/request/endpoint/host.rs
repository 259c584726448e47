//! Hosts: names and addresses in canonical form, and every spelling of an address that a resolver would take.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Deref;

use idna::AsciiDenyList;

use super::EndpointError;

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

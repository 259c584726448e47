//! Networks as an administrator writes them, and sets of them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::range::{Range, RangeSet};

/// An address, a network in CIDR form, or a range of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// A range of IPv4 addresses.
    V4(Range<u32>),
    /// A range of IPv6 addresses.
    V6(Range<u128>),
}

impl Network {
    /// Reads `10.0.0.1`, `10.0.0.0/8`, `2001:db8::/32` or `10.0.0.1-10.0.0.9`; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some((low, high)) = text.split_once('-') {
            return Self::between(text, low.trim(), high.trim());
        }
        let Some((address, length)) = text.split_once('/') else {
            return address(text).map(Self::single).ok_or_else(|| not_a_network(text));
        };
        let address = address.parse::<IpAddr>().map_err(|_| not_a_network(text))?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length = match length.parse::<u32>() {
            Ok(length) if length <= width && !text.ends_with(&format!("/+{length}")) => length,
            _ => {
                return Err(format!(
                    "`{text}` needs a prefix length from 0 to {width} after the slash"
                ));
            }
        };
        let network = match address {
            IpAddr::V4(address) => block_v4(address, length),
            IpAddr::V6(address) => match (address.to_ipv4_mapped(), length.checked_sub(MAPPED)) {
                // Mapped addresses are IPv4 addresses to the gateway, so a network of them is one of IPv4.
                (Some(address), Some(length)) => block_v4(address, length),
                _ => {
                    let bits = u128::MAX.checked_shr(length).unwrap_or(0);
                    let low = u128::from(address);
                    (low & bits == 0).then_some(Self::V6((low, low | bits)))
                }
            },
        };
        network.ok_or_else(|| {
            let start = first_address(address, length);
            format!("`{text}` has address bits behind the prefix, write `{start}/{length}` for the network or `{address}` for the address")
        })
    }

    fn between(text: &str, low: &str, high: &str) -> Result<Self, String> {
        let range = match (address(low), address(high)) {
            (Some(IpAddr::V4(low)), Some(IpAddr::V4(high))) => {
                (low <= high).then(|| Self::V4((low.into(), high.into())))
            }
            (Some(IpAddr::V6(low)), Some(IpAddr::V6(high))) => {
                (low <= high).then(|| Self::V6((low.into(), high.into())))
            }
            _ => return Err(not_a_network(text)),
        };
        range.ok_or_else(|| format!("`{text}` ends before it begins, swap the two addresses"))
    }

    fn single(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4((address.into(), address.into())),
            IpAddr::V6(address) => Self::V6((address.into(), address.into())),
        }
    }
}

/// Every address that a list of networks holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Networks {
    /// The IPv4 part.
    pub v4: RangeSet<u32>,
    /// The IPv6 part.
    pub v6: RangeSet<u128>,
}

impl Networks {
    /// Everything in `included` that is not in `excluded`.
    pub fn new(included: &[Network], excluded: &[Network]) -> Self {
        let v4 = |networks: &[Network]| {
            networks
                .iter()
                .filter_map(|network| {
                    if let Network::V4(range) = network {
                        Some(*range)
                    } else {
                        None
                    }
                })
                .collect()
        };
        let v6 = |networks: &[Network]| {
            networks
                .iter()
                .filter_map(|network| {
                    if let Network::V6(range) = network {
                        Some(*range)
                    } else {
                        None
                    }
                })
                .collect()
        };
        Self {
            v4: RangeSet::new(v4(included), v4(excluded)),
            v6: RangeSet::new(v6(included), v6(excluded)),
        }
    }

    /// Whether the address lies in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.v4.contains(address.into()),
            IpAddr::V6(address) => self.v6.contains(address.into()),
        }
    }

    /// Whether every address of the other lies in it.
    pub fn covers(&self, other: &Self) -> bool {
        self.v4.covers(&other.v4) && self.v6.covers(&other.v6)
    }

    /// Whether no address lies in it.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }
}

/// Reads an address; an IPv4-mapped IPv6 address is the IPv4 address that it stands for.
pub fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Nothing where the address has bits behind the prefix.
fn block_v4(address: Ipv4Addr, length: u32) -> Option<Network> {
    let bits = u32::MAX.checked_shr(length).unwrap_or(0);
    let low = u32::from(address);
    (low & bits == 0).then_some(Network::V4((low, low | bits)))
}

/// The length of `::ffff:0:0/96`, which holds the IPv4-mapped addresses.
const MAPPED: u32 = 96;

fn first_address(address: IpAddr, length: u32) -> IpAddr {
    match address {
        IpAddr::V4(address) => Ipv4Addr::from(u32::from(address) & !u32::MAX.checked_shr(length).unwrap_or(0)).into(),
        IpAddr::V6(address) => Ipv6Addr::from(u128::from(address) & !u128::MAX.checked_shr(length).unwrap_or(0)).into(),
    }
}

fn not_a_network(text: &str) -> String {
    format!("`{text}` is no network, write an address, `10.0.0.0/8`, `2001:db8::/32` or `10.0.0.1-10.0.0.9`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_holds_exactly_its_addresses() {
        let table = [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("::/0", "10.0.0.1", false),
            ("::/0", "2001:db8::1", true),
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("::ffff:10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("::ffff:10.0.0.0/104", "10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.255.0.1", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", false),
            ("::ffff:0:0/96", "192.0.2.1", true),
            ("::ffff:a00:1/128", "10.0.0.1", true),
            ("::ffff:10.0.0.1-::ffff:10.0.0.9", "10.0.0.5", true),
            ("10.0.0.1-10.0.0.9", "10.0.0.9", true),
            ("10.0.0.1 - 10.0.0.9", "10.0.0.10", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::", false),
            ("2001:db8::1/128", "2001:db8::1", true),
        ];
        for (network, text, expected) in table {
            let networks = Networks::new(&[Network::parse(network).unwrap()], &[]);
            assert_eq!(
                networks.contains(address(text).unwrap()),
                expected,
                "{text} in {network}"
            );
        }
    }

    #[test]
    fn broken_network_says_how_to_mend_it() {
        let table = [
            (
                "10.0.0.5/8",
                "write `10.0.0.0/8` for the network or `10.0.0.5` for the address",
            ),
            ("2001:db8::1/32", "write `2001:db8::/32`"),
            ("::ffff:10.0.0.5/104", "write `::ffff:10.0.0.0/104`"),
            ("fe80::1%eth0", "is no network"),
            (" 10.0.0.0/8", "is no network"),
            ("10.0.0.0/255.0.0.0", "from 0 to 32"),
            ("10.0.0.0/33", "from 0 to 32"),
            ("10.0.0.0/+8", "from 0 to 32"),
            ("::/129", "from 0 to 128"),
            ("10.0.0.0/", "from 0 to 32"),
            ("db.internal", "is no network"),
            ("10.0.0", "is no network"),
            ("10.0.0.9-10.0.0.1", "swap"),
            ("10.0.0.9-::1", "is no network"),
        ];
        for (text, expected) in table {
            let message = Network::parse(text).unwrap_err();
            assert!(message.contains(expected), "{text}: {message}");
        }
    }
}

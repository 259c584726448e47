//! Networks, for settings and conditions.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

/// A network such as `10.0.0.0/8` or `2001:db8::/32`, or one address; in settings as that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    bits: u128,
    prefix: u8,
    is_v4: bool,
}

impl Network {
    /// Whether an address lies in it. IPv4 and IPv6 are apart: no IPv6 network holds an IPv4 address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let (bits, width, is_v4) = split(address);
        is_v4 == self.is_v4 && shorten(bits, self.prefix, width) == self.bits
    }
}

fn split(address: IpAddr) -> (u128, u8, bool) {
    match address.to_canonical() {
        IpAddr::V4(address) => (u32::from(address).into(), 32, true),
        IpAddr::V6(address) => (address.into(), 128, false),
    }
}

/// The first `prefix` bits of `width`.
fn shorten(bits: u128, prefix: u8, width: u8) -> u128 {
    bits.checked_shr(u32::from(width - prefix)).unwrap_or(0)
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let bad = || BadNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let (bits, width, is_v4) = split(address.parse().map_err(|_| bad())?);
        let prefix = match prefix {
            Some(prefix) => prefix.parse().ok().filter(|prefix| *prefix <= width).ok_or_else(bad)?,
            None => width,
        };
        let shortened = shorten(bits, prefix, width);
        let whole = shortened.checked_shl(u32::from(width - prefix)).unwrap_or(0);
        if whole != bits {
            return Err(bad());
        }
        let bits = shortened;
        Ok(Self { bits, prefix, is_v4 })
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadNetwork(String);

impl fmt::Display for BadNetwork {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "`{}` is no network: write `10.0.0.0/8`, without bits behind the prefix",
            self.0
        )
    }
}

impl std::error::Error for BadNetwork {}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn an_address_is_in_a_network_or_not() {
        #[rustfmt::skip]
        let table = [
            ("10.0.0.0/8",    "10.255.0.1",       true),
            ("10.0.0.0/8",    "11.0.0.0",         false),
            ("0.0.0.0/0",     "203.0.113.9",      true),
            ("0.0.0.0/0",     "::1",              false),
            ("::/0",          "2001:db8::1",      true),
            ("::/0",          "10.0.0.1",         false),
            ("10.0.0.1",      "10.0.0.1",         true),
            ("10.0.0.1",      "10.0.0.2",         false),
            ("10.0.0.0/8",    "::ffff:10.0.0.1",  true),
            ("2001:db8::/32", "2001:db8:ffff::",  true),
            ("2001:db8::/32", "2001:db9::",       false),
        ];
        for (network, address, inside) in table {
            let network: Network = network.parse().expect(network);
            assert_eq!(
                network.contains(address.parse().expect(address)),
                inside,
                "{network:?} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for text in [
            "10.0.0.1/8",
            "10.0.0.0/33",
            "10.0.0/8",
            "db.internal",
            "::1/64",
            "10.0.0.0/",
            "",
        ] {
            let error = text.parse::<Network>().expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}

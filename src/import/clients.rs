//! Addresses of clients as sets, so that what several lines say of them can be said in one rule.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::sshd::Patterns;
use crate::auth::matches;
use crate::request::loose_network;

/// A set of addresses. IPv4 is kept as its mapped form, `::ffff:0:0/96`, which no client has otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clients(Vec<(u128, u128)>);

/// What a list of patterns says of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reading {
    /// The addresses that it surely names.
    pub(crate) surely: Clients,
    /// Those that it may name: more, where it names hosts or has a pattern that is no set of networks.
    pub(crate) perhaps: Clients,
}

impl Clients {
    /// Every address.
    pub(crate) fn all() -> Self {
        Self(vec![(0, u128::MAX)])
    }

    fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether it has no address.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it has every address.
    pub(crate) fn is_all(&self) -> bool {
        *self == Self::all()
    }

    /// What is in both.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let pairs = self
            .0
            .iter()
            .flat_map(|one| other.0.iter().map(move |two| (one.0.max(two.0), one.1.min(two.1))));
        Self::of(pairs.filter(|(low, high)| low <= high).collect())
    }

    /// What is in one of them.
    pub(crate) fn or(&self, other: &Self) -> Self {
        Self::of([self.0.as_slice(), &other.0].concat())
    }

    /// What is not in it.
    pub(crate) fn complement(&self) -> Self {
        let mut gaps = Vec::new();
        let mut next = Some(0);
        for (low, high) in &self.0 {
            if let Some(start) = next.filter(|start| start < low) {
                gaps.push((start, low - 1));
            }
            next = high.checked_add(1);
        }
        gaps.extend(next.map(|start| (start, u128::MAX)));
        Self(gaps)
    }

    /// Sorted, and joined where they touch.
    fn of(mut ranges: Vec<(u128, u128)>) -> Self {
        ranges.sort_unstable();
        let mut joined: Vec<(u128, u128)> = Vec::new();
        for (low, high) in ranges {
            match joined.last_mut() {
                Some(last) if last.1.checked_add(1).is_none_or(|next| low <= next) => last.1 = last.1.max(high),
                _ => joined.push((low, high)),
            }
        }
        Self(joined)
    }

    /// As the `clients` of a rule: networks and ranges.
    pub(crate) fn written(&self) -> Vec<String> {
        let all_of_v6 = Clients(vec![MAPPED]).complement();
        let v6 = self.and(&all_of_v6);
        let v4 = self.and(&Clients(vec![MAPPED]));
        let write = |set: &Self| set.0.iter().map(|(low, high)| network(*low, *high)).collect::<Vec<_>>();
        match v6 == all_of_v6 {
            true => [write(&v4), vec!["::/0".to_owned()]].concat(),
            false => [write(&v4), write(&v6)].concat(),
        }
    }

    /// Some of its addresses: the first of each part.
    pub(crate) fn samples(&self) -> Vec<IpAddr> {
        let first = |(low, high): (u128, u128)| {
            address(if low == 0 || low == MAPPED.0 {
                high.min(low + 1)
            } else {
                low
            })
        };
        self.0.iter().flat_map(|range| apart(*range)).map(first).collect()
    }
}

impl Reading {
    /// Reads patterns as `addr_match_list` does. Patterns that could be names count as such if clients have names.
    pub(crate) fn of(patterns: &Patterns, use_dns: bool) -> Self {
        let union = |list: &[String]| {
            let nothing = Self {
                surely: Clients::none(),
                perhaps: Clients::none(),
            };
            list.iter().fold(nothing, |sum, one| {
                let one = pattern(one, use_dns);
                Self {
                    surely: sum.surely.or(&one.surely),
                    perhaps: sum.perhaps.or(&one.perhaps),
                }
            })
        };
        let (any, none) = (union(&patterns.any), union(&patterns.none));
        Self {
            surely: any.surely.and(&none.perhaps.complement()),
            perhaps: any.perhaps.and(&none.surely.complement()),
        }
    }

    /// Whether nothing is left open.
    pub(crate) fn is_exact(&self) -> bool {
        self.surely == self.perhaps
    }
}

/// One pattern: a network, a pattern on an address as text, or a name.
fn pattern(text: &str, use_dns: bool) -> Reading {
    let exactly = |set: Clients| Reading {
        surely: set.clone(),
        perhaps: set,
    };
    if let Ok(net) = loose_network(text) {
        let (low, high) = (number(net.network()), number(net.broadcast()));
        // All of IPv6 is everything but the mapped addresses, which are IPv4.
        let set = Clients(vec![(low, high)]);
        return exactly(match net {
            IpNet::V6(_) => set.and(&Clients(vec![MAPPED]).complement()),
            IpNet::V4(_) => set,
        });
    }
    let lower = text.to_ascii_lowercase();
    if text == "*" {
        return exactly(Clients::all());
    }
    let numeric = lower
        .chars()
        .all(|one| one.is_ascii_digit() || matches!(one, '.' | '*' | '?'));
    let perhaps_v6 = lower.contains(':') || lower.starts_with(['*', '?']) || !lower.contains('.');
    match octets(&lower) {
        Some(set) if numeric && !use_dns && !perhaps_v6 => exactly(set),
        Some(set) if numeric && !perhaps_v6 => Reading {
            surely: set,
            perhaps: Clients::all(),
        },
        // A name never fits the text of an address, and clients have no other name.
        _ if !use_dns && !lower.contains(['*', '?']) => exactly(Clients::none()),
        _ if !use_dns && is_name(&lower) => exactly(Clients::none()),
        _ => Reading {
            surely: Clients::none(),
            perhaps: Clients::all(),
        },
    }
}

/// Whether a pattern has letters that no address has.
fn is_name(lower: &str) -> bool {
    lower
        .chars()
        .any(|one| !(one.is_ascii_hexdigit() || matches!(one, '.' | ':' | '*' | '?')))
        || (lower.contains('.') && lower.chars().any(|one| one.is_ascii_alphabetic()))
}

/// `10.0.*`, `10.1.2.?` and the like: whole numbers, then patterns on one number, then anything.
fn octets(pattern: &str) -> Option<Clients> {
    let parts: Vec<_> = pattern.split('.').collect();
    let open = parts.len() < 4;
    let last = parts.last()?;
    if parts.len() > 4 || (open && *last != "*") {
        return None;
    }
    let shown: Vec<_> = match open {
        true => parts.get(..parts.len() - 1)?.to_vec(),
        false => parts.clone(),
    };
    // A star that stands for several numbers has to come last.
    if open && shown.iter().any(|part| part.contains('*')) {
        return None;
    }
    let mut prefixes: Vec<(u32, u32)> = vec![(0, 0)];
    for part in shown {
        let fitting: Vec<u32> = (0..=255)
            .filter(|octet: &u32| matches(part, &octet.to_string()))
            .collect();
        prefixes = prefixes
            .iter()
            .flat_map(|(value, length)| fitting.iter().map(move |octet| ((value << 8) | octet, length + 1)))
            .collect();
        if prefixes.len() > MOST_RANGES {
            return None;
        }
    }
    let range = |(value, length): &(u32, u32)| {
        let shift = 8 * (4 - length);
        let low = u64::from(*value) << shift;
        let high = low + (1_u64 << shift) - 1;
        (MAPPED.0 + u128::from(low), MAPPED.0 + u128::from(high))
    };
    Some(Clients::of(prefixes.iter().map(range).collect()))
}

/// The parts of a range that are IPv6, IPv4 and IPv6.
fn apart((low, high): (u128, u128)) -> Vec<(u128, u128)> {
    let parts = [(0, MAPPED.0 - 1), MAPPED, (MAPPED.1 + 1, u128::MAX)];
    let cut = parts.iter().map(|part| (low.max(part.0), high.min(part.1)));
    cut.filter(|(low, high)| low <= high).collect()
}

fn network(low: u128, high: u128) -> String {
    let bits = (high - low).trailing_ones();
    let aligned = (high - low)
        .checked_add(1)
        .is_some_and(|size| size.is_power_of_two() && low.is_multiple_of(size));
    let width = if is_mapped(low) { 32 } else { 128 };
    match (aligned, low == high) {
        (_, true) => address(low).to_string(),
        (true, _) => format!("{}/{}", address(low), width - bits),
        _ => format!("{}-{}", address(low), address(high)),
    }
}

fn is_mapped(number: u128) -> bool {
    (MAPPED.0..=MAPPED.1).contains(&number)
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn address(number: u128) -> IpAddr {
    IpAddr::V6(Ipv6Addr::from(number)).to_canonical()
}

/// `::ffff:0:0/96`.
const MAPPED: (u128, u128) = (0xffff_0000_0000, 0xffff_ffff_ffff);

/// More than a pattern on addresses is ever meant to have.
const MOST_RANGES: usize = 256;

/// An address that stands for all others, from a network for documentation (RFC 5737).
pub(crate) const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 77));

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_become_networks() {
        #[rustfmt::skip]
        let table: [(&str, &[&str]); 13] = [
            ("10.0.0.0/8",                 &["10.0.0.0/8"]),
            ("10.0.*",                     &["10.0.0.0/16"]),
            ("10.*",                       &["10.0.0.0/8"]),
            ("10.1.2.?",                   &["10.1.2.0-10.1.2.9"]),
            ("10.1.2.*",                   &["10.1.2.0/24"]),
            ("192.0.2.1,192.0.2.2",        &["192.0.2.1-192.0.2.2"]),
            ("2001:db8::/32",              &["2001:db8::/32"]),
            ("*",                          &["0.0.0.0/0", "::/0"]),
            ("10.0.0.0/8,!10.1.0.0/16",    &["10.0.0.0/16", "10.2.0.0-10.255.255.255"]),
            ("::ffff:10.0.0.0/104",        &["10.0.0.0/8"]),
            ("*.example.com",              &[]),
            ("bastion",                    &[]),
            ("0.0.0.0/0",                  &["0.0.0.0/0"]),
        ];
        for (text, expected) in table {
            let reading = Reading::of(&Patterns::list(text), false);
            assert!(reading.is_exact(), "{text}: {reading:?}");
            assert_eq!(reading.surely.written(), expected, "{text}");
        }
    }

    #[test]
    fn what_may_be_a_name_is_left_open() {
        for (text, use_dns) in [
            ("*.example.com", true),
            ("*.5", false),
            ("fe80*", false),
            ("10*", false),
        ] {
            let reading = Reading::of(&Patterns::list(text), use_dns);
            assert!(!reading.is_exact(), "{text}: {reading:?}");
        }
        let reading = Reading::of(&Patterns::list("10.0.0.0/8,!*.example.com"), true);
        assert!(
            reading.surely.is_empty() && reading.perhaps.written() == ["10.0.0.0/8"],
            "{reading:?}"
        );
    }

    #[test]
    fn a_complement_has_all_the_other_addresses() {
        let net = Reading::of(&Patterns::list("10.0.0.0/8"), false).surely;
        let rest = net.complement();
        assert!(net.and(&rest).is_empty() && net.or(&rest).is_all());
        assert_eq!(rest.complement(), net);
    }
}

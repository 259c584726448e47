//! In which order the addresses of a name are tried: as `getaddrinfo(3)` sorts them.

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv6Addr};

/// Sorts by the rules 1, 2, 5, 6 and 8 of RFC 6724 section 6: an address to which there is a route comes before one without, and
/// an IPv6 address before an IPv4 one if the machine has an IPv6 address of the same kind. Otherwise the order of the server stays
/// (rule 10). `source_to` says from which address the system would connect.
pub(super) fn sort(addresses: &mut [IpAddr], source_to: impl Fn(IpAddr) -> Option<IpAddr>) {
    if addresses.len() > 1 {
        addresses.sort_by_cached_key(|address| {
            let source = source_to(*address);
            let (precedence, label) = class(*address);
            (
                source.is_none(),
                source.is_some_and(|source| scope(source) != scope(*address)),
                source.is_some_and(|source| class(source).1 != label),
                Reverse(precedence),
                scope(*address),
            )
        });
    }
}

/// Precedence and label of the policy table of RFC 6724 section 2.1.
fn class(address: IpAddr) -> (u8, u8) {
    let IpAddr::V6(address) = address else {
        return (35, 4);
    };
    match address.segments() {
        _ if address == Ipv6Addr::LOCALHOST => (50, 0),
        [0x2002, ..] => (30, 2),
        [0x2001, 0, ..] => (5, 5),
        [0xfc00..=0xfdff, ..] => (3, 13),
        [0xfec0..=0xfeff, ..] => (1, 11),
        [0x3ffe, ..] => (1, 12),
        _ => (40, 1),
    }
}

/// RFC 6724 section 3.1 and 3.2: link-local, site-local, global.
fn scope(address: IpAddr) -> u8 {
    const LINK: u8 = 2;
    const SITE: u8 = 5;
    const GLOBAL: u8 = 14;
    match address {
        IpAddr::V4(address) if address.is_loopback() || address.is_link_local() => LINK,
        IpAddr::V6(address) if address.is_loopback() => LINK,
        IpAddr::V6(address) => match address.segments() {
            [0xfe80..=0xfebf, ..] => LINK,
            [0xfec0..=0xfeff, ..] => SITE,
            _ => GLOBAL,
        },
        IpAddr::V4(_) => GLOBAL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &str) -> Vec<IpAddr> {
        text.split_whitespace().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn addresses_are_tried_in_the_order_of_the_standard() {
        #[rustfmt::skip]
        let table = [
            // the machine's addresses     as the server has them               as they are tried
            ("192.0.2.9",                  "2001:db8::1 198.51.100.1",          "198.51.100.1 2001:db8::1"),
            ("192.0.2.9 2001:db8::9",      "198.51.100.1 2001:db8::1",          "2001:db8::1 198.51.100.1"),
            ("2001:db8::9",                "198.51.100.1 2001:db8::1",          "2001:db8::1 198.51.100.1"),
            // The order of the server stays, also if there is no route.
            ("192.0.2.9",                  "198.51.100.2 198.51.100.1",         "198.51.100.2 198.51.100.1"),
            ("",                           "198.51.100.2 2001:db8::1",          "2001:db8::1 198.51.100.2"),
            // A private IPv6 network is for those who are in it.
            ("192.0.2.9 2001:db8::9",      "fd00::1 198.51.100.1",              "198.51.100.1 fd00::1"),
            ("192.0.2.9 fd00::9",          "198.51.100.1 2001:db8::1",          "198.51.100.1 2001:db8::1"),
            ("127.0.0.1 ::1",              "127.0.0.1 ::1",                     "::1 127.0.0.1"),
        ];
        for (own, served, tried) in table {
            let own = addresses(own);
            let source = |target: IpAddr| own.iter().find(|one| one.is_ipv4() == target.is_ipv4()).copied();
            let mut sorted = addresses(served);
            sort(&mut sorted, source);
            assert_eq!(sorted, addresses(tried), "{served} from {own:?}");
        }
    }
}

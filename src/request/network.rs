//! Networks as people write them, in the form in which addresses are judged.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;

/// Why a text is no network.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum NetworkError {
    /// Neither an address nor one with a prefix length.
    #[error("`{0}` is not a network: use an address or a network such as 10.0.0.0/8")]
    Form(String),
    /// It could mean the network or the address.
    #[error("`{text}` has address bits beyond its prefix: use {network} for the network or {address} for the address")]
    Bits {
        /// As written.
        text: String,
        /// The network that it lies in.
        network: IpNet,
        /// Its address.
        address: IpAddr,
    },
}

/// Reads an address or a network in prefix notation. IPv4-mapped IPv6 becomes the IPv4 that it stands for, because every
/// address is judged as that.
///
/// # Errors
/// If it is neither, or has address bits beyond its prefix, which makes it ambiguous.
pub fn network(text: &str) -> Result<IpNet, NetworkError> {
    let net = loose_network(text)?;
    if net.addr() == net.network() {
        return Ok(net);
    }
    Err(NetworkError::Bits {
        text: text.to_owned(),
        network: net.trunc(),
        address: net.addr(),
    })
}

/// As [`network`], and address bits behind the prefix count for nothing.
///
/// # Errors
/// If it is neither an address nor a network.
pub fn loose_network(text: &str) -> Result<IpNet, NetworkError> {
    let net = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    net.map(unmapped).map_err(|_| NetworkError::Form(text.to_owned()))
}

/// A network of IPv4-mapped addresses as one of IPv4.
fn unmapped(net: IpNet) -> IpNet {
    let IpNet::V6(mapped) = net else { return net };
    let inner = mapped
        .addr()
        .to_ipv4_mapped()
        .zip(mapped.prefix_len().checked_sub(MAPPED));
    let as_v4 = |(address, length): (Ipv4Addr, u8)| Ipv4Net::new(address, length).ok();
    inner.and_then(as_v4).map_or(net, IpNet::V4)
}

/// The length of `::ffff:0:0/96`, which holds the IPv4-mapped addresses.
const MAPPED: u8 = 96;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_read_in_the_form_in_which_addresses_are_judged() {
        #[rustfmt::skip]
        let table = [
            ("10.0.0.0/8",             "10.0.0.0/8"),
            ("10.0.0.1",               "10.0.0.1/32"),
            ("10.0.0.1/32",            "10.0.0.1/32"),
            ("::ffff:10.0.0.0/104",    "10.0.0.0/8"),
            ("::FFFF:a00:0/104",       "10.0.0.0/8"),
            ("::ffff:10.0.0.1",        "10.0.0.1/32"),
            ("::ffff:10.0.0.1/128",    "10.0.0.1/32"),
            ("::ffff:0:0/96",          "0.0.0.0/0"),
            ("::/0",                   "::/0"),
            ("::/80",                  "::/80"),
            ("fe80::/10",              "fe80::/10"),
            ("::10.0.0.0/104",         "::a00:0/104"),
        ];
        for (text, read) in table {
            assert_eq!(network(text).map(|net| net.to_string()), Ok(read.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_says_what_to_write() {
        #[rustfmt::skip]
        let table = [
            ("10.0.0.5/8",             "use 10.0.0.0/8 for the network or 10.0.0.5 for the address"),
            ("::ffff:10.0.0.5/104",    "use 10.0.0.0/8 for the network or 10.0.0.5 for the address"),
            ("2001:db8::1/32",         "use 2001:db8::/32 for the network"),
            ("::ffff:10.0.0.0/90",     "has address bits"),
            ("10.0.0.0/33",            "is not a network"),
            ("10.0.0.0/",              "is not a network"),
            ("10.0.0.0/+8",            "is not a network"),
            ("10.0/16",                "is not a network"),
            (" 10.0.0.0/8",            "is not a network"),
            ("10.0.0.0/255.0.0.0",     "is not a network"),
            ("fe80::1%eth0",           "is not a network"),
            ("db.internal",            "is not a network"),
            ("*",                      "is not a network"),
            ("",                       "is not a network"),
        ];
        for (text, words) in table {
            let error = network(text).expect_err(text).to_string();
            assert!(error.contains(words), "{text}: {error}");
        }
    }
}

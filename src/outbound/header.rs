//! The PROXY header that a target is sent first (HAProxy's `proxy-protocol.txt`, versions 1 and 2).
//!
//! Both addresses of a header are of one family. Where that of the client and that of the target differ, or the target is a
//! Unix socket or a name, version 1 says `UNKNOWN` and version 2 `UNSPEC`, as the specification has it for what it cannot
//! express, and version 2 has the client's address as text beside it.

use std::io;
use std::net::SocketAddr;

use ppp::{v1, v2};

use crate::request::ProxyProtocol;

/// What a target is told of a connection.
pub(crate) struct Introduction<'a> {
    /// The client of the gateway.
    pub(crate) client: SocketAddr,
    /// What was connected to, where that is an address.
    pub(crate) target: Option<SocketAddr>,
    /// The user who was logged in.
    pub(crate) user: &'a str,
    /// The `session` of the audit log.
    pub(crate) session: &'a str,
    /// The policy that decided, with its version.
    pub(crate) policy: Option<String>,
}

/// The bytes of a header: fewer than 108 of version 1, and than 1,200 of version 2.
///
/// # Errors
/// Never, with fields of these lengths.
pub(crate) fn header(version: ProxyProtocol, told: &Introduction<'_>) -> io::Result<Vec<u8>> {
    match version {
        ProxyProtocol::None => Ok(Vec::new()),
        ProxyProtocol::V1 => Ok(line(told).into_bytes()),
        ProxyProtocol::V2 => binary(told),
    }
}

fn line(told: &Introduction<'_>) -> String {
    let addresses = told.target.map(|target| v1::Addresses::from((told.client, target)));
    addresses.unwrap_or_default().to_string()
}

fn binary(told: &Introduction<'_>) -> io::Result<Vec<u8>> {
    let addresses = match told.target {
        Some(target) => v2::Addresses::from((told.client, target)),
        None => v2::Addresses::Unspecified,
    };
    let unsaid = addresses == v2::Addresses::Unspecified;
    let protocol = match unsaid {
        true => v2::Protocol::Unspecified,
        false => v2::Protocol::Stream,
    };
    let mut header = v2::Builder::with_addresses(v2::Version::Two | v2::Command::Proxy, protocol, addresses)
        .write_tlv(USER, cut(told.user))?
        .write_tlv(SESSION, cut(told.session))?;
    if let Some(policy) = &told.policy {
        header = header.write_tlv(POLICY, cut(policy))?;
    }
    if unsaid {
        header = header.write_tlv(CLIENT, told.client.to_string().as_bytes())?;
    }
    header.build()
}

/// As much of a text as a field may have.
fn cut(text: &str) -> &[u8] {
    let end = text.floor_char_boundary(MOST_VALUE);
    text.get(..end).unwrap_or_default().as_bytes()
}

/// Types of fields, of those that the specification leaves to applications (0xE0 to 0xEF). All are UTF-8.
const USER: u8 = 0xe0;
const SESSION: u8 = 0xe1;
/// `name@version`.
const POLICY: u8 = 0xe2;
/// `address:port`, where the header's own addresses are unspecified.
const CLIENT: u8 = 0xe3;
/// Of one field, in bytes. Longer ones are cut.
const MOST_VALUE: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(client: &str, target: Option<&str>) -> Introduction<'static> {
        Introduction {
            client: client.parse().unwrap(),
            target: target.map(|target| target.parse().unwrap()),
            user: "alice",
            session: "s-1",
            policy: Some("rules@1.2".to_owned()),
        }
    }

    #[test]
    fn version_1_says_unknown_where_the_families_differ() {
        #[rustfmt::skip]
        let table = [
            ("192.0.2.7:40000",      Some("10.0.0.1:443"),        "PROXY TCP4 192.0.2.7 10.0.0.1 40000 443\r\n"),
            ("[2001:db8::7]:40000",  Some("[2001:db8::1]:443"),   "PROXY TCP6 2001:db8::7 2001:db8::1 40000 443\r\n"),
            ("192.0.2.7:40000",      Some("[2001:db8::1]:443"),   "PROXY UNKNOWN\r\n"),
            ("[2001:db8::7]:40000",  Some("10.0.0.1:443"),        "PROXY UNKNOWN\r\n"),
            ("192.0.2.7:40000",      None,                        "PROXY UNKNOWN\r\n"),
        ];
        for (client, target, expected) in table {
            let found = header(ProxyProtocol::V1, &told(client, target)).unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{client} {target:?}");
        }
        assert_eq!(header(ProxyProtocol::None, &told("192.0.2.7:1", None)).unwrap(), b"");
    }

    fn fields(header: &v2::Header<'_>) -> Vec<(u8, String)> {
        // An unspecified family has no addresses, so the fields begin where those would.
        let fields = match header.addresses {
            v2::Addresses::Unspecified => v2::TypeLengthValues::from(header.address_bytes()),
            _ => header.tlvs(),
        };
        let fields = fields.map(|field| field.unwrap());
        fields
            .map(|field| (field.kind, String::from_utf8(field.value.to_vec()).unwrap()))
            .collect()
    }

    #[test]
    fn version_2_says_who_it_is_for_and_by_whose_leave() {
        let own = |kind: u8, text: &str| (kind, text.to_owned());
        let both = [own(USER, "alice"), own(SESSION, "s-1"), own(POLICY, "rules@1.2")];
        let bytes = header(ProxyProtocol::V2, &told("192.0.2.7:40000", Some("10.0.0.1:443"))).unwrap();
        let read = v2::Header::try_from(bytes.as_slice()).unwrap();
        assert_eq!(read.command, v2::Command::Proxy);
        assert_eq!(read.protocol, v2::Protocol::Stream);
        assert_eq!(
            read.addresses,
            v2::Addresses::IPv4(v2::IPv4::new([192, 0, 2, 7], [10, 0, 0, 1], 40000, 443))
        );
        assert_eq!(fields(&read), both);
        assert_eq!(bytes.len(), read.len());

        let bytes = header(ProxyProtocol::V2, &told("[2001:db8::7]:40000", Some("10.0.0.1:443"))).unwrap();
        let read = v2::Header::try_from(bytes.as_slice()).unwrap();
        assert_eq!(
            (read.addresses, read.protocol),
            (v2::Addresses::Unspecified, v2::Protocol::Unspecified)
        );
        let mut all = both.to_vec();
        all.push(own(CLIENT, "[2001:db8::7]:40000"));
        assert_eq!(fields(&read), all);
    }

    #[test]
    fn what_is_too_long_is_cut() {
        let user = "ü".repeat(4000);
        let told = Introduction {
            user: &user,
            ..told("192.0.2.7:40000", None)
        };
        let bytes = header(ProxyProtocol::V2, &told).unwrap();
        let read = v2::Header::try_from(bytes.as_slice()).unwrap();
        let (kind, value) = fields(&read).remove(0);
        assert_eq!(kind, USER);
        assert!(value.len() <= MOST_VALUE && user.starts_with(&value), "{}", value.len());
    }
}

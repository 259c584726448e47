//! The PROXY protocol header of a trusted load balancer, versions 1 and 2 (HAProxy's `proxy-protocol.txt`).

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::request::Ends;

/// Reads the header and nothing after it; returns the client's address and the one it connected
/// to, or nothing if the balancer itself connects (a health check).
///
/// A header of version 2 says how long it is, up to 64 KiB: addresses, and then further fields (TLVs), which are skipped.
///
/// # Errors
/// If there is no such header: a source that is trusted to send one must.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    // Of what follows nothing is read: it belongs to SSH.
    let read = match stream.read_u8().await {
        Ok(b'P') => read_line(stream).await,
        Ok(b'\r') => read_binary(stream).await,
        Ok(_) => Err(invalid("the connection does not begin with a header of version 1 or 2")),
        Err(error) => Err(error),
    };
    read.map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => invalid("the connection ended before the end of the header"),
        _ => error,
    })
}

/// Version 1: a line of text.
async fn read_line(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    let mut line = b"P".to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == MOST_LINE {
            return Err(invalid(format_args!(
                "a header of version 1 may have at most {MOST_LINE} bytes, and this one is longer"
            )));
        }
        line.push(stream.read_u8().await?);
    }
    let header = v1::Header::try_from(line.as_slice()).map_err(invalid)?;
    Ok(match header.addresses {
        v1::Addresses::Tcp4(ip) => Some(Ends {
            client: (ip.source_address, ip.source_port).into(),
            server: (ip.destination_address, ip.destination_port).into(),
        }),
        v1::Addresses::Tcp6(ip) => Some(Ends {
            client: address(ip.source_address, ip.source_port),
            server: address(ip.destination_address, ip.destination_port),
        }),
        v1::Addresses::Unknown => None,
    })
}

/// Version 2: a signature, what it is, and how much follows.
async fn read_binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    let mut header = vec![b'\r'];
    for expected in SIGNATURE.iter().skip(header.len()) {
        let byte = stream.read_u8().await?;
        if byte != *expected {
            return Err(invalid("it begins like version 2 but is malformed"));
        }
        header.push(byte);
    }
    let (what, family, length) = (
        stream.read_u8().await?,
        stream.read_u8().await?,
        stream.read_u16().await?,
    );
    header.extend([what, family]);
    header.extend(length.to_be_bytes());
    let begun = header.len();
    header.resize(begun + usize::from(length), 0);
    if let Some(rest) = header.get_mut(begun..) {
        stream.read_exact(rest).await?;
    }
    let header = v2::Header::try_from(header.as_slice()).map_err(invalid)?;
    if header.command == v2::Command::Local {
        return Ok(None);
    }
    Ok(match header.addresses {
        v2::Addresses::IPv4(ip) => Some(Ends {
            client: (ip.source_address, ip.source_port).into(),
            server: (ip.destination_address, ip.destination_port).into(),
        }),
        v2::Addresses::IPv6(ip) => Some(Ends {
            client: address(ip.source_address, ip.source_port),
            server: address(ip.destination_address, ip.destination_port),
        }),
        v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
    })
}

/// An IPv4 address that is written as one of IPv6 is what it means.
fn address(ip: Ipv6Addr, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V6(ip).to_canonical(), port)
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// How version 2 begins.
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1.
const MOST_LINE: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut bytes: &[u8]) -> (io::Result<Option<Ends>>, Vec<u8>) {
        let answer = read(&mut bytes).await;
        (answer, bytes.to_vec())
    }

    fn ends(client: &str, server: &str) -> Ends {
        Ends {
            client: client.parse().unwrap(),
            server: server.parse().unwrap(),
        }
    }

    #[tokio::test]
    async fn a_header_gives_the_client_and_leaves_the_rest() {
        let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 2222\r\nSSH-2.0-x";
        let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        v2.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0x08, 0xae]);
        v2.extend(b"SSH-2.0-x");
        let expected = ends("192.0.2.7:40000", "198.51.100.1:2222");
        for bytes in [v1.as_slice(), &v2] {
            let (answer, rest) = read_all(bytes).await;
            assert_eq!(answer.unwrap(), Some(expected));
            assert_eq!(rest, b"SSH-2.0-x");
        }
    }

    #[tokio::test]
    async fn a_balancer_that_speaks_for_itself_names_nobody() {
        let mut local = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec();
        local.extend(b"SSH-2.0-x");
        for bytes in [b"PROXY UNKNOWN\r\nSSH-2.0-x".as_slice(), &local] {
            let (answer, rest) = read_all(bytes).await;
            assert_eq!(answer.unwrap(), None);
            assert_eq!(rest, b"SSH-2.0-x");
        }
    }

    #[tokio::test]
    async fn further_fields_of_any_length_are_skipped() {
        let expected = ends("192.0.2.7:40000", "198.51.100.1:2222");
        for value in [0, 100, 1009, 1100, 4096, u16::MAX - 12 - 3] {
            let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
            bytes.extend((12 + 3 + value).to_be_bytes());
            bytes.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0x08, 0xae]);
            // PP2_TYPE_NOOP
            bytes.push(4);
            bytes.extend(value.to_be_bytes());
            bytes.extend(vec![7; value.into()]);
            bytes.extend(b"SSH-2.0-x");
            let (answer, rest) = read_all(&bytes).await;
            assert_eq!(answer.unwrap(), Some(expected), "{value}");
            assert_eq!(rest, b"SSH-2.0-x", "{value}");
        }
    }

    #[tokio::test]
    async fn a_mapped_address_is_the_one_it_means() {
        let bytes = b"PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 40000 2222\r\n";
        let expected = ends("192.0.2.7:40000", "[2001:db8::1]:2222");
        assert_eq!(read_all(bytes).await.0.unwrap(), Some(expected));
    }

    #[tokio::test]
    async fn what_is_no_header_is_an_error_that_says_why() {
        let long = [b"PROXY TCP6 ".as_slice(), &[b'1'; 200], b"\r\n"].concat();
        #[rustfmt::skip]
        let rows: [(&[u8], &str); 9] = [
            (b"SSH-2.0-OpenSSH_9.2\r\n", "does not begin with a header"),
            (b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 22\r\n", ""),
            (b"POST / HTTP/1.1\r\n", ""),
            (b"PROXY TCP4 1.2.3.4", "ended before the end of the header"),
            (b"", "ended before the end of the header"),
            (&long, "at most 107 bytes"),
            (b"\r\n\r\n\0\r\nSSH-2.0-x\r\n", "is malformed"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c1234", "ended before the end of the header"),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x041234", ""),
        ];
        for (bytes, words) in rows {
            let error = read_all(bytes).await.0.unwrap_err().to_string();
            assert!(error.contains(words), "{}: {error}", bytes.escape_ascii());
        }
    }
}

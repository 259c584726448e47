//! The PROXY protocol header of a trusted load balancer, versions 1 and 2 (HAProxy's `proxy-protocol.txt`).

use std::io;
use std::net::SocketAddr;

use ppp::{HeaderResult, PartialResult, v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads the header and nothing behind it; answers the client's address and the one it connected
/// to, or nothing where the balancer speaks for itself (a health check).
///
/// # Errors
/// Where there is no such header: a source that is trusted to send one must.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let mut header = Vec::with_capacity(128);
    while header.len() < MOST {
        // A byte at a time, because what follows belongs to SSH.
        header.push(stream.read_u8().await?);
        // A line is judged once it is whole; half of it can look wrong.
        if header.starts_with(b"P") && !header.ends_with(b"\r\n") && header.len() < MOST_LINE {
            continue;
        }
        let parsed = HeaderResult::parse(&header);
        if parsed.is_incomplete() {
            continue;
        }
        return match parsed {
            HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
                v1::Addresses::Tcp4(ip) => Some((
                    (ip.source_address, ip.source_port).into(),
                    (ip.destination_address, ip.destination_port).into(),
                )),
                v1::Addresses::Tcp6(ip) => Some((
                    (ip.source_address, ip.source_port).into(),
                    (ip.destination_address, ip.destination_port).into(),
                )),
                v1::Addresses::Unknown => None,
            }),
            HeaderResult::V2(Ok(header)) if header.command == v2::Command::Local => Ok(None),
            HeaderResult::V2(Ok(header)) => Ok(match header.addresses {
                v2::Addresses::IPv4(ip) => Some((
                    (ip.source_address, ip.source_port).into(),
                    (ip.destination_address, ip.destination_port).into(),
                )),
                v2::Addresses::IPv6(ip) => Some((
                    (ip.source_address, ip.source_port).into(),
                    (ip.destination_address, ip.destination_port).into(),
                )),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
            }),
            HeaderResult::V1(Err(error)) => Err(invalid(error)),
            HeaderResult::V2(Err(error)) => Err(invalid(error)),
        };
    }
    Err(invalid("it is too long"))
}

fn invalid(error: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

/// Room for every address and some of version 2's further fields.
const MOST: usize = 1024;
/// The longest line of version 1.
const MOST_LINE: usize = 107;

#[cfg(test)]
mod tests {
    use super::*;

    async fn read_all(mut bytes: &[u8]) -> (io::Result<Option<(SocketAddr, SocketAddr)>>, Vec<u8>) {
        let answer = read(&mut bytes).await;
        (answer, bytes.to_vec())
    }

    #[tokio::test]
    async fn a_header_gives_the_client_and_leaves_the_rest() {
        let v1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 2222\r\nSSH-2.0-x";
        let mut v2 = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        v2.extend([192, 0, 2, 7, 198, 51, 100, 1, 0x9c, 0x40, 0x08, 0xae]);
        v2.extend(b"SSH-2.0-x");
        let expected = ("192.0.2.7:40000".parse().unwrap(), "198.51.100.1:2222".parse().unwrap());
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
    async fn what_is_no_header_is_an_error() {
        for bytes in [
            b"SSH-2.0-OpenSSH_9.2\r\n".as_slice(),
            b"PROXY TCP4 1.2.3.4 5.6.7.8 70000 22\r\n",
            b"PROXY TCP4 1.2.3.4",
            b"",
        ] {
            assert!(read_all(bytes).await.0.is_err(), "{}", bytes.escape_ascii());
        }
    }
}

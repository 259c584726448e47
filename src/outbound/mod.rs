//! How a target is connected to: through which proxy, from which address, with which marks, and with a PROXY header or not.
//!
//! The room knows sockets that are not connected yet and streams that are: it sets options, talks to proxies and writes the
//! header. It must not know who asks, what was decided, or how a connection is made: the relay connects, with a permit.
//! Invariant: of what a proxy sends, the room reads its answer and not one byte more, and never more than a few kilobytes. How
//! long that takes is up to the caller, who must set a deadline.

mod credentials;
mod header;
mod http_connect;
mod proxies;
mod socket;
mod socks5;

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::ProxyKind;
use crate::request::Unreached;

pub(crate) use header::{Introduction, header};
pub(crate) use proxies::{Proxy, Routes};
pub(crate) use socket::{can_mark, fits, prepare};

/// What a proxy is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// A connection to this address.
    Address(SocketAddr),
    /// A connection to this name, which the proxy looks up.
    Name(String, u16),
}

/// Why a proxy gave no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    /// The connection to the proxy failed, or ended.
    #[error("{0}")]
    Lost(#[from] io::Error),
    /// It answered something else than its protocol says.
    #[error("its answer is malformed: {0}")]
    Malformed(String),
    /// It wants credentials, or others.
    #[error("{0}")]
    Credentials(String),
    /// It says that the target was not reached, and why.
    #[error("{1}")]
    Unreached(Unreached, String),
}

impl ProxyError {
    /// The kind of failure: that of a direct connection, if the proxy says so.
    pub(crate) fn why(&self) -> Unreached {
        match self {
            Self::Unreached(why, _) => *why,
            Self::Lost(_) | Self::Malformed(_) | Self::Credentials(_) => Unreached::Other,
        }
    }
}

/// Asks the proxy at the other end of a new stream for a connection. Afterwards the stream is that to the target.
///
/// Not cancel-safe: a stream whose answer was not read to the end is of no use.
pub(crate) async fn ask<S>(proxy: &Proxy, wanted: &Wanted, stream: &mut S) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let credentials = proxy.credentials.as_ref();
    match proxy.kind {
        ProxyKind::Socks5 => socks5::ask(stream, wanted, credentials).await,
        ProxyKind::HttpConnect => http_connect::ask(stream, wanted, credentials).await,
    }
}

/// The connection ended before the answer did.
fn lost(error: io::Error) -> ProxyError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ProxyError::Malformed("it closed the connection instead".to_owned()),
        _ => ProxyError::Lost(error),
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    /// Every answer with one byte changed, removed or added is read without a fault of ours, and to its end.
    #[tokio::test]
    async fn a_broken_answer_breaks_nothing() {
        let wanted = Wanted::Name("db.internal".to_owned(), 443);
        let answers: [(bool, &[u8]); 2] = [
            (true, b"\x05\x02\x01\0\x05\0\0\x03\x02ab\x12\x34"),
            (false, b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
        ];
        let own = credentials::Credentials::parse("alice:secret").unwrap();
        for (socks, answer) in answers {
            for at in 0..answer.len() {
                for byte in [0, 1, 3, 5, b' ', b'\n', 0x7f, 0xff] {
                    let changed = [&answer[..at], &[byte], &answer[at + 1..]].concat();
                    let longer = [&answer[..at], &[byte], &answer[at..]].concat();
                    for broken in [&changed, &longer, &answer[..at].to_vec()] {
                        let (mut near, mut far) = duplex(4096);
                        far.write_all(broken).await.unwrap();
                        far.shutdown().await.unwrap();
                        let asked = match socks {
                            true => socks5::ask(&mut near, &wanted, Some(&own)).await,
                            false => http_connect::ask(&mut near, &wanted, Some(&own)).await,
                        };
                        let said = asked.err().map(|error| error.to_string()).unwrap_or_default();
                        assert!(said.len() < 200 && !said.chars().any(char::is_control), "{said:?}");
                    }
                }
            }
        }
    }
}

//! Connecting to a target: the one place where that is done.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::tunnel::Stream;
use crate::judgement::{Connect, Dial, Permit};
use crate::request::{Endpoint, Refusal, Unreached};

/// A target that was reached.
pub(crate) struct Dialled {
    /// The connection.
    pub stream: Stream,
    /// The address or path that answered.
    pub place: Endpoint,
    /// The address, of a TCP target.
    pub address: Option<SocketAddr>,
}

/// Connects to what the permit names and uses it up: address by address, each for at most `patience`.
///
/// # Errors
/// The last address's error, in the words of the operating system.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that connects, with a permit"
)]
pub(crate) async fn dial(permit: Permit<Connect>, patience: Duration) -> Result<Dialled, Refusal> {
    match permit.spend().1 {
        Dial::Addresses(addresses) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "no address to dial");
            for address in addresses {
                match dial_one(address, patience).await {
                    Ok(stream) => {
                        return Ok(Dialled {
                            stream: Stream::Tcp(stream),
                            place: Endpoint::from(address),
                            address: Some(address),
                        });
                    }
                    Err(error) => last = error,
                }
            }
            Err(unreachable(&last))
        }
        Dial::Socket(socket) => {
            let path = socket.held().map_err(|error| unreachable(&error))?;
            let connected = timeout(patience, UnixStream::connect(path)).await;
            let stream = connected.unwrap_or_else(|_| Err(timed_out()));
            Ok(Dialled {
                stream: Stream::Unix(stream.map_err(|error| unreachable(&error))?),
                place: Endpoint::Socket(socket.path().clone()),
                address: None,
            })
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the permit names the address")]
async fn dial_one(address: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let stream = timeout(patience, TcpStream::connect(address))
        .await
        .unwrap_or_else(|_| Err(timed_out()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn timed_out() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::ETIMEDOUT)
}

/// The words of `strerror(3)`, without Rust's number behind them.
pub(super) fn unreachable(error: &io::Error) -> Refusal {
    let words = error.to_string();
    let reason = words.split(" (os error").next().unwrap_or_default().to_owned();
    let why = kind(error);
    Refusal::Unreachable { why, reason }
}

/// Which kind of failure an error of the operating system is.
fn kind(error: &io::Error) -> Unreached {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Unreached::Refused,
        io::ErrorKind::TimedOut => Unreached::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Unreached::Unreachable,
        _ => Unreached::Other,
    }
}

#[cfg(test)]
mod tests {
    use nix::libc::{ECONNREFUSED, EHOSTUNREACH, EMFILE, ENETUNREACH, ENOENT};

    use super::*;

    #[test]
    fn the_errors_of_the_system_are_of_few_kinds() {
        #[rustfmt::skip]
        let table = [
            (ECONNREFUSED, Unreached::Refused),     (EHOSTUNREACH, Unreached::Unreachable),
            (ENETUNREACH, Unreached::Unreachable),  (ENOENT, Unreached::Other),
            (EMFILE, Unreached::Other),
        ];
        for (code, expected) in table {
            assert_eq!(kind(&io::Error::from_raw_os_error(code)), expected, "{code}");
        }
        assert_eq!(kind(&timed_out()), Unreached::TimedOut);
    }
}

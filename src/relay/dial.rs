use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::tunnel::Stream;
use crate::judgement::{Permit, Way};
use crate::request::{Endpoint, Refusal};

/// A target that was reached.
pub struct Dialled {
    /// The connection.
    pub stream: Stream,
    /// The address or path that answered.
    pub place: Endpoint,
    /// The address, of a TCP target.
    pub address: Option<SocketAddr>,
}

/// Dials what the permit names, address by address, each for at most `patience`.
///
/// # Errors
/// The last address's error, in the words of the operating system.
pub async fn dial(permit: &Permit, patience: Duration) -> Result<Dialled, Refusal> {
    match permit.way() {
        Way::Dial(addresses) => {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "no address to dial");
            for address in addresses {
                match dial_one(*address, patience).await {
                    Ok(stream) => {
                        return Ok(Dialled {
                            stream: Stream::Tcp(stream),
                            place: Endpoint::from(*address),
                            address: Some(*address),
                        });
                    }
                    Err(error) => last = error,
                }
            }
            Err(unreachable(&last))
        }
        Way::Socket(socket) => {
            let path = socket.held().map_err(|error| unreachable(&error))?;
            let connected = timeout(patience, UnixStream::connect(path)).await;
            let stream = connected.unwrap_or_else(|_| Err(timed_out()));
            Ok(Dialled {
                stream: Stream::Unix(stream.map_err(|error| unreachable(&error))?),
                place: Endpoint::Socket(socket.path().clone()),
                address: None,
            })
        }
        Way::Bind(_) | Way::BindSocket(_) | Way::Deliver => Err(Refusal::Unreachable {
            reason: "this permit is not one to dial".to_owned(),
        }),
    }
}

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
    Refusal::Unreachable { reason }
}

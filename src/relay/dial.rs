//! Connecting to a target: the one place where that is done.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;

use super::tunnel::Stream;
use crate::judgement::{Allowed, Connect, Dial, Permit, Through};
use crate::outbound::{self, Introduction, ProxyError, Wanted, fits};
use crate::paths::Socket;
use crate::request::{Endpoint, Host, Outbound, ProxyProtocol, Refusal, Step, Unreached};

/// A target that was reached.
pub(crate) struct Dialled {
    /// The connection.
    pub stream: Stream,
    /// The address or path that answered, or the name that a proxy was asked for.
    pub place: Endpoint,
    /// The address, of a TCP target that was connected to by one.
    pub address: Option<SocketAddr>,
}

/// A target that was not reached.
pub(crate) struct Undialled {
    /// What failed on the way.
    pub step: Step,
    /// Why.
    pub refusal: Refusal,
}

/// Connects to what the permit names, in the way that it names, and uses it up: address by address, each for at most
/// `patience`. A target that is to get a PROXY header has got it then, before any byte of the client.
///
/// # Errors
/// The last address's error, in the words of the operating system or of the proxy.
pub(crate) async fn dial(permit: Permit<Connect>, patience: Duration) -> Result<Dialled, Undialled> {
    let (allowed, route) = permit.spend();
    let way = Way {
        allowed: &allowed,
        outbound: &route.outbound,
        through: route.through.as_ref(),
        patience,
    };
    match route.dial {
        Dial::Addresses(addresses) => way.first(addresses).await,
        Dial::Name(name, port) => {
            let place = Endpoint::Tcp {
                host: Host::parse(&name).unwrap_or(Host::Any),
                port,
            };
            let reached = way.within(Wanted::Name(name, port)).await;
            let stream = reached.map_err(|(step, fault)| fault.at(step))?;
            Ok(Dialled {
                stream: Stream::Tcp(stream),
                place,
                address: None,
            })
        }
        Dial::Socket(socket) => way.to_socket(socket).await,
    }
}

/// How a target is reached.
struct Way<'a> {
    allowed: &'a Allowed,
    outbound: &'a Outbound,
    through: Option<&'a Through>,
    /// For each address.
    patience: Duration,
}

impl Way<'_> {
    /// The first of these addresses that can be reached. If the proxy itself is what fails, it is not asked for the next one.
    async fn first(&self, addresses: Vec<SocketAddr>) -> Result<Dialled, Undialled> {
        let direct = self.through.is_none();
        let mut last = None;
        for address in addresses {
            if direct && !fits(self.outbound.source_address, address.ip()) {
                continue;
            }
            match self.within(Wanted::Address(address)).await {
                Ok(stream) => {
                    return Ok(Dialled {
                        stream: Stream::Tcp(stream),
                        place: Endpoint::from(address),
                        address: Some(address),
                    });
                }
                Err((step, fault)) => {
                    let ends = fault.is_of_the_proxy();
                    last = Some(fault.at(step));
                    if ends {
                        break;
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| self.none_left("the target").at(Step::Socket)))
    }

    /// A connection to the target, ready for the client's first byte.
    async fn within(&self, wanted: Wanted) -> Result<TcpStream, (Step, Fault)> {
        let mut step = Step::Connect;
        let tried = timeout(self.patience, self.reach(&mut step, &wanted)).await;
        let reached = tried.unwrap_or_else(|_| Err(Fault::System(timed_out())));
        reached.map_err(|fault| (step, fault))
    }

    /// The same; `step` says how far it came.
    async fn reach(&self, step: &mut Step, wanted: &Wanted) -> Result<TcpStream, Fault> {
        let mut stream = match (self.through, wanted) {
            (Some(through), _) => self.ask(step, through, wanted).await?,
            (None, Wanted::Address(address)) => self.connect(step, Step::Connect, *address).await?,
            // The judgement hands names to proxies only.
            (None, Wanted::Name(..)) => return Err(self.none_left("the target")),
        };
        let target = match wanted {
            Wanted::Address(address) => Some(*address),
            Wanted::Name(..) => None,
        };
        let header = self.header(target)?;
        if !header.is_empty() {
            *step = Step::ProxyHeader;
            stream.write_all(&header).await?;
        }
        Ok(stream)
    }

    /// A connection through the proxy.
    async fn ask(&self, step: &mut Step, through: &Through, wanted: &Wanted) -> Result<TcpStream, Fault> {
        let proxy = &through.proxy;
        let named = |fault| Fault::OfProxy(proxy.name.clone(), Box::new(fault));
        let mut last = self.none_left("the proxy");
        *step = Step::Socket;
        let fitting = |address: &&SocketAddr| fits(self.outbound.source_address, address.ip());
        // One address that is silent must leave time for the next.
        let many = through.addresses.iter().filter(fitting).count();
        let share = self.patience / u32::try_from(many.max(1)).unwrap_or(u32::MAX);
        for address in through.addresses.iter().filter(fitting) {
            let connected = timeout(share, self.connect(step, Step::ProxyConnect, *address)).await;
            match connected.unwrap_or_else(|_| Err(Fault::System(timed_out()))) {
                Ok(mut stream) => {
                    *step = Step::ProxyAnswer;
                    let asked = outbound::ask(proxy, wanted, &mut stream).await;
                    return asked.map(|()| stream).map_err(|error| named(Fault::Proxy(error)));
                }
                Err(fault) => last = fault,
            }
        }
        Err(named(last))
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that connects, with a permit"
    )]
    async fn connect(&self, step: &mut Step, connecting: Step, to: SocketAddr) -> Result<TcpStream, Fault> {
        *step = Step::Socket;
        let socket = outbound::prepare(self.outbound, to)?;
        *step = connecting;
        let stream = socket.connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    #[expect(clippy::disallowed_methods, reason = "the permit names the path")]
    async fn to_socket(&self, socket: Socket) -> Result<Dialled, Undialled> {
        let mut step = Step::Connect;
        let reached = async {
            let mut stream = UnixStream::connect(socket.held()?).await?;
            let header = self.header(None)?;
            if !header.is_empty() {
                step = Step::ProxyHeader;
                stream.write_all(&header).await?;
            }
            Ok(stream)
        };
        let reached = timeout(self.patience, reached).await;
        let stream = reached.unwrap_or_else(|_| Err(timed_out()));
        let stream = stream.map_err(|error| Fault::System(error).at(step))?;
        Ok(Dialled {
            stream: Stream::Unix(stream),
            place: Endpoint::Socket(socket.path().clone()),
            address: None,
        })
    }

    /// What the target is told first.
    fn header(&self, target: Option<SocketAddr>) -> io::Result<Vec<u8>> {
        let version = self.outbound.proxy_protocol.unwrap_or(ProxyProtocol::None);
        let request = &self.allowed.request;
        let policy = self.allowed.policy.as_ref();
        outbound::header(
            version,
            &Introduction {
                client: request.connection.client,
                target,
                user: &request.principal.user,
                session: &request.connection.id,
                policy: policy.map(|policy| format!("{}@{}", policy.name, policy.version)),
            },
        )
    }

    /// Nothing can be connected to from the source address, or there is nothing to connect to.
    fn none_left(&self, what: &str) -> Fault {
        let words = match self.outbound.source_address {
            Some(source) => format!("{what} has no address of the family of {source}, which is to be connected from"),
            None => format!("{what} has no address to connect to"),
        };
        Fault::System(io::Error::new(io::ErrorKind::NotFound, words))
    }
}

/// What went wrong on the way.
enum Fault {
    System(io::Error),
    Proxy(ProxyError),
    /// On the way to or at the proxy of this name.
    OfProxy(String, Box<Self>),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl Fault {
    /// Whether it would be the same for any other target.
    fn is_of_the_proxy(&self) -> bool {
        match self {
            Self::System(_) | Self::Proxy(ProxyError::Unreached(..)) => false,
            Self::Proxy(_) => true,
            Self::OfProxy(_, fault) => match &**fault {
                Self::Proxy(error) => !matches!(error, ProxyError::Unreached(..)),
                // It was not even connected to.
                Self::System(_) | Self::OfProxy(..) => true,
            },
        }
    }

    fn at(self, step: Step) -> Undialled {
        let (why, reason) = self.said();
        Undialled {
            step,
            refusal: Refusal::Unreachable { why, reason },
        }
    }

    fn said(&self) -> (Unreached, String) {
        match self {
            Self::System(error) => (kind(error), words(error)),
            Self::Proxy(ProxyError::Lost(error)) => (kind(error), words(error)),
            Self::Proxy(error) => (error.why(), error.to_string()),
            Self::OfProxy(name, fault) => {
                let (why, reason) = fault.said();
                (why, format!("the proxy `{name}`: {reason}"))
            }
        }
    }
}

fn timed_out() -> io::Error {
    io::Error::from_raw_os_error(nix::libc::ETIMEDOUT)
}

/// The words of `strerror(3)`, without Rust's number behind them.
fn words(error: &io::Error) -> String {
    let words = error.to_string();
    words.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Why something cannot be reached, or bound.
pub(super) fn unreachable(error: &io::Error) -> Refusal {
    Refusal::Unreachable {
        why: kind(error),
        reason: words(error),
    }
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

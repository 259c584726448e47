//! Many light SSH clients in one process, for `beside-sshd`: sessions that are held, and forwards that are opened.
//!
//! `crowd PORT USER KEY HOST` connects to PORT of loopback from several addresses and obeys lines of its input, with
//! one line of answer for each. It ends with its input, and at the latest after a quarter of an hour.
//!
//! | line | what happens | answer |
//! |---|---|---|
//! | `connect SESSIONS PORT` | so many more sessions, each with a tunnel to HOST:PORT that echoed a byte; port 0: none | held, failed, seconds |
//! | `hold TUNNELS PORT` | so many more tunnels in each session, to HOST:PORT, one after the other | held, failed, seconds |
//! | `open SECONDS WIDTH PORT` | opens and closes forwards, WIDTH at a time in each session | opened, refused, failed, seconds |
//! | `close` | ends all sessions | held |
#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing
)]

use std::io::{BufRead, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use russh::client::{self, Handle, Msg};
use russh::keys::{PrivateKey, PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelMsg, Error, Preferred, kex};
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Clients that connect at the same time.
const AT_ONCE: usize = 24;
const MOST_SESSIONS: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(30);
const LIFETIME: Duration = Duration::from_secs(900);
/// Loopback addresses to connect from: each has ports of its own.
const SOURCES: usize = 16;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|one| !one.starts_with("--")).collect();
    let [port, user, key, host] = arguments.as_slice() else {
        println!("usage: crowd PORT USER KEY HOST (tests/bench/beside-sshd starts it)");
        return;
    };
    let crowd = Crowd {
        server: SocketAddr::from((Ipv4Addr::LOCALHOST, port.parse().unwrap())),
        user: user.clone(),
        key: Arc::new(russh::keys::load_secret_key(key, None).unwrap()),
        host: host.clone(),
        config: Arc::new(client::Config {
            preferred: Preferred {
                kex: vec![kex::CURVE25519, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT].into(),
                ..Preferred::default()
            },
            ..client::Config::default()
        }),
        sessions: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let _ = runtime.block_on(async { timeout(LIFETIME, crowd.obey(lines())).await });
}

/// The lines of the standard input, from a thread of their own.
fn lines() -> mpsc::UnboundedReceiver<String> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

struct Crowd {
    server: SocketAddr,
    user: String,
    key: Arc<PrivateKey>,
    host: String,
    config: Arc<client::Config>,
    sessions: Vec<Session>,
}

struct Session {
    handle: Handle<Anyone>,
    tunnels: Vec<Channel<Msg>>,
}

/// Trusts any server: it is the one that was just started.
struct Anyone;

impl client::Handler for Anyone {
    type Error = Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Error> {
        Ok(true)
    }
}

impl Crowd {
    async fn obey(mut self, mut lines: mpsc::UnboundedReceiver<String>) {
        while let Some(line) = lines.recv().await {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |index: usize| words[index].parse::<u32>().unwrap();
            let answer = match words[0] {
                "connect" => self.connect(number(1) as usize, number(2)).await,
                "hold" => self.hold(number(1), number(2)).await,
                "open" => self.open(number(1), number(2), number(3)).await,
                _ => {
                    self.sessions.clear();
                    "0".to_owned()
                }
            };
            println!("{answer}");
            std::io::stdout().flush().unwrap();
        }
    }

    async fn connect(&mut self, count: usize, port: u32) -> String {
        let began = Instant::now();
        let first = self.sessions.len();
        let last = (first + count).min(MOST_SESSIONS);
        let connected: Vec<_> = stream::iter(first..last)
            .map(|number| timeout(PATIENCE, self.session(number, port)))
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        let tried = connected.len();
        self.sessions
            .extend(connected.into_iter().filter_map(|one| one.ok()?.ok()));
        let held = self.sessions.len();
        format!("{held} {} {}", tried - (held - first), began.elapsed().as_secs_f64())
    }

    async fn session(&self, number: usize, port: u32) -> Result<Session, Error> {
        let source = Ipv4Addr::new(127, 0, 0, u8::try_from(2 + number % SOURCES).unwrap());
        let socket = TcpSocket::new_v4()?;
        socket.bind((source, 0).into())?;
        let stream = socket.connect(self.server).await?;
        stream.set_nodelay(true)?;
        let mut handle = client::connect_stream(Arc::clone(&self.config), stream, Anyone).await?;
        let key = PrivateKeyWithHashAlg::new(Arc::clone(&self.key), None);
        if !handle.authenticate_publickey(&self.user, key).await?.success() {
            return Err(Error::NotAuthenticated);
        }
        let tunnel = match port {
            0 => None,
            port => Some(tunnel(&handle, &self.host, port).await?),
        };
        Ok(Session {
            handle,
            tunnels: tunnel.into_iter().collect(),
        })
    }

    async fn hold(&mut self, more: u32, port: u32) -> String {
        let began = Instant::now();
        let host = &self.host;
        let filled = self.sessions.iter_mut().map(async |session| {
            let mut failed = 0;
            for _ in 0..more {
                match timeout(PATIENCE, tunnel(&session.handle, host, port)).await {
                    Ok(Ok(tunnel)) => session.tunnels.push(tunnel),
                    Ok(Err(_)) | Err(_) => failed += 1,
                }
            }
            failed
        });
        let failed: u32 = filled
            .collect::<FuturesUnordered<_>>()
            .collect::<Vec<_>>()
            .await
            .iter()
            .sum();
        let held: usize = self.sessions.iter().map(|session| session.tunnels.len()).sum();
        format!("{held} {failed} {}", began.elapsed().as_secs_f64())
    }

    async fn open(&self, seconds: u32, width: u32, port: u32) -> String {
        let began = Instant::now();
        let end = began + Duration::from_secs(u64::from(seconds));
        let mut lanes: FuturesUnordered<_> = self
            .sessions
            .iter()
            .flat_map(|session| (0..width).map(|_| self.lane(session, port, end)))
            .collect();
        let mut all = Opened::default();
        while let Some(lane) = lanes.next().await {
            all.opened += lane.opened;
            all.refused += lane.refused;
            all.failed += lane.failed;
        }
        let Opened {
            opened,
            refused,
            failed,
        } = all;
        format!("{opened} {refused} {failed} {}", began.elapsed().as_secs_f64())
    }

    /// One forward after the other, until the time is over.
    async fn lane(&self, session: &Session, port: u32, end: Instant) -> Opened {
        let mut lane = Opened::default();
        while Instant::now() < end {
            let opening = session
                .handle
                .channel_open_direct_tcpip(&self.host, port, "127.0.0.1", 1);
            match timeout(PATIENCE, opening).await {
                Ok(Ok(channel)) => {
                    lane.opened += 1;
                    let _ = channel.close().await;
                }
                Ok(Err(Error::ChannelOpenFailure(_))) => lane.refused += 1,
                Ok(Err(_)) | Err(_) => {
                    lane.failed += 1;
                    break;
                }
            }
        }
        lane
    }
}

/// A tunnel that has carried a byte to the target and back.
async fn tunnel(handle: &Handle<Anyone>, host: &str, port: u32) -> Result<Channel<Msg>, Error> {
    let mut tunnel = handle.channel_open_direct_tcpip(host, port, "127.0.0.1", 1).await?;
    tunnel.data(b"ex".as_slice()).await?;
    loop {
        match tunnel.wait().await {
            Some(ChannelMsg::Data { .. }) => return Ok(tunnel),
            Some(_) => {}
            None => return Err(Error::Disconnect),
        }
    }
}

#[derive(Default)]
struct Opened {
    opened: u32,
    refused: u32,
    failed: u32,
}

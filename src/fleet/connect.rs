//! Connects to Redis as the configuration says: one server, the primary that sentinels name, or a cluster. Whatever Redis sends is
//! bounded ([`Bounded`]); only what sentinels say is read by the library alone.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_ok;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::{ClusterConnection, Connect};
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, Pipeline, ProtocolVersion,
    RedisConnectionInfo, RedisFuture, RedisResult, ServerErrorKind, TlsMode, Value,
};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::bounded::Bounded;
use super::scripts::{ALL, Script};
use crate::config::{RedisNode, RedisServers, Topology};

/// One connection that many calls share: they are sent as they come, and the replies are told apart by their order.
pub(super) enum Connection {
    One(Wire),
    Cluster(ClusterConnection<Wire>),
}

impl Connection {
    /// Connects and logs in. The caller bounds the time.
    pub(super) async fn open(servers: &RedisServers, password: Option<&str>, patience: Duration) -> RedisResult<Self> {
        if servers.tls {
            // The library takes the process' provider. An error says that there is one already.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        let login = login(servers, password);
        let address = |node: &RedisNode| address(node, servers.tls);
        let opened = match &servers.topology {
            Topology::One(node) => Self::one(address(node), login).await?,
            Topology::Socket(path) => Self::one(ConnectionAddr::Unix(path.clone()), login).await?,
            Topology::Cluster(nodes) => {
                let nodes: RedisResult<Vec<_>> = nodes
                    .iter()
                    .map(|node| Ok(address(node).into_connection_info()?.set_redis_settings(login.clone())))
                    .collect();
                let mut builder = ClusterClientBuilder::new(nodes?)
                    .retries(1)
                    .connection_timeout(CONNECT)
                    .response_timeout(patience.max(PROBE))
                    .tcp_settings(tcp())
                    .use_protocol(ProtocolVersion::RESP2);
                if let Some(user) = login.username() {
                    builder = builder.username(user);
                }
                if let Some(password) = login.password() {
                    builder = builder.password(password);
                }
                if servers.tls {
                    builder = builder.tls(TlsMode::Secure);
                }
                Self::Cluster(builder.build()?.get_async_generic_connection().await?)
            }
            Topology::Sentinel { nodes, service } => {
                let mut builder =
                    SentinelClientBuilder::new(nodes.iter().map(address), service, SentinelServerType::Master)?
                        .set_client_to_redis_db(i64::from(servers.database))
                        .set_client_to_redis_protocol(ProtocolVersion::RESP2)
                        .set_client_to_redis_tcp_settings(tcp());
                if let Some(user) = login.username() {
                    builder = builder.set_client_to_redis_username(user);
                }
                if let Some(password) = login.password() {
                    builder = builder.set_client_to_redis_password(password);
                }
                if servers.tls {
                    builder = builder.set_client_to_redis_tls_mode(TlsMode::Secure);
                    builder = builder.set_client_to_sentinel_tls_mode(TlsMode::Secure);
                }
                let primary = builder.build()?.async_get_client().await?;
                let primary = primary.get_connection_info().clone();
                Self::One(Wire::connect_with_config(primary, settings()).await?)
            }
        };
        opened.prepare().await?;
        Ok(opened)
    }

    async fn one(address: ConnectionAddr, login: RedisConnectionInfo) -> RedisResult<Self> {
        let info = address.into_connection_info()?;
        let info = info.set_redis_settings(login).set_tcp_settings(tcp());
        Ok(Self::One(Wire::connect_with_config(info, settings()).await?))
    }

    /// Loads the scripts, so that no call has to. In a cluster each call may go to another server, and the first there loads its
    /// script.
    async fn prepare(&self) -> RedisResult<()> {
        self.probe().await?;
        if matches!(self, Self::One(_)) {
            for script in ALL {
                // A user who may not do that may still run them.
                let _ = self.ask(redis::cmd("SCRIPT").arg("LOAD").arg(script.source)).await;
            }
        }
        Ok(())
    }

    /// Whether it answers.
    pub(super) async fn probe(&self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match self {
            Self::One(_) => self.ask(&ping).await?,
            Self::Cluster(connection) => {
                let anywhere = RoutingInfo::SingleNode(SingleNodeRoutingInfo::Random);
                let answer = connection.clone().route_command(ping, anywhere).await?;
                answer.extract_error()?
            }
        };
        Ok(())
    }

    /// Runs a script: one round trip, or two if the server has lost it.
    pub(super) async fn run(
        &self,
        script: &Script,
        keys: &[impl AsRef<str>],
        arguments: &[impl AsRef<[u8]>],
    ) -> RedisResult<Value> {
        let command = |name: &str, what: &str| {
            let mut command = redis::cmd(name);
            command.arg(what).arg(keys.len());
            for key in keys {
                command.arg(key.as_ref());
            }
            for argument in arguments {
                command.arg(argument.as_ref());
            }
            command
        };
        match self.ask(&command("EVALSHA", script.sha1())).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                self.ask(&command("EVAL", script.source)).await
            }
            answer => answer,
        }
    }

    async fn ask(&self, command: &Cmd) -> RedisResult<Value> {
        let answer = match self {
            Self::One(connection) => connection.clone().req_packed_command(command).await?,
            Self::Cluster(connection) => connection.clone().req_packed_command(command).await?,
        };
        answer.extract_error()
    }
}

/// A connection to one server, whose replies are bounded. It is closed with the last clone.
#[derive(Clone)]
pub(super) struct Wire {
    connection: MultiplexedConnection,
    _driver: Arc<AbortOnDropHandle<()>>,
}

impl Wire {
    async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        login: &RedisConnectionInfo,
        config: AsyncConnectionConfig,
    ) -> RedisResult<Self> {
        let made = MultiplexedConnection::new_with_config(login, Bounded::new(stream), config);
        let (connection, driver) = made.await?;
        #[expect(clippy::disallowed_methods, reason = "it lives no longer than the connection")]
        let driver = tokio::spawn(driver);
        Ok(Self {
            connection,
            _driver: Arc::new(AbortOnDropHandle::new(driver)),
        })
    }
}

impl Connect for Wire {
    fn connect_with_config<'a, T>(info: T, config: AsyncConnectionConfig) -> RedisFuture<'a, Self>
    where
        T: IntoConnectionInfo + Send + 'a,
    {
        let connected = async move {
            let info = info.into_connection_info()?;
            let login = info.redis_settings();
            match info.addr() {
                ConnectionAddr::Tcp(host, port) => Self::over(dial(host, *port).await?, login, config).await,
                ConnectionAddr::TcpTls { host, port, .. } => {
                    let name = ServerName::try_from(host.clone()).map_err(io::Error::other)?;
                    let stream = authorities()?.connect(name, dial(host, *port).await?).await?;
                    Self::over(stream, login, config).await
                }
                ConnectionAddr::Unix(path) => Self::over(dial_socket(path).await?, login, config).await,
                _ => Err(io::Error::from(io::ErrorKind::Unsupported).into()),
            }
        };
        Box::pin(async move { timeout(CONNECT, connected).await.map_err(io::Error::from)? })
    }
}

impl ConnectionLike for Wire {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.connection.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.connection.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.connection.get_db()
    }
}

/// To whichever address of a name answers first.
#[expect(
    clippy::disallowed_methods,
    reason = "the administrator names Redis: it is no forward"
)]
async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = lookup_host((host, port)).await?;
    let tried: Vec<_> = addresses.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if tried.is_empty() {
        return Err(io::Error::other("the name has no address"));
    }
    let (stream, _) = select_ok(tried).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the administrator names Redis: it is no forward"
)]
async fn dial_socket(path: &std::path::Path) -> io::Result<UnixStream> {
    UnixStream::connect(path).await
}

/// TLS with the authorities that the system trusts, which are read for each connection. One that cannot be used is passed over:
/// the others still vouch for what they signed.
fn authorities() -> io::Result<TlsConnector> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found.errors.pop().map(|error| format!(": {error}")).unwrap_or_default();
        let words = "rediss:// needs certificate authorities that check the server's certificate, and the system has none: \
                     install ca-certificates, or set SSL_CERT_FILE";
        return Err(io::Error::other(format!("{words}{why}")));
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn login(servers: &RedisServers, password: Option<&str>) -> RedisConnectionInfo {
    let login = RedisConnectionInfo::default()
        .set_db(i64::from(servers.database))
        .set_protocol(ProtocolVersion::RESP2)
        .set_lib_name("portreeve", env!("CARGO_PKG_VERSION"));
    let login = match &servers.user {
        Some(user) => login.set_username(user),
        None => login,
    };
    match (password, &servers.user) {
        (Some(password), _) => login.set_password(password),
        // A user without a password is let in with any.
        (None, Some(_)) => login.set_password(""),
        (None, None) => login,
    }
}

fn address(node: &RedisNode, tls: bool) -> ConnectionAddr {
    let (host, port) = (node.host.clone(), node.port);
    match tls {
        true => ConnectionAddr::TcpTls {
            host,
            port,
            insecure: false,
            tls_params: None,
        },
        false => ConnectionAddr::Tcp(host, port),
    }
}

fn tcp() -> TcpSettings {
    TcpSettings::default().set_nodelay(true)
}

/// Each call has its own deadline, so the library needs none for replies.
fn settings() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(QUEUE)
}

/// How long connecting may take.
pub(super) const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take whose absence ends a connection.
pub(super) const PROBE: Duration = Duration::from_millis(250);
/// Calls that wait to be written; further ones wait for them, within their deadlines.
const QUEUE: usize = 256;

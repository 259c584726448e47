//! Connects to Redis as the configuration says: one server, the primary that sentinels name, or a cluster.

use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::sentinel::{SentinelClientBuilder, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionAddr, ErrorKind, IntoConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisResult, ServerErrorKind, TlsMode, Value,
};

use super::scripts::{ALL, Script};
use crate::config::{RedisNode, RedisServers, Topology};

/// One connection that many calls share: they are sent as they come, and the replies are told apart by their order.
pub(super) enum Connection {
    One(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    /// Connects and logs in. The caller bounds the time.
    pub(super) async fn open(servers: &RedisServers, password: Option<&str>, timeout: Duration) -> RedisResult<Self> {
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
                    .response_timeout(timeout.max(PROBE))
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
                Self::Cluster(builder.build()?.get_async_connection().await?)
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
                let mut client = builder.build()?;
                Self::One(client.get_async_connection_with_config(&settings()).await?)
            }
        };
        opened.prepare().await?;
        Ok(opened)
    }

    async fn one(address: ConnectionAddr, login: RedisConnectionInfo) -> RedisResult<Self> {
        let info = address.into_connection_info()?;
        let client = Client::open(info.set_redis_settings(login).set_tcp_settings(tcp()))?;
        let made = client.get_multiplexed_async_connection_with_config(&settings()).await;
        Ok(Self::One(made?))
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

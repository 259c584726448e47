//! Connects to name servers, and remembers why it could not: the library forgets that on the way.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, TryFutureExt};
use hickory_resolver::ConnectionProvider;
use hickory_resolver::PoolContext;
use hickory_resolver::config::ConnectionConfig;
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

/// Connections to one server. Clones are one.
#[derive(Clone, Default)]
pub(super) struct Connections {
    runtime: TokioRuntimeProvider,
    last_error: Arc<Mutex<Option<NetError>>>,
}

impl Connections {
    /// Why it could not connect, rather than that it could not.
    pub(super) fn explained(&self, error: NetError) -> NetError {
        let last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            NetError::NoConnections => last.clone().unwrap_or(error),
            error => error,
        }
    }
}

impl ConnectionProvider for Connections {
    type Conn = <TokioRuntimeProvider as ConnectionProvider>::Conn;
    type FutureConn = BoxFuture<'static, Result<Self::Conn, NetError>>;
    type RuntimeProvider = TokioRuntimeProvider;

    fn new_connection(
        &self,
        ip: IpAddr,
        config: &ConnectionConfig,
        context: &PoolContext,
    ) -> Result<Self::FutureConn, NetError> {
        let last = Arc::clone(&self.last_error);
        let remember = move |error: &NetError| {
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
        };
        let connected = self.runtime.new_connection(ip, config, context)?;
        Ok(connected.inspect_err(remember).boxed())
    }

    fn runtime_provider(&self) -> &TokioRuntimeProvider {
        &self.runtime
    }
}

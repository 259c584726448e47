//! A client of the protocol itself, for what no `ssh` would send.

use std::sync::Arc;

use russh::client::{self, Handle, Handler};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate, load_secret_key};
use tokio::io::{AsyncRead, AsyncWrite};

pub struct Anyone;

impl Handler for Anyone {
    type Error = russh::Error;

    async fn check_server_key(&mut self, _: &PublicKeyOrCertificate) -> Result<bool, russh::Error> {
        Ok(true)
    }
}

pub async fn connect(gateway: &super::Reached) -> Handle<Anyone> {
    connect_as(gateway, client::Config::default()).await
}

async fn connect_as(gateway: &super::Reached, config: client::Config) -> Handle<Anyone> {
    let connected = client::connect(Arc::new(config), gateway.address(), Anyone).await;
    connected.expect("an SSH server")
}

pub async fn log_in(gateway: &super::Reached) -> Handle<Anyone> {
    log_in_as(gateway, client::Config::default()).await
}

pub async fn log_in_as(gateway: &super::Reached, config: client::Config) -> Handle<Anyone> {
    let client = connect_as(gateway, config).await;
    enter(gateway, client).await
}

/// Through a socket of one's own.
pub async fn log_in_over<S>(gateway: &super::Reached, socket: S) -> Handle<Anyone>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let connected = client::connect_stream(Arc::default(), socket, Anyone).await;
    enter(gateway, connected.expect("an SSH server")).await
}

async fn enter(gateway: &super::Reached, mut client: Handle<Anyone>) -> Handle<Anyone> {
    let key = load_secret_key(gateway.path("id"), None).expect("the user's key");
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    let entered = client.authenticate_publickey("alice", key).await.expect("an answer");
    assert!(entered.success());
    client
}

//! An SSH client with a key, and nothing that it checks.

use std::net::Ipv4Addr;
use std::sync::Arc;

use russh::client::{self, Handle, Msg};
use russh::keys::{PrivateKeyWithHashAlg, PublicKeyOrCertificate};
use russh::{Channel, Error, Preferred, kex};

/// Trusts any server: it is the one that was just started.
pub struct Anyone;

impl client::Handler for Anyone {
    type Error = Error;

    async fn check_server_key(&mut self, _key: &PublicKeyOrCertificate) -> Result<bool, Error> {
        Ok(true)
    }
}

pub async fn log_in(port: u16, user: &str, key: &str) -> Result<Handle<Anyone>, Error> {
    let config = client::Config {
        preferred: Preferred {
            kex: vec![kex::CURVE25519, kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT].into(),
            ..Preferred::default()
        },
        nodelay: true,
        ..client::Config::default()
    };
    let mut handle = client::connect(Arc::new(config), (Ipv4Addr::LOCALHOST, port), Anyone).await?;
    let key = PrivateKeyWithHashAlg::new(Arc::new(russh::keys::load_secret_key(key, None)?), None);
    match handle.authenticate_publickey(user, key).await?.success() {
        true => Ok(handle),
        false => Err(Error::NotAuthenticated),
    }
}

pub async fn open(session: &Handle<Anyone>, host: &str, port: u16) -> Result<Channel<Msg>, Error> {
    session
        .channel_open_direct_tcpip(host, port.into(), "127.0.0.1", 1)
        .await
}

//! `[admin]`: where administrators and monitoring reach a running gateway.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::walk::Table;

/// `[admin]`: the control socket, and the read-only listener for monitoring.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admin {
    /// The Unix socket of the administration interface. Default: `admin.sock` in `$XDG_RUNTIME_DIR/portreeve`, or in the state
    /// directory where that variable is not set.
    pub socket: Option<PathBuf>,
    /// A group whose members may use the socket, besides root and the gateway's own user. The socket then has mode 0660 and that
    /// group, otherwise 0600. Default: none.
    pub group: Option<String>,
    /// Where `/metrics`, `/healthz`, `/readyz` and the status page are served over HTTP; read-only. A loopback address, unless `token_file` is set. Default: none.
    pub http: Option<SocketAddr>,
    /// A file with the bearer token that every path but the two health paths demands. Default: none is demanded.
    pub token_file: Option<PathBuf>,
}

pub(super) fn admin(table: &mut Table<'_>) -> Admin {
    let token_file = table.read("token-file", |value| value.path());
    Admin {
        socket: table.read("socket", |value| value.path()),
        group: table.read("group", |value| value.word().map(str::to_owned)),
        http: table.read("http", |value| {
            let address = value.address()?;
            if !address.ip().to_canonical().is_loopback() && token_file.is_none() {
                return value.fault("must be a loopback address, or name a bearer token in admin.token-file");
            }
            Some(address)
        }),
        token_file,
    }
}

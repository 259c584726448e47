//! `[server]`, `[forwarding]` and `[audit]`: where to listen, what may be asked at all, where decisions are written down.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

use super::walk::Table;

/// `[server]`: where to listen and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Addresses to listen on, at least one, none twice; port 0 takes a free one. Default: port 2222 of every address,
    /// `["0.0.0.0:2222", "[::]:2222"]`.
    pub listen: Vec<SocketAddr>,
    /// Private host keys in OpenSSH format. Default: none named, and the gateway makes and keeps its own.
    pub host_keys: Vec<PathBuf>,
    /// Text that a client sees before it logs in, not the name of a file. Default: none.
    pub banner: Option<String>,
    /// Networks whose connections begin with a PROXY protocol header, which then says who the client is. An address alone is a
    /// network of one. Default: none, and a header is refused as the garbage it then is.
    pub proxy_protocol: Vec<IpNet>,
}

impl Default for Server {
    fn default() -> Self {
        Server {
            listen: vec![
                (Ipv4Addr::UNSPECIFIED, PORT).into(),
                (Ipv6Addr::UNSPECIFIED, PORT).into(),
            ],
            host_keys: Vec::new(),
            banner: None,
            proxy_protocol: Vec::new(),
        }
    }
}

pub(super) fn server(table: &mut Table<'_>) -> Server {
    let default = Server::default();
    let mut seen = BTreeMap::new();
    Server {
        listen: table.or("listen", default.listen, |value| {
            let addresses = value.list(|item| {
                let address = item.address()?;
                if address.port() != 0 {
                    item.unique(&address.to_string(), &mut seen)?;
                }
                Some(address)
            })?;
            if value.toml().as_array().is_some_and(|items| items.is_empty()) {
                return value.fault("must name at least one address");
            }
            Some(addresses)
        }),
        host_keys: table.or("host-keys", default.host_keys, |value| value.list(|item| item.path())),
        banner: table.read("banner", |value| value.text().map(str::to_owned)),
        proxy_protocol: table.or("proxy-protocol", default.proxy_protocol, |value| {
            value.list(|item| item.network())
        }),
    }
}

/// `[forwarding]`: switches above any policy. One that is off refuses before a policy is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forwarding {
    /// `direct-tcpip`: `-L`, `-D`, `-W`, `-J`. Default true.
    pub local: bool,
    /// `tcpip-forward`: `-R`. Default true.
    pub remote: bool,
    /// `direct-streamlocal@openssh.com`: `-L` to a Unix socket. Default true.
    pub local_sockets: bool,
    /// `streamlocal-forward@openssh.com`: `-R` from a Unix socket. Default true.
    pub remote_sockets: bool,
    /// Which addresses `-R` may listen on. Default `no`.
    pub gateway_ports: GatewayPorts,
}

impl Default for Forwarding {
    fn default() -> Self {
        Forwarding {
            local: true,
            remote: true,
            local_sockets: true,
            remote_sockets: true,
            gateway_ports: GatewayPorts::No,
        }
    }
}

/// Which addresses a remote forward may listen on, as `GatewayPorts` of OpenSSH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayPorts {
    /// `no`: the loopback addresses, whatever is asked for.
    No,
    /// `yes`: every address, whatever is asked for.
    Yes,
    /// `client-specified`: the address asked for.
    ClientSpecified,
}

pub(super) fn forwarding(table: &mut Table<'_>) -> Forwarding {
    let default = Forwarding::default();
    Forwarding {
        local: table.or("local", default.local, |value| value.flag()),
        remote: table.or("remote", default.remote, |value| value.flag()),
        local_sockets: table.or("local-sockets", default.local_sockets, |value| value.flag()),
        remote_sockets: table.or("remote-sockets", default.remote_sockets, |value| value.flag()),
        gateway_ports: table.or("gateway-ports", default.gateway_ports, |value| {
            value.one_of(&[
                ("no", GatewayPorts::No),
                ("yes", GatewayPorts::Yes),
                ("client-specified", GatewayPorts::ClientSpecified),
            ])
        }),
    }
}

/// `[audit]`: the log of decisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Where the lines go. Default: standard output, for no folder is sure to exist and be writable. A change needs a restart.
    pub file: AuditFile,
    /// Whether a log that cannot be written refuses new forwards. Default true. A change needs a restart.
    pub required: bool,
}

impl Default for Audit {
    fn default() -> Self {
        Audit {
            file: AuditFile::Stdout,
            required: true,
        }
    }
}

/// Where audit lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditFile {
    /// A file, appended to and opened again on SIGHUP.
    Path(PathBuf),
    /// `-`: standard output.
    Stdout,
}

pub(super) fn audit(table: &mut Table<'_>) -> Audit {
    let default = Audit::default();
    Audit {
        file: table.or("file", default.file, |value| match value.text()? {
            "-" => Some(AuditFile::Stdout),
            _ => value.path().map(AuditFile::Path),
        }),
        required: table.or("required", default.required, |value| value.flag()),
    }
}

/// Not 22, which belongs to the machine's own SSH server and needs privileges.
const PORT: u16 = 2222;

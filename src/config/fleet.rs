//! `[fleet]`: the gateways that act as one, and the Redis that they share.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::value::Value;
use super::walk::Table;
use crate::files;

/// `[fleet]`: what this gateway shares with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// This gateway's name among the others: letters, digits, `.`, `_` and `-`, at most 64. Default: the host name.
    pub name: Option<String>,
    /// The shared Redis or Valkey. Default: none, and the gateway is alone.
    pub redis: Option<RedisServers>,
    /// A file whose first line is the password for Redis; mode 0600 or 0640. Default: none is sent.
    pub redis_password_file: Option<PathBuf>,
    /// How long one call to Redis may take, from 1ms to 5s. A policy's call of `state` that takes longer gets `unavailable`.
    /// Default: 20ms.
    pub timeout: Duration,
    /// How long a gateway that has died still counts for `open-forwards` and `limits.sessions-per-user`, from 1s to 5m. Renewed
    /// every third of it. Default: 15s.
    pub lease: Duration,
    /// What happens to new sessions and forwards while Redis cannot be reached. Default: they are served.
    pub when_cut_off: WhenCutOff,
}

impl Default for Fleet {
    fn default() -> Self {
        Self {
            name: None,
            redis: None,
            redis_password_file: None,
            timeout: Duration::from_millis(20),
            lease: Duration::from_secs(15),
            when_cut_off: WhenCutOff::Serve,
        }
    }
}

impl Fleet {
    /// What this gateway is called among the others: its name, or that of the machine.
    #[must_use]
    pub fn gateway_name(&self) -> String {
        self.name.clone().unwrap_or_else(host_name)
    }
}

fn host_name() -> String {
    let read = files::read_text(Path::new("/proc/sys/kernel/hostname"), 4096);
    let name = read.unwrap_or_default().trim().to_owned();
    if name.is_empty() { "gateway".to_owned() } else { name }
}

/// What a gateway does that does not reach the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenCutOff {
    /// It serves, with counts of its own. Policies learn that `state` is unavailable.
    Serve,
    /// It admits no new session and no new forward, and is not ready. What is open stays open.
    RefuseNew,
}

/// Where the shared Redis is, as its URL says. A password is never part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisServers {
    /// The servers, and how they belong together.
    pub topology: Topology,
    /// Whether connections use TLS, with the certificate authorities that the system trusts.
    pub tls: bool,
    /// The ACL user. Default: Redis' `default`.
    pub user: Option<String>,
    /// The number of the database; always 0 in a cluster.
    pub database: u32,
}

/// How the servers belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    One(RedisNode),
    /// One server, on a Unix socket.
    Socket(PathBuf),
    /// Some nodes of a cluster, which name the others.
    Cluster(Vec<RedisNode>),
    /// Sentinels, and the name of the primary that they watch.
    Sentinel {
        /// The sentinels.
        nodes: Vec<RedisNode>,
        /// The name of the primary.
        service: String,
    },
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisNode {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl fmt::Display for RedisNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Display for RedisServers {
    /// For the log: where it is, without the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |nodes: &[RedisNode]| nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let s = if self.tls { "s" } else { "" };
        match &self.topology {
            Topology::One(node) => write!(f, "redis{s}://{node}/{}", self.database),
            Topology::Socket(path) => write!(f, "redis+unix://{}?db={}", path.display(), self.database),
            Topology::Cluster(nodes) => write!(f, "redis{s}+cluster://{}", list(nodes)),
            Topology::Sentinel { nodes, service } => {
                write!(f, "redis{s}+sentinel://{}/{service}/{}", list(nodes), self.database)
            }
        }
    }
}

pub(super) fn fleet(table: &mut Table<'_>) -> Fleet {
    let default = Fleet::default();
    let fleet = Fleet {
        name: table.read("name", name),
        redis: table.read("redis", servers),
        redis_password_file: table.read("redis-password-file", Value::path),
        timeout: table.or("timeout", default.timeout, |value| {
            value.duration(Duration::from_millis(1)..=Duration::from_secs(5))
        }),
        lease: table.or("lease", default.lease, |value| {
            value.duration(Duration::from_secs(1)..=Duration::from_secs(300))
        }),
        when_cut_off: table.or("when-cut-off", default.when_cut_off, |value| {
            value.one_of(&[("serve", WhenCutOff::Serve), ("refuse-new", WhenCutOff::RefuseNew)])
        }),
    };
    if !table.has("redis") {
        for key in ["redis-password-file", "timeout", "lease", "when-cut-off"] {
            if table.has(key) {
                table.fault(key, "needs `redis`, the URL of the shared Redis");
            }
        }
    }
    fleet
}

pub(super) fn name(value: &Value<'_>) -> Option<String> {
    let name = value.word()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.len() > 64 || !name.chars().all(fits) {
        return value.wrong("at most 64 letters, digits, `.`, `_` or `-`");
    }
    Some(name.to_owned())
}

/// Nothing that was typed is repeated: it may hold a password.
fn servers(value: &Value<'_>) -> Option<RedisServers> {
    parse(value.word()?).map_or_else(|words| value.fault(words), Some)
}

fn parse(url: &str) -> Result<RedisServers, String> {
    let (scheme, rest) = url.split_once("://").ok_or(SCHEMES)?;
    // As Lettuce writes them: `redis-sentinel`.
    let (base, kind) = match scheme.split_once(['+', '-']) {
        Some((base, kind)) => (base, kind),
        None if scheme == "unix" => ("redis", "unix"),
        None => (scheme, ""),
    };
    let tls = match base {
        "redis" => false,
        "rediss" => true,
        _ => return Err(SCHEMES.to_owned()),
    };
    let (rest, service) = match rest.split_once('#') {
        Some((rest, service)) => (rest, Some(service.to_owned())),
        None => (rest, None),
    };
    let (rest, query) = match rest.split_once('?') {
        Some((rest, query)) => (rest, Some(query)),
        None => (rest, None),
    };
    let (place, path) = match rest.split_once('/') {
        Some((place, path)) => (place, path),
        None => (rest, ""),
    };
    let (user, nodes) = match place.rsplit_once('@') {
        Some((user, nodes)) => (Some(user), nodes),
        None => (None, place),
    };
    if user.is_some_and(|user| user.contains(':')) {
        return Err("must not hold a password: put it in a file and name that in fleet.redis-password-file".to_owned());
    }
    let user = user.map(decoded).transpose()?.filter(|user| !user.is_empty());
    let mut database = query.map(of_query).transpose()?;
    let topology = match kind {
        "unix" if tls => return Err("must be redis+unix:// for a Unix socket, which has no TLS".to_owned()),
        "unix" => {
            let path = decoded(path)?;
            if !nodes.is_empty() || path.is_empty() {
                return Err("must name an absolute path, as in \"redis+unix:///run/redis/redis.sock?db=0\"".to_owned());
            }
            Topology::Socket(PathBuf::from(format!("/{path}")))
        }
        "" => {
            of_path(path, &mut database)?;
            match list(nodes, 6379)?.as_slice() {
                [one] => Topology::One(one.clone()),
                _ => {
                    return Err(
                        "must name one server; for several write redis+cluster:// or redis+sentinel://".to_owned(),
                    );
                }
            }
        }
        "cluster" => {
            of_path(path, &mut database)?;
            if database.is_some_and(|database| database != 0) {
                return Err("must not name a database: a cluster has only database 0".to_owned());
            }
            Topology::Cluster(list(nodes, 6379)?)
        }
        "sentinel" => {
            let (service, path) = match service.clone() {
                Some(service) => (service, path),
                None => match path.split_once('/') {
                    Some((service, path)) => (service.to_owned(), path),
                    None => (path.to_owned(), ""),
                },
            };
            of_path(path, &mut database)?;
            let service = decoded(&service)?;
            if service.is_empty() {
                return Err(
                    "must name the primary, as in \"redis+sentinel://s1:26379,s2:26379/mymaster/0\"".to_owned(),
                );
            }
            Topology::Sentinel {
                nodes: list(nodes, 26379)?,
                service,
            }
        }
        _ => return Err(SCHEMES.to_owned()),
    };
    if service.is_some() && kind != "sentinel" {
        return Err("must not have a `#` part: only redis+sentinel:// names a primary".to_owned());
    }
    Ok(RedisServers {
        topology,
        tls,
        user,
        database: database.unwrap_or(0),
    })
}

/// Only the number of the database.
fn of_path(path: &str, database: &mut Option<u32>) -> Result<(), String> {
    if !path.is_empty() {
        *database = Some(number(path)?);
    }
    Ok(())
}

fn of_query(query: &str) -> Result<u32, String> {
    query
        .strip_prefix("db=")
        .ok_or_else(|| "has an unknown query: only `db` can be set, as in \"?db=0\"".to_owned())
        .and_then(number)
}

fn number(text: &str) -> Result<u32, String> {
    let database: Option<u32> = text.parse().ok();
    let database = database.filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    database.ok_or_else(|| "must end with the number of a database, as in \"redis://redis.internal:6379/0\"".to_owned())
}

fn list(nodes: &str, port: u16) -> Result<Vec<RedisNode>, String> {
    let nodes: Vec<_> = nodes.split(',').map(|one| node(one, port)).collect::<Result<_, _>>()?;
    match nodes.len() {
        ..=MOST_NODES => Ok(nodes),
        _ => Err(format!("must name at most {MOST_NODES} servers")),
    }
}

fn node(text: &str, port: u16) -> Result<RedisNode, String> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or(HOSTS)?;
            host.parse::<std::net::Ipv6Addr>().map_err(|_| HOSTS)?;
            (host, rest)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or(HOSTS)?,
        None if rest.is_empty() => port,
        None => return Err(HOSTS.to_owned()),
    };
    let odd = |c: char| c.is_whitespace() || matches!(c, '@' | '%' | '\\');
    if host.is_empty() || host.contains(odd) {
        return Err(HOSTS.to_owned());
    }
    Ok(RedisNode {
        host: host.to_owned(),
        port,
    })
}

/// RFC 3986, section 2.1.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || "has a `%` that no two hexadecimal digits follow".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
        let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
        bytes.push(u8::try_from(high << 4 | low).map_err(|_| wrong())?);
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8 where it has `%`".to_owned())
}

const SCHEMES: &str = "must begin with redis://, rediss:// (TLS), redis+unix://, redis+cluster://, rediss+cluster://, \
                       redis+sentinel:// or rediss+sentinel://";
const HOSTS: &str =
    "must name its servers as host or host:port, separated by commas, as in \"redis://redis.internal:6379\"";
const MOST_NODES: usize = 64;

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;

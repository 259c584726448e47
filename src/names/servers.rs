//! Asks name servers of the administrator's choice, in their order.
//!
//! hickory makes and reads the messages, and keeps the connections: each server is one of its resolvers, without a file of the
//! system, a cache, or attempts. Which server is asked, how often, and what its failure means is decided here, because the library
//! takes the first answer of any server, also if that server only says that it failed.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join;
use hickory_resolver::Resolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ServerOrderingStrategy,
};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::{Name, RecordType};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::cache::{Answer, Cache};
use super::connect::Connections;
use super::reply::{Reply, read};
use super::thread::Thread;
use super::{NameError, distinct, order, some};
use crate::config::{NameServer, NameTransport, Naming};
use crate::machine;
use crate::shares::Share;

/// Name servers, the connections to them, and what they answered.
pub(super) struct Servers {
    inner: Arc<Inner>,
    thread: Thread,
}

struct Inner {
    config: Naming,
    servers: Vec<Server>,
    cache: Mutex<Cache>,
}

struct Server {
    /// As it is configured, for the log.
    label: String,
    /// Asks this server alone, once.
    resolver: Resolver<Connections>,
    connections: Connections,
    health: Mutex<Health>,
}

#[derive(Default)]
struct Health {
    /// When it last failed, if it has not answered since.
    failed: Option<Instant>,
    /// When that was last logged.
    told: Option<Instant>,
}

/// What a name has.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Addresses(Vec<IpAddr>, Duration),
    Nothing(Duration),
}

impl Servers {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// If there are no certificate authorities for servers over TLS, or the system gives no thread.
    pub(super) fn new(config: &Naming) -> Result<Self, String> {
        let tls = |server: &NameServer| matches!(server.transport, NameTransport::Tls(_));
        match config.servers.iter().any(tls) {
            true => Self::trusting(config, Some(&authorities()?)),
            false => Self::trusting(config, None),
        }
    }

    fn trusting(config: &Naming, tls: Option<&ClientConfig>) -> Result<Self, String> {
        let servers = config.servers.iter();
        let servers = servers.map(|server| Server::new(server, config.timeout, tls));
        let inner = Inner {
            servers: servers.collect::<Result<_, _>>()?,
            cache: Mutex::new(Cache::new(config.cache.entries)),
            config: config.clone(),
        };
        Ok(Self {
            inner: Arc::new(inner),
            thread: Thread::start().map_err(|error| format!("cannot start a thread: {error}"))?,
        })
    }

    /// As configured.
    pub(super) fn config(&self) -> &Naming {
        &self.inner.config
    }

    /// What is kept of an earlier answer.
    pub(super) fn kept(&self, name: &str) -> Option<Answer> {
        self.inner.cache().find(name, Instant::now())
    }

    /// Looks a name up, on the account of this user. If this is dropped, the look-up ends, and the place is given back then.
    pub(super) async fn look_up(&self, name: &str, user: &str, place: Share) -> Answer {
        let inner = Arc::clone(&self.inner);
        let (name, user) = (name.to_owned(), user.to_owned());
        let asked = self.thread.handle().spawn(async move {
            let _place = place;
            inner.look_up(&name, &user).await
        });
        let answer = AbortOnDropHandle::new(asked).await;
        answer.unwrap_or_else(|error| Err(NameError::Failed(error.to_string())))
    }
}

impl Inner {
    /// The first of the names that it may stand for that has addresses. If it is in doubt whether one of them has any, those
    /// after it are not asked for: a name must not become that of another machine because a server is slow.
    async fn look_up(&self, name: &str, user: &str) -> Answer {
        let limits = &self.config.cache;
        let mut absent = Duration::MAX;
        for candidate in self.candidates(name) {
            match self.find(&candidate).await? {
                Found::Addresses(addresses, ttl) => {
                    let mut addresses = distinct(addresses);
                    order::sort(&mut addresses, machine::source_to);
                    let answer = some(addresses);
                    self.keep(name, user, &answer, ttl.min(absent));
                    return answer;
                }
                Found::Nothing(ttl) => absent = absent.min(ttl.min(limits.max_negative_ttl)),
            }
        }
        let answer = Err(NameError::NoSuchName);
        self.keep(name, user, &answer, absent.min(limits.max_negative_ttl));
        answer
    }

    fn keep(&self, name: &str, user: &str, answer: &Answer, ttl: Duration) {
        if !ttl.is_zero() {
            self.cache().keep(name, user, answer.clone(), Instant::now() + ttl);
        }
    }

    /// As resolv.conf(5) says of `search` and `ndots`. What would be too long for a name is none.
    fn candidates(&self, name: &str) -> Vec<Name> {
        let complete = |name: &str| Name::from_ascii(format!("{name}.")).ok();
        if let Some(name) = name.strip_suffix('.') {
            return complete(name).into_iter().collect();
        }
        let below = |domain: &String| complete(&format!("{name}.{domain}"));
        let searched = self.config.search.iter().filter_map(below);
        match name.matches('.').count() >= self.config.ndots {
            true => complete(name).into_iter().chain(searched).collect(),
            false => searched.chain(complete(name)).collect(),
        }
    }

    /// All addresses of a complete name. Those of one kind will do if the other kind cannot be had, as for `getaddrinfo(3)`;
    /// that is not kept. That there is none is said only if it was answered for both.
    async fn find(&self, name: &Name) -> Result<Found, NameError> {
        let limits = &self.config.cache;
        let held = |ttl: Duration| ttl.clamp(limits.min_ttl, limits.max_ttl);
        let (four, six) = join(self.ask(name, RecordType::A), self.ask(name, RecordType::AAAA)).await;
        match (four, six) {
            (Ok(Reply::Addresses(mut four, ttl)), Ok(Reply::Addresses(six, other))) => {
                four.extend(six);
                Ok(Found::Addresses(four, held(ttl.min(other))))
            }
            (Ok(Reply::Addresses(found, ttl)), Ok(Reply::None(_) | Reply::NoSuchName(_)))
            | (Ok(Reply::None(_) | Reply::NoSuchName(_)), Ok(Reply::Addresses(found, ttl))) => {
                Ok(Found::Addresses(found, held(ttl)))
            }
            (Ok(Reply::Addresses(found, _)), Err(_)) | (Err(_), Ok(Reply::Addresses(found, _))) => {
                Ok(Found::Addresses(found, Duration::ZERO))
            }
            (Ok(Reply::NoSuchName(ttl)), _) | (_, Ok(Reply::NoSuchName(ttl))) => Ok(Found::Nothing(ttl)),
            (Ok(Reply::None(ttl)), Ok(Reply::None(other))) => Ok(Found::Nothing(ttl.min(other))),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    /// Asks one server after the other until one answers, and all of them as often as is configured.
    async fn ask(&self, name: &Name, kind: RecordType) -> Result<Reply, NameError> {
        let mut last = NameError::TimedOut;
        for _ in 0..self.config.attempts {
            for server in self.in_order() {
                let asked = server.ask(name, kind, self.config.timeout).await;
                // Whatever it says, it is there: a name that nobody can look up must not send a server to the end of the line.
                let is_there = matches!(asked, Ok(_) | Err(NetError::Dns(_)));
                let error = match read(asked, name, kind) {
                    Ok(reply) => {
                        server.answered();
                        return Ok(reply);
                    }
                    Err(error) => error,
                };
                match is_there {
                    true => server.answered(),
                    false => server.failed(&error),
                }
                // What a server said says more than the silence of another.
                if last == NameError::TimedOut {
                    last = error;
                }
            }
        }
        Err(last)
    }

    /// Servers that failed lately come last, so that one that is down does not delay every look-up.
    fn in_order(&self) -> Vec<&Server> {
        let now = Instant::now();
        let mut servers: Vec<_> = self.servers.iter().collect();
        servers.sort_by_cached_key(|server| server.rests(now));
        servers
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Server {
    fn new(server: &NameServer, patience: Duration, tls: Option<&ClientConfig>) -> Result<Self, String> {
        let on_port = |mut connection: ConnectionConfig| {
            connection.port = server.address.port();
            connection
        };
        let ways = match &server.transport {
            NameTransport::Plain => vec![on_port(ConnectionConfig::udp()), on_port(ConnectionConfig::tcp())],
            NameTransport::Tls(name) => vec![on_port(ConnectionConfig::tls(Arc::from(name.as_str())))],
        };
        let one = NameServerConfig::new(server.address.ip(), true, ways);
        let config = ResolverConfig::from_parts(None, Vec::new(), vec![one]);
        let connections = Connections::default();
        let mut builder = Resolver::builder_with_config(config, connections.clone());
        if let Some(tls) = tls {
            builder = builder.with_tls_config(tls.clone());
        }
        let options = builder.options_mut();
        options.timeout = patience;
        options.attempts = 0;
        // How long an answer holds is said by every alias on the way.
        options.preserve_intermediates = true;
        options.num_concurrent_reqs = 1;
        options.server_ordering_strategy = ServerOrderingStrategy::UserProvidedOrder;
        options.max_active_requests = MOST_QUESTIONS;
        options.use_hosts_file = ResolveHosts::Never;
        // Without room the library's cache is off: that of this room is for all servers, and fair.
        options.cache_size = 0;
        Ok(Self {
            label: server.to_string(),
            connections,
            resolver: builder.build().map_err(|error| format!("{server}: {error}"))?,
            health: Mutex::default(),
        })
    }

    async fn ask(&self, name: &Name, kind: RecordType, patience: Duration) -> Result<Lookup, NetError> {
        let asked = timeout(patience, self.resolver.lookup(name.clone(), kind)).await;
        let answer = asked.unwrap_or(Err(NetError::Timeout));
        answer.map_err(|error| self.connections.explained(error))
    }

    fn rests(&self, now: Instant) -> bool {
        let failed = self.health().failed;
        failed.is_some_and(|failed| now.saturating_duration_since(failed) < REST)
    }

    fn answered(&self) {
        let mut health = self.health();
        if health.failed.take().is_some() {
            tracing::debug!(server = self.label, "a name server answers again");
        }
    }

    fn failed(&self, error: &NameError) {
        let now = Instant::now();
        let mut health = self.health();
        health.failed = Some(now);
        // A user's names can make a server fail: they must not fill the log.
        if health
            .told
            .is_none_or(|told| now.saturating_duration_since(told) >= REST)
        {
            health.told = Some(now);
            tracing::warn!(server = self.label, %error, "a name server failed");
        }
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// TLS with the certificate authorities that the system trusts, or those of `SSL_CERT_FILE`.
fn authorities() -> Result<ClientConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    let why = found
        .errors
        .first()
        .map(|error| format!(": {error}"))
        .unwrap_or_default();
    trusting(found.certs).map_err(|error| format!("{error}{why}"))
}

fn trusting(authorities: impl IntoIterator<Item = CertificateDer<'static>>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(authorities);
    if usable == 0 {
        let words = "a server with tls:// needs certificate authorities that check its certificate, and the system has none: \
                     install them, or name a file of them in SSL_CERT_FILE";
        return Err(words.to_owned());
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// For so long a server that failed is asked after the others, and no further failure of it is logged.
const REST: Duration = Duration::from_secs(30);
/// On one connection over TCP or TLS at a time; there are never more look-ups than places.
const MOST_QUESTIONS: usize = 256;

#[cfg(test)]
mod tests;

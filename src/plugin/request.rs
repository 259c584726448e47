//! A request as it is described in a case file or on the command line, and what it becomes.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Table, Value, auth};
use crate::request::{
    Action, Certificate, Connection, Credential, Endpoint, Fact, ForwardRequest, Host, Principal, Requested,
};

/// A request, as far as it is described.
#[derive(Clone, Debug, Default)]
pub(super) struct Described {
    pub(super) action: Option<Action>,
    pub(super) target: Option<Target>,
    pub(super) requested: Option<Requested>,
    pub(super) user: Option<String>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) claims: Option<Vec<(String, Fact)>>,
    pub(super) client: Option<SocketAddr>,
    pub(super) server: Option<SocketAddr>,
    pub(super) originator: Option<SocketAddr>,
    pub(super) credential: Option<Credential>,
    pub(super) software: Option<String>,
    pub(super) since: Option<Timestamp>,
    pub(super) id: Option<String>,
    pub(super) session: Option<String>,
    pub(super) dry_run: Option<bool>,
    pub(super) extra: Option<Vec<(String, Fact)>>,
}

/// A target as it is written, and what it means.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) written: Requested,
    pub(super) endpoint: Endpoint,
}

impl std::str::FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let endpoint: Endpoint = text.parse().map_err(|error| format!("{error}"))?;
        let written = match (&endpoint, text.rsplit_once(':')) {
            (Endpoint::Tcp { port, .. }, Some((host, _))) => {
                let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
                Requested::Tcp {
                    host: plain.unwrap_or(host).to_owned(),
                    port: u32::from(*port),
                }
            }
            _ => Requested::from(&endpoint),
        };
        Ok(Self { written, endpoint })
    }
}

impl Described {
    /// Reads a table of a case file.
    pub(super) fn read(table: &mut Table<'_>) -> Self {
        Self {
            action: table.read("action", |value| {
                value.one_of(&[
                    ("connect", Action::Connect),
                    ("listen", Action::Listen),
                    ("accept", Action::Accept),
                ])
            }),
            // One that is wrong is a fault already: what stands in for it keeps "it has no target" from being a second.
            target: table.read("target", |value| {
                parsed::<Target>(value).or_else(|| "db.internal:5432".parse().ok())
            }),
            requested: table.read("requested", |value| {
                parsed::<Target>(value).map(|target| target.written)
            }),
            user: table.read("user", |value| value.text().map(str::to_owned)),
            groups: table.read("groups", |value| value.list(|item| item.text().map(str::to_owned))),
            claims: table.read("claims", auth::claims),
            client: table.read("client", peer),
            server: table.read("server", peer),
            originator: table.read("originator", peer),
            credential: table.read("credential", |value| value.table(credential)),
            software: table.read("software", |value| value.text().map(str::to_owned)),
            since: table.read("since", instant),
            id: table.read("id", |value| value.text().map(str::to_owned)),
            session: table.read("session", |value| value.text().map(str::to_owned)),
            dry_run: table.read("dry-run", |value| value.flag()),
            extra: table.read("extra", auth::claims),
        }
    }

    /// This description, and of the other one what is missing here.
    pub(super) fn over(self, other: &Self) -> Self {
        let other = other.clone();
        // What was asked for belongs to its target.
        let requested = match (&self.requested, &self.target) {
            (None, None) => other.requested,
            _ => self.requested,
        };
        Self {
            action: self.action.or(other.action),
            target: self.target.or(other.target),
            requested,
            user: self.user.or(other.user),
            groups: self.groups.or(other.groups),
            claims: self.claims.or(other.claims),
            client: self.client.or(other.client),
            server: self.server.or(other.server),
            originator: self.originator.or(other.originator),
            credential: self.credential.or(other.credential),
            software: self.software.or(other.software),
            since: self.since.or(other.since),
            id: self.id.or(other.id),
            session: self.session.or(other.session),
            dry_run: self.dry_run.or(other.dry_run),
            extra: self.extra.or(other.extra),
        }
    }

    /// Its id.
    pub(super) fn id(&self) -> String {
        self.id.clone().unwrap_or_else(|| "f-test".to_owned())
    }

    /// The request at that moment.
    ///
    /// # Errors
    /// If no target is described, or the gateway would refuse it before it asks a policy.
    pub(super) fn request(&self, now: Timestamp) -> Result<ForwardRequest, String> {
        let action = self.action.unwrap_or(Action::Connect);
        let target = self
            .target
            .as_ref()
            .ok_or("it has no target: add one, as in target = \"db.internal:5432\"")?;
        if let (Action::Connect, Endpoint::Tcp { host, port }) = (action, &target.endpoint)
            && (*host == Host::Any || *port == 0)
        {
            return Err(format!(
                "cannot connect to {}: policies are never asked about it",
                target.endpoint
            ));
        }
        Ok(ForwardRequest {
            id: self.id(),
            now,
            action,
            target: target.endpoint.clone(),
            requested: self.requested.clone().unwrap_or_else(|| target.written.clone()),
            originator: self.originator,
            principal: Arc::new(Principal {
                user: self.user.clone().unwrap_or_else(|| "alice".to_owned()),
                groups: self.groups.clone().unwrap_or_default(),
                credential: self.credential.clone().unwrap_or_else(|| Credential {
                    method: "publickey".to_owned(),
                    ..Credential::default()
                }),
                claims: self.claims.clone().unwrap_or_default(),
            }),
            connection: Arc::new(Connection {
                id: self.session.clone().unwrap_or_else(|| "s-test".to_owned()),
                client: self.client.unwrap_or_else(|| SocketAddr::from(([192, 0, 2, 1], 50000))),
                server: self.server.unwrap_or_else(|| SocketAddr::from(([192, 0, 2, 2], 22))),
                software: self
                    .software
                    .clone()
                    .unwrap_or_else(|| "SSH-2.0-OpenSSH_9.9".to_owned()),
                since: self.since.unwrap_or(now),
            }),
            dry_run: self.dry_run.unwrap_or(true),
            extra: self.extra.clone().unwrap_or_default(),
        })
    }
}

/// All of a request; what is asked for as the client sent it goes with the target.
impl From<ForwardRequest> for Described {
    fn from(request: ForwardRequest) -> Self {
        let principal = Arc::unwrap_or_clone(request.principal);
        let connection = Arc::unwrap_or_clone(request.connection);
        Self {
            action: Some(request.action),
            target: Some(Target {
                written: request.requested,
                endpoint: request.target,
            }),
            requested: None,
            user: Some(principal.user),
            groups: Some(principal.groups),
            claims: Some(principal.claims),
            client: Some(connection.client),
            server: Some(connection.server),
            originator: request.originator,
            credential: Some(principal.credential),
            software: Some(connection.software),
            since: Some(connection.since),
            id: Some(request.id),
            session: Some(connection.id),
            dry_run: Some(request.dry_run),
            extra: Some(request.extra),
        }
    }
}

/// Text that means something.
pub(super) fn parsed<T: std::str::FromStr>(value: &Value<'_>) -> Option<T>
where
    T::Err: std::fmt::Display,
{
    match value.text()?.parse() {
        Ok(meant) => Some(meant),
        Err(error) => value.fault(error),
    }
}

/// A moment: `2026-11-24T09:00:00Z`, in quotes or not.
pub(super) fn instant(value: &Value<'_>) -> Option<Timestamp> {
    let text = match value.toml() {
        toml::de::DeValue::Datetime(time) => time.to_string(),
        toml::de::DeValue::String(text) => text.to_string(),
        _ => String::new(),
    };
    let moment = text.parse().ok();
    moment.or_else(|| value.wrong("a moment with its zone, as in \"2026-11-24T09:00:00Z\""))
}

/// `ip:port`, or an address alone with a port of no importance.
pub(super) fn address(text: &str) -> Option<SocketAddr> {
    let whole = text.parse::<SocketAddr>().ok();
    whole.or_else(|| text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 50000)))
}

fn peer(value: &Value<'_>) -> Option<SocketAddr> {
    address(value.text()?).or_else(|| value.wrong("an address, as in \"192.0.2.7:50000\" or \"192.0.2.7\""))
}

fn credential(table: &mut Table<'_>) -> Credential {
    let certificate = table.read("certificate", |value| value.table(certificate));
    let method = table.read("method", |value| value.word().map(str::to_owned));
    Credential {
        method: method.unwrap_or_else(|| {
            let method = if certificate.is_some() {
                "certificate"
            } else {
                "publickey"
            };
            method.to_owned()
        }),
        fingerprint: table.read("fingerprint", |value| value.text().map(str::to_owned)),
        certificate,
    }
}

fn certificate(table: &mut Table<'_>) -> Certificate {
    let text = |value: &Value<'_>| value.text().map(str::to_owned);
    let pairs = |value: &Value<'_>| {
        value.table(|table| {
            let all = table.all();
            let pairs = all.iter();
            pairs
                .filter_map(|(name, value)| Some(((*name).to_owned(), value.text()?.to_owned())))
                .collect()
        })
    };
    Certificate {
        key_id: table.or("key-id", String::new(), text),
        serial: table.or("serial", 0, |value| {
            value.number(0..=u64::try_from(i64::MAX).unwrap_or(0))
        }),
        issuer: table.or("issuer", String::new(), text),
        principals: table.or("principals", Vec::new(), |value| value.list(text)),
        valid_after: table.or("valid-after", 0, moment),
        valid_before: table.or("valid-before", u64::MAX, moment),
        critical_options: table.or("critical-options", Vec::new(), pairs),
        extensions: table.or("extensions", Vec::new(), pairs),
    }
}

/// Unix seconds, as a number or a moment.
fn moment(value: &Value<'_>) -> Option<u64> {
    if matches!(value.toml(), toml::de::DeValue::Integer(_)) {
        return value.number(0..=u64::try_from(i64::MAX).unwrap_or(0));
    }
    instant(value).map(|moment| u64::try_from(moment.as_second()).unwrap_or(0))
}

//! A line of the audit log: the parts that a policy saw, and the decision.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use crate::events::NameAnswer;
use crate::names::Names;
use crate::request::{
    self, Action, By, Certificate, Connection, Credential, Endpoint, Fact, ForwardRequest, Host, Principal, Requested,
    Terms, VerdictWord,
};

/// Every field of interest, whatever the event; what a line does not have is absent.
#[derive(Default, Deserialize)]
pub(crate) struct Line {
    pub(super) v: u64,
    pub(crate) event: Kind,
    #[serde(default, deserialize_with = "moment")]
    time: Option<Timestamp>,
    pub(super) session: Option<String>,
    pub(crate) user: Option<String>,
    client: Option<SocketAddr>,
    pub(crate) forward: Option<String>,
    // Of a decision.
    action: Option<Action>,
    requested: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) effective: Option<String>,
    #[serde(default)]
    resolved: Vec<IpAddr>,
    #[serde(default)]
    names: HashMap<String, NameAnswer>,
    originator: Option<SocketAddr>,
    #[serde(default, deserialize_with = "moment")]
    asked: Option<Timestamp>,
    pub(crate) verdict: Option<VerdictWord>,
    pub(crate) code: Option<String>,
    pub(crate) by: Option<By>,
    pub(crate) policy: Option<IgnoredAny>,
    pub(crate) terms: Option<Terms>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) again: Option<String>,
    // Of a login.
    method: Option<String>,
    fingerprint: Option<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    claims: Claims,
    certificate: Option<Certificate>,
    server: Option<SocketAddr>,
    software: Option<String>,
}

/// The events that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    AuthSucceeded,
    AuthRenewed,
    SessionClosed,
    ForwardDecided,
    TunnelOpened,
    TunnelClosed,
    ListenerOpened,
    ListenerClosed,
    #[default]
    #[serde(other)]
    Other,
}

/// Who logged in, and over which connection.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) principal: Arc<Principal>,
    pub(crate) connection: Arc<Connection>,
    /// Whether the log holds all that a policy was told; that of an older gateway lacks groups and claims.
    pub(crate) complete: bool,
}

impl Line {
    /// What a login says of its session.
    pub(super) fn login(&mut self) -> Option<Session> {
        let client = self.client?;
        let principal = Principal {
            user: self.user.clone()?,
            groups: std::mem::take(&mut self.groups),
            credential: Credential {
                method: self.method.take()?,
                fingerprint: self.fingerprint.take(),
                certificate: self.certificate.take(),
            },
            claims: std::mem::take(&mut self.claims.0),
        };
        let connection = Connection {
            id: self.session.take()?,
            client,
            server: self.server.unwrap_or(client),
            software: self.software.take().unwrap_or_default(),
            since: self.time?,
        };
        Some(Session {
            principal: Arc::new(principal),
            connection: Arc::new(connection),
            complete: self.server.is_some(),
        })
    }

    /// A session of which the log has no login: what its other lines say.
    pub(super) fn stranger(&self) -> Option<Session> {
        let client = self.client?;
        let principal = Principal {
            user: self.user.clone()?,
            credential: Credential {
                method: "publickey".to_owned(),
                ..Credential::default()
            },
            ..Principal::default()
        };
        let connection = Connection {
            id: self.session.clone()?,
            client,
            server: client,
            software: String::new(),
            since: self.time?,
        };
        Some(Session {
            principal: Arc::new(principal),
            connection: Arc::new(connection),
            complete: false,
        })
    }

    /// The names that this decision had answers for.
    pub(crate) fn names(&mut self) -> Names {
        let mut names: Names = std::mem::take(&mut self.names)
            .into_iter()
            .map(|(name, answer)| (name, answer.into()))
            .collect();
        // The addresses that were judged are those of the host that it went to.
        let host = self.effective.as_deref().or(self.target.as_deref());
        if !self.resolved.is_empty()
            && let Some(Ok(Endpoint::Tcp {
                host: Host::Name(name), ..
            })) = host.map(str::parse)
        {
            names
                .entry(name.as_str().to_owned())
                .or_insert_with(|| Ok(std::mem::take(&mut self.resolved)));
        }
        names
    }

    /// The request as the policies saw it.
    ///
    /// # Errors
    /// The field that is missing or cannot be read.
    pub(crate) fn request(&mut self, session: Session) -> Result<ForwardRequest, String> {
        let missing = |field: &str| format!("a decision without `{field}`");
        let sent = self.requested.take().ok_or_else(|| missing("requested"))?;
        let target = self.target.as_deref().unwrap_or(&sent);
        let target: Endpoint = target.parse().map_err(|error| format!("{error}"))?;
        Ok(ForwardRequest {
            id: self.forward.take().ok_or_else(|| missing("forward"))?,
            now: self.asked.or(self.time).ok_or_else(|| missing("time"))?,
            action: self.action.ok_or_else(|| missing("action"))?,
            requested: requested(&sent, &target).ok_or("`requested` is not an endpoint")?,
            target,
            originator: self.originator,
            principal: session.principal,
            connection: session.connection,
            dry_run: true,
            extra: self.again.take().map(request::again).into_iter().collect(),
        })
    }
}

/// As the client sent it; whether it is a socket is told by the canonical form.
fn requested(text: &str, target: &Endpoint) -> Option<Requested> {
    if let Endpoint::Socket(_) = target {
        return text
            .strip_prefix("unix:")
            .map(|path| Requested::Socket(path.to_owned()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let plain = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    Some(Requested::Tcp {
        host: plain.unwrap_or(host).to_owned(),
        port: port.parse().ok()?,
    })
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Cow::<str>::deserialize(deserializer)?;
    text.parse().map(Some).map_err(D::Error::custom)
}

/// A table of facts in the order of the line.
#[derive(Default)]
struct Claims(Vec<(String, Fact)>);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Claims;

            fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str("a table of claims")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Claims, M::Error> {
                let mut claims = Vec::new();
                while let Some(claim) = map.next_entry()? {
                    claims.push(claim);
                }
                Ok(Claims(claims))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

//! A line of the audit log, as far as replaying needs it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

use super::outcome::Outcome;
use crate::audit::{NameAnswer, VerdictWord};
use crate::names::Names;
use crate::request::{
    self, Action, By, Certificate, Connection, Credential, Endpoint, Fact, ForwardRequest, Host, Principal, Requested,
    Terms,
};

/// Every field of interest, whatever the event; what a line does not have is absent.
#[derive(Deserialize)]
pub(super) struct Line {
    pub(super) v: u64,
    pub(super) event: Kind,
    #[serde(default, deserialize_with = "moment")]
    pub(super) time: Option<Timestamp>,
    pub(super) session: Option<String>,
    pub(super) user: Option<String>,
    pub(super) client: Option<SocketAddr>,
    forward: Option<String>,
    // Of a decision.
    action: Option<Action>,
    requested: Option<String>,
    target: Option<String>,
    effective: Option<String>,
    #[serde(default)]
    resolved: Vec<IpAddr>,
    #[serde(default)]
    names: HashMap<String, NameAnswer>,
    originator: Option<SocketAddr>,
    #[serde(default, deserialize_with = "moment")]
    asked: Option<Timestamp>,
    verdict: Option<VerdictWord>,
    code: Option<String>,
    by: Option<By>,
    policy: Option<IgnoredAny>,
    terms: Option<Terms>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    again: Option<String>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Kind {
    AuthSucceeded,
    SessionClosed,
    ForwardDecided,
    TunnelOpened,
    TunnelClosed,
    ListenerOpened,
    ListenerClosed,
    #[serde(other)]
    Other,
}

/// Who logged in, and over which connection.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) principal: Arc<Principal>,
    pub(super) connection: Arc<Connection>,
    /// Whether the log holds all that a policy was told; that of an older gateway lacks groups and claims.
    pub(super) complete: bool,
}

/// A decision that can be asked again.
pub(super) struct Decision {
    /// Its place among all decisions of the log.
    pub(super) number: u64,
    pub(super) request: Arc<ForwardRequest>,
    /// What the log says was decided.
    pub(super) recorded: Outcome,
    /// What the policies were told of names.
    pub(super) names: Arc<Names>,
}

/// Why a recorded decision is not asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Skipped {
    /// No policy was asked: a switch, the key, a floor or a limit decided before.
    By(By),
    /// The line does not say what the request was in canonical form.
    NoTarget,
}

impl Line {
    pub(super) fn is_again(&self) -> bool {
        self.again.is_some()
    }

    /// What a login says of its session.
    pub(super) fn login(&mut self) -> Option<(String, Session)> {
        let id = self.session.clone()?;
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
            id: id.clone(),
            client,
            server: self.server.unwrap_or(client),
            software: self.software.take().unwrap_or_default(),
            since: self.time?,
        };
        let session = Session {
            principal: Arc::new(principal),
            connection: Arc::new(connection),
            complete: self.server.is_some(),
        };
        Some((id, session))
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
    pub(super) fn names(&mut self) -> Names {
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
                .entry(name)
                .or_insert_with(|| Ok(std::mem::take(&mut self.resolved)));
        }
        names
    }

    /// Whether and why the policies need not be asked.
    pub(super) fn skipped(&self) -> Option<Skipped> {
        match self.by {
            Some(By::Policy) => {}
            // What a floor refused after a policy had allowed it.
            Some(By::Floor) if self.policy.is_some() => {}
            Some(by) => return Some(Skipped::By(by)),
            None => return Some(Skipped::NoTarget),
        }
        self.target.is_none().then_some(Skipped::NoTarget)
    }

    /// The request as the policies saw it, and what was decided.
    ///
    /// # Errors
    /// The field that is missing or cannot be read.
    pub(super) fn decision(mut self, number: u64, session: Session) -> Result<Decision, String> {
        let missing = |field: &str| format!("a decision without `{field}`");
        let parse = |text: &str| text.parse::<Endpoint>().map_err(|error| error.to_string());
        let target = parse(self.target.as_deref().ok_or_else(|| missing("target"))?)?;
        let effective = self.effective.as_deref().map(parse).transpose()?;
        let requested = requested(self.requested.as_deref().ok_or_else(|| missing("requested"))?, &target);
        let recorded = self.recorded(effective.unwrap_or_else(|| target.clone()))?;
        let names = Arc::new(self.names());
        let request = ForwardRequest {
            id: self.forward.take().ok_or_else(|| missing("forward"))?,
            now: self.asked.or(self.time).ok_or_else(|| missing("time"))?,
            action: self.action.ok_or_else(|| missing("action"))?,
            target,
            requested: requested.ok_or_else(|| "`requested` is no endpoint".to_owned())?,
            originator: self.originator,
            principal: session.principal,
            connection: session.connection,
            dry_run: true,
            extra: self.again.take().map(request::again).into_iter().collect(),
        };
        Ok(Decision {
            number,
            request: Arc::new(request),
            recorded,
            names,
        })
    }

    fn recorded(&mut self, effective: Endpoint) -> Result<Outcome, String> {
        let verdict = self.verdict.ok_or("a decision without `verdict`")?;
        let mut terms = self.terms.take();
        if let Some(terms) = &mut terms {
            terms.tags = std::mem::take(&mut self.tags);
        }
        // A floor refused what the policies had allowed, and that is what is compared: the terms are not in the line.
        let verdict = match (self.by, &self.effective) {
            (Some(By::Floor), Some(_)) => VerdictWord::Rewrite,
            (Some(By::Floor), None) => VerdictWord::Allow,
            _ => verdict,
        };
        Ok(match verdict {
            VerdictWord::Allow | VerdictWord::Rewrite => Outcome::Open {
                verdict,
                effective,
                terms,
            },
            VerdictWord::Deny => Outcome::Denied(self.code.take().unwrap_or_default()),
            VerdictWord::Failed => Outcome::Failed(self.code.take().unwrap_or_default()),
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

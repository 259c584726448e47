//! What happened, as the log has it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::names::NameError;
use crate::policy::{Installed, PolicyRef};
use crate::request::{
    Action, By, Certificate, Connection, Endpoint, Fact, ForwardRequest, Principal, Requested, Terms,
};

/// One line of the log. Unknown facts are absent.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    v: u8,
    #[serde(serialize_with = "micros")]
    time: Timestamp,
    #[serde(flatten)]
    subject: &'a Subject,
    #[serde(flatten)]
    event: &'a Event,
}

impl<'a> Line<'a> {
    pub(super) fn new(subject: &'a Subject, event: &'a Event) -> Self {
        Self {
            v: 1,
            time: Timestamp::now(),
            subject,
            event,
        }
    }
}

fn micros<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

/// The precision of a policy's clock.
fn millis<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&format_args!("{time:.3}")),
        None => serializer.serialize_none(),
    }
}

/// Whom an event is about.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Subject {
    /// The SSH connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// The user, once it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<SocketAddr>,
    /// The request, tunnel or listener.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward: Option<String>,
}

impl Subject {
    /// Who connects from there.
    #[must_use]
    pub fn from_client(client: SocketAddr) -> Self {
        Self {
            client: Some(client),
            ..Self::default()
        }
    }

    /// Whom this request is about.
    #[must_use]
    pub fn of(request: &ForwardRequest) -> Self {
        Self {
            session: Some(request.connection.id.clone()),
            user: Some(request.principal.user.clone()),
            client: Some(request.connection.client),
            forward: Some(request.id.clone()),
        }
    }

    /// The same connection, and this request of it.
    #[must_use]
    pub fn with_forward(&self, forward: &str) -> Self {
        Self {
            forward: Some(forward.to_owned()),
            ..self.clone()
        }
    }
}

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The gateway serves.
    GatewayStarted {
        /// Of the program.
        version: &'static str,
        /// Where.
        listen: Vec<SocketAddr>,
        /// By which policies.
        policies: Vec<Installed>,
    },
    /// The gateway has stopped.
    GatewayStopped,
    /// The configuration was read again.
    ConfigReloaded {
        /// False where a fault kept the old one, or all of it but what the new one takes away.
        ok: bool,
        /// Keys that changed and apply. With a fault: those that apply as far as they take something away.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        applied: Vec<&'static str>,
        /// Keys that changed and apply after a restart.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        needs_restart: Vec<&'static str>,
        /// The fault.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A user logged in.
    AuthSucceeded(Box<LoggedIn>),
    /// What the login of an open session gives has changed: from here on policies are told this.
    AuthRenewed(Box<LoggedIn>),
    /// A login failed.
    AuthFailed {
        /// How it was tried.
        method: &'static str,
        /// Of the key.
        #[serde(skip_serializing_if = "Option::is_none")]
        fingerprint: Option<String>,
        /// Why.
        reason: String,
    },
    /// A client and the gateway have no algorithm in common.
    NegotiationFailed {
        /// `kex`, `host-key`, `cipher`, `mac` or `compression`.
        kind: &'static str,
        /// What the gateway offers.
        ours: Vec<String>,
        /// What the client offers.
        theirs: Vec<String>,
    },
    /// A connection ended.
    SessionClosed {
        /// Since it was accepted.
        millis: u64,
        /// Why, where it did not simply end.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A request was decided.
    ForwardDecided(Box<Decided>),
    /// What was allowed could not be reached, or was not taken.
    ConnectFailed(Box<ConnectFailed>),
    /// A tunnel carries data from here on.
    TunnelOpened {
        /// Connect or accept.
        action: Action,
        /// As the client named it.
        requested: Requested,
        /// Where it goes.
        effective: Endpoint,
        /// The address or path that was dialled.
        #[serde(skip_serializing_if = "Option::is_none")]
        dialled: Option<Endpoint>,
    },
    /// A tunnel ended; exactly one for each that was opened.
    TunnelClosed(Ended),
    /// A listener accepts connections from here on.
    ListenerOpened {
        /// As the client named it.
        requested: Requested,
        /// Where it listens.
        effective: Endpoint,
        /// The addresses that were bound.
        bound: Vec<Endpoint>,
    },
    /// A listener ended.
    ListenerClosed {
        /// Since it was opened.
        millis: u64,
        /// Why.
        cause: Cause,
    },
    /// A policy took the place of another.
    PolicySwapped {
        /// The new one.
        policy: Installed,
        /// The old one.
        #[serde(skip_serializing_if = "Option::is_none")]
        previous: Option<PolicyRef>,
        /// From the change that was noticed to the new one's first decision.
        millis: u64,
    },
    /// A policy did not pass the gates; what served goes on.
    PolicyRejected {
        /// Its configured name.
        name: String,
        /// Of the bytes that were rejected, where they could be read.
        #[serde(skip_serializing_if = "Option::is_none")]
        sha256: Option<String>,
        /// Why.
        reason: String,
    },
    /// An administrator changed something through the control socket.
    AdminAction {
        /// `close`, `reload` or `drain`.
        action: &'static str,
        /// Who, as the kernel states it.
        uid: u32,
        /// The name of that user.
        admin: String,
        /// Why, in the administrator's words.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// What was asked for.
        #[serde(skip_serializing_if = "serde_json::Value::is_null")]
        detail: serde_json::Value,
    },
}

/// A login: everything that a policy is told of the user and the connection, so that the decisions of this session can be
/// asked again from the log alone.
#[derive(Debug, Serialize)]
pub struct LoggedIn {
    /// `publickey`, `certificate` or `password`.
    pub method: String,
    /// Of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    /// The groups that the configuration puts the user in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The configured claims, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "as_map")]
    pub claims: Vec<(String, Fact)>,
    /// The certificate, where one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Certificate>,
    /// The gateway's address that the client connected to.
    pub server: SocketAddr,
    /// The client's SSH version string.
    pub software: String,
}

impl LoggedIn {
    /// Of this user, over this connection.
    #[must_use]
    pub fn new(principal: &Principal, connection: &Connection) -> Self {
        let credential = principal.credential.clone();
        Self {
            method: credential.method,
            fingerprint: credential.fingerprint,
            groups: principal.groups.clone(),
            claims: principal.claims.clone(),
            certificate: credential.certificate,
            server: connection.server,
            software: connection.software.clone(),
        }
    }
}

fn as_map<S: Serializer>(claims: &[(String, Fact)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(claims.iter().map(|(name, value)| (name, value)))
}

/// The decision on one request.
#[derive(Clone, Debug, Serialize)]
pub struct Decided {
    /// Connect, listen or accept.
    pub action: Action,
    /// As the client sent it.
    pub requested: Requested,
    /// In canonical form; absent where the request has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Endpoint>,
    /// After a rewrite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Endpoint>,
    /// The addresses that were judged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<IpAddr>,
    /// What else the policies were told of names: addresses, or the word for why there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, NameAnswer>,
    /// The peer of an accepted connection, or what the client claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub originator: Option<SocketAddr>,
    /// When the policies were asked: what they took for the present.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millis")]
    pub asked: Option<Timestamp>,
    /// Allow, deny, rewrite or failed.
    pub verdict: VerdictWord,
    /// A stable name of the rule or cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which part of the judgement decided.
    pub by: By,
    /// Which policy decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// How long the policies took.
    pub micros: u64,
    /// The terms of what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// The tags that the policy gave.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// `swap` or `recheck` where something open was judged again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<&'static str>,
    /// How many equal refusals, of one second, this line stands for; absent where it stands for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u64>,
}

/// A connection that was allowed and is not there.
#[derive(Debug, Serialize)]
pub struct ConnectFailed {
    /// Connect, or accept where the client did not take it.
    pub action: Action,
    /// As the client named it.
    pub requested: Requested,
    /// In canonical form.
    pub target: Endpoint,
    /// Where it was to go.
    pub effective: Endpoint,
    /// The addresses that might be dialled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<IpAddr>,
    /// Why not: the words of the operating system or the resolver.
    pub reason: String,
    /// How long it was tried.
    pub millis: u64,
}

impl ConnectFailed {
    /// What was allowed by name, where the name has no address. None where nothing was allowed.
    #[must_use]
    pub fn unresolved(decided: &Decided, reason: String, millis: u64) -> Option<Self> {
        let target = decided.target.clone()?;
        Some(Self {
            action: decided.action,
            requested: decided.requested.clone(),
            effective: decided.effective.clone().unwrap_or_else(|| target.clone()),
            target,
            resolved: Vec::new(),
            reason,
            millis,
        })
    }
}

/// What a policy was told of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NameAnswer {
    /// Its addresses.
    Found(Vec<IpAddr>),
    /// `no-such-name`, `timed-out`, or `failed: ` and the resolver's words.
    None(String),
}

impl NameAnswer {
    /// Whether no answer came, which says nothing about the name.
    #[must_use]
    pub fn is_doubt(&self) -> bool {
        let answer: Result<Vec<IpAddr>, NameError> = self.clone().into();
        answer.is_err_and(|error| error.is_doubt())
    }
}

impl From<Result<Vec<IpAddr>, NameError>> for NameAnswer {
    fn from(answer: Result<Vec<IpAddr>, NameError>) -> Self {
        match answer {
            Ok(addresses) => Self::Found(addresses),
            Err(NameError::NoSuchName) => Self::None("no-such-name".to_owned()),
            Err(NameError::TimedOut) => Self::None("timed-out".to_owned()),
            Err(NameError::OverBudget) => Self::None("over-budget".to_owned()),
            Err(NameError::Failed(words)) => Self::None(format!("failed: {words}")),
        }
    }
}

impl From<NameAnswer> for Result<Vec<IpAddr>, NameError> {
    fn from(answer: NameAnswer) -> Self {
        match answer {
            NameAnswer::Found(addresses) => Ok(addresses),
            NameAnswer::None(word) => Err(match word.as_str() {
                "no-such-name" => NameError::NoSuchName,
                "timed-out" => NameError::TimedOut,
                "over-budget" => NameError::OverBudget,
                word => NameError::Failed(word.strip_prefix("failed: ").unwrap_or(word).to_owned()),
            }),
        }
    }
}

/// The word for a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerdictWord {
    /// Go ahead.
    Allow,
    /// No.
    Deny,
    /// Go ahead, elsewhere.
    Rewrite,
    /// The policy could not decide.
    Failed,
}

impl VerdictWord {
    /// As the log has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Rewrite => "rewrite",
            Self::Failed => "failed",
        }
    }
}

/// How a tunnel ended.
#[derive(Debug, Serialize)]
pub struct Ended {
    /// The address or path that was dialled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialled: Option<Endpoint>,
    /// From the client to the target.
    pub bytes_up: u64,
    /// From the target to the client.
    pub bytes_down: u64,
    /// Since it was opened.
    pub millis: u64,
    /// Why.
    pub cause: Cause,
}

/// Why a tunnel or listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// One of the two sides, or the session, closed it.
    Closed,
    /// No byte for its idle time.
    Idle,
    /// Its time was up.
    Expired,
    /// Its bytes were used up.
    ByteLimit,
    /// A policy that was asked again refused it.
    Revoked,
    /// Its target took nothing for the stall timeout.
    Stalled,
    /// An administrator closed it.
    Killed,
    /// An error of the network.
    Failed,
    /// The gateway stopped.
    Drained,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Closed,
        Self::Idle,
        Self::Expired,
        Self::ByteLimit,
        Self::Revoked,
        Self::Stalled,
        Self::Killed,
        Self::Failed,
        Self::Drained,
    ];

    /// The word in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::ByteLimit => "byte-limit",
            Self::Revoked => "revoked",
            Self::Stalled => "stalled",
            Self::Killed => "killed",
            Self::Failed => "failed",
            Self::Drained => "drained",
        }
    }
}

//! The vocabulary of one forwarding request, without any I/O.
//!
//! The request of a client ([`ForwardRequest`]), its place ([`Endpoint`]), its user ([`Principal`],
//! [`Connection`]), and the possible results ([`Verdict`], [`Refusal`]). Nothing here knows SSH packets,
//! WebAssembly or sockets. Invariant: an [`Endpoint`] is canonical, so two spellings of one place are equal.

mod endpoint;
mod identity;
mod network;
mod outbound;
mod outcome;
mod refusal;
mod source;
mod text;
mod verdict;

pub use endpoint::{Endpoint, EndpointError, Host, Name, Requested, SocketPath};
pub use identity::{Certificate, Connection, Credential, Ends, Fact, Principal};
pub use network::{NetworkError, loose_network, network};
pub use outbound::{Dscp, Outbound, ProxyProtocol, Via, source_address};
pub use outcome::{Cause, Step, Unreached, VerdictWord};
pub use refusal::{By, Refusal};
pub use source::source;
pub use text::{clipped, is_unseen, printable, seen};
pub use verdict::{AddressRule, AddressRules, Denial, Effect, Redirect, Terms, Verdict};

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the client asks the gateway to do with the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// `direct-tcpip`, `direct-streamlocal@openssh.com`: connect to it.
    Connect,
    /// `tcpip-forward`, `streamlocal-forward@openssh.com`: listen on it for the client.
    Listen,
    /// A peer connected to a listener that was granted earlier.
    Accept,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Connect, Self::Listen, Self::Accept];

    /// The word used in the audit log and on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Listen => "listen",
            Self::Accept => "accept",
        }
    }
}

impl std::str::FromStr for Action {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "connect" => Ok(Self::Connect),
            "listen" => Ok(Self::Listen),
            "accept" => Ok(Self::Accept),
            other => Err(format!("unknown action `{other}`: expected connect, listen or accept")),
        }
    }
}

/// One request to forward, as a policy judges it.
#[derive(Clone, Debug)]
pub struct ForwardRequest {
    /// Unique for the life of the gateway; the audit log's `forward`.
    pub id: String,
    /// The one clock of this decision.
    pub now: Timestamp,
    /// Connect, listen or accept.
    pub action: Action,
    /// The endpoint in canonical form.
    pub target: Endpoint,
    /// The endpoint exactly as the client sent it.
    pub requested: Requested,
    /// For `accept` the real peer; for `connect` what the client claims.
    pub originator: Option<SocketAddr>,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Over which SSH connection.
    pub connection: Arc<Connection>,
    /// The verdict will not be acted on.
    pub dry_run: bool,
    /// Further facts: `again` where something open is judged once more; tests of policies may have others.
    pub extra: Vec<(String, Fact)>,
}

/// A new identifier: `prefix`, a hyphen and a ULID, so that ids sort by time.
#[must_use]
pub fn new_id(prefix: &str) -> String {
    format!("{prefix}-{}", ulid::Ulid::new())
}

/// The reason that policies get in `extra` if an open forward is decided again: `swap` or `recheck`.
#[must_use]
pub fn again(why: impl Into<String>) -> (String, Fact) {
    ("again".to_owned(), Fact::Text(why.into()))
}

impl ForwardRequest {
    /// A request that no client made: to try a policy, or to see what it would decide.
    #[must_use]
    pub fn dry(user: &str, action: Action, target: Endpoint) -> Self {
        let nobody = SocketAddr::from(([127, 0, 0, 1], 0));
        let now = Timestamp::now();
        Self {
            id: new_id("f"),
            now,
            action,
            requested: Requested::from(&target),
            target,
            originator: None,
            principal: Arc::new(Principal {
                user: user.to_owned(),
                credential: Credential {
                    method: "publickey".to_owned(),
                    ..Credential::default()
                },
                ..Principal::default()
            }),
            connection: Arc::new(Connection {
                id: new_id("s"),
                client: nobody,
                server: nobody,
                software: concat!("SSH-2.0-portreeve_", env!("CARGO_PKG_VERSION")).to_owned(),
                since: now,
            }),
            dry_run: true,
            extra: Vec::new(),
        }
    }
}

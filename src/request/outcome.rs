//! The words for how a request was decided, and for how what it opened ended.

use serde::{Deserialize, Serialize};

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

/// Why a target was not reached: few cases, so that they can be counted. The words of the system say more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreached {
    /// It refused the connection.
    Refused,
    /// It did not answer within `limits.dial-timeout`, or within the system's own time.
    TimedOut,
    /// There is no route to its host or network.
    Unreachable,
    /// Its name has no address, or the look-up failed.
    Name,
    /// Anything else, such as a Unix socket that is not there.
    Other,
}

impl Unreached {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
        Self::Name,
        Self::Other,
    ];

    /// The word in the metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TimedOut => "timed-out",
            Self::Unreachable => "unreachable",
            Self::Name => "name",
            Self::Other => "other",
        }
    }
}

/// A step on the way to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// A listener got its address or path.
    Bind,
    /// The socket got its mark, its class of service and its source address.
    Socket,
    /// The target was connected to.
    Connect,
    /// The proxy was connected to.
    ProxyConnect,
    /// The proxy was asked for the target.
    ProxyAnswer,
    /// The target was sent the PROXY header.
    ProxyHeader,
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

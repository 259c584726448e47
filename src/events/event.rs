//! The facts that are announced.

use std::net::SocketAddr;

use serde::Serialize;

use super::{ConnectFailed, Decided, LoggedIn};
use crate::policy::{Installed, PolicyRef};
use crate::request::{Action, Cause, Endpoint, Requested};

/// What happened.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The gateway serves.
    GatewayStarted {
        /// Of the program.
        version: &'static str,
        /// Its process.
        process: u32,
        /// The process in whose place it serves, after an upgrade.
        #[serde(skip_serializing_if = "Option::is_none")]
        replaces: Option<u32>,
        /// Where.
        listen: Vec<SocketAddr>,
        /// By which policies.
        policies: Vec<Installed>,
    },
    /// The gateway has stopped.
    GatewayStopped {
        /// Its process.
        process: u32,
    },
    /// A new program was started to serve in the place of this process.
    GatewayUpgraded {
        /// False where it does not serve, and this process goes on.
        ok: bool,
        /// Its process.
        #[serde(skip_serializing_if = "Option::is_none")]
        process: Option<u32>,
        /// Why it does not serve.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
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
        /// How many failures of one source in a second this one stands for, where it is more than one.
        #[serde(skip_serializing_if = "Option::is_none")]
        repeated: Option<u64>,
    },
    /// A client and the gateway have no algorithm in common.
    NegotiationFailed {
        /// `kex`, `host-key`, `cipher`, `mac` or `compression`.
        kind: &'static str,
        /// What the gateway offers.
        ours: Vec<String>,
        /// What the client offers.
        theirs: Vec<String>,
        /// How many of one source in a second this one stands for, where it is more than one.
        #[serde(skip_serializing_if = "Option::is_none")]
        repeated: Option<u64>,
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
    TunnelClosed(TunnelEnd),
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
    PolicySwapped(Box<Swap>),
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
    /// A candidate that is asked beside the policies in force would have decided otherwise.
    PolicyDiffers(Box<Differs>),
    /// An administrator changed something through the control socket.
    AdminAction {
        /// `close`, `lock`, `unlock`, `log-level`, `reload` or `drain`.
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

/// A policy that took the place of another.
#[derive(Debug, Serialize)]
pub struct Swap {
    /// The new one.
    pub policy: Installed,
    /// The old one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous: Option<PolicyRef>,
    /// From the change that was noticed to the new one's first decision.
    pub millis: u64,
    /// Its number among the generations of the plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Who put it in force: `file`, `reload`, `rollback` or an administrator's name.
    pub by: String,
    /// Why, where that was said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What a candidate would have decided otherwise.
#[derive(Debug, Serialize)]
pub struct Differs {
    /// The plugin in whose place it is asked.
    pub plugin: String,
    /// Which candidate.
    pub policy: PolicyRef,
    /// Connect, listen or accept.
    pub action: Action,
    /// In canonical form.
    pub target: Endpoint,
    /// In a few words, such as `allow → deny`.
    pub change: String,
    /// What was decided.
    pub served: String,
    /// What the candidate would have decided.
    pub shadow: String,
    /// Differences since the last such line that have none of their own; absent where there are none.
    #[serde(skip_serializing_if = "is_zero")]
    pub unlisted: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// How a tunnel ended.
#[derive(Debug, Serialize)]
pub struct TunnelEnd {
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

/// What of an event it can be filtered by, besides whom it is about.
#[derive(Debug, Default)]
pub(super) struct About {
    pub(super) action: Option<Action>,
    /// Where it was to go, and where it goes.
    pub(super) targets: Vec<Endpoint>,
    pub(super) plugin: Option<String>,
}

impl Event {
    /// The word in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::GatewayStarted { .. } => "gateway-started",
            Self::GatewayStopped { .. } => "gateway-stopped",
            Self::GatewayUpgraded { .. } => "gateway-upgraded",
            Self::ConfigReloaded { .. } => "config-reloaded",
            Self::AuthSucceeded(_) => "auth-succeeded",
            Self::AuthRenewed(_) => "auth-renewed",
            Self::AuthFailed { .. } => "auth-failed",
            Self::NegotiationFailed { .. } => "negotiation-failed",
            Self::SessionClosed { .. } => "session-closed",
            Self::ForwardDecided(_) => "forward-decided",
            Self::ConnectFailed(_) => "connect-failed",
            Self::TunnelOpened { .. } => "tunnel-opened",
            Self::TunnelClosed(_) => "tunnel-closed",
            Self::ListenerOpened { .. } => "listener-opened",
            Self::ListenerClosed { .. } => "listener-closed",
            Self::PolicySwapped(_) => "policy-swapped",
            Self::PolicyRejected { .. } => "policy-rejected",
            Self::PolicyDiffers(_) => "policy-differs",
            Self::AdminAction { .. } => "admin-action",
        }
    }

    pub(super) fn about(&self) -> About {
        match self {
            Self::ForwardDecided(decided) => About {
                action: Some(decided.action),
                targets: decided.target.iter().chain(&decided.effective).cloned().collect(),
                plugin: decided.policy.as_ref().map(|policy| policy.name.clone()),
            },
            Self::ConnectFailed(failed) => About {
                action: Some(failed.action),
                targets: vec![failed.target.clone(), failed.effective.clone()],
                plugin: None,
            },
            Self::TunnelOpened {
                action,
                effective,
                dialled,
                ..
            } => About {
                action: Some(*action),
                targets: std::iter::once(effective).chain(dialled).cloned().collect(),
                plugin: None,
            },
            Self::TunnelClosed(ended) => About {
                targets: ended.dialled.iter().cloned().collect(),
                ..About::default()
            },
            Self::ListenerOpened { effective, .. } => About {
                action: Some(Action::Listen),
                targets: vec![effective.clone()],
                plugin: None,
            },
            Self::ListenerClosed { .. } => About {
                action: Some(Action::Listen),
                ..About::default()
            },
            Self::PolicySwapped(swap) => About {
                plugin: Some(swap.policy.policy.name.clone()),
                ..About::default()
            },
            Self::PolicyDiffers(differs) => About {
                action: Some(differs.action),
                targets: vec![differs.target.clone()],
                plugin: Some(differs.plugin.clone()),
            },
            Self::PolicyRejected { name, .. } => About {
                plugin: Some(name.clone()),
                ..About::default()
            },
            _ => About::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Subject;

    /// Further events are of the same serialisation: the name is what the log says.
    #[test]
    fn an_event_has_the_name_that_the_log_gives_it() {
        let reason = String::new;
        let events = [
            Event::GatewayStarted {
                version: "",
                process: 0,
                replaces: None,
                listen: vec![],
                policies: vec![],
            },
            Event::GatewayStopped { process: 0 },
            Event::GatewayUpgraded {
                ok: true,
                process: None,
                reason: None,
            },
            Event::ConfigReloaded {
                ok: true,
                applied: vec![],
                needs_restart: vec![],
                reason: None,
            },
            Event::AuthFailed {
                method: "",
                fingerprint: None,
                reason: reason(),
                repeated: None,
            },
            Event::NegotiationFailed {
                kind: "",
                ours: vec![],
                theirs: vec![],
                repeated: None,
            },
            Event::SessionClosed {
                millis: 0,
                reason: None,
            },
            Event::TunnelClosed(TunnelEnd {
                dialled: None,
                bytes_up: 0,
                bytes_down: 0,
                millis: 0,
                cause: Cause::Closed,
            }),
            Event::ListenerClosed {
                millis: 0,
                cause: Cause::Closed,
            },
            Event::PolicyRejected {
                name: String::new(),
                sha256: None,
                reason: reason(),
            },
            Event::AdminAction {
                action: "",
                uid: 0,
                admin: String::new(),
                reason: None,
                detail: serde_json::Value::Null,
            },
        ];
        for event in events {
            let line = super::super::line::line(&Subject::default(), &event).unwrap();
            let line: serde_json::Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(line["event"], event.name());
        }
    }
}

//! Selects the open sessions, tunnels and listeners that a request is about.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

use super::openapi::shapes;
use crate::events::Fact;
use crate::request::{Action, Endpoint, Host, printable};
use crate::sessions::Forward;

/// As it is sent: in a query, or in the body of `POST /v1/close`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// The id of a tunnel or listener.
    #[param(nullable = false)]
    pub(super) tunnel: Option<String>,
    /// The id of a session.
    #[param(nullable = false)]
    pub(super) session: Option<String>,
    /// The name of a user.
    #[param(nullable = false)]
    pub(super) user: Option<String>,
    /// A network, or a pattern with `*` for a host, a host and port, or a socket.
    #[param(nullable = false)]
    pub(super) target: Option<String>,
    /// What the client asked for.
    #[param(inline, value_type = Option<shapes::Action>, nullable = false)]
    pub(super) action: Option<Action>,
    /// The configured name of the policy that decided.
    #[param(nullable = false)]
    pub(super) plugin: Option<String>,
    /// On all gateways of the fleet, and not only on this one.
    #[serde(default)]
    pub(super) fleet: bool,
}

impl Wanted {
    /// A list of sessions knows only these filters.
    ///
    /// # Errors
    /// A sentence that names another.
    pub(super) fn only_sessions(self) -> Result<Self, String> {
        let others = [
            ("tunnel", self.tunnel.is_some()),
            ("target", self.target.is_some()),
            ("action", self.action.is_some()),
            ("plugin", self.plugin.is_some()),
        ];
        match others.iter().find(|(_, is_said)| *is_said) {
            Some((key, _)) => Err(format!("{key} does not filter sessions: expected session or user")),
            None => Ok(self),
        }
    }
}

/// What is wanted, all of it at once.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    wanted: Wanted,
    target: Option<Target>,
}

#[derive(Clone, Debug)]
enum Target {
    Network(IpNet),
    Pattern(String),
}

impl Filter {
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub(super) fn new(wanted: Wanted) -> Result<Self, String> {
        let target = wanted.target.as_deref().map(target).transpose()?;
        Ok(Self { wanted, target })
    }

    /// The session, if it alone is named.
    pub(super) fn session_alone(&self) -> Option<&str> {
        match &self.wanted {
            Wanted {
                tunnel: None,
                session: Some(session),
                user: None,
                target: None,
                action: None,
                plugin: None,
                fleet: _,
            } => Some(session),
            _ => None,
        }
    }

    /// Whether nothing is said, which would be everything.
    pub(super) fn is_empty(&self) -> bool {
        let Wanted {
            tunnel,
            session,
            user,
            target,
            action,
            plugin,
            fleet: _,
        } = &self.wanted;
        let named = [tunnel, session, user, target, plugin];
        named.iter().all(|wanted| wanted.is_none()) && action.is_none()
    }

    pub(super) fn matches(&self, forward: &Forward) -> bool {
        let request = &forward.request;
        let is = |wanted: &Option<String>, found: &str| wanted.as_deref().is_none_or(|wanted| wanted == found);
        is(&self.wanted.tunnel, &request.id)
            && is(&self.wanted.session, &request.connection.id)
            && is(&self.wanted.user, &request.principal.user)
            && self.wanted.action.is_none_or(|action| action == request.action)
            && is(
                &self.wanted.plugin,
                forward.policy.as_ref().map_or("", |policy| &policy.name),
            )
            && self.target.as_ref().is_none_or(|target| {
                let address = forward.dialled.map(|dialled| dialled.ip());
                target.matches(&forward.effective, address) || target.matches(&request.target, None)
            })
    }
}

impl Filter {
    /// Whether the fact itself says that it is wanted.
    pub(super) fn hears(&self, fact: &Fact) -> bool {
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        let subject = &fact.subject;
        is(&self.wanted.tunnel, &subject.forward)
            && is(&self.wanted.session, &subject.session)
            && is(&self.wanted.user, &subject.user)
            && is(&self.wanted.plugin, &fact.plugin)
            && self.wanted.action.is_none_or(|action| fact.action == Some(action))
            && self
                .target
                .as_ref()
                .is_none_or(|target| fact.targets.iter().any(|found| target.matches(found, None)))
    }
}

fn target(text: &str) -> Result<Target, String> {
    if let Ok(network) = text.parse::<IpNet>() {
        return Ok(Target::Network(network.trunc()));
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(Target::Network(address.to_canonical().into()));
    }
    // A slash is in no host and no port, so this was to be a network.
    match text {
        "" => Err(format!("target is empty: {EXPECTED}")),
        text if text.contains('/') && !text.starts_with("unix:") && !text.starts_with('*') => Err(format!(
            "target `{}` is not a network: {EXPECTED}",
            printable(text, 100)
        )),
        text => Ok(Target::Pattern(text.to_owned())),
    }
}

const EXPECTED: &str = "expected a host, host:port, a network such as 10.0.0.0/8, or unix:/path; `*` matches any text";

impl Target {
    /// `dialled` is the address of a tunnel to a name.
    fn matches(&self, endpoint: &Endpoint, dialled: Option<IpAddr>) -> bool {
        let host = match endpoint {
            Endpoint::Tcp { host, .. } => Some(host),
            Endpoint::Socket(_) => None,
        };
        match self {
            Self::Network(network) => {
                let named = match host {
                    Some(Host::Address(address)) => Some(*address),
                    _ => None,
                };
                dialled.or(named).is_some_and(|address| network.contains(&address))
            }
            Self::Pattern(pattern) => {
                glob(pattern, &endpoint.to_string()) || host.is_some_and(|host| glob(pattern, &host.to_string()))
            }
        }
    }
}

/// `*` is any text, all else is itself; in time proportional to the product of both lengths at worst.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_network_or_a_pattern() {
        #[rustfmt::skip]
        let table: [(&str, &str, Option<&str>, bool); 16] = [
            // wanted            effective                dialled             matches
            ("10.0.0.0/8",       "10.1.2.3:5432",         None,               true),
            ("10.0.0.0/8",       "11.1.2.3:5432",         None,               false),
            ("10.1.2.3",         "10.1.2.3:5432",         None,               true),
            ("10.0.0.0/8",       "db.internal:5432",      Some("10.9.9.9"),   true),
            ("10.0.0.0/8",       "db.internal:5432",      Some("192.0.2.1"),  false),
            ("10.0.0.0/8",       "db.internal:5432",      None,               false),
            ("10.0.0.0/8",       "unix:/run/db.sock",     None,               false),
            ("fd00::/8",         "[fd00::1]:22",          None,               true),
            ("db.internal",      "db.internal:5432",      None,               true),
            ("db.internal:5432", "db.internal:5432",      None,               true),
            ("db.internal:22",   "db.internal:5432",      None,               false),
            ("*.internal",       "db.internal:5432",      None,               true),
            ("*.internal:54*",   "db.internal:5432",      None,               true),
            ("internal",         "db.internal:5432",      None,               false),
            ("unix:/run/*",      "unix:/run/db.sock",     None,               true),
            ("*",                "unix:/run/db.sock",     None,               true),
        ];
        for (wanted, effective, dialled, matches) in table {
            let endpoint: Endpoint = effective.parse().unwrap();
            let dialled = dialled.map(|address| address.parse().unwrap());
            let found = target(wanted).unwrap().matches(&endpoint, dialled);
            assert_eq!(found, matches, "{wanted} {effective} {dialled:?}");
        }
        for wrong in ["", "300.1.1.1/99", "10.0.0.0/33", "db.internal/24", "/run/db.sock"] {
            assert!(target(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_star_is_any_text() {
        #[rustfmt::skip]
        let table = [
            ("a*", "abc", true),   ("*c", "abc", true),    ("a*c", "abc", true),  ("a*b*c", "aXbYc", true),
            ("a*a", "a", false),   ("", "", true),         ("", "a", false),      ("*", "", true),
            ("a", "ab", false),    ("b*", "abc", false),   ("a**c", "abc", true), ("a*b*b", "ab", false),
        ];
        for (pattern, text, matches) in table {
            assert_eq!(glob(pattern, text), matches, "{pattern} {text}");
        }
    }
}

//! Translates track 0.1: requests into its types, and a guest's answers out of them.
//!
//! It differs from 0.2 in the order of `verdict` and `effect`, in a `credential` without `methods`, and has no `calendar`. The
//! translation goes by names, so the order makes no difference here. An answer that a guest of this track never set is an
//! allow by the track's own types; only its bindings can tell (`plugins/bindings/0.1.0`).

mod host;

pub(super) use host::{Translated, Translation};

use super::generated::v0_1::portreeve::policy::types as old;
use super::newest::types as new;

impl From<new::Request> for old::Request {
    fn from(request: new::Request) -> Self {
        Self {
            id: request.id,
            now: request.now,
            action: match request.action {
                new::Action::Connect => old::Action::Connect,
                new::Action::Listen => old::Action::Listen,
                new::Action::Accept => old::Action::Accept,
            },
            target: request.target.into(),
            requested: request.requested.into(),
            address: request.address,
            originator: request.originator.map(Into::into),
            principal: request.principal.into(),
            connection: request.connection.into(),
            dry_run: request.dry_run,
            extra: values(request.extra),
        }
    }
}

impl From<new::Principal> for old::Principal {
    fn from(principal: new::Principal) -> Self {
        let credential = principal.credential;
        Self {
            user: principal.user,
            groups: principal.groups,
            credential: old::Credential {
                method: credential.method,
                fingerprint: credential.fingerprint,
                certificate: credential.certificate.map(Into::into),
            },
            claims: values(principal.claims),
        }
    }
}

impl From<new::Certificate> for old::Certificate {
    fn from(certificate: new::Certificate) -> Self {
        Self {
            key_id: certificate.key_id,
            serial: certificate.serial,
            issuer: certificate.issuer,
            principals: certificate.principals,
            valid_after: certificate.valid_after,
            valid_before: certificate.valid_before,
            critical_options: certificate.critical_options,
            extensions: certificate.extensions,
        }
    }
}

impl From<new::Connection> for old::Connection {
    fn from(connection: new::Connection) -> Self {
        Self {
            id: connection.id,
            client: connection.client.into(),
            server: connection.server.into(),
            software: connection.software,
            since: connection.since,
        }
    }
}

impl From<new::SocketAddress> for old::SocketAddress {
    fn from(new::SocketAddress { ip, port }: new::SocketAddress) -> Self {
        Self { ip, port }
    }
}

impl From<new::Endpoint> for old::Endpoint {
    fn from(endpoint: new::Endpoint) -> Self {
        match endpoint {
            new::Endpoint::Tcp(new::HostPort { host, port }) => Self::Tcp(old::HostPort { host, port }),
            new::Endpoint::Socket(path) => Self::Socket(path),
        }
    }
}

impl From<new::Value> for old::Value {
    fn from(value: new::Value) -> Self {
        match value {
            new::Value::Text(text) => Self::Text(text),
            new::Value::Texts(texts) => Self::Texts(texts),
            new::Value::Number(number) => Self::Number(number),
            new::Value::Flag(flag) => Self::Flag(flag),
        }
    }
}

impl From<old::Verdict> for new::Verdict {
    fn from(verdict: old::Verdict) -> Self {
        match verdict {
            old::Verdict::Allow => Self::Allow,
            old::Verdict::AllowWith(terms) => Self::AllowWith(terms.into()),
            old::Verdict::Deny(old::Denial {
                code,
                reason,
                tell_user,
            }) => Self::Deny(new::Denial {
                code,
                reason,
                tell_user,
            }),
            old::Verdict::Rewrite(old::Redirect { to, reason, terms }) => Self::Rewrite(new::Redirect {
                to: to.into(),
                reason,
                terms: terms.map(Into::into),
            }),
        }
    }
}

impl From<old::Endpoint> for new::Endpoint {
    fn from(endpoint: old::Endpoint) -> Self {
        match endpoint {
            old::Endpoint::Tcp(old::HostPort { host, port }) => Self::Tcp(new::HostPort { host, port }),
            old::Endpoint::Socket(path) => Self::Socket(path),
        }
    }
}

impl From<old::Terms> for new::Terms {
    fn from(terms: old::Terms) -> Self {
        let rules = terms.address_rules.into_iter();
        Self {
            max_seconds: terms.max_seconds,
            idle_seconds: terms.idle_seconds,
            max_bytes: terms.max_bytes,
            bytes_per_second: terms.bytes_per_second,
            address_rules: rules.map(Into::into).collect(),
            recheck_seconds: terms.recheck_seconds,
            reuse_seconds: terms.reuse_seconds,
            tags: terms.tags,
            obligations: values(terms.obligations),
            hints: values(terms.hints),
        }
    }
}

impl From<old::AddressRule> for new::AddressRule {
    fn from(rule: old::AddressRule) -> Self {
        Self {
            cidr: rule.cidr,
            effect: match rule.effect {
                old::Effect::Permit => new::Effect::Permit,
                old::Effect::Refuse => new::Effect::Refuse,
            },
        }
    }
}

impl From<old::Value> for new::Value {
    fn from(value: old::Value) -> Self {
        match value {
            old::Value::Text(text) => Self::Text(text),
            old::Value::Texts(texts) => Self::Texts(texts),
            old::Value::Number(number) => Self::Number(number),
            old::Value::Flag(flag) => Self::Flag(flag),
        }
    }
}

impl From<old::Description> for new::Description {
    fn from(description: old::Description) -> Self {
        Self {
            name: description.name,
            version: description.version,
            summary: description.summary,
            settings_schema: description.settings_schema,
        }
    }
}

impl From<old::Problem> for new::Problem {
    fn from(old::Problem { at, message }: old::Problem) -> Self {
        Self { at, message }
    }
}

/// An open list, from one track to the other.
fn values<From, To: std::convert::From<From>>(list: Vec<(String, From)>) -> Vec<(String, To)> {
    list.into_iter().map(|(name, value)| (name, value.into())).collect()
}

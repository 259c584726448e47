//! The component's exports: translates between the contract and the rules.

use std::sync::{PoisonError, RwLock};

use crate::bindings::exports::portreeve::policy::{decision, lifecycle};
use crate::bindings::portreeve::policy::log::{self, Level};
use crate::bindings::portreeve::policy::names;
use crate::bindings::portreeve::policy::types;
use crate::outcome::{Denial, Target, Terms, Value};
use crate::request::{Action, Endpoint, Identity, Request};
use crate::{NOT_CONFIGURED, RuleSet, SCHEMA, Verdict, heap};

struct Component;

/// Set by `configure`, and from then on part of the snapshot that every decision starts from.
static RULES: RwLock<Option<RuleSet>> = RwLock::new(None);

impl lifecycle::Guest for Component {
    fn describe() -> types::Description {
        types::Description {
            name: "rules".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            summary: env!("CARGO_PKG_DESCRIPTION").into(),
            settings_schema: Some(SCHEMA.into()),
        }
    }

    fn configure(settings: String) -> Result<(), Vec<types::Problem>> {
        let result = RuleSet::new(&settings);
        let mut rules = RULES.write().unwrap_or_else(PoisonError::into_inner);
        *rules = None;
        let checked = result.map_err(|faults| {
            faults
                .into_iter()
                .map(|fault| types::Problem {
                    at: fault.at,
                    message: fault.message,
                })
                .collect::<Vec<_>>()
        })?;
        warn(&checked);
        *rules = Some(checked);
        heap::keep();
        Ok(())
    }
}

impl decision::Guest for Component {
    fn decide(request: types::Request) -> types::Verdict {
        let rules = RULES.read().unwrap_or_else(PoisonError::into_inner);
        match rules.as_ref() {
            Some(rules) => rules.decide(view(&request), &resolve).into(),
            None => types::Verdict::Deny(NOT_CONFIGURED.into()),
        }
    }
}

fn warn(rules: &RuleSet) {
    let warnings = rules.warnings();
    for warning in warnings.iter().take(MOST_WARNINGS) {
        log::write(Level::Warn, &format!("{}: {}", warning.at, warning.message));
    }
    if let Some(more) = warnings.len().checked_sub(MOST_WARNINGS).filter(|more| *more > 0) {
        log::write(Level::Warn, &format!("and {more} more such rules"));
    }
}

/// The gateway takes 64 lines.
const MOST_WARNINGS: usize = 32;

fn resolve(host: &str) -> Option<Vec<String>> {
    names::resolve(host).ok()
}

fn view(request: &types::Request) -> Request<'_> {
    let credential = &request.principal.credential;
    let certificate = credential.certificate.as_ref();
    let action = match request.action {
        types::Action::Connect => Action::Connect,
        types::Action::Listen => Action::Listen,
        types::Action::Accept => Action::Accept,
    };
    Request {
        now: request.now,
        action,
        target: match &request.target {
            types::Endpoint::Tcp(target) => Endpoint::Tcp(&target.host, target.port),
            types::Endpoint::Socket(path) => Endpoint::Socket(path),
        },
        address: request.address.as_deref(),
        peer: request
            .originator
            .as_ref()
            .filter(|_| action == Action::Accept)
            .map(|peer| peer.ip.as_str()),
        client: &request.connection.client.ip,
        identity: Identity {
            user: &request.principal.user,
            groups: &request.principal.groups,
            method: &credential.method,
            key: credential.fingerprint.as_deref(),
            issuer: certificate.map(|certificate| certificate.issuer.as_str()),
            principals: certificate.map_or(&[], |certificate| &certificate.principals),
        },
    }
}

impl From<Verdict<'_>> for types::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow(terms) => Self::AllowWith(terms.into()),
            Verdict::Deny(denial) => Self::Deny(denial.into()),
            Verdict::Rewrite { to, reason, terms } => Self::Rewrite(types::Redirect {
                to: match to {
                    Target::Tcp(host, port) => types::Endpoint::Tcp(types::HostPort {
                        host: host.into(),
                        port,
                    }),
                    Target::Socket(path) => types::Endpoint::Socket(path.into()),
                },
                reason: reason.into(),
                terms: Some(terms.into()),
            }),
        }
    }
}

impl From<&Denial> for types::Denial {
    fn from(denial: &Denial) -> Self {
        Self {
            code: denial.code.to_string(),
            reason: denial.reason.to_string(),
            tell_user: denial.tell_user.as_deref().map(Into::into),
        }
    }
}

impl From<&Terms> for types::Terms {
    fn from(terms: &Terms) -> Self {
        let effect = |permits| {
            if permits {
                types::Effect::Permit
            } else {
                types::Effect::Refuse
            }
        };
        let values = |list: &[(String, Value)]| list.iter().map(|(key, value)| (key.clone(), value.into())).collect();
        Self {
            max_seconds: terms.max_seconds,
            idle_seconds: terms.idle_seconds,
            max_bytes: terms.max_bytes,
            bytes_per_second: terms.bytes_per_second,
            address_rules: terms
                .address_rules
                .iter()
                .map(|(cidr, permits)| types::AddressRule {
                    cidr: cidr.clone(),
                    effect: effect(*permits),
                })
                .collect(),
            recheck_seconds: terms.recheck_seconds,
            reuse_seconds: terms.reuse_seconds,
            tags: terms.tags.clone(),
            obligations: values(&terms.obligations),
            hints: values(&terms.hints),
        }
    }
}

impl From<&Value> for types::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Text(text) => Self::Text(text.clone()),
            Value::Texts(texts) => Self::Texts(texts.clone()),
            Value::Number(number) => Self::Number(*number),
            Value::Flag(flag) => Self::Flag(*flag),
        }
    }
}

/// The generated exports are the one place outside `bindings` that the macro needs.
#[allow(missing_docs, unsafe_code)]
mod exports {
    use super::Component;
    crate::bindings::export!(Component with_types_in crate::bindings);
}

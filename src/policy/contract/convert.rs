//! Converts between the gateway's types and those of the WIT, and checks a guest's answers: a
//! verdict that is malformed, too large or unknown never becomes one of ours.

use std::net::SocketAddr;

use super::newest::types as wit;
use crate::policy::Failure;
use crate::request::{
    Action, AddressRule, AddressRules, Certificate, Connection, Denial, Effect, Endpoint, Fact, ForwardRequest, Host,
    Outbound, Principal, Redirect, Requested, Terms, Verdict, loose_network, printable,
};

pub(in crate::policy) fn request(request: &ForwardRequest) -> wit::Request {
    wit::Request {
        id: request.id.clone(),
        now: u64::try_from(request.now.as_millisecond()).unwrap_or(0),
        action: match request.action {
            Action::Connect => wit::Action::Connect,
            Action::Listen => wit::Action::Listen,
            Action::Accept => wit::Action::Accept,
        },
        target: match &request.target {
            Endpoint::Tcp { host, port } => wit::Endpoint::Tcp(wit::HostPort {
                host: host.to_string(),
                port: *port,
            }),
            Endpoint::Socket(path) => wit::Endpoint::Socket(path.to_string()),
        },
        requested: match &request.requested {
            Requested::Tcp { host, port } => wit::Endpoint::Tcp(wit::HostPort {
                host: host.clone(),
                port: u16::try_from(*port).unwrap_or(0),
            }),
            Requested::Socket(path) => wit::Endpoint::Socket(path.clone()),
        },
        address: request.target.address().map(|address| address.to_string()),
        originator: request.originator.map(peer),
        principal: principal(&request.principal),
        connection: connection(&request.connection),
        dry_run: request.dry_run,
        extra: request
            .extra
            .iter()
            .map(|(name, value)| (name.clone(), fact(value)))
            .collect(),
    }
}

pub(in crate::policy) fn fact(fact: &Fact) -> wit::Value {
    match fact {
        Fact::Text(text) => wit::Value::Text(text.clone()),
        Fact::Texts(texts) => wit::Value::Texts(texts.clone()),
        Fact::Number(number) => wit::Value::Number(*number),
        Fact::Flag(flag) => wit::Value::Flag(*flag),
    }
}

fn peer(address: SocketAddr) -> wit::SocketAddress {
    wit::SocketAddress {
        ip: address.ip().to_canonical().to_string(),
        port: address.port(),
    }
}

fn principal(principal: &Principal) -> wit::Principal {
    let credential = &principal.credential;
    wit::Principal {
        user: principal.user.clone(),
        groups: principal.groups.clone(),
        credential: wit::Credential {
            method: credential.method.clone(),
            methods: credential.methods(),
            fingerprint: credential.fingerprint.clone(),
            certificate: credential.certificate.as_ref().map(certificate),
        },
        claims: principal
            .claims
            .iter()
            .map(|(name, value)| (name.clone(), fact(value)))
            .collect(),
    }
}

fn certificate(certificate: &Certificate) -> wit::Certificate {
    let certificate = certificate.clone();
    wit::Certificate {
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

fn connection(connection: &Connection) -> wit::Connection {
    wit::Connection {
        id: connection.id.clone(),
        client: peer(connection.client),
        server: peer(connection.server),
        software: connection.software.clone(),
        since: u64::try_from(connection.since.as_second()).unwrap_or(0),
    }
}

/// What a guest answered, checked.
///
/// # Errors
/// [`Failure`] says which part is malformed, too large, not understood or not granted.
pub(in crate::policy) fn verdict(
    verdict: wit::Verdict,
    asked: &ForwardRequest,
    may_rewrite: bool,
) -> Result<Verdict, Failure> {
    match verdict {
        wit::Verdict::Allow => Ok(Verdict::Allow(Terms::default())),
        wit::Verdict::AllowWith(given) => terms(given, asked.action).map(Verdict::Allow),
        wit::Verdict::Deny(given) => denial(given).map(Verdict::Deny),
        wit::Verdict::Rewrite(_) if !may_rewrite => Err(Failure::RewriteNotGranted),
        wit::Verdict::Rewrite(given) => redirect(given, asked).map(Verdict::Rewrite),
    }
}

fn denial(given: wit::Denial) -> Result<Denial, Failure> {
    if given.code.is_empty() && given.reason.is_empty() && given.tell_user.is_none() {
        return Ok(never_set());
    }
    if given.code.is_empty() || given.code.chars().any(|one| one.is_control() || one.is_whitespace()) {
        return Err(malformed(format!(
            "the denial's code `{}` is not a plain word",
            given.code.escape_debug()
        )));
    }
    bounded("code", &given.code, MAX_NAME)?;
    bounded("reason", &given.reason, MAX_TEXT)?;
    if let Some(sentence) = &given.tell_user {
        bounded("tell-user", sentence, MAX_TEXT)?;
    }
    Ok(Denial {
        code: given.code,
        reason: printable(&given.reason, MAX_TEXT),
        tell_user: given
            .tell_user
            .map(|sentence| printable(&sentence, MAX_SENTENCE))
            .filter(|sentence| !sentence.trim().is_empty()),
    })
}

/// What a language gives a verdict that its policy never set: a denial in which nothing is said.
fn never_set() -> Denial {
    Denial {
        code: NO_VERDICT.to_owned(),
        reason: "the policy returned without setting a verdict: its answer is a denial with no code and no reason"
            .to_owned(),
        tell_user: None,
    }
}

fn redirect(given: wit::Redirect, asked: &ForwardRequest) -> Result<Redirect, Failure> {
    bounded("reason", &given.reason, MAX_TEXT)?;
    let bad = |error: String| Failure::BadTarget(error);
    let to = match (given.to, asked.action) {
        (_, Action::Accept) => {
            return Err(bad("an accepted connection cannot be rewritten".to_owned()));
        }
        (wit::Endpoint::Socket(path), _) => Endpoint::socket(&path).map_err(|error| bad(error.to_string()))?,
        (wit::Endpoint::Tcp(to), Action::Connect) => {
            Endpoint::to_connect(&to.host, u32::from(to.port)).map_err(|error| bad(error.to_string()))?
        }
        (wit::Endpoint::Tcp(to), Action::Listen) => Endpoint::Tcp {
            host: match to.host.as_str() {
                "" | "*" => Host::Any,
                host => Host::parse(host).map_err(|error| bad(error.to_string()))?,
            },
            port: to.port,
        },
    };
    let same_kind = matches!(
        (&to, &asked.target),
        (Endpoint::Tcp { .. }, Endpoint::Tcp { .. }) | (Endpoint::Socket(_), Endpoint::Socket(_))
    );
    if asked.action == Action::Listen && !same_kind {
        // The client is told of each connection as what it asked for, with an originator that the
        // other kind does not have.
        return Err(bad(format!("a listener on {} cannot become one on {to}", asked.target)));
    }
    Ok(Redirect {
        to,
        reason: printable(&given.reason, MAX_TEXT),
        terms: match given.terms {
            Some(given) => terms(given, asked.action)?,
            None => Terms::default(),
        },
    })
}

fn terms(given: wit::Terms, action: Action) -> Result<Terms, Failure> {
    within("address-rules", given.address_rules.len(), MAX_RULES)?;
    within("tags", given.tags.len(), MAX_TAGS)?;
    within("obligations", given.obligations.len(), MAX_TAGS)?;
    within("hints", given.hints.len(), MAX_TAGS)?;
    let mut out = Terms {
        max_seconds: given.max_seconds,
        idle_seconds: given.idle_seconds,
        max_bytes: given.max_bytes,
        bytes_per_second: given.bytes_per_second,
        recheck_seconds: given.recheck_seconds,
        reuse_seconds: given.reuse_seconds,
        ..Terms::default()
    };
    if out.bytes_per_second == Some(0) {
        return Err(malformed("bytes-per-second is 0: deny instead".to_owned()));
    }
    let rules = given.address_rules.into_iter().map(address_rule);
    out.address_rules = AddressRules::new(rules.collect::<Result<_, _>>()?);
    for (name, value) in given.tags {
        bounded("tag", &name, MAX_NAME)?;
        bounded("tag", &value, MAX_TEXT)?;
        out.tags.insert(printable(&name, MAX_NAME), printable(&value, MAX_TEXT));
    }
    for (name, value) in given.obligations {
        oblige(&mut out, name, value, action)?;
    }
    Ok(out)
}

/// Takes up an obligation, or refuses what the gateway does not know or cannot keep.
fn oblige(terms: &mut Terms, name: String, value: wit::Value, action: Action) -> Result<(), Failure> {
    let bad = |name: &str, why: &str| Failure::BadObligation(name.to_owned(), why.to_owned());
    match name.as_str() {
        REPLACE_SOCKET => match value {
            wit::Value::Flag(flag) => terms.replace_socket = flag,
            _ => return Err(bad(&name, "must be true or false")),
        },
        name if Outbound::NAMES.contains(&name) => {
            if action != Action::Connect {
                let why = format!("is for connections to a target, and this is `{}`", action.as_str());
                return Err(bad(name, &why));
            }
            let mut duty = Outbound::default();
            duty.oblige(name, &given(value)).map_err(|why| bad(name, &why))?;
            if terms.outbound.contradicts(&duty).is_some() {
                return Err(bad(name, "is given twice, with different values"));
            }
            terms.outbound = duty.or(&terms.outbound);
        }
        name => return Err(Failure::UnknownObligation(printable(name, MAX_NAME))),
    }
    Ok(())
}

fn given(value: wit::Value) -> Fact {
    match value {
        wit::Value::Text(text) => Fact::Text(text),
        wit::Value::Texts(texts) => Fact::Texts(texts),
        wit::Value::Number(number) => Fact::Number(number),
        wit::Value::Flag(flag) => Fact::Flag(flag),
    }
}

fn address_rule(given: wit::AddressRule) -> Result<AddressRule, Failure> {
    let cidr = loose_network(&given.cidr)
        .map_err(|_| malformed(format!("`{}` is not a network", printable(&given.cidr, MAX_NAME))))?;
    Ok(AddressRule {
        cidr,
        effect: match given.effect {
            wit::Effect::Permit => Effect::Permit,
            wit::Effect::Refuse => Effect::Refuse,
        },
    })
}

fn malformed(what: String) -> Failure {
    Failure::Malformed(what)
}

fn bounded(what: &str, text: &str, limit: usize) -> Result<(), Failure> {
    if text.len() <= limit {
        return Ok(());
    }
    Err(Failure::Oversized(format!(
        "{what} has {} bytes; the limit is {limit}",
        text.len()
    )))
}

fn within(what: &str, count: usize, limit: usize) -> Result<(), Failure> {
    if count <= limit {
        return Ok(());
    }
    Err(Failure::Oversized(format!("{count} {what}; the limit is {limit}")))
}

/// An obligation of listeners: a Unix socket that nobody listens on any more may be removed before a listener binds its path
/// (OpenSSH's `StreamLocalBindUnlink`). Those of connections are [`Outbound::NAMES`].
const REPLACE_SOCKET: &str = "replace-socket";
/// The code of a denial that the policy never set.
const NO_VERDICT: &str = "no-verdict";
const MAX_NAME: usize = 128;
const MAX_TEXT: usize = 4096;
/// What an SSH client shows on one line without drowning the rest.
const MAX_SENTENCE: usize = 400;
const MAX_RULES: usize = 1024;
const MAX_TAGS: usize = 64;

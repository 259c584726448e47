//! A request out of the audit log: a line of a decision, and the login of its session where the
//! log has it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use super::super::request::{Described, Target};
use super::super::wrong::Wrong;
use crate::files;
use crate::names::NameError;
use crate::request::{Action, Credential, Endpoint, Fact, Host, Requested};

/// What a log says of one request.
pub(super) struct Recorded {
    pub(super) request: Described,
    pub(super) now: Timestamp,
    pub(super) names: HashMap<String, Result<Vec<IpAddr>, NameError>>,
    /// What was decided then, in a few words.
    pub(super) decided: String,
}

/// Finds the decision: `source` is a line, or the path of a log in which `forward` is looked for.
///
/// # Errors
/// What cannot be read, and where.
pub(super) fn read(source: &str, forward: Option<&str>) -> Result<Recorded, Wrong> {
    if source.trim_start().starts_with('{') {
        let read = object(source).and_then(|line| recorded(&line, None));
        return read.map_err(|words| Wrong::from(format!("the audit line: {words}")));
    }
    let path = Path::new(source);
    let file = files::open(path).map_err(|error| Wrong::file(path, error))?;
    let Some(forward) = forward else {
        return Err(Wrong::file(path, "say which decision of the log with --forward f-…"));
    };
    let mut logins: HashMap<String, Map<String, Json>> = HashMap::new();
    for (index, line) in BufReader::new(file).lines().enumerate() {
        let told = |words: String| Wrong::line(path, index + 1, words);
        let line = line.map_err(|error| told(error.to_string()))?;
        if !line.contains("\"auth-succeeded\"") && !line.contains(forward) {
            continue;
        }
        let line = object(&line).map_err(told)?;
        match text_of(&line, "event") {
            Some("auth-succeeded") => {
                if let Some(session) = text_of(&line, "session") {
                    logins.insert(session.to_owned(), line.clone());
                }
            }
            Some("forward-decided") if text_of(&line, "forward") == Some(forward) => {
                let login = text_of(&line, "session").and_then(|session| logins.get(session));
                return recorded(&line, login).map_err(told);
            }
            _ => {}
        }
    }
    Err(Wrong::file(path, format_args!("it has no decision on {forward}")))
}

fn object(line: &str) -> Result<Map<String, Json>, String> {
    match serde_json::from_str(line) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(format!("it is no whole line of an audit log: {error}")),
    }
}

fn recorded(line: &Map<String, Json>, login: Option<&Map<String, Json>>) -> Result<Recorded, String> {
    let missing = |key: &str| format!("it has no `{key}`: a line with \"event\":\"forward-decided\" is wanted");
    let text = |key: &str| text_of(line, key).ok_or_else(|| missing(key));
    let action: Action = text("action")?.parse()?;
    let written = text("requested")?;
    let target = text_of(line, "target").unwrap_or(written);
    let mut target: Target = target.parse().map_err(|words| format!("its target: {words}"))?;
    target.written = sent(written, &target.endpoint);
    let moment = text_of(line, "asked").or_else(|| text_of(line, "time"));
    let now = moment
        .and_then(|time| time.parse().ok())
        .ok_or_else(|| missing("time"))?;
    let originator = text_of(line, "originator").and_then(|peer| peer.parse().ok());
    let mut names: HashMap<_, _> = line
        .get("names")
        .and_then(Json::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(name, answer)| Some((name.clone(), name_answer(answer)?)))
        .collect();
    let went = text_of(line, "effective").and_then(|to| to.parse().ok());
    let resolved = addresses(line.get("resolved"));
    if let (
        Endpoint::Tcp {
            host: Host::Name(name), ..
        },
        false,
    ) = (went.unwrap_or_else(|| target.endpoint.clone()), resolved.is_empty())
    {
        names.entry(name).or_insert(Ok(resolved));
    }
    let verdict = text("verdict")?;
    let decided = match text_of(line, "code") {
        Some(code) => format!("{verdict} ({code})"),
        None => verdict.to_owned(),
    };
    let mut request = Described {
        action: Some(action),
        target: Some(target),
        user: Some(text("user")?.to_owned()),
        client: text_of(line, "client").and_then(|client| client.parse().ok()),
        originator,
        id: text_of(line, "forward").map(str::to_owned),
        session: text_of(line, "session").map(str::to_owned),
        ..Described::default()
    };
    if let Some(login) = login {
        log_in(&mut request, login);
    }
    Ok(Recorded {
        request,
        now,
        names,
        decided,
    })
}

/// What the login says of the user; logs of older gateways say less.
fn log_in(request: &mut Described, login: &Map<String, Json>) {
    request.credential = text_of(login, "method").map(|method| Credential {
        method: method.to_owned(),
        fingerprint: text_of(login, "fingerprint").map(str::to_owned),
        certificate: None,
    });
    request.since = text_of(login, "time").and_then(|time| time.parse().ok());
    request.server = text_of(login, "server").and_then(|server| server.parse().ok());
    request.software = text_of(login, "software").map(str::to_owned);
    request.groups = login.get("groups").map(texts);
    let claims = login.get("claims").and_then(Json::as_object);
    request.claims = claims.map(|claims| {
        let claims = claims.iter();
        claims
            .filter_map(|(name, value)| Some((name.clone(), fact(value)?)))
            .collect()
    });
}

/// As the client sent it: a host is not interpreted.
fn sent(written: &str, target: &Endpoint) -> Requested {
    match (target, written.rsplit_once(':')) {
        (Endpoint::Tcp { .. }, Some((host, port))) => {
            let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
            Requested::Tcp {
                host: plain.unwrap_or(host).to_owned(),
                port: port.parse().unwrap_or(0),
            }
        }
        _ => Requested::Socket(written.trim_start_matches("unix:").to_owned()),
    }
}

fn name_answer(answer: &Json) -> Option<Result<Vec<IpAddr>, NameError>> {
    match answer {
        Json::Array(_) => Some(Ok(addresses(Some(answer)))),
        Json::String(word) => Some(Err(match word.as_str() {
            "no-such-name" => NameError::NoSuchName,
            "timed-out" => NameError::TimedOut,
            "over-budget" => NameError::OverBudget,
            words => NameError::Failed(words.trim_start_matches("failed: ").to_owned()),
        })),
        _ => None,
    }
}

fn addresses(value: Option<&Json>) -> Vec<IpAddr> {
    let items = value.and_then(Json::as_array).into_iter().flatten();
    items.filter_map(|item| item.as_str()?.parse().ok()).collect()
}

fn texts(value: &Json) -> Vec<String> {
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

fn fact(value: &Json) -> Option<Fact> {
    match value {
        Json::String(text) => Some(Fact::Text(text.clone())),
        Json::Array(_) => Some(Fact::Texts(texts(value))),
        Json::Number(number) => number.as_i64().map(Fact::Number),
        Json::Bool(flag) => Some(Fact::Flag(*flag)),
        Json::Null | Json::Object(_) => None,
    }
}

fn text_of<'a>(line: &'a Map<String, Json>, key: &str) -> Option<&'a str> {
    line.get(key)?.as_str()
}

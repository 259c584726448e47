//! `portreeve explain`: decides a hypothetical request exactly as the gateway would.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use crate::auth::ForwardLimits;
use crate::events::Decided;
use crate::gateway::Prepared;
use crate::judgement::{Asked, Connect, Deliver, Explanation, Listen, Listener, Supposed};
use crate::origin::origin;
use crate::plugin::{fact, fail, invalid};
use crate::request::{
    Action, Certificate, Connection, Credential, Endpoint, Fact, ForwardRequest, Requested, VerdictWord,
};
use crate::say::{self, DENIED, INVALID, UNDECIDED, plain};

/// Ask the configured policy whether it would permit a forward, and why.
#[derive(Args)]
pub(crate) struct Explain {
    /// Configuration file [default: the embedded one].
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// User who asks.
    #[arg(long, value_name = "NAME")]
    user: String,
    /// Group of the user, besides the configured ones; repeatable.
    #[arg(long = "group", value_name = "G")]
    groups: Vec<String>,
    /// Fingerprint of the user's key [default: try every key listed for the user].
    #[arg(long, value_name = "SHA256:…")]
    key: Option<String>,
    /// How the user logged in [default: with a key].
    #[arg(long, value_name = "WORD", conflicts_with = "key")]
    method: Option<String>,
    /// Principal of the certificate that the user logged in with; repeatable.
    #[arg(long = "principal", value_name = "NAME", conflicts_with = "key")]
    principals: Vec<String>,
    /// Claim of the user, replacing a configured one; whole numbers, true and false keep their type.
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = fact)]
    claims: Vec<(String, Fact)>,
    /// Time of the request, as in 2026-11-24T09:00:00Z [default: now].
    #[arg(long, value_name = "TIME")]
    now: Option<Timestamp>,
    /// Address of the client.
    #[arg(long, value_name = "IP", default_value = "127.0.0.1")]
    client: std::net::IpAddr,
    /// Print one JSON object with the audit log's keys: the strictest answer, and one for each key under `answers`.
    #[arg(long)]
    json: bool,
    /// connect, listen or accept.
    action: Action,
    #[arg(help = "host:port, [v6]:port or unix:/path, as the client would send it")]
    endpoint: String,
}

#[derive(Serialize)]
struct Explained {
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(flatten)]
    decided: Decided,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dials: Vec<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sentence: Option<String>,
}

/// Judges and prints; the exit code is the answer.
pub(crate) async fn run(question: Explain) -> u8 {
    let Some(requested) = requested(&question.endpoint) else {
        let words = format!(
            "`{}` is not an endpoint: use host:port, [v6]:port or unix:/path",
            question.endpoint
        );
        return fail(INVALID, &words, question.json);
    };
    let asked = match question.action {
        Action::Connect => Asked::Connect(Connect::new(requested, None)),
        Action::Listen => Asked::Listen(Listen { requested }),
        // A connection to a listener is judged at the listener's endpoint, which is canonical.
        Action::Accept => match question.endpoint.parse::<Endpoint>() {
            Ok(endpoint) => Asked::Deliver(Deliver {
                listener: Listener { requested, endpoint },
                peer: None,
            }),
            Err(error) => return fail(INVALID, &error.to_string(), question.json),
        },
    };
    let prepared = match origin(question.config.clone(), Vec::new()) {
        Ok(origin) => match origin.load() {
            Ok(config) => Prepared::new(config, origin.file()).await,
            Err(faults) => Err(faults),
        },
        Err(faults) => Err(faults),
    };
    let (judge, accounts) = match prepared {
        Ok(prepared) => prepared.into_judge(),
        Err(faults) => return invalid(&[faults], question.json),
    };
    let listed = accounts.keys_of(&question.user);
    let keys: Vec<(Option<String>, ForwardLimits)> = match &question.key {
        Some(wanted) => match listed.into_iter().find(|(fingerprint, _)| fingerprint == wanted) {
            Some((fingerprint, limits)) => vec![(Some(fingerprint), limits)],
            None => {
                let words = format!("{wanted} is not listed for {}: see `ssh-keygen -l`", question.user);
                return fail(INVALID, &words, question.json);
            }
        },
        // No key has a part in such a login.
        None if listed.is_empty() || question.without_key() => vec![(None, ForwardLimits::default())],
        None => listed
            .into_iter()
            .map(|(fingerprint, limits)| (Some(fingerprint), limits))
            .collect(),
    };
    if !accounts.knows(&question.user) && !question.without_key() && keys.iter().all(|(key, _)| key.is_none()) {
        let _ = say::fail(
            INVALID,
            &format!("note: no listed key can log in as `{}`", question.user),
        );
    }
    let mut answers = Vec::new();
    for (key, limits) in keys {
        let mut principal = accounts.principal(&question.user, question.credential(key.clone()));
        for (name, value) in &question.claims {
            principal.claims.retain(|(configured, _)| configured != name);
            principal.claims.push((name.clone(), value.clone()));
        }
        principal.groups.extend(question.groups.iter().cloned());
        let target = Endpoint::Tcp {
            host: crate::request::Host::Any,
            port: 0,
        };
        let model = ForwardRequest::dry(&question.user, question.action, target);
        let supposed = Supposed {
            principal,
            limits,
            connection: Connection {
                client: SocketAddr::new(question.client, 0),
                ..Connection::clone(&model.connection)
            },
            asked: asked.clone(),
            now: question.now.unwrap_or_else(Timestamp::now),
        };
        answers.push(answer(key, &judge.explain(supposed).await));
    }
    let strictest = answers.iter().max_by_key(|answer| answer.code());
    let code = strictest.map_or(UNDECIDED, Explained::code);
    let text = match question.json {
        true => document(strictest, &answers),
        false => answers.iter().map(Explained::text).collect::<Vec<_>>().join("\n"),
    };
    match say::print(&text) {
        say::DONE => code,
        failed => failed,
    }
}

impl Explain {
    /// Whether the login that is asked about was not one with a plain key.
    fn without_key(&self) -> bool {
        !self.principals.is_empty() || self.method.as_deref().is_some_and(|method| method != PUBLIC_KEY)
    }

    fn credential(&self, fingerprint: Option<String>) -> Credential {
        let certified = !self.principals.is_empty();
        let usual = if certified { "certificate" } else { PUBLIC_KEY };
        Credential {
            method: self.method.clone().unwrap_or_else(|| usual.to_owned()),
            fingerprint,
            certificate: certified.then(|| Certificate {
                key_id: self.user.clone(),
                serial: 0,
                issuer: String::new(),
                principals: self.principals.clone(),
                valid_after: 0,
                valid_before: u64::MAX,
                critical_options: Vec::new(),
                extensions: vec![("permit-port-forwarding".to_owned(), String::new())],
            }),
        }
    }
}

/// The answer that the exit code stands for, with all of them under `answers`.
fn document(strictest: Option<&Explained>, answers: &[Explained]) -> String {
    let mut value = serde_json::to_value(strictest).unwrap_or_default();
    if let Some(object) = value.as_object_mut() {
        object.insert("ok".to_owned(), true.into());
        object.insert("answers".to_owned(), serde_json::json!(answers));
    }
    format!("{value:#}\n")
}

/// The endpoint as a client would send it: its host is not interpreted here.
fn requested(text: &str) -> Option<Requested> {
    if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
        return Some(Requested::Socket(path.to_owned()));
    }
    let (host, port) = text.rsplit_once(':')?;
    let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    Some(Requested::Tcp {
        host: plain.unwrap_or(host).to_owned(),
        port: port.parse().ok()?,
    })
}

fn answer(key: Option<String>, explanation: &Explanation) -> Explained {
    let refusal = explanation.outcome().err();
    Explained {
        key,
        decided: explanation.line(),
        dials: explanation.addresses().to_vec(),
        sentence: refusal.map(|refusal| refusal.sentence()),
    }
}

impl Explained {
    fn code(&self) -> u8 {
        match self.decided.verdict {
            VerdictWord::Allow | VerdictWord::Rewrite => 0,
            VerdictWord::Deny => DENIED,
            VerdictWord::Failed => UNDECIDED,
        }
    }

    fn text(&self) -> String {
        let decided = &self.decided;
        let word = match decided.verdict {
            VerdictWord::Allow => "allow",
            VerdictWord::Deny => "deny",
            VerdictWord::Rewrite => "rewrite",
            VerdictWord::Failed => "failed",
        };
        let by = serde_json::to_value(decided.by).unwrap_or_default();
        let by = by.as_str().unwrap_or_default();
        let mut text = format!(
            "{word}: {} {} (decided by: {by})\n",
            decided.action.as_str(),
            plain(&decided.requested.to_string())
        );
        let mut say = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<9} {}", plain(value));
        };
        if let Some(key) = &self.key {
            say("key", key);
        }
        if let Some(target) = &decided.target {
            say("target", &target.to_string());
        }
        if let Some(effective) = &decided.effective {
            say("effective", &effective.to_string());
        }
        if let Some(policy) = &decided.policy {
            let digest = policy.sha256.get(..12).unwrap_or_default();
            say(
                "policy",
                &format!(
                    "{} {} (sha256 {digest}…), {} µs",
                    policy.name, policy.version, decided.micros
                ),
            );
        }
        if let Some(code) = &decided.code {
            say("code", code);
        }
        if let Some(reason) = &decided.reason {
            say("reason", reason);
        }
        if !decided.resolved.is_empty() {
            let resolved: Vec<_> = decided.resolved.iter().map(ToString::to_string).collect();
            say("resolved", &resolved.join(" "));
        }
        if !self.dials.is_empty() {
            let dials: Vec<_> = self.dials.iter().map(ToString::to_string).collect();
            let name = if decided.action == Action::Listen {
                "binds"
            } else {
                "dials"
            };
            say(name, &dials.join(" "));
        }
        if let Some(terms) = &decided.terms {
            let terms = serde_json::to_string(terms).unwrap_or_default();
            if terms != "{}" {
                say("terms", &terms);
            }
        }
        if let Some(outbound) = &decided.outbound {
            say("outbound", &serde_json::to_string(outbound).unwrap_or_default());
        }
        if let Some(sentence) = &self.sentence {
            say("user sees", sentence);
        }
        text
    }
}

const PUBLIC_KEY: &str = "publickey";

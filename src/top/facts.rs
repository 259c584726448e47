//! What the gateway says of itself, read from `GET /v1/status`. Keys that it does not send are absent here.

use jiff::Timestamp;
use serde_json::Value;

use super::text;

/// The state of the gateway.
#[derive(Clone, Debug, Default)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) started: Option<Timestamp>,
    pub(super) listen: Vec<String>,
    pub(super) draining: bool,
    pub(super) sessions: u64,
    pub(super) tunnels: u64,
    pub(super) listeners: u64,
    pub(super) buffered: u64,
    /// Whether the audit log can be written, and how many lines wait.
    pub(super) audit: Option<(bool, u64)>,
    pub(super) policies: Vec<Policy>,
}

/// A policy that decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) plugin: String,
    pub(super) version: String,
    /// The first digits.
    pub(super) digest: String,
    pub(super) generation: Option<String>,
    /// Another version that is asked beside it and decides nothing.
    pub(super) shadow: Option<String>,
}

impl Status {
    pub(super) fn read(body: &Value) -> Self {
        let audit = body.get("audit").and_then(|audit| {
            let writable = audit.get("writable")?.as_bool()?;
            Some((writable, number(audit, "pending")))
        });
        Self {
            version: word(body, "version").unwrap_or_default(),
            started: time(body, "started"),
            listen: array(body, "listen").iter().filter_map(shown).collect(),
            draining: body.get("draining") == Some(&Value::Bool(true)),
            sessions: number(body, "sessions"),
            tunnels: number(body, "tunnels"),
            listeners: number(body, "listeners"),
            buffered: number(body, "buffered_bytes"),
            audit,
            policies: array(body, "policies").iter().map(Policy::read).collect(),
        }
    }
}

impl Policy {
    fn read(body: &Value) -> Self {
        Self {
            plugin: word(body, "plugin").unwrap_or_default(),
            version: word(body, "version").unwrap_or_default(),
            digest: digest(body),
            generation: word(body, "generation"),
            shadow: body.get("shadow").and_then(shadow),
        }
    }
}

/// An object like a policy, a word, or only that there is one.
fn shadow(value: &Value) -> Option<String> {
    match value {
        Value::Null | Value::Bool(false) => None,
        Value::Bool(true) => Some("yes".to_owned()),
        Value::Object(_) => {
            let version = word(value, "version").into_iter();
            let digest = Some(digest(value)).filter(|digest| !digest.is_empty());
            Some(version.chain(digest).collect::<Vec<_>>().join(" "))
        }
        other => shown(other),
    }
}

fn digest(body: &Value) -> String {
    let whole = word(body, "sha256").unwrap_or_default();
    whole.chars().take(DIGITS).collect()
}

/// The sentence of an answer that is not what was asked for.
pub(super) fn error(body: &Value) -> String {
    word(body, "error").unwrap_or_else(|| "no reason was given".to_owned())
}

/// A value as a word; none if it is absent.
pub(super) fn word(body: &Value, key: &str) -> Option<String> {
    body.get(key).and_then(shown)
}

pub(super) fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(words) => Some(text(words)),
        other => Some(text(&other.to_string())),
    }
}

pub(super) fn number(body: &Value, key: &str) -> u64 {
    body.get(key).and_then(Value::as_u64).unwrap_or(0)
}

pub(super) fn time(body: &Value, key: &str) -> Option<Timestamp> {
    body.get(key)?.as_str()?.parse().ok()
}

pub(super) fn array<'a>(body: &'a Value, key: &str) -> &'a [Value] {
    let values = body.get(key).and_then(Value::as_array);
    values.map(Vec::as_slice).unwrap_or_default()
}

/// Of a digest, enough to tell two versions of a policy apart.
const DIGITS: usize = 12;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_policy_has_a_generation_and_a_shadow_only_if_the_gateway_says_so() {
        let sha256 = "0123456789abcdef";
        #[rustfmt::skip]
        let table = [
            (json!({}),                                                            None,      None),
            (json!({ "generation": 4 }),                                           Some("4"), None),
            (json!({ "generation": "g-4", "shadow": null }),                       Some("g-4"), None),
            (json!({ "shadow": false }),                                           None,      None),
            (json!({ "shadow": true }),                                            None,      Some("yes")),
            (json!({ "shadow": "2.0.0" }),                                         None,      Some("2.0.0")),
            (json!({ "shadow": { "version": "2.0.0", "sha256": sha256 } }),        None,      Some("2.0.0 0123456789ab")),
        ];
        for (body, generation, shadow) in table {
            let policy = Policy::read(&body);
            assert_eq!(
                (policy.generation.as_deref(), policy.shadow.as_deref()),
                (generation, shadow),
                "{body}"
            );
        }
    }

    #[test]
    fn an_answer_without_keys_is_a_status_without_facts() {
        let status = Status::read(&json!({}));
        assert_eq!((status.version.as_str(), status.audit, status.tunnels), ("", None, 0));
    }
}

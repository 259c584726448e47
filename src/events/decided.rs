//! The events for a decision, and for an allowed connection that failed.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use crate::names::NameError;
use crate::policy::PolicyRef;
use crate::request::{Action, By, Endpoint, Outbound, Requested, Step, Terms, Unreached, VerdictWord};

/// The decision on one request.
#[derive(Clone, Debug, Serialize)]
pub struct Decided {
    /// Connect, listen or accept.
    pub action: Action,
    /// As the client sent it.
    pub requested: Requested,
    /// In canonical form; absent where the request has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Endpoint>,
    /// After a rewrite.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effective: Option<Endpoint>,
    /// The addresses that were judged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<IpAddr>,
    /// What else the policies were told of names: addresses, or the word for why there are none.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, NameAnswer>,
    /// The peer of an accepted connection, or what the client claims.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub originator: Option<SocketAddr>,
    /// When the policies were asked: what they took for the present.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "millis")]
    pub asked: Option<Timestamp>,
    /// Allow, deny, rewrite or failed.
    pub verdict: VerdictWord,
    /// A stable name of the rule or cause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// In words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Which part of the judgement decided.
    pub by: By,
    /// Which policy decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyRef>,
    /// How long the policies took.
    pub micros: u64,
    /// The terms of what is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// How the target is connected to: the policy's obligations with the configured defaults. Absent where neither says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outbound: Option<Outbound>,
    /// The tags that the policy gave.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// `swap` or `recheck` where something open was judged again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub again: Option<&'static str>,
    /// How many equal refusals, of one second, this line stands for; absent where it stands for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated: Option<u64>,
    /// The sentence for the user, of a refusal. Not in the log, which says more.
    #[serde(skip)]
    pub told: Option<String>,
    /// How long each policy took that was asked, by its configured name and without the wait for a place. Empty where an
    /// earlier answer was used again. Not in the log, which has `micros`.
    #[serde(skip)]
    pub times: Vec<(Arc<str>, Duration)>,
}

/// A connection that was allowed and is not there.
#[derive(Debug, Serialize)]
pub struct ConnectFailed {
    /// Connect, or accept where the client did not take it.
    pub action: Action,
    /// As the client named it.
    pub requested: Requested,
    /// In canonical form.
    pub target: Endpoint,
    /// Where it was to go.
    pub effective: Endpoint,
    /// The addresses that might be dialled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resolved: Vec<IpAddr>,
    /// Why the target was not reached; absent where it was, or was not waited for. Not in the log, which has `reason`.
    #[serde(skip)]
    pub why: Option<Unreached>,
    /// Which step failed; absent where none was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// Why not: the words of the operating system or the resolver.
    pub reason: String,
    /// How long it was tried.
    pub millis: u64,
}

impl ConnectFailed {
    /// Whether there was nothing to try: the decision on it says so as well.
    #[must_use]
    pub fn has_no_address(&self) -> bool {
        let tried = !self.resolved.is_empty() || self.step.is_some();
        self.action == Action::Connect && !tried && matches!(self.effective, Endpoint::Tcp { .. })
    }

    /// What was allowed by name, where the name has no address. None where nothing was allowed.
    #[must_use]
    pub fn unresolved(decided: &Decided, why: Unreached, reason: String, millis: u64) -> Option<Self> {
        let target = decided.target.clone()?;
        Some(Self {
            action: decided.action,
            requested: decided.requested.clone(),
            effective: decided.effective.clone().unwrap_or_else(|| target.clone()),
            target,
            resolved: Vec::new(),
            why: Some(why),
            step: None,
            reason,
            millis,
        })
    }
}

/// What a policy was told of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NameAnswer {
    /// Its addresses.
    Found(Vec<IpAddr>),
    /// `no-such-name`, `timed-out`, or `failed: ` and the resolver's words.
    None(String),
}

impl NameAnswer {
    /// Whether no answer came, which says nothing about the name.
    #[must_use]
    pub fn is_doubt(&self) -> bool {
        let answer: Result<Vec<IpAddr>, NameError> = self.clone().into();
        answer.is_err_and(|error| error.is_doubt())
    }
}

impl From<Result<Vec<IpAddr>, NameError>> for NameAnswer {
    fn from(answer: Result<Vec<IpAddr>, NameError>) -> Self {
        match answer {
            Ok(addresses) => Self::Found(addresses),
            Err(NameError::NoSuchName) => Self::None("no-such-name".to_owned()),
            Err(NameError::TimedOut) => Self::None("timed-out".to_owned()),
            Err(NameError::OverBudget) => Self::None("over-budget".to_owned()),
            Err(NameError::Failed(words)) => Self::None(format!("failed: {words}")),
        }
    }
}

impl From<NameAnswer> for Result<Vec<IpAddr>, NameError> {
    fn from(answer: NameAnswer) -> Self {
        match answer {
            NameAnswer::Found(addresses) => Ok(addresses),
            NameAnswer::None(word) => Err(match word.as_str() {
                "no-such-name" => NameError::NoSuchName,
                "timed-out" => NameError::TimedOut,
                "over-budget" => NameError::OverBudget,
                word => NameError::Failed(word.strip_prefix("failed: ").unwrap_or(word).to_owned()),
            }),
        }
    }
}

/// The precision of a policy's clock.
fn millis<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => serializer.collect_str(&format_args!("{time:.3}")),
        None => serializer.serialize_none(),
    }
}

//! What the policy chain says of a request.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{Endpoint, Outbound};

/// The verdict of the policy chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go ahead, on these terms.
    Allow(Terms),
    /// No.
    Deny(Denial),
    /// Go ahead, but to another endpoint.
    Rewrite(Redirect),
}

/// A refusal by a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// A stable name of the rule or cause.
    pub code: String,
    /// For the audit log.
    pub reason: String,
    /// For the user; absent: a general sentence.
    pub tell_user: Option<String>,
}

/// Another endpoint to use instead of the one requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Where to connect or listen instead.
    pub to: Endpoint,
    /// For the audit log.
    pub reason: String,
    /// Terms of the forward.
    pub terms: Terms,
}

/// Terms on which a request is allowed; what is absent follows the configured default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Terms {
    /// Close the tunnel or listener after so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<u32>,
    /// Close it after so many seconds without a byte in either direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<u32>,
    /// Close it after so many bytes, both directions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// Rate limit for each direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<u64>,
    /// Judged on every resolved address before it is dialled.
    #[serde(skip_serializing_if = "AddressRules::is_empty")]
    pub address_rules: AddressRules,
    /// Ask again about the open tunnel after so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recheck_seconds: Option<u32>,
    /// Equal requests of the same connection may be answered from this verdict for so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reuse_seconds: Option<u32>,
    /// Obligations that the gateway understood and will enforce.
    #[serde(skip_serializing_if = "is_false")]
    pub replace_socket: bool,
    /// How the target is connected to.
    #[serde(flatten)]
    pub outbound: Outbound,
    /// Copied to the audit record.
    #[serde(skip)]
    pub tags: BTreeMap<String, String>,
}

/// One address rule of a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRule {
    /// The network it speaks of.
    pub cidr: IpNet,
    /// What it says of it.
    pub effect: Effect,
}

/// What an address rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The address may be dialled.
    Permit,
    /// The address may not be dialled.
    Refuse,
}

/// The address rules of every policy of the chain: each list must permit an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRules(Vec<Vec<AddressRule>>);

impl AddressRules {
    /// The rules of one verdict.
    #[must_use]
    pub fn new(rules: Vec<AddressRule>) -> Self {
        Self(if rules.is_empty() { Vec::new() } else { vec![rules] })
    }

    /// True if there is no rule at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Every rule of every list.
    pub fn iter(&self) -> impl Iterator<Item = &AddressRule> {
        self.0.iter().flatten()
    }

    /// True if no list refuses the address: in each the first match wins, and no match permits.
    #[must_use]
    pub fn permit(&self, address: IpAddr) -> bool {
        self.0.iter().all(|rules| {
            rules
                .iter()
                .find(|rule| rule.cidr.contains(&address))
                .is_none_or(|rule| rule.effect == Effect::Permit)
        })
    }
}

impl Terms {
    /// These terms made stricter by those of a later policy in the chain: a limit is the smaller
    /// of both, and the address rules of both must permit. Obligations of both hold: whoever asks checks first that they do
    /// not contradict each other ([`Outbound::contradicts`]).
    #[must_use]
    pub fn tightened_by(mut self, later: Self) -> Self {
        self.max_seconds = smaller(self.max_seconds, later.max_seconds);
        self.idle_seconds = smaller(self.idle_seconds, later.idle_seconds);
        self.max_bytes = smaller(self.max_bytes, later.max_bytes);
        self.bytes_per_second = smaller(self.bytes_per_second, later.bytes_per_second);
        self.recheck_seconds = smaller(self.recheck_seconds, later.recheck_seconds);
        self.reuse_seconds = match (self.reuse_seconds, later.reuse_seconds) {
            (Some(one), Some(other)) => Some(one.min(other)),
            _ => None,
        };
        self.address_rules.0.extend(later.address_rules.0);
        self.replace_socket |= later.replace_socket;
        self.outbound = later.outbound.or(&self.outbound);
        self.tags.extend(later.tags);
        self
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn smaller<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

//! The sets of labels: what a series may be told apart by. A new one needs a bounded number of values.

use prometheus_client::encoding::EncodeLabelSet;

use crate::request::{Action, By, VerdictWord};

/// `portreeve_decisions_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Decision {
    action: &'static str,
    verdict: &'static str,
    by: &'static str,
}

impl Decision {
    pub(super) fn of(action: Action, verdict: VerdictWord, by: By) -> Self {
        Self {
            action: action.as_str(),
            verdict: verdict.as_str(),
            by: by.as_str(),
        }
    }

    /// Each that can be: only a denial has other sources than the policies.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let words = [VerdictWord::Allow, VerdictWord::Rewrite, VerdictWord::Failed];
        let pairs = words.into_iter().map(|word| (word, By::Policy));
        let pairs: Vec<_> = pairs.chain(By::ALL.map(|by| (VerdictWord::Deny, by))).collect();
        let of = move |action| {
            let pairs = pairs.clone().into_iter();
            pairs.map(move |(verdict, by)| Self::of(action, verdict, by))
        };
        Action::ALL.into_iter().flat_map(of)
    }
}

/// `portreeve_tunnels`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Kind {
    pub(super) action: &'static str,
}

/// `portreeve_decision_seconds`: the name under which the policy is configured.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Plugin {
    pub(super) plugin: String,
}

/// `portreeve_policy_swaps_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Swap {
    pub(super) plugin: String,
    pub(super) result: &'static str,
}

/// `portreeve_auth_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Login {
    pub(super) method: &'static str,
    pub(super) result: &'static str,
}

/// `portreeve_dial_failures_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Reason {
    pub(super) reason: &'static str,
}

/// `portreeve_tunnel_closes_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct End {
    pub(super) cause: &'static str,
}

/// `portreeve_relayed_bytes_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Way {
    pub(super) direction: &'static str,
}

/// `portreeve_audit_lines_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Outcome {
    pub(super) result: &'static str,
}

/// `portreeve_build_info`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Build {
    pub(super) version: &'static str,
}

/// `portreeve_policy_info`: a policy in force.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct Component {
    /// The name under which it is configured.
    pub plugin: String,
    /// The name that the component states of itself.
    pub name: String,
    /// The version that it states.
    pub version: String,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
}

//! Why a request was refused, and who refused it.

use serde::{Deserialize, Serialize};

use super::Unreached;

/// Which part of the judgement decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A switch under `[forwarding]`.
    Switch,
    /// The options of the key or certificate.
    Key,
    /// The policy chain.
    Policy,
    /// The `[floors]`.
    Floor,
    /// A number under `[limits]`.
    Limit,
}

impl By {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Switch, Self::Key, Self::Policy, Self::Floor, Self::Limit];

    /// As the log has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Key => "key",
            Self::Policy => "policy",
            Self::Floor => "floor",
            Self::Limit => "limit",
        }
    }
}

/// Why nothing is forwarded. Each case has its own code on the wire (RFC 4254 section 5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Somebody said no.
    Denied {
        /// Who.
        by: By,
        /// A stable name of the cause.
        code: String,
        /// For the audit log.
        reason: String,
        /// For the user; absent: a general sentence.
        tell_user: Option<String>,
    },
    /// The policy could not decide; never to be confused with a denial.
    Undecided {
        /// `trap`, `deadline`, `memory` and so on.
        code: &'static str,
        /// The whole cause, for the operator.
        reason: String,
    },
    /// A policy refused after a name server had not told it what it asked for: with the answer it might not have.
    Unanswered {
        /// The name, and what became of the look-up.
        name: String,
        /// The refusal of the policy and the name, for the operator.
        reason: String,
        /// What the policy would tell the user.
        tell_user: Option<String>,
    },
    /// A limit of the gateway is reached.
    Exhausted {
        /// A stable name of the limit.
        code: &'static str,
        /// Which, and where to raise it.
        reason: String,
    },
    /// It was permitted, but the target could not be reached or the address not be bound.
    Unreachable {
        /// Which kind of failure it was.
        why: Unreached,
        /// The operating system's or the resolver's words.
        reason: String,
    },
}

impl Refusal {
    /// A denial without words for the user.
    pub fn denied(by: By, code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Denied {
            by,
            code: code.into(),
            reason: reason.into(),
            tell_user: None,
        }
    }

    /// Whether nothing was decided, which says nothing about the request.
    #[must_use]
    pub fn is_doubt(&self) -> bool {
        match self {
            Self::Undecided { .. } | Self::Unanswered { .. } | Self::Exhausted { .. } => true,
            Self::Denied { .. } | Self::Unreachable { .. } => false,
        }
    }

    /// Whether there was not enough time to decide: the next attempt may have more.
    #[must_use]
    pub fn came_too_late(&self) -> bool {
        match self {
            Self::Undecided { code, .. } => matches!(*code, "deadline" | "queue-full"),
            Self::Unanswered { .. } => true,
            Self::Denied { .. } | Self::Exhausted { .. } | Self::Unreachable { .. } => false,
        }
    }

    /// A denial whose reason is fit for the user.
    pub fn told(by: By, code: impl Into<String>, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::Denied {
            by,
            code: code.into(),
            tell_user: Some(reason.clone()),
            reason,
        }
    }

    /// The sentence that the user reads.
    #[must_use]
    pub fn sentence(&self) -> String {
        match self {
            Self::Denied { tell_user, .. } => tell_user
                .clone()
                .unwrap_or_else(|| "this forward is not permitted".to_owned()),
            Self::Undecided { .. } => "the policy could not decide".to_owned(),
            Self::Unanswered {
                name,
                tell_user: Some(sentence),
                ..
            } => format!("{sentence} ({name})"),
            Self::Unanswered { name, .. } => name.clone(),
            Self::Exhausted { reason, .. } | Self::Unreachable { reason, .. } => reason.clone(),
        }
    }
}

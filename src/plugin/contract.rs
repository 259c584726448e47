//! The versions of the contract that a policy can be built for: each track that the gateway serves.

use serde::{Deserialize, Serialize};

/// A published version of `wit/policy.wit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contract {
    /// 0.1.0, for policies that have not moved.
    V0_1,
    /// 0.2.0.
    #[default]
    V0_2,
}

impl Contract {
    /// The word for it in `policy.toml`.
    pub(super) const WORDS: [(&str, Self); 2] = [("0.1.0", Self::V0_1), ("0.2.0", Self::V0_2)];

    /// As in the first line of its WIT.
    pub(super) fn version(self) -> &'static str {
        match self {
            Self::V0_1 => "0.1.0",
            Self::V0_2 => "0.2.0",
        }
    }

    /// The contract itself.
    pub(super) fn wit(self) -> &'static str {
        match self {
            Self::V0_1 => include_str!("../../wit/published/0.1.0/policy.wit"),
            Self::V0_2 => include_str!("../../wit/policy.wit"),
        }
    }

    /// Whether it has the interface `calendar`.
    pub(super) fn has_calendar(self) -> bool {
        self != Self::V0_1
    }
}

#[cfg(test)]
mod tests {
    use super::Contract;

    #[test]
    fn each_version_is_that_of_its_text() {
        for (word, contract) in Contract::WORDS {
            assert_eq!(contract.version(), word);
            assert!(contract.wit().contains(&format!("\npackage portreeve:policy@{word};")));
        }
        assert_eq!(Contract::default(), Contract::WORDS.last().unwrap().1);
    }
}

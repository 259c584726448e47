//! The way of a candidate through the gates.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::policy::{Identity, LoadError, Step};

/// The way of one candidate.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// Component and settings, where they could be read.
    pub(crate) identity: Option<Identity>,
    /// Who wanted it: `file`, `reload` or an administrator's name.
    pub(crate) by: String,
    /// When it began.
    pub(crate) time: Timestamp,
    /// The gates that it came to, in their order.
    pub(crate) rows: Vec<Row>,
}

/// What came of one gate.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// Its name.
    pub(crate) gate: &'static str,
    /// What came of it.
    pub(crate) verdict: Verdict,
    /// In words.
    pub(crate) words: String,
    /// How long it took; absent while it lasts.
    pub(crate) took: Option<Duration>,
}

/// What came of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It may go on.
    Passed,
    /// It may not.
    Refused,
    /// It would not, and an administrator forced it.
    Forced,
    /// The gate is still open.
    Waiting,
}

impl Verdict {
    /// The word that is shown.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Forced => "forced",
            Self::Waiting => "waiting",
        }
    }
}

impl Row {
    /// A gate that was passed.
    pub(crate) fn passed(gate: &'static str, words: impl Into<String>, began: Instant) -> Self {
        Self::of(gate, Verdict::Passed, words, Some(began.elapsed()))
    }

    pub(crate) fn of(gate: &'static str, verdict: Verdict, words: impl Into<String>, took: Option<Duration>) -> Self {
        Self {
            gate,
            verdict,
            words: words.into(),
            took,
        }
    }

    /// The gates that loading consists of, which were passed.
    pub(crate) fn of_steps(steps: &[(Step, Duration)], new_imports: &str) -> Vec<Self> {
        let row = |(step, took): &(Step, Duration)| {
            let (gate, words) = match step {
                Step::Read => (SIGNATURE, "digest and signature are as demanded"),
                Step::Check => (CHECK, new_imports),
                Step::Configure => (CONFIGURE, "it accepts its settings"),
                Step::Trial => (TRIAL, "it answers a test request"),
            };
            Self::of(gate, Verdict::Passed, words, Some(*took))
        };
        steps.iter().map(row).collect()
    }

    /// The gate at which loading ended.
    pub(crate) fn of_error(error: &LoadError, began: Instant) -> Self {
        let gate = match error {
            LoadError::Quarantined { .. } => QUARANTINE,
            LoadError::Read { .. } | LoadError::Pin { .. } | LoadError::TooLarge(_) | LoadError::Moving => SIGNATURE,
            LoadError::Signature { .. } | LoadError::AnotherPolicy { .. } | LoadError::Downgrade { .. } => SIGNATURE,
            LoadError::Settings(_) | LoadError::SettingsFile(_) => CONFIGURE,
            LoadError::Trial(_) | LoadError::TestRequest { .. } => TRIAL,
            _ => CHECK,
        };
        Self::of(gate, Verdict::Refused, error.to_string(), Some(began.elapsed()))
    }
}

/// The gates, in their order.
pub(crate) const QUARANTINE: &str = "quarantine";
/// Where a candidate waits for other gateways of the fleet.
pub(crate) const CANARY: &str = "canary";
const SIGNATURE: &str = "signature";
const CHECK: &str = "check";
const CONFIGURE: &str = "configure";
const TRIAL: &str = "trial";

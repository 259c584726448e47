//! `[policy.gates]` and `policy.generations`: what a policy must pass before it decides, and how much of the past is kept.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::value::Value;
use super::walk::Table;

/// `[policy.gates]`: what a candidate must pass after it has loaded, whichever way it comes: a file that changed, a reload, or an
/// administrator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gates {
    /// `cases`: case files, or folders of them, that every chain must answer as they say. Default: none.
    pub cases: Vec<PathBuf>,
    /// `replay`: the decisions that are kept to be asked again.
    pub replay: Replay,
    /// `max-closed`: the largest share of what is open that a change may close. Default: any.
    pub max_closed: Option<Share>,
    /// `burn-in`: what brings the policy before back by itself. Default: nothing does.
    pub burn_in: Option<BurnIn>,
}

/// `replay`: a candidate is asked the last decisions again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replay {
    /// `decisions`: how many are kept in memory, 0 to 100000. Default 10000. One user has at most a quarter of them while others
    /// have some.
    pub decisions: usize,
    /// `max-differences`: the largest share that may be decided otherwise. Default: any.
    pub max_differences: Option<Share>,
}

/// `burn-in`: for some time after a switch, failures (not denials) are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BurnIn {
    /// `for`: how long, 1s to 1d. Default 60s.
    pub time: Duration,
    /// `min-decisions`: with fewer nothing is concluded, 1 to 1000000. Default 20.
    pub min_decisions: u64,
    /// `max-failed`: the largest share of decisions that may fail. Default 1%.
    pub max_failed: Share,
}

/// `policy.generations`: what served is kept, to go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generations {
    /// `keep`: how many of each plugin besides the one in force, 1 to 1000. Default 10.
    pub keep: usize,
    /// `max-age`: since when they no longer serve, 1h to 3650d. Default 90d.
    pub max_age: Duration,
}

/// A share of a whole, to a hundredth of a percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Ten thousandths.
    parts: u64,
}

impl Share {
    /// Whether `part` of `whole` is more than this.
    #[must_use]
    pub fn is_exceeded_by(self, part: u64, whole: u64) -> bool {
        u128::from(part) * u128::from(WHOLE) > u128::from(whole) * u128::from(self.parts)
    }

    /// `5%`, `0.25%`.
    fn read(text: &str) -> Option<Self> {
        let number = text.trim().strip_suffix('%')?.trim_end();
        let (whole, rest) = number.split_once('.').unwrap_or((number, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !digits(whole) || !digits(rest) || rest.len() > 2 || number.ends_with('.') {
            return None;
        }
        let parts: u64 = format!("{whole}{rest:0<2}").parse().ok()?;
        (parts <= WHOLE).then_some(Self { parts })
    }
}

impl fmt::Display for Share {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.parts / 100, self.parts % 100);
        match rest {
            0 => write!(out, "{whole}%"),
            rest if rest % 10 == 0 => write!(out, "{whole}.{}%", rest / 10),
            rest => write!(out, "{whole}.{rest:02}%"),
        }
    }
}

impl Default for Replay {
    fn default() -> Self {
        Self {
            decisions: 10_000,
            max_differences: None,
        }
    }
}

impl Default for BurnIn {
    fn default() -> Self {
        Self {
            time: Duration::from_secs(60),
            min_decisions: 20,
            max_failed: Share { parts: 100 },
        }
    }
}

impl Default for Generations {
    fn default() -> Self {
        Self {
            keep: 10,
            max_age: 90 * DAY,
        }
    }
}

pub(super) fn gates(table: &mut Table<'_>) -> Gates {
    let default = Gates::default();
    Gates {
        cases: table.or("cases", default.cases, |value| value.list(|item| item.path())),
        replay: table.or("replay", default.replay, |value| value.table(replay)),
        max_closed: table.read("max-closed", share),
        burn_in: table.read("burn-in", |value| value.table(burn_in)),
    }
}

fn replay(table: &mut Table<'_>) -> Replay {
    let decisions = table.or("decisions", Replay::default().decisions, |value| {
        value.number(0..=100_000)
    });
    let max_differences = table.read("max-differences", |value| match decisions {
        0 => value.fault("no decision is kept that could differ: set `decisions`, or remove this key"),
        _ => share(value),
    });
    Replay {
        decisions,
        max_differences,
    }
}

fn burn_in(table: &mut Table<'_>) -> BurnIn {
    let default = BurnIn::default();
    BurnIn {
        time: table.or("for", default.time, |value| {
            value.duration(Duration::from_secs(1)..=DAY)
        }),
        min_decisions: table.or("min-decisions", default.min_decisions, |value| {
            value.number(1..=1_000_000)
        }),
        max_failed: table.or("max-failed", default.max_failed, share),
    }
}

pub(super) fn generations(table: &mut Table<'_>) -> Generations {
    let default = Generations::default();
    Generations {
        keep: table.or("keep", default.keep, |value| value.number(1..=1000)),
        max_age: table.or("max-age", default.max_age, |value| {
            value.duration(Duration::from_secs(60 * 60)..=3650 * DAY)
        }),
    }
}

fn share(value: &Value<'_>) -> Option<Share> {
    Share::read(value.text()?).or_else(|| value.wrong("a share from \"0%\" to \"100%\", with at most two decimals"))
}

const WHOLE: u64 = 100 * 100;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_read_and_shown() {
        #[rustfmt::skip]
        let table = [
            // written   shown
            ("5%",       Some("5%")),
            ("0%",       Some("0%")),
            ("100%",     Some("100%")),
            ("100.00%",  Some("100%")),
            ("0.5 %",    Some("0.5%")),
            ("12.25%",   Some("12.25%")),
            ("0.05%",    Some("0.05%")),
            ("100.01%",  None),
            ("5",        None),
            ("-1%",      None),
            ("1.%",      None),
            (".5%",      None),
            ("1.234%",   None),
            ("%",        None),
            ("+1%",      None),
        ];
        for (written, shown) in table {
            let read = Share::read(written).map(|share| share.to_string());
            assert_eq!(read.as_deref(), shown, "{written}");
        }
    }

    #[test]
    fn more_than_a_share_is_more_by_one() {
        #[rustfmt::skip]
        let table = [
            // share   part  whole  is it more?
            ("5%",     5,    100,   false),
            ("5%",     6,    100,   true),
            ("0%",     0,    100,   false),
            ("0%",     1,    1_000_000, true),
            ("100%",   100,  100,   false),
            ("0.01%",  1,    10_000, false),
            ("0.01%",  2,    10_000, true),
            ("5%",     0,    0,     false),
            ("100%",   u64::MAX, u64::MAX, false),
        ];
        for (share, part, whole, more) in table {
            assert_eq!(
                Share::read(share).unwrap().is_exceeded_by(part, whole),
                more,
                "{part} of {whole}"
            );
        }
    }
}

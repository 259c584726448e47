//! Weekdays and times of day, as a clock shows them.
//!
//! The data of the time zones would be larger than a policy, so the gateway answers for them:
//! [`Request::moment_in`](crate::Request::moment_in).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use crate::calendar::LocalTime;

/// A day of the week; in settings `mon` to `sun`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A time of day to the minute, `00:00` to `24:00`; in settings as that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeOfDay(u16);

/// How far a clock is ahead of UTC, `-23:59` to `+23:59`; in settings as that text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UtcOffset(i16);

/// What a clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The day of the week.
    pub weekday: Weekday,
    /// The time of day.
    pub time: TimeOfDay,
}

impl Moment {
    /// Of what clocks show in a zone.
    #[must_use]
    pub fn shown(local: &LocalTime) -> Self {
        let weekday = match local.weekday {
            1 => Weekday::Mon,
            2 => Weekday::Tue,
            3 => Weekday::Wed,
            4 => Weekday::Thu,
            5 => Weekday::Fri,
            6 => Weekday::Sat,
            _ => Weekday::Sun,
        };
        let time = TimeOfDay(u16::from(local.hour) * 60 + u16::from(local.minute));
        Self { weekday, time }
    }

    /// Of a time in Unix milliseconds.
    #[must_use]
    pub fn new(unix_millis: u64, offset: UtcOffset) -> Self {
        // Never below zero, and still on the first day of the epoch's week.
        let minutes = (unix_millis / 60_000).saturating_add_signed(offset.0.into());
        let weekday = match (minutes / MINUTES_OF_DAY) % 7 {
            0 => Weekday::Thu,
            1 => Weekday::Fri,
            2 => Weekday::Sat,
            3 => Weekday::Sun,
            4 => Weekday::Mon,
            5 => Weekday::Tue,
            _ => Weekday::Wed,
        };
        let time = TimeOfDay(u16::try_from(minutes % MINUTES_OF_DAY).unwrap_or(0));
        Self { weekday, time }
    }
}

const MINUTES_OF_DAY: u64 = 24 * 60;

impl TimeOfDay {
    /// How long it is until a later time of the same day; nothing where that is not later.
    #[must_use]
    pub fn seconds_until(self, later: Self) -> u32 {
        u32::from(later.0.saturating_sub(self.0)) * 60
    }
}

impl UtcOffset {
    /// UTC itself.
    pub const UTC: Self = Self(0);
}

impl Default for UtcOffset {
    fn default() -> Self {
        Self::UTC
    }
}

impl FromStr for TimeOfDay {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        match minutes(text) {
            Some(minutes) if minutes <= 24 * 60 => Ok(Self(minutes)),
            _ => Err(BadTime(text.to_owned(), "a time of day: write it as `08:30`")),
        }
    }
}

impl FromStr for UtcOffset {
    type Err = BadTime;

    fn from_str(text: &str) -> Result<Self, BadTime> {
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => (1, ""),
        };
        match minutes(rest) {
            Some(minutes) if minutes < 24 * 60 => Ok(Self(minutes.cast_signed() * sign)),
            _ => Err(BadTime(text.to_owned(), "a distance from UTC: write it as `+01:00`")),
        }
    }
}

/// `HH:MM`, both in two digits.
fn minutes(text: &str) -> Option<u16> {
    let two = |text: &str| -> Option<u16> {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let (hours, minutes) = text.split_once(':')?;
    let minutes = two(minutes).filter(|minutes| *minutes < 60)?;
    Some(two(hours)? * 60 + minutes)
}

impl<'de> Deserialize<'de> for TimeOfDay {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for UtcOffset {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

/// A text that is no time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadTime(String, &'static str);

impl fmt::Display for BadTime {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "`{}` is not {}", self.0, self.1)
    }
}

impl std::error::Error for BadTime {}

#[cfg(test)]
mod tests {
    use super::{Moment, TimeOfDay, UtcOffset, Weekday};

    fn shown(unix_seconds: u64, offset: &str) -> (Weekday, String) {
        let offset: UtcOffset = offset.parse().expect("an offset");
        let moment = Moment::new(unix_seconds * 1000, offset);
        (moment.weekday, moment.time.to_string())
    }

    #[test]
    fn a_moment_is_what_the_clock_shows() {
        // `date -u -d @1795510800`: Tue 24 Nov 2026 09:00:00
        assert_eq!(shown(1_795_510_800, "+00:00"), (Weekday::Tue, "09:00".into()));
        assert_eq!(shown(1_795_510_800, "+15:00"), (Weekday::Wed, "00:00".into()));
        assert_eq!(shown(1_795_510_800, "-09:01"), (Weekday::Mon, "23:59".into()));
        assert_eq!(shown(0, "+00:00"), (Weekday::Thu, "00:00".into()));
    }

    #[test]
    fn times_are_written_in_one_way() {
        let time = |text: &str| text.parse::<TimeOfDay>().expect(text);
        assert!(time("07:59") < time("08:00"));
        assert!(time("08:00") < time("24:00"));
        for text in ["8:00", "24:01", "08:60", "0800", "08:00:00", "", "+8:00", "-1:00"] {
            assert!(text.parse::<TimeOfDay>().is_err(), "{text}");
        }
        for text in ["01:00", "+1:00", "+24:00", "", "+", "ä01:00", "Z"] {
            assert!(text.parse::<UtcOffset>().is_err(), "{text}");
        }
    }
}

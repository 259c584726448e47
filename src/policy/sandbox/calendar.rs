//! Local time for guests, in a zone of the time-zone database.
//!
//! The database is the system's, or the one in this program if the system has none.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::policy::contract::newest::calendar::{CalendarError, LocalTime};

/// What clocks show in `zone`, so many milliseconds after 1970 began in UTC.
///
/// # Errors
/// If the database has no such zone, or the moment is after the year 9999.
pub(super) fn local(unix_ms: u64, zone: &str) -> Result<LocalTime, CalendarError> {
    let out_of_range = |_| CalendarError::OutOfRange;
    let unix_ms = i64::try_from(unix_ms).map_err(|_| CalendarError::OutOfRange)?;
    let now = Timestamp::from_millisecond(unix_ms).map_err(out_of_range)?;
    let zone = named(zone).ok_or(CalendarError::UnknownZone)?;
    let there = now.to_zoned(zone);
    let small = |number: i8| u8::try_from(number).unwrap_or(0);
    Ok(LocalTime {
        year: i32::from(there.year()),
        month: small(there.month()),
        day: small(there.day()),
        hour: small(there.hour()),
        minute: small(there.minute()),
        second: small(there.second()),
        weekday: small(there.weekday().to_monday_one_offset()),
        utc_offset: there.offset().seconds(),
    })
}

/// A zone by its name, and by nothing else: a POSIX rule or a fixed offset is no name.
fn named(zone: &str) -> Option<TimeZone> {
    let sensible = zone.len() <= LONGEST && zone.is_ascii() && !zone.is_empty();
    let found = sensible.then(|| TimeZone::get(zone).ok())??;
    // `Etc/Unknown` stands for a zone that is not known.
    (!found.is_unknown()).then_some(found)
}

/// As in `2026-11-27T23:05:00+01:00, weekday 5`, for the author of a policy.
pub(super) fn text(time: &LocalTime) -> String {
    let LocalTime {
        year,
        month,
        day,
        hour,
        minute,
        second,
        weekday,
        utc_offset,
    } = time;
    let sign = if *utc_offset < 0 { '-' } else { '+' };
    let minutes = utc_offset.unsigned_abs() / 60;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    format!(
        "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{sign}{hours:02}:{minutes:02}, weekday {weekday}"
    )
}

/// The longest name of the database has 32 characters.
const LONGEST: usize = 64;

#[cfg(test)]
mod tests {
    use super::{CalendarError, local, text};

    fn shown(unix_ms: u64, zone: &str) -> String {
        match local(unix_ms, zone) {
            Ok(time) => text(&time),
            Err(CalendarError::UnknownZone) => "unknown-zone".to_owned(),
            Err(CalendarError::OutOfRange) => "out-of-range".to_owned(),
            Err(CalendarError::OverBudget) => "over-budget".to_owned(),
        }
    }

    #[test]
    fn a_zone_has_its_own_time() {
        #[rustfmt::skip]
        let table = [
            // milliseconds        zone                    what clocks show
            (0,                    "UTC",                  "1970-01-01T00:00:00+00:00, weekday 4"),
            (1_782_907_200_000,    "Europe/Berlin",        "2026-07-01T14:00:00+02:00, weekday 3"),
            (1_767_268_800_000,    "Europe/Berlin",        "2026-01-01T13:00:00+01:00, weekday 4"),
            // The hour that is shown twice, and the one that is left out.
            (1_792_886_400_000,    "Europe/Berlin",        "2026-10-25T02:00:00+02:00, weekday 7"),
            (1_792_890_000_000,    "Europe/Berlin",        "2026-10-25T02:00:00+01:00, weekday 7"),
            (1_774_746_000_000,    "Europe/Berlin",        "2026-03-29T03:00:00+02:00, weekday 7"),
            (1_782_907_200_999,    "Asia/Kathmandu",       "2026-07-01T17:45:00+05:45, weekday 3"),
            (1_782_907_200_000,    "America/St_Johns",     "2026-07-01T09:30:00-02:30, weekday 3"),
            (1_782_907_200_000,    "Pacific/Kiritimati",   "2026-07-02T02:00:00+14:00, weekday 4"),
            (0,                    "",                     "unknown-zone"),
            (0,                    "Mars/Olympus",         "unknown-zone"),
            (0,                    "Etc/Unknown",          "unknown-zone"),
            (0,                    "+02:00",               "unknown-zone"),
            (0,                    "EST5EDT,M3.2.0,M11.1.0", "unknown-zone"),
            (0,                    "../../etc/passwd",     "unknown-zone"),
            (0,                    "Europe/Berlin\0",      "unknown-zone"),
            (253_402_207_200_000,  "UTC",                  "9999-12-30T22:00:00+00:00, weekday 4"),
            (u64::MAX,             "UTC",                  "out-of-range"),
            (1 << 62,              "UTC",                  "out-of-range"),
        ];
        for (unix_ms, zone, expected) in table {
            assert_eq!(shown(unix_ms, zone), expected, "{unix_ms} {zone}");
        }
    }
}

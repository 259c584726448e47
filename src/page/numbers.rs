//! Numbers as people read them: three digits and a unit.

use std::time::Duration;

/// So many in a second.
pub(super) fn rate(value: f64) -> String {
    format!("{}/s", count(value))
}

/// Bytes in a second.
pub(super) fn bytes(value: f64) -> String {
    // There is no part of a byte.
    let value = if value < 999.5 { value.round() } else { value };
    let (value, unit) = scaled(value, &["B", "kB", "MB", "GB", "TB"]);
    format!("{}\u{a0}{unit}/s", digits(value))
}

/// A number of things.
pub(super) fn count(value: f64) -> String {
    let (value, unit) = scaled(value, &["", "k", "M", "G", "T"]);
    format!("{}{unit}", digits(value))
}

/// Seconds.
pub(super) fn time(seconds: f64) -> String {
    let (value, unit) = match seconds {
        seconds if seconds <= 0.0 => return "0".to_owned(),
        seconds if seconds < 999.5e-6 => (seconds * 1e6, "µs"),
        seconds if seconds < 999.5e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds, "s"),
    };
    format!("{}\u{a0}{unit}", digits(value))
}

/// How long something takes, if it does.
pub(super) fn maybe(time_taken: Option<Duration>) -> String {
    time_taken.map_or_else(|| NONE.to_owned(), |taken| time(taken.as_secs_f64()))
}

/// How long something has lasted.
pub(super) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

/// The least of 1, 2 and 5 times a power of ten that is not below.
pub(super) fn ceiling(value: f64) -> f64 {
    if !value.is_finite() || value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let fits = steps.into_iter().find(|step| *step >= value * 0.999_999);
    fits.unwrap_or(power * 10.0)
}

fn scaled<'a>(mut value: f64, units: &[&'a str]) -> (f64, &'a str) {
    let mut units = units.iter().copied();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    (value, unit)
}

/// Whole numbers stay whole.
fn digits(value: f64) -> String {
    let text = match value {
        value if value >= 99.95 => return format!("{value:.0}"),
        value if value >= 9.995 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Where there is no number.
pub(super) const NONE: &str = "–";

//! Amounts as people write them: `1h30m`, `64MiB`, and the digits of a digest.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

/// Why a text is not an amount.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum NotAnAmount {
    #[error("has no number")]
    NoNumber,
    #[error("has no unit: {0}")]
    NoUnit(&'static str),
    #[error("has the unknown unit `{unit}`: {allowed}")]
    UnknownUnit { unit: String, allowed: &'static str },
    #[error("repeats a unit or has a smaller unit first: write the largest first, as in 1h30m")]
    OutOfOrder,
    #[error("is too large")]
    TooLarge,
}

/// Reads one or more numbers, each with a unit, the largest unit first: `50ms`, `30s`, `1h30m`. `0` needs no unit.
pub(crate) fn duration(text: &str) -> Result<Duration, NotAnAmount> {
    if text.trim() == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total = 0_u64;
    let mut last = u64::MAX;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(NotAnAmount::NoNumber);
    }
    while !rest.is_empty() {
        let (number, unit, after) = first_amount(rest)?;
        let millis = scale(unit, DURATION_UNITS, "use ms, s, m, h or d")?;
        if millis >= last {
            return Err(NotAnAmount::OutOfOrder);
        }
        last = millis;
        let part = number.checked_mul(millis).ok_or(NotAnAmount::TooLarge)?;
        total = total.checked_add(part).ok_or(NotAnAmount::TooLarge)?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// Reads a number of bytes with a binary unit: `512KiB`, `64 MiB`.
pub(super) fn size(text: &str) -> Result<u64, NotAnAmount> {
    let (number, unit, after) = first_amount(text.trim())?;
    if !after.is_empty() {
        return Err(NotAnAmount::UnknownUnit {
            unit: format!("{unit} {after}").escape_debug().to_string(),
            allowed: SIZES,
        });
    }
    number
        .checked_mul(scale(unit, SIZE_UNITS, SIZES)?)
        .ok_or(NotAnAmount::TooLarge)
}

/// Reads 64 hexadecimal digits.
pub(super) fn sha256(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 {
        return None;
    }
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok()))
        .collect();
    let bytes: Vec<u8> = digits?
        .chunks_exact(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
        .collect();
    bytes.try_into().ok()
}

/// A duration as it would be written in the file.
pub(super) struct ShowDuration(pub(super) Duration);

impl fmt::Display for ShowDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        show(millis, DURATION_UNITS, f)
    }
}

/// A number of bytes as it would be written in the file.
pub(super) struct ShowSize(pub(super) u64);

impl fmt::Display for ShowSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(self.0, SIZE_UNITS, f)
    }
}

/// Splits `1h30m` into 1, `h` and `30m`.
fn first_amount(text: &str) -> Result<(u64, &str, &str), NotAnAmount> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    if number.is_empty() {
        return Err(NotAnAmount::NoNumber);
    }
    let rest = rest.trim_start();
    let letters = rest
        .find(|c: char| c.is_ascii_digit() || c.is_whitespace())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(letters);
    let number = number.parse().map_err(|_| NotAnAmount::TooLarge)?;
    Ok((number, unit, after.trim_start()))
}

fn scale(unit: &str, units: &[(&str, u64)], allowed: &'static str) -> Result<u64, NotAnAmount> {
    if unit.is_empty() {
        return Err(NotAnAmount::NoUnit(allowed));
    }
    let known = units.iter().find(|(name, _)| *name == unit);
    known.map(|(_, scale)| *scale).ok_or_else(|| NotAnAmount::UnknownUnit {
        unit: unit.escape_debug().to_string(),
        allowed,
    })
}

/// Writes an amount in the largest unit that divides it.
fn show(amount: u64, units: &[(&str, u64)], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let fitting = units
        .iter()
        .find(|(_, scale)| amount > 0 && amount.is_multiple_of(*scale));
    match fitting {
        Some((name, scale)) => write!(f, "{}{name}", amount / scale),
        None => write!(f, "{amount}"),
    }
}

/// Largest first, in milliseconds.
const DURATION_UNITS: &[(&str, u64)] = &[
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Largest first, in bytes. Powers of ten are left out: `MB` means one thing on a disk and another in memory.
const SIZE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
];

const SIZES: &str = "use B, KiB, MiB, GiB or TiB";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_units_and_add_up() {
        for (text, millis) in [
            ("0", 0),
            ("50ms", 50),
            ("30s", 30_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            (" 1h 30m ", 5_400_000),
            ("2d", 172_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_says_why() {
        for (text, message) in [
            ("", "has no number"),
            ("s", "has no number"),
            ("-5s", "has no number"),
            ("30", "has no unit: use ms, s, m, h or d"),
            ("1h30", "has no unit: use ms, s, m, h or d"),
            ("5 minutes", "has the unknown unit `minutes`: use ms, s, m, h or d"),
            ("1.5s", "has the unknown unit `.`: use ms, s, m, h or d"),
            (
                "30m1h",
                "repeats a unit or has a smaller unit first: write the largest first, as in 1h30m",
            ),
            (
                "1s1s",
                "repeats a unit or has a smaller unit first: write the largest first, as in 1h30m",
            ),
            ("99999999999999999999s", "is too large"),
            ("9999999999999999d", "is too large"),
        ] {
            assert_eq!(
                duration(text).map_err(|error| error.to_string()),
                Err(message.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn sizes_are_binary() {
        for (text, bytes) in [
            ("64MiB", 64 << 20),
            ("16 MiB", 16 << 20),
            ("1GiB", 1 << 30),
            ("512KiB", 512 << 10),
            ("7B", 7),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["64MB", "64", "MiB", "1MiB 1KiB", "99999999999TiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_digest_is_64_hexadecimal_digits() {
        assert_eq!(
            sha256(&"0aF0".repeat(16)).map(|bytes| (bytes[0], bytes[1], bytes[31])),
            Some((0x0a, 0xf0, 0xf0))
        );
        assert_eq!(sha256(&"0".repeat(63)), None);
        assert_eq!(sha256(&"g".repeat(64)), None);
        assert_eq!(sha256(&"é".repeat(32)), None);
    }

    #[test]
    fn amounts_are_shown_as_they_are_written() {
        for (millis, text) in [
            (0, "0"),
            (1, "1ms"),
            (1_500, "1500ms"),
            (60_000, "1m"),
            (31_536_000_000, "365d"),
        ] {
            assert_eq!(ShowDuration(Duration::from_millis(millis)).to_string(), text);
        }
        for (bytes, text) in [
            (0, "0"),
            (1, "1B"),
            (1 << 20, "1MiB"),
            (4 << 30, "4GiB"),
            (1025, "1025B"),
        ] {
            assert_eq!(ShowSize(bytes).to_string(), text);
        }
    }
}

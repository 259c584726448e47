//! Rates from byte counts that are asked for again and again, and how people read numbers of bytes.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Bytes in the largest binary unit of which there is at least one.
pub(crate) fn size(bytes: u64) -> String {
    let mut size = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    match unit {
        "B" => format!("{bytes} B"),
        _ => format!("{size:.1} {unit}"),
    }
}

/// Bytes from the client and to it.
pub(crate) type Both = (u64, u64);

/// What was counted last, and the last minute.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    last: Option<Counted>,
    total: Option<Both>,
    minute: VecDeque<u64>,
}

#[derive(Debug)]
struct Counted {
    /// Since any moment.
    at: Duration,
    bytes: HashMap<String, Both>,
}

impl Rates {
    /// Takes the bytes of all sessions, counted at a time; returns the rate of each. There are none for the first count.
    pub(crate) fn count(&mut self, at: Duration, bytes: HashMap<String, Both>) -> HashMap<String, Both> {
        let last = self.last.replace(Counted { at, bytes });
        let (Some(last), Some(now)) = (last, &self.last) else {
            return HashMap::new();
        };
        let passed = at.saturating_sub(last.at).max(SHORTEST);
        let rate = |new: u64, old: u64| (new.saturating_sub(old) as f64 / passed.as_secs_f64()) as u64;
        let of = |(id, new): (&String, &Both)| {
            // A session that was not there has carried all of its bytes since.
            let old = last.bytes.get(id).copied().unwrap_or_default();
            (id.clone(), (rate(new.0, old.0), rate(new.1, old.1)))
        };
        let rates: HashMap<_, _> = now.bytes.iter().map(of).collect();
        let total = rates
            .values()
            .fold((0, 0), |sum, rate| (sum.0 + rate.0, sum.1 + rate.1));
        self.total = Some(total);
        self.remember(total.0 + total.1, passed);
        rates
    }

    /// Up and down, of all sessions.
    pub(crate) fn total(&self) -> Option<Both> {
        self.total
    }

    /// The last minute, a bar for a second, as far as there is room: the newest on the right.
    pub(crate) fn bars(&self, room: usize) -> String {
        let skipped = self.minute.len().saturating_sub(room);
        let most = self.minute.iter().copied().max().unwrap_or(0);
        self.minute.iter().skip(skipped).map(|rate| bar(*rate, most)).collect()
    }

    /// If seconds were left out, all of them had this rate.
    fn remember(&mut self, rate: u64, passed: Duration) {
        let seconds = (passed.as_secs_f64().round() as usize).clamp(1, MINUTE);
        self.minute.extend(std::iter::repeat_n(rate, seconds));
        let surplus = self.minute.len().saturating_sub(MINUTE);
        self.minute.drain(..surplus);
    }
}

/// Only nothing has the lowest bar.
fn bar(rate: u64, most: u64) -> char {
    let level = match (rate, most) {
        (0, _) | (_, 0) => 0,
        _ => (rate as f64 / most as f64 * (BARS.len() - 1) as f64).ceil() as usize,
    };
    BARS.get(level).copied().unwrap_or('█')
}

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Bars that are kept, one for a second.
const MINUTE: usize = 60;
/// Two counts that come closer have no meaning as a rate.
const SHORTEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(rates: &mut Rates, second: u64, bytes: &[(&str, Both)]) -> Vec<(String, Both)> {
        let bytes = bytes.iter().map(|(id, bytes)| ((*id).to_owned(), *bytes)).collect();
        let mut found: Vec<_> = rates.count(Duration::from_secs(second), bytes).into_iter().collect();
        found.sort();
        found
    }

    #[test]
    fn a_rate_is_what_was_added_in_a_second() {
        let mut rates = Rates::default();
        type Step = (
            &'static str,
            u64,
            &'static [(&'static str, Both)],
            Option<Both>,
            &'static [Both],
        );
        #[rustfmt::skip]
        let table: [Step; 6] = [
            ("the first count",     1, &[("a", (500, 50))],                  None,            &[]),
            ("a second later",      2, &[("a", (700, 50))],                  Some((200, 0)),  &[(200, 0)]),
            ("a new session",       3, &[("a", (700, 60)), ("b", (30, 9))],  Some((30, 19)),  &[(0, 10), (30, 9)]),
            ("after a gap of four", 7, &[("a", (1100, 60)), ("b", (30, 9))], Some((100, 0)),  &[(100, 0), (0, 0)]),
            ("one has ended",       8, &[("b", (31, 9))],                    Some((1, 0)),    &[(1, 0)]),
            ("it begins again",     9, &[("b", (0, 0))],                     Some((0, 0)),    &[(0, 0)]),
        ];
        for (step, second, bytes, total, each) in table {
            let found = counted(&mut rates, second, bytes);
            let found: Vec<_> = found.into_iter().map(|(_, rate)| rate).collect();
            assert_eq!((rates.total(), found.as_slice()), (total, each), "{step}");
        }
        assert_eq!(rates.bars(60), "█▃▅▅▅▅▂▁");
    }

    #[test]
    fn a_minute_is_kept_and_its_end_is_shown() {
        let mut rates = Rates::default();
        for (second, sent) in (0..100).zip(0..) {
            counted(&mut rates, second, &[("a", (sent * 10, 0))]);
        }
        assert_eq!(rates.bars(200), "█".repeat(60));
        assert_eq!(rates.bars(5), "█".repeat(5));
        counted(&mut rates, 400, &[("a", (990, 0))]);
        assert_eq!(rates.bars(200), "▁".repeat(60), "a gap longer than a minute");
    }

    #[test]
    fn a_bar_is_as_high_as_its_share() {
        for (rate, most, shown) in [
            (0, 0, '▁'),
            (0, 9, '▁'),
            (1, 1000, '▂'),
            (500, 1000, '▅'),
            (1000, 1000, '█'),
        ] {
            assert_eq!(bar(rate, most), shown, "{rate} of {most}");
        }
    }
}

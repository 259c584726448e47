//! How long decisions took: a histogram of fixed size, and its quantiles.

use std::time::Duration;

/// How many decisions took how long.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Times([u32; BOUNDS.len() + 1]);

impl Times {
    /// Counts one.
    pub(super) fn observe(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.0.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
    }

    /// Adds those of another time.
    pub(super) fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(other.0) {
            *count = count.saturating_add(more);
        }
    }

    /// The time that this part of the decisions did not exceed, interpolated within a bucket as Prometheus does. None without a
    /// decision. What is above the last bound is given as that bound.
    pub(super) fn quantile(&self, part: f64) -> Option<Duration> {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        if all == 0 {
            return None;
        }
        let rank = part * all as f64;
        let (mut below, mut lower) = (0.0, 0.0);
        for (count, bound) in self.0.iter().zip(BOUNDS) {
            let (count, upper) = (f64::from(*count), bound as f64);
            if count > 0.0 && below + count >= rank {
                let micros = lower + (upper - lower) * ((rank - below) / count);
                return Some(Duration::from_secs_f64(micros / 1e6));
            }
            below += count;
            lower = upper;
        }
        Some(Duration::from_secs_f64(lower / 1e6))
    }
}

/// Upper bounds in microseconds. Compiled policies take tens of microseconds, Python and JavaScript milliseconds, and a lookup of
/// names up to 20 seconds.
const BOUNDS: [u64; 20] = [
    10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000,
    2_000_000, 5_000_000, 10_000_000, 20_000_000,
];

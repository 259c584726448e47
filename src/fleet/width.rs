//! How many users a gateway writes at once.

use std::time::Duration;

/// How many users are written at once: fewer while Redis is slow, because all gateways of a large fleet may write at the same time, as
/// after a restart of Redis. What they all ask at once must not take longer than what decisions and probes wait for.
pub(super) struct Width(usize);

impl Default for Width {
    fn default() -> Self {
        Self(FEW_AT_ONCE)
    }
}

impl Width {
    /// How many users are written at once now.
    pub(super) fn users(&self) -> usize {
        self.0
    }

    /// So many took so long.
    pub(super) fn took(&mut self, time: Duration) {
        if time > SLOW {
            self.0 = (self.0 / 2).max(1);
        } else if time < SWIFT {
            self.0 = (self.0 * 2).min(MOST_AT_ONCE);
        }
    }
}

/// Users that are written at once: to begin with, and under the bound on calls that wait.
const FEW_AT_ONCE: usize = 4;
const MOST_AT_ONCE: usize = 64;
/// When more are written at once, and when fewer.
const SWIFT: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_server_is_asked_one_at_a_time_and_a_quick_one_many() {
        let mut width = Width::default();
        let after = |width: &mut Width, time: Duration| {
            (0..20).for_each(|_| width.took(time));
            width.0
        };
        assert_eq!(after(&mut width, SLOW * 2), 1);
        assert_eq!(after(&mut width, (SWIFT + SLOW) / 2), 1);
        assert_eq!(after(&mut width, SWIFT / 2), MOST_AT_ONCE);
        assert_eq!(after(&mut width, SLOW * 50), 1);
    }
}

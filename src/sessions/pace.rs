//! How fast something may go on, after a first rush of it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many at once, and so many each second after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed {
    /// At once; at least one.
    pub at_once: u32,
    /// Each second; at least one.
    pub each_second: u32,
}

/// Gives turns at a speed.
pub struct Pace {
    /// When all turns that were given are used up.
    used_up: Mutex<Instant>,
}

impl Default for Pace {
    /// Nothing is used up.
    fn default() -> Self {
        Self {
            used_up: Mutex::new(Instant::now()),
        }
    }
}

impl Pace {
    /// How long the next one has to wait for its turn at this speed; none where that is longer than `most`, and then it takes no
    /// turn.
    pub fn turn(&self, now: Instant, most: Duration, speed: Speed) -> Option<Duration> {
        let step = Duration::from_secs(1) / speed.each_second.max(1);
        let rush = step * speed.at_once.max(1);
        let mut used_up = self.used_up.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*used_up).max(now) + step;
        let wait = next.saturating_duration_since(now).saturating_sub(rush);
        if wait > most {
            return None;
        }
        *used_up = next;
        Some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_rush_each_waits_for_its_turn() {
        let pace = Pace::default();
        let speed = Speed {
            at_once: 10,
            each_second: 100,
        };
        let now = Instant::now();
        let most = Duration::from_millis(50);
        for _ in 0..10 {
            assert_eq!(pace.turn(now, most, speed), Some(Duration::ZERO));
        }
        for number in 1..=5 {
            assert_eq!(pace.turn(now, most, speed), Some(Duration::from_millis(10 * number)));
        }
        assert_eq!(pace.turn(now, most, speed), None, "more would wait than may");
        assert_eq!(pace.turn(now, most, speed), None, "and those took no turn");
        let later = now + Duration::from_millis(20);
        assert_eq!(pace.turn(later, most, speed), Some(Duration::from_millis(40)));
        let much_later = now + Duration::from_secs(10);
        for _ in 0..10 {
            assert_eq!(pace.turn(much_later, most, speed), Some(Duration::ZERO));
        }
        assert_eq!(pace.turn(much_later, most, speed), Some(Duration::from_millis(10)));
    }
}

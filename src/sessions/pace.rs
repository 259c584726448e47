//! How fast something may go on, after a first rush of it.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many at once, and so many each second after that.
pub struct Pace {
    step: Duration,
    rush: Duration,
    /// When all turns that were given are used up.
    used_up: Mutex<Instant>,
}

impl Pace {
    /// A pace of which nothing is used up.
    #[must_use]
    pub fn new(at_once: u32, each_second: u32) -> Self {
        let step = Duration::from_secs(1) / each_second.max(1);
        Self {
            step,
            rush: step * at_once,
            used_up: Mutex::new(Instant::now()),
        }
    }

    /// How long the next one has to wait for its turn; none where that is longer than `most`, and then it takes no turn.
    pub fn turn(&self, now: Instant, most: Duration) -> Option<Duration> {
        let mut used_up = self.used_up.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*used_up).max(now) + self.step;
        let wait = next.saturating_duration_since(now).saturating_sub(self.rush);
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
        let pace = Pace::new(10, 100);
        let now = Instant::now();
        let most = Duration::from_millis(50);
        for _ in 0..10 {
            assert_eq!(pace.turn(now, most), Some(Duration::ZERO));
        }
        for number in 1..=5 {
            assert_eq!(pace.turn(now, most), Some(Duration::from_millis(10 * number)));
        }
        assert_eq!(pace.turn(now, most), None, "more would wait than may");
        assert_eq!(pace.turn(now, most), None, "and those took no turn");
        let later = now + Duration::from_millis(20);
        assert_eq!(pace.turn(later, most), Some(Duration::from_millis(40)));
        let much_later = now + Duration::from_secs(10);
        for _ in 0..10 {
            assert_eq!(pace.turn(much_later, most), Some(Duration::ZERO));
        }
        assert_eq!(pace.turn(much_later, most), Some(Duration::from_millis(10)));
    }
}

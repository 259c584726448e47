//! Which gateways of the fleet are alive, by their leases, and which have been gone for so long that what they noted can go, too.

use std::collections::{HashMap, HashSet};

/// Which gateways there are.
#[derive(Default)]
pub(super) struct Gateways {
    pub(super) alive: HashSet<String>,
    /// Which list that is, in Redis' words.
    pub(super) list: String,
    /// Those without a lease, with the number of the look at which they were first missed.
    missed: HashMap<String, u64>,
    looks: u64,
}

impl Gateways {
    /// Whether what it noted counts. One that is new since the last look does.
    pub(super) fn is_alive(&mut self, gateway: &str) -> bool {
        if self.alive.contains(gateway) {
            return true;
        }
        if self.missed.len() >= MOST_MISSED {
            self.missed.clear();
        }
        *self.missed.entry(gateway.to_owned()).or_insert(self.looks) == self.looks
    }

    /// Whether it was missed for so long that what it noted can be removed. One that was only cut off has come back before.
    pub(super) fn is_gone(&self, gateway: &str) -> bool {
        let missed = self.missed.get(gateway);
        missed.is_some_and(|missed| self.looks.saturating_sub(*missed) >= 2 * u64::from(ROUNDS))
    }

    /// Those that have a lease now; none if they are the same as before. Where this gateway has lost its own, others may have lost
    /// theirs in the same way: they still count until the next look.
    pub(super) fn look(&mut self, alive: Option<HashSet<String>>, lost: bool) {
        let looks = self.looks;
        self.looks += 1;
        let Some(alive) = alive else {
            return;
        };
        let missed = if lost { self.looks } else { looks };
        let ended: Vec<_> = self.alive.difference(&alive).cloned().collect();
        self.missed.extend(ended.into_iter().map(|gateway| (gateway, missed)));
        self.missed.retain(|gateway, _| !alive.contains(gateway));
        self.alive = alive;
    }
}

/// Rounds of a lease: it is renewed in each. On Redis it is shorter by one round, so that others see its end in time.
pub(super) const ROUNDS: u32 = 6;
/// Gateways without a lease, and users of whom such a gateway noted something.
pub(super) const MOST_MISSED: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> HashSet<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn a_gateway_counts_until_its_lease_is_missed() {
        let mut gateways = Gateways::default();
        assert!(gateways.is_alive("a"), "new since the last look");
        gateways.look(Some(set(&["a", "b"])), true);
        assert!(gateways.is_alive("a") && gateways.is_alive("b"));
        assert!(gateways.is_alive("c"), "new since the last look");
        gateways.look(Some(set(&["a"])), false);
        assert!(gateways.is_alive("a"));
        assert!(!gateways.is_alive("b"), "its lease has ended");
        assert!(!gateways.is_alive("c"), "it never had one");
        gateways.look(Some(set(&["a", "b"])), false);
        assert!(gateways.is_alive("b"), "it is back");
        gateways.look(Some(set(&["a"])), true);
        assert!(gateways.is_alive("b"), "all leases were lost");
        gateways.look(Some(set(&["a"])), false);
        assert!(!gateways.is_alive("b"), "it did not come back");
        assert!(!gateways.is_gone("b"), "it may still");
        for _ in 0..2 * ROUNDS {
            gateways.look(Some(set(&["a"])), false);
        }
        assert!(gateways.is_gone("b") && !gateways.is_gone("a"));
    }
}

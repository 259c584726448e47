//! The last decisions, kept in memory to be asked again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::replay::Heard;

/// The last decisions that policies were asked for, up to a number. A user who asks often does not push out the others: while it
/// is full, whoever has more than a quarter of it loses the oldest of their own.
pub(crate) struct Ring(Mutex<Recent>);

struct Recent {
    most: usize,
    next: u64,
    heard: BTreeMap<u64, Heard>,
    by_user: HashMap<String, VecDeque<u64>>,
}

impl Ring {
    /// One for so many.
    pub(crate) fn new(most: usize) -> Self {
        Self(Mutex::new(Recent {
            most,
            next: 0,
            heard: BTreeMap::new(),
            by_user: HashMap::new(),
        }))
    }

    /// Keeps so many from now on.
    pub(crate) fn resize(&self, most: usize) {
        let mut kept = self.lock();
        kept.most = most;
        while kept.heard.len() > most {
            kept.drop_oldest();
        }
    }

    /// Whether any are kept.
    pub(crate) fn keeps_any(&self) -> bool {
        self.lock().most > 0
    }

    /// Keeps one more.
    pub(crate) fn push(&self, heard: Heard) {
        let mut kept = self.lock();
        if kept.most == 0 {
            return;
        }
        let request = Arc::clone(&heard.request);
        let user = &request.principal.user;
        if kept.heard.len() >= kept.most {
            kept.make_room(user);
        }
        let number = kept.next;
        kept.next += 1;
        kept.heard.insert(number, heard);
        match kept.by_user.get_mut(user) {
            Some(queue) => queue.push_back(number),
            None => drop(kept.by_user.insert(user.clone(), VecDeque::from([number]))),
        }
    }

    /// All of them, the oldest first.
    pub(crate) fn all(&self) -> Vec<Heard> {
        self.lock().heard.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    /// Drops one: of this user, if they have more than their share, or of another who has, or else the oldest.
    fn make_room(&mut self, user: &str) {
        let share = (self.most / 4).max(1);
        let has_more = |queue: &VecDeque<u64>| queue.len() > share;
        if self.by_user.get(user).is_some_and(has_more) {
            return self.drop_of(user);
        }
        // Only four can have more than a quarter; the first look finds the oldest decision's user, who most often is one.
        let oldest = self.heard.values().next().map(|heard| &heard.request.principal.user);
        let oldest = oldest.filter(|user| self.by_user.get(*user).is_some_and(has_more));
        let other = || {
            let found = self.by_user.iter().find(|(_, queue)| has_more(queue));
            found.map(|(user, _)| user)
        };
        match oldest.or_else(other).cloned() {
            Some(user) => self.drop_of(&user),
            None => self.drop_oldest(),
        }
    }

    fn drop_of(&mut self, user: &str) {
        let Some(queue) = self.by_user.get_mut(user) else {
            return;
        };
        if let Some(number) = queue.pop_front() {
            self.heard.remove(&number);
        }
        if queue.is_empty() {
            self.by_user.remove(user);
        }
    }

    fn drop_oldest(&mut self) {
        let oldest = self.heard.values().next();
        if let Some(user) = oldest.map(|heard| heard.request.principal.user.clone()) {
            // The oldest of all is the oldest of its user.
            self.drop_of(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Action, Endpoint, ForwardRequest};

    fn asked(user: &str) -> Heard {
        let target: Endpoint = "a.example:1".parse().unwrap();
        let mut request = ForwardRequest::dry("test", Action::Connect, target);
        Arc::make_mut(&mut request.principal).user = user.to_owned();
        Heard {
            request: Arc::new(request),
            names: Arc::default(),
        }
    }

    fn users(ring: &Ring) -> String {
        ring.all()
            .iter()
            .map(|heard| heard.request.principal.user.clone())
            .collect()
    }

    #[test]
    fn the_last_are_kept_and_nobody_pushes_out_the_others() {
        #[rustfmt::skip]
        let table = [
            // most  who asked               what is left
            (4,      "abcd",                 "abcd"),
            (4,      "abcde",                "bcde"),
            (4,      "aaaaaa",               "aaaa"),
            (8,      "bcdaaaaaaaaaaaaa",     "bcdaaaaa"),
            (8,      "bcdaaaaaaaaaaaaae",    "bcdaaaae"),
            (8,      "aaaaaaaabbbbcc",       "aaabbbcc"),
            (1,      "ab",                   "b"),
            (0,      "ab",                   ""),
        ];
        for (most, who, left) in table {
            let ring = Ring::new(most);
            for user in who.chars() {
                ring.push(asked(&user.to_string()));
            }
            assert_eq!(users(&ring), left, "{who} of at most {most}");
        }
    }

    #[test]
    fn a_ring_that_becomes_smaller_keeps_the_newest() {
        let ring = Ring::new(8);
        for user in "abcdefgh".chars() {
            ring.push(asked(&user.to_string()));
        }
        ring.resize(3);
        assert_eq!(users(&ring), "fgh");
        ring.resize(0);
        assert!(!ring.keeps_any() && ring.all().is_empty());
    }
}

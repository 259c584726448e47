//! What name servers answered, kept for a while in bounded memory that users share fairly.
//!
//! Each name is on the account of the user whose look-up brought it in. When the cache is full, the user with the most names loses
//! the one that was used least recently. So a user who asks for many names loses names of their own, and others lose none while
//! they hold fewer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use super::NameError;

/// The addresses of a name, or that there is no such name.
pub(super) type Answer = Result<Vec<IpAddr>, NameError>;

/// The names that are kept, by the name as it is asked for: with the dot at its end if it has one.
pub(super) struct Cache {
    most: usize,
    entries: HashMap<Arc<str>, Entry>,
    owners: HashMap<Arc<str>, Names>,
    /// Every owner, after how many names they have.
    by_number: BTreeSet<(usize, Arc<str>)>,
    /// Counts uses.
    clock: u64,
}

/// The names of one owner, the one that was used least recently first.
type Names = BTreeMap<u64, Arc<str>>;

struct Entry {
    answer: Answer,
    until: Instant,
    owner: Arc<str>,
    used: u64,
}

impl Cache {
    /// Room for so many names.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            entries: HashMap::new(),
            owners: HashMap::new(),
            by_number: BTreeSet::new(),
            clock: 0,
        }
    }

    /// The answer for a name, if it still holds.
    pub(super) fn find(&mut self, name: &str, now: Instant) -> Option<Answer> {
        self.clock += 1;
        let entry = self.entries.get_mut(name)?;
        if entry.until <= now {
            self.remove(name);
            return None;
        }
        if let Some(names) = self.owners.get_mut(&entry.owner)
            && let Some(name) = names.remove(&entry.used)
        {
            entry.used = self.clock;
            names.insert(entry.used, name);
        }
        Some(entry.answer.clone())
    }

    /// Keeps an answer until then, on the account of this user.
    pub(super) fn keep(&mut self, name: &str, user: &str, answer: Answer, until: Instant) {
        self.remove(name);
        if self.most == 0 {
            return;
        }
        while self.entries.len() >= self.most {
            self.make_room();
        }
        self.clock += 1;
        let (name, owner): (Arc<str>, Arc<str>) = (name.into(), user.into());
        let entry = Entry {
            answer,
            until,
            owner: Arc::clone(&owner),
            used: self.clock,
        };
        self.entries.insert(Arc::clone(&name), entry);
        let used = self.clock;
        self.change(&owner, |names| _ = names.insert(used, name));
    }

    fn make_room(&mut self) {
        let most = self.by_number.last().and_then(|(_, owner)| self.owners.get(owner));
        let oldest = most.and_then(|names| names.first_key_value());
        let Some(name) = oldest.map(|(_, name)| Arc::clone(name)) else {
            // Every name has an owner.
            self.entries.clear();
            return;
        };
        self.remove(&name);
    }

    fn remove(&mut self, name: &str) {
        if let Some(entry) = self.entries.remove(name) {
            self.change(&entry.owner, |names| _ = names.remove(&entry.used));
        }
    }

    fn change(&mut self, owner: &Arc<str>, change: impl FnOnce(&mut Names)) {
        let names = self.owners.entry(Arc::clone(owner)).or_default();
        self.by_number.remove(&(names.len(), Arc::clone(owner)));
        change(names);
        match names.len() {
            0 => _ = self.owners.remove(owner),
            number => _ = self.by_number.insert((number, Arc::clone(owner))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use super::*;

    fn address(last: u8) -> Answer {
        Ok(vec![Ipv4Addr::new(192, 0, 2, last).into()])
    }

    fn consistent(cache: &Cache) {
        let owned: usize = cache.owners.values().map(BTreeMap::len).sum();
        assert_eq!(owned, cache.entries.len());
        assert_eq!(cache.owners.len(), cache.by_number.len());
        let counted: usize = cache.by_number.iter().map(|(number, _)| number).sum();
        assert_eq!(counted, owned);
    }

    #[test]
    fn an_answer_is_kept_until_its_time_and_under_its_own_spelling() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut cache = Cache::new(10);
        cache.keep("db", "alice", address(1), now + second);
        cache.keep("no", "alice", Err(NameError::NoSuchName), now + 2 * second);
        #[rustfmt::skip]
        let table = [
            // name  after  answer
            ("db",   0,     Some(address(1))),
            ("db.",  0,     None), // with the dot it may be another name
            ("no",   1,     Some(Err(NameError::NoSuchName))),
            ("db",   1,     None),
            ("no",   2,     None),
        ];
        for (name, after, answer) in table {
            assert_eq!(cache.find(name, now + after * second), answer, "{name} after {after} s");
        }
        assert!(cache.entries.is_empty());
        consistent(&cache);
    }

    #[test]
    fn a_full_cache_forgets_what_was_used_least_recently() {
        let now = Instant::now();
        let until = now + Duration::from_secs(1);
        let mut cache = Cache::new(3);
        for (name, last) in [("a", 1), ("b", 2), ("c", 3)] {
            cache.keep(name, "alice", address(last), until);
        }
        assert!(cache.find("a", now).is_some());
        cache.keep("d", "alice", address(4), until);
        let kept = ["a", "b", "c", "d"].map(|name| cache.find(name, now).is_some());
        assert_eq!(kept, [true, false, true, true]);
        cache.keep("d", "bob", address(5), until);
        assert_eq!(cache.find("d", now), Some(address(5)), "the newer answer counts");
        assert_eq!(cache.entries.len(), 3);
        consistent(&cache);
    }

    #[test]
    fn a_user_who_asks_for_many_names_pushes_out_only_their_own() {
        let now = Instant::now();
        let until = now + Duration::from_secs(1);
        let mut cache = Cache::new(100);
        for number in 0..30 {
            cache.keep(&format!("honest-{number}"), "honest", address(1), until);
        }
        for number in 0..10_000 {
            cache.keep(&format!("n{number}"), "hostile", address(2), until);
            assert!(cache.entries.len() <= 100);
        }
        for number in 0..30 {
            assert!(cache.find(&format!("honest-{number}"), now).is_some(), "{number}");
        }
        // Others still find room.
        for number in 0..50 {
            cache.keep(&format!("late-{number}"), "late", address(3), until);
        }
        let kept = (0..50).filter(|number| cache.find(&format!("late-{number}"), now).is_some());
        assert!(kept.count() >= 30);
        consistent(&cache);
    }

    #[test]
    fn nothing_is_kept_without_room() {
        let now = Instant::now();
        let mut cache = Cache::new(0);
        cache.keep("db", "alice", address(1), now + Duration::from_secs(1));
        assert_eq!(cache.find("db", now), None);
        consistent(&cache);
    }
}

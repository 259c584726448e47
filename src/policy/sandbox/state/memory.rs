//! The state of policies, in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;

use super::{MAX_BYTES, MAX_ENTRIES, MAX_KEY, MAX_VALUE, Remembers, StateError};

/// The `state` interface: small values and counters that outlive an instance and a swap.
///
/// It is kept in memory, in one namespace for each policy name, and bounded: a policy that stores too much is told so and takes
/// nothing from another one, neither room nor time. Each namespace has a lock of its own, and no call scans one: what has ended
/// is found by its time, and a call removes a bounded part of it.
#[derive(Default)]
pub(in crate::policy) struct State {
    spaces: Mutex<HashMap<String, Arc<Mutex<Space>>>>,
}

#[derive(Default)]
struct Space {
    entries: HashMap<Key, Entry>,
    /// Every entry by its end; the number tells entries apart that end at once.
    ends: BTreeMap<(Instant, u64), Key>,
    bytes: usize,
    next: u64,
}

/// Values and counters are apart: a value and a counter may have the same name.
type Key = (Kind, Arc<str>);

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Value,
    Counter,
}

struct Entry {
    held: Stored,
    ends: (Instant, u64),
}

enum Stored {
    Bytes(Vec<u8>),
    Sum(i64),
}

impl State {
    pub(in crate::policy) fn get(&self, space: &str, key: &str, now: Instant) -> Option<Vec<u8>> {
        let space = self.space(space);
        let space = lock(&space);
        let entry = space.entries.get(&(Kind::Value, key.into()))?;
        match &entry.held {
            Stored::Bytes(bytes) if entry.ends.0 > now => Some(bytes.clone()),
            _ => None,
        }
    }

    /// Stores a value for `ttl`; a `ttl` of zero removes it. A value that does not fit leaves what was there.
    pub(in crate::policy) fn put(
        &self,
        space: &str,
        key: String,
        bytes: Vec<u8>,
        ttl: Duration,
        now: Instant,
    ) -> Result<(), StateError> {
        if key.len() > MAX_KEY || bytes.len() > MAX_VALUE {
            return Err(StateError::TooLarge);
        }
        let space = self.space(space);
        let mut space = lock(&space);
        let key = (Kind::Value, key.into());
        if ttl.is_zero() {
            space.remove(&key);
            return Ok(());
        }
        space.insert(key, Stored::Bytes(bytes), now + ttl, now)
    }

    /// Adds to a counter whose window begins with the first addition, and answers the new sum.
    pub(in crate::policy) fn add(
        &self,
        space: &str,
        key: String,
        delta: i64,
        window: Duration,
        now: Instant,
    ) -> Result<i64, StateError> {
        if key.len() > MAX_KEY {
            return Err(StateError::TooLarge);
        }
        let space = self.space(space);
        let mut space = lock(&space);
        let key = (Kind::Counter, key.into());
        if let Some(Entry {
            held: Stored::Sum(sum),
            ends,
        }) = space.entries.get_mut(&key)
            && ends.0 > now
        {
            *sum = sum.saturating_add(delta);
            return Ok(*sum);
        }
        space.insert(key, Stored::Sum(delta), now + window, now)?;
        Ok(delta)
    }

    fn space(&self, name: &str) -> Arc<Mutex<Space>> {
        let mut spaces = lock(&self.spaces);
        if let Some(space) = spaces.get(name) {
            return Arc::clone(space);
        }
        let space = Arc::default();
        spaces.insert(name.to_owned(), Arc::clone(&space));
        space
    }
}

impl Remembers for State {
    fn get<'a>(
        &'a self,
        space: &'a str,
        key: String,
        now: Instant,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, StateError>> {
        Box::pin(async move { Ok(self.get(space, &key, now)) })
    }

    fn put<'a>(
        &'a self,
        space: &'a str,
        key: String,
        bytes: Vec<u8>,
        ttl: Duration,
        now: Instant,
    ) -> BoxFuture<'a, Result<(), StateError>> {
        Box::pin(async move { self.put(space, key, bytes, ttl, now) })
    }

    fn add<'a>(
        &'a self,
        space: &'a str,
        key: String,
        delta: i64,
        window: Duration,
        now: Instant,
    ) -> BoxFuture<'a, Result<i64, StateError>> {
        Box::pin(async move { self.add(space, key, delta, window, now) })
    }

    fn is_elsewhere(&self) -> bool {
        false
    }
}

impl Space {
    /// Puts an entry in the place of the one with that key, or says that there is no room for it.
    fn insert(&mut self, key: Key, held: Stored, ends: Instant, now: Instant) -> Result<(), StateError> {
        let size = size(&key, &held);
        let (entries, bytes) = match self.entries.get(&key) {
            Some(old) => (0, size.saturating_sub(self::size(&key, &old.held))),
            None => (1, size),
        };
        self.forget_ended(now, |space| !space.has_room(entries, bytes));
        // What replaces an ended entry of that key needs its whole room if that was just forgotten.
        let (entries, bytes) = if self.entries.contains_key(&key) {
            (entries, bytes)
        } else {
            (1, size)
        };
        if !self.has_room(entries, bytes) {
            return Err(StateError::OverBudget);
        }
        self.remove(&key);
        let ends = (ends, self.next);
        self.next += 1;
        self.bytes += size;
        self.ends.insert(ends, key.clone());
        self.entries.insert(key, Entry { held, ends });
        Ok(())
    }

    fn remove(&mut self, key: &Key) {
        if let Some(old) = self.entries.remove(key) {
            self.ends.remove(&old.ends);
            self.bytes -= size(key, &old.held);
        }
    }

    fn has_room(&self, entries: usize, bytes: usize) -> bool {
        self.entries.len() + entries <= MAX_ENTRIES && self.bytes + bytes <= MAX_BYTES
    }

    /// Removes a few entries that have ended, and more while `wanted` says so.
    fn forget_ended(&mut self, now: Instant, wanted: impl Fn(&Self) -> bool) {
        for removed in 0..MOST_REMOVED {
            let ended = self.ends.first_key_value().filter(|((ends, _), _)| *ends <= now);
            let Some((_, key)) = ended.filter(|_| removed < FEW || wanted(self)) else {
                return;
            };
            let key = key.clone();
            self.remove(&key);
        }
    }
}

fn size((_, name): &Key, held: &Stored) -> usize {
    name.len()
        + match held {
            Stored::Bytes(bytes) => bytes.len(),
            Stored::Sum(_) => 0,
        }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ended entries that a call removes in any case: more than it adds, so that few are ever left.
const FEW: usize = 4;
/// And at most, where there is no room otherwise: well under a millisecond.
const MOST_REMOVED: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_value_ends_with_its_ttl() {
        let (state, now) = (State::default(), Instant::now());
        state.put("a", "k".into(), vec![1], MINUTE, now).unwrap();
        assert_eq!(state.get("a", "k", now + MINUTE / 2), Some(vec![1]));
        assert_eq!(state.get("a", "k", now + MINUTE), None);
    }

    #[test]
    fn a_counter_returns_to_zero_when_its_window_ends() {
        let (state, now) = (State::default(), Instant::now());
        assert_eq!(state.add("a", "k".into(), 2, MINUTE, now), Ok(2));
        assert_eq!(state.add("a", "k".into(), 3, MINUTE, now + MINUTE / 2), Ok(5));
        assert_eq!(state.add("a", "k".into(), 1, MINUTE, now + MINUTE), Ok(1));
    }

    #[test]
    fn policies_do_not_see_each_other() {
        let (state, now) = (State::default(), Instant::now());
        state.put("a", "k".into(), vec![1], MINUTE, now).unwrap();
        state.add("a", "k".into(), 7, MINUTE, now).unwrap();
        assert_eq!(state.get("b", "k", now), None);
        assert_eq!(state.add("b", "k".into(), 1, MINUTE, now), Ok(1));
    }

    #[test]
    fn a_full_namespace_refuses_until_something_ends() {
        let (state, now) = (State::default(), Instant::now());
        for index in 0..MAX_BYTES / MAX_VALUE - 1 {
            state
                .put("a", format!("{index:03}"), vec![0; MAX_VALUE], MINUTE, now)
                .unwrap();
        }
        let one_more = |now| state.put("a", "more".into(), vec![0; MAX_VALUE], MINUTE, now);
        assert_eq!(one_more(now), Err(StateError::OverBudget));
        assert_eq!(one_more(now + MINUTE), Ok(()));
        assert_eq!(
            state.put("a", "big".into(), vec![0; MAX_VALUE + 1], MINUTE, now),
            Err(StateError::TooLarge)
        );
    }

    #[test]
    fn a_counter_and_a_value_of_one_name_are_two() {
        let (state, now) = (State::default(), Instant::now());
        state.put("a", "k".into(), vec![1], MINUTE, now).unwrap();
        assert_eq!(state.add("a", "k".into(), 7, MINUTE, now), Ok(7));
        assert_eq!(state.get("a", "k", now), Some(vec![1]));
        state.put("a", "k".into(), Vec::new(), Duration::ZERO, now).unwrap();
        assert_eq!(state.get("a", "k", now), None);
        assert_eq!(state.add("a", "k".into(), 1, MINUTE, now), Ok(8));
    }

    #[test]
    fn a_value_that_does_not_fit_leaves_what_was_there() {
        let (state, now) = (State::default(), Instant::now());
        state.put("a", "k".into(), vec![1], MINUTE, now).unwrap();
        for index in 0..MAX_BYTES / MAX_VALUE - 1 {
            let full = vec![0; MAX_VALUE];
            state.put("a", format!("{index:03}"), full, MINUTE, now).unwrap();
        }
        let large = state.put("a", "k".into(), vec![0; MAX_VALUE], MINUTE, now);
        assert_eq!(large, Err(StateError::OverBudget));
        assert_eq!(state.get("a", "k", now), Some(vec![1]));
        assert_eq!(state.put("a", "k".into(), vec![2], MINUTE, now), Ok(()));
    }

    #[test]
    fn what_is_counted_is_what_is_held() {
        let (state, mut now) = (State::default(), Instant::now());
        for round in 0..2000u32 {
            let key = format!("{}", round % 97);
            let ttl = Duration::from_secs(u64::from(round * 7 % 50));
            match round % 3 {
                0 => drop(state.put("a", key, vec![0; (round % 11) as usize], ttl, now)),
                1 => drop(state.add("a", key, 1, ttl, now)),
                _ => now += Duration::from_secs(1),
            }
            let space = state.space("a");
            let space = lock(&space);
            let held: usize = space.entries.iter().map(|(key, entry)| size(key, &entry.held)).sum();
            assert_eq!((space.bytes, space.ends.len()), (held, space.entries.len()));
        }
    }

    /// Steps, not time: a full namespace in which nothing has ended is not gone through, and one in which all has
    /// ended is not gone through at once.
    #[test]
    fn a_full_namespace_costs_a_call_no_more_than_an_empty_one() {
        let (state, now) = (State::default(), Instant::now());
        for index in 0..MAX_ENTRIES {
            assert_eq!(state.add("a", format!("{index}"), 1, MINUTE, now), Ok(1));
        }
        assert_eq!(
            state.add("a", "more".into(), 1, MINUTE, now),
            Err(StateError::OverBudget)
        );
        assert_eq!(
            state.add("a", "7".into(), 1, MINUTE, now),
            Ok(2),
            "what is there is still counted"
        );
        let left = |state: &State| lock(&state.space("a")).entries.len();
        assert_eq!(left(&state), MAX_ENTRIES);
        assert_eq!(state.add("a", "more".into(), 1, MINUTE, now + MINUTE), Ok(1));
        assert_eq!(left(&state), MAX_ENTRIES - FEW + 1);
    }

    #[test]
    fn one_namespace_does_not_wait_for_another() {
        let (state, now) = (State::default(), Instant::now());
        state.put("a", "k".into(), vec![1], MINUTE, now).unwrap();
        let busy = state.space("a");
        let _held = lock(&busy);
        assert_eq!(state.add("b", "k".into(), 1, MINUTE, now), Ok(1));
    }
}

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What `state` takes for the present.
#[derive(Clone, Default)]
pub enum Clock {
    /// The clock of this machine.
    #[default]
    Running,
    /// Stands still until it is set: for decisions of another time.
    Set(SetClock),
}

/// A clock that stands still until it is set; all clones show the same.
#[derive(Clone)]
pub struct SetClock {
    began: Instant,
    past: Arc<AtomicU64>,
}

impl Clock {
    pub(super) fn now(&self) -> Instant {
        match self {
            Self::Running => Instant::now(),
            Self::Set(clock) => clock.began + Duration::from_millis(clock.past.load(Ordering::Acquire)),
        }
    }
}

impl SetClock {
    /// Sets it to so many milliseconds after its beginning; it never goes back.
    pub fn set(&self, millis: u64) {
        self.past.fetch_max(millis, Ordering::AcqRel);
    }
}

impl Default for SetClock {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            past: Arc::default(),
        }
    }
}

/// The `state` interface: small values and counters that outlive an instance and a swap.
///
/// It is kept in memory, in one namespace for each policy name, and bounded: a policy that stores
/// too much is told so and takes nothing from another one.
#[derive(Default)]
pub(super) struct State {
    spaces: Mutex<HashMap<String, Space>>,
}

#[derive(Default)]
struct Space {
    values: HashMap<String, Value>,
    counters: HashMap<String, Counter>,
    bytes: usize,
}

struct Value {
    bytes: Vec<u8>,
    ends: Instant,
}

struct Counter {
    sum: i64,
    ends: Instant,
}

/// Why a value is not stored.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StateError {
    /// The namespace is full.
    OverBudget,
    /// The key or the value alone is too large.
    TooLarge,
}

impl State {
    pub(super) fn get(&self, space: &str, key: &str, now: Instant) -> Option<Vec<u8>> {
        let spaces = self.lock();
        let value = spaces.get(space)?.values.get(key)?;
        (value.ends > now).then(|| value.bytes.clone())
    }

    /// Stores a value for `ttl`; a `ttl` of zero removes it.
    pub(super) fn put(
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
        let mut spaces = self.lock();
        let space = spaces.entry(space.to_owned()).or_default();
        if let Some(old) = space.values.remove(&key) {
            space.bytes -= key.len() + old.bytes.len();
        }
        if ttl.is_zero() {
            return Ok(());
        }
        let size = key.len() + bytes.len();
        if !space.has_room(size) {
            space.forget_ended(now);
        }
        if !space.has_room(size) {
            return Err(StateError::OverBudget);
        }
        space.bytes += size;
        let ends = now + ttl;
        space.values.insert(key, Value { bytes, ends });
        Ok(())
    }

    /// Adds to a counter whose window begins with the first addition, and answers the new sum.
    pub(super) fn add(
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
        let mut spaces = self.lock();
        let space = spaces.entry(space.to_owned()).or_default();
        if let Some(counter) = space.counters.get_mut(&key) {
            if counter.ends <= now {
                (counter.sum, counter.ends) = (0, now + window);
            }
            counter.sum = counter.sum.saturating_add(delta);
            return Ok(counter.sum);
        }
        let size = key.len();
        if !space.has_room(size) {
            space.forget_ended(now);
        }
        if !space.has_room(size) {
            return Err(StateError::OverBudget);
        }
        space.bytes += size;
        let ends = now + window;
        space.counters.insert(key, Counter { sum: delta, ends });
        Ok(delta)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Space>> {
        self.spaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Space {
    fn has_room(&self, size: usize) -> bool {
        self.values.len() + self.counters.len() < MAX_ENTRIES && self.bytes + size <= MAX_BYTES
    }

    fn forget_ended(&mut self, now: Instant) {
        self.values.retain(|_, value| value.ends > now);
        self.counters.retain(|_, counter| counter.ends > now);
        let values: usize = self
            .values
            .iter()
            .map(|(key, value)| key.len() + value.bytes.len())
            .sum();
        let counters: usize = self.counters.keys().map(String::len).sum();
        self.bytes = values + counters;
    }
}

const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 64 << 10;
/// Of one namespace.
const MAX_ENTRIES: usize = 65_536;
const MAX_BYTES: usize = 16 << 20;

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
}

//! A gateway that answers what a test has told it.
#![allow(clippy::panic, reason = "a test that is written wrongly should say so")]

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::Value;
use crate::calendar::{CalendarError, LocalTime};
use crate::log::Level;
use crate::names::LookupError;
use crate::state::StateError;

/// What the gateway answers. A name that it was not told of does not exist, users have nothing open, and there are no facts;
/// state works.
#[derive(Clone, Debug, Default)]
pub struct Host {
    zones: HashMap<String, i32>,
    names: HashMap<String, Result<Vec<String>, LookupError>>,
    values: HashMap<String, (Vec<u8>, u64)>,
    counters: HashMap<String, (i64, u64)>,
    broken_state: Option<StateError>,
    open: HashMap<String, u32>,
    facts: HashMap<String, Value>,
    logged: Vec<String>,
    clock: u64,
}

impl Host {
    /// A gateway that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A zone's clocks are so many seconds ahead of UTC, all year. `UTC` is known without being told.
    #[must_use]
    pub fn zone(mut self, name: &str, utc_offset: i32) -> Self {
        self.zones.insert(name.into(), utc_offset);
        self
    }

    /// A name has these addresses.
    #[must_use]
    pub fn name<A: Into<String>>(mut self, host: &str, addresses: impl IntoIterator<Item = A>) -> Self {
        let addresses = addresses.into_iter().map(Into::into).collect();
        self.names.insert(host.into(), Ok(addresses));
        self
    }

    /// A name is not found.
    #[must_use]
    pub fn failing_name(mut self, host: &str, error: LookupError) -> Self {
        self.names.insert(host.into(), Err(error));
        self
    }

    /// State holds a value, for ever.
    #[must_use]
    pub fn value(mut self, key: &str, value: impl AsRef<[u8]>) -> Self {
        self.values.insert(key.into(), (value.as_ref().into(), u64::MAX));
        self
    }

    /// State fails.
    #[must_use]
    pub fn failing_state(mut self, error: StateError) -> Self {
        self.broken_state = Some(error);
        self
    }

    /// A user has so many tunnels and listeners open.
    #[must_use]
    pub fn open_forwards(mut self, user: &str, count: u32) -> Self {
        self.open.insert(user.into(), count);
        self
    }

    /// A fact of `[policy] facts`.
    #[must_use]
    pub fn fact(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.facts.insert(name.into(), value.into());
        self
    }

    /// Answers in this thread, until what this returns is dropped.
    #[must_use = "it answers until this is dropped"]
    pub fn install(self) -> Installed {
        let host = Rc::new(RefCell::new(self));
        CURRENT.with(|current| *current.borrow_mut() = Some(Rc::clone(&host)));
        Installed(host)
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<Host>>>> = const { RefCell::new(None) };
}

/// A [`Host`] that answers.
#[derive(Debug)]
pub struct Installed(Rc<RefCell<Host>>);

impl Installed {
    /// Every line so far, as `info: words`.
    #[must_use]
    pub fn logged(&self) -> Vec<String> {
        self.0.borrow().logged.clone()
    }

    /// Lets so many seconds pass, for what state holds. The time of a request is set on the request.
    pub fn pass(&self, seconds: u64) {
        self.0.borrow_mut().clock += seconds;
    }

    /// What state holds under a key.
    #[must_use]
    pub fn value(&self, key: &str) -> Option<Vec<u8>> {
        self.0.borrow().get(key)
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        CURRENT.with(|current| {
            let mut current = current.borrow_mut();
            if current.as_ref().is_some_and(|host| Rc::ptr_eq(host, &self.0)) {
                *current = None;
            }
        });
    }
}

impl Host {
    fn local(&self, unix_ms: u64, zone: &str) -> Result<LocalTime, CalendarError> {
        let offset = match self.zones.get(zone) {
            Some(offset) => *offset,
            None if zone == "UTC" => 0,
            None => return Err(CalendarError::UnknownZone),
        };
        local(unix_ms, offset).ok_or(CalendarError::OutOfRange)
    }

    fn get(&self, key: &str) -> Option<Vec<u8>> {
        let (value, ends) = self.values.get(key)?;
        (*ends > self.clock).then(|| value.clone())
    }

    fn put(&mut self, key: &str, value: &[u8], seconds: u32) {
        self.values.remove(key);
        if seconds > 0 {
            let ends = self.clock + u64::from(seconds);
            self.values.insert(key.into(), (value.into(), ends));
        }
    }

    fn add(&mut self, key: &str, delta: i64, window_seconds: u32) -> i64 {
        let clock = self.clock;
        let (sum, ends) = self.counters.entry(key.into()).or_default();
        if *ends <= clock {
            (*sum, *ends) = (0, clock + u64::from(window_seconds));
        }
        *sum = sum.saturating_add(delta);
        *sum
    }

    fn state(&mut self, key: &str, size: usize) -> Result<&mut Self, StateError> {
        match self.broken_state {
            Some(error) => Err(error),
            None if key.len() > MAX_KEY || size > MAX_VALUE => Err(StateError::TooLarge),
            None => Ok(self),
        }
    }
}

/// The proleptic Gregorian date of a moment (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn local(unix_ms: u64, utc_offset: i32) -> Option<LocalTime> {
    let seconds = i64::try_from(unix_ms / 1000).ok()?.checked_add(utc_offset.into())?;
    let (days, of_day) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let from_march = days + 719_468;
    let (era, of_era) = (from_march.div_euclid(146_097), from_march.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let small = |number: i64| u8::try_from(number).ok();
    Some(LocalTime {
        year: i32::try_from(year).ok().filter(|year| *year <= 9999)?,
        month: small(month)?,
        day: small(of_year - (153 * month_from_march + 2) / 5 + 1)?,
        hour: small(of_day / 3600)?,
        minute: small(of_day / 60 % 60)?,
        second: small(of_day % 60)?,
        // The first day of 1970 was a Thursday.
        weekday: small((days + 3).rem_euclid(7) + 1)?,
        utc_offset,
    })
}

/// As the gateway bounds them.
const MAX_KEY: usize = 256;
const MAX_VALUE: usize = 64 << 10;

fn current() -> Option<Rc<RefCell<Host>>> {
    CURRENT.with(|current| current.borrow().clone())
}

fn needed() -> Rc<RefCell<Host>> {
    match current() {
        Some(host) => host,
        None => panic!("nothing answers in this test: `let host = testing::Host::new().install();`"),
    }
}

/// The interfaces of the contract, as the bindings have them.
pub(crate) mod gateway {
    pub(crate) mod log {
        use super::super::{Level, current};

        pub(crate) fn write(level: Level, message: &str) {
            let level = match level {
                Level::Debug => "debug",
                Level::Info => "info",
                Level::Warn => "warn",
                Level::Error => "error",
            };
            if let Some(host) = current() {
                host.borrow_mut().logged.push(format!("{level}: {message}"));
            }
        }
    }

    pub(crate) mod calendar {
        use super::super::{CalendarError, Host, LocalTime, current};

        /// Without a host `UTC` is known.
        pub(crate) fn local(unix_ms: u64, zone: &str) -> Result<LocalTime, CalendarError> {
            match current() {
                Some(host) => host.borrow().local(unix_ms, zone),
                None => Host::new().local(unix_ms, zone),
            }
        }
    }

    pub(crate) mod names {
        use super::super::{LookupError, needed};

        pub(crate) fn resolve(host: &str) -> Result<Vec<String>, LookupError> {
            let unknown = || Err(LookupError::NoSuchName);
            needed().borrow().names.get(host).cloned().unwrap_or_else(unknown)
        }
    }

    pub(crate) mod state {
        use super::super::{StateError, needed};

        pub(crate) fn get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
            Ok(needed().borrow_mut().state(key, 0)?.get(key))
        }

        pub(crate) fn put(key: &str, value: &[u8], seconds: u32) -> Result<(), StateError> {
            needed().borrow_mut().state(key, value.len())?.put(key, value, seconds);
            Ok(())
        }

        pub(crate) fn add(key: &str, delta: i64, window_seconds: u32) -> Result<i64, StateError> {
            Ok(needed().borrow_mut().state(key, 0)?.add(key, delta, window_seconds))
        }
    }

    pub(crate) mod view {
        use super::super::needed;
        use crate::Value;

        pub(crate) fn open_forwards(user: &str) -> u32 {
            needed().borrow().open.get(user).copied().unwrap_or(0)
        }

        pub(crate) fn fact(name: &str) -> Option<Value> {
            needed().borrow().facts.get(name).cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Host;
    use crate::calendar::CalendarError;
    use crate::names::LookupError;
    use crate::state::StateError;
    use crate::{Value, calendar, log, names, state, view};

    #[test]
    fn it_answers_what_it_was_told() {
        let host = Host::new()
            .name("db", ["10.0.0.5", "2001:db8::5"])
            .failing_name("slow", LookupError::TimedOut)
            .value("key", "abc")
            .open_forwards("alice", 3)
            .fact("maintenance", true)
            .install();
        assert_eq!(names::resolve("db").map(|all| all.len()), Ok(2));
        assert_eq!(names::resolve("slow"), Err(LookupError::TimedOut));
        assert_eq!(names::resolve("gone"), Err(LookupError::NoSuchName));
        assert_eq!(state::get("key"), Ok(Some(b"abc".to_vec())));
        assert_eq!((view::open_forwards("alice"), view::open_forwards("bob")), (3, 0));
        assert_eq!(view::fact("maintenance"), Some(Value::Flag(true)));
        assert_eq!(view::fact("other"), None);
        log::warn("words");
        assert_eq!(host.logged(), ["warn: words"]);
    }

    #[test]
    fn clocks_show_what_the_zone_is_ahead() {
        let _host = Host::new().zone("Europe/Berlin", 3600).install();
        let shown =
            |millis, zone| calendar::local(millis, zone).map(|at| (at.year, at.month, at.day, at.hour, at.weekday));
        // `date -u -d @1795510800`: Tue 24 Nov 2026 09:00:00
        assert_eq!(shown(1_795_510_800_999, "Europe/Berlin"), Ok((2026, 11, 24, 10, 2)));
        assert_eq!(shown(1_709_251_199_000, "UTC"), Ok((2024, 2, 29, 23, 4)));
        assert_eq!(shown(0, "UTC"), Ok((1970, 1, 1, 0, 4)));
        assert_eq!(shown(u64::MAX, "UTC"), Err(CalendarError::OutOfRange));
        assert_eq!(shown(0, "Mars"), Err(CalendarError::UnknownZone));
    }

    #[test]
    fn state_ends_with_its_time() {
        let host = Host::new().install();
        assert_eq!(state::put("vote", "alice", 10), Ok(()));
        assert_eq!((state::add("n", 2, 10), state::add("n", 3, 10)), (Ok(2), Ok(5)));
        host.pass(9);
        assert_eq!(host.value("vote").as_deref(), Some("alice".as_bytes()));
        host.pass(1);
        assert_eq!(state::get("vote"), Ok(None));
        assert_eq!(state::add("n", 1, 10), Ok(1));
        assert_eq!(state::put("vote", "bob", 10), Ok(()));
        assert_eq!(state::remove("vote"), Ok(()));
        assert_eq!(state::get("vote"), Ok(None));
    }

    #[test]
    fn state_is_bounded_and_can_fail() {
        let host = Host::new().install();
        assert_eq!(state::put(&"k".repeat(257), "", 1), Err(StateError::TooLarge));
        assert_eq!(state::put("k", vec![0; 65_537], 1), Err(StateError::TooLarge));
        drop(host);
        let _host = Host::new().failing_state(StateError::OverBudget).install();
        assert_eq!(state::add("k", 1, 1), Err(StateError::OverBudget));
    }

    #[test]
    #[should_panic(expected = "nothing answers in this test")]
    fn a_test_without_a_host_is_told_so() {
        drop(Host::new().install());
        let _ = names::resolve("db");
    }
}

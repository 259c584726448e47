//! What the gateway offers to a policy while it decides. On the host, in unit tests, `testing` answers.

#[cfg(target_arch = "wasm32")]
use crate::bindings::portreeve::policy as gateway;
#[cfg(not(target_arch = "wasm32"))]
use crate::testing::gateway;

/// Lines for the operator, in the gateway's log: at most 64 in a decision, of 1 KiB each. Always granted.
pub mod log {
    use super::gateway;
    pub use crate::bindings::portreeve::policy::log::Level;

    /// Writes a line.
    pub fn write(level: Level, message: impl AsRef<str>) {
        gateway::log::write(level, message.as_ref());
    }

    /// Something of use to who writes the policy.
    pub fn debug(message: impl AsRef<str>) {
        write(Level::Debug, message);
    }

    /// Something of use to who runs the gateway.
    pub fn info(message: impl AsRef<str>) {
        write(Level::Info, message);
    }

    /// Something that somebody should look at.
    pub fn warn(message: impl AsRef<str>) {
        write(Level::Warn, message);
    }

    /// Something that is broken.
    pub fn error(message: impl AsRef<str>) {
        write(Level::Error, message);
    }
}

/// Local time, from the gateway's time-zone database: at most 256 calls in a decision. Always granted, also in `check`.
pub mod calendar {
    use super::gateway;
    pub use crate::bindings::portreeve::policy::calendar::{CalendarError, LocalTime};

    /// What clocks show in a zone such as `Europe/Berlin`, so many milliseconds after 1970 began in UTC: `request.now`.
    ///
    /// # Errors
    /// If there is no such zone, or the moment is after the year 9999.
    pub fn local(unix_millis: u64, zone: &str) -> Result<LocalTime, CalendarError> {
        gateway::calendar::local(unix_millis, zone)
    }

    /// Whether there is a zone of this name.
    #[must_use]
    pub fn knows(zone: &str) -> bool {
        local(0, zone).is_ok()
    }
}

/// Name resolution by the gateway: at most 8 names in a decision. Granted by `grants = ["names"]`.
pub mod names {
    use std::net::IpAddr;

    use super::gateway;
    pub use crate::bindings::portreeve::policy::names::LookupError;

    /// All addresses of a name, in the order in which they would be dialled. Asked twice in a decision, it answers the same,
    /// and only what it answered is dialled.
    ///
    /// # Errors
    /// Where there is no answer. What is unknown should not help a request: deny.
    pub fn resolve(host: &str) -> Result<Vec<IpAddr>, LookupError> {
        let texts = gateway::names::resolve(host)?;
        let parsed: Result<_, _> = texts.iter().map(|text| text.parse()).collect();
        parsed.map_err(|_| LookupError::Failed("the gateway answered with something that is no address".into()))
    }
}

/// Small state that outlives a decision and a swap, in memory: at most 64 calls in a decision, keys of 256 bytes, values of
/// 64 KiB. Granted by `grants = ["state"]`. It is not read and written in one step but by [`add`](state::add).
pub mod state {
    use super::gateway;
    pub use crate::bindings::portreeve::policy::state::StateError;

    /// The value under a key, if there is one and its time is not over.
    ///
    /// # Errors
    /// Where the gateway does not answer.
    pub fn get(key: &str) -> Result<Option<Vec<u8>>, StateError> {
        gateway::state::get(key)
    }

    /// Stores a value for so many seconds.
    ///
    /// # Errors
    /// Where it is not stored.
    pub fn put(key: &str, value: impl AsRef<[u8]>, seconds: u32) -> Result<(), StateError> {
        gateway::state::put(key, value.as_ref(), seconds)
    }

    /// Removes the value under a key.
    ///
    /// # Errors
    /// Where the gateway does not answer.
    pub fn remove(key: &str) -> Result<(), StateError> {
        gateway::state::put(key, &[], 0)
    }

    /// Adds to a counter and answers its new value, in one step. The window begins with the first addition; when it ends,
    /// the counter is zero again. Counters and values are apart: a key can name one of each.
    ///
    /// # Errors
    /// Where nothing was added.
    pub fn add(key: &str, delta: i64, window_seconds: u32) -> Result<i64, StateError> {
        gateway::state::add(key, delta, window_seconds)
    }
}

/// Facts on demand. Granted by `grants = ["view"]`.
pub mod view {
    use super::gateway;
    use crate::Value;

    /// How many tunnels and listeners a user has open on this gateway.
    #[must_use]
    pub fn open_forwards(user: &str) -> u32 {
        gateway::view::open_forwards(user)
    }

    /// A fact of `[policy] facts`.
    #[must_use]
    pub fn fact(name: &str) -> Option<Value> {
        gateway::view::fact(name)
    }
}

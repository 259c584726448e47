//! Users who are locked out by an administrator, kept in a file.
//!
//! The room knows who is locked out, why and until when. Whoever lets a user in asks it, and whoever locks one out ends what that
//! user has open. A file that cannot be read is an error at start, because a user may be locked out in it.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files;

/// Why a user is locked out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Lock {
    /// The user.
    pub user: String,
    /// What the administrator said.
    pub reason: String,
    /// Since when.
    #[serde(with = "time")]
    pub since: Timestamp,
    /// Until when; absent: until it is lifted.
    #[serde(default, with = "time_or_none", skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The administrator's uid.
    pub uid: u32,
    /// The administrator's name on this machine.
    pub admin: String,
}

impl Lock {
    fn holds(&self, now: Timestamp) -> bool {
        self.until.is_none_or(|until| now < until)
    }
}

/// Why the locks cannot be read or kept.
#[derive(Debug, Error)]
pub enum LocksError {
    /// The file cannot be read or written.
    #[error("{}: {error}", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The operating system's words.
        error: io::Error,
    },
    /// It says nothing that can be understood.
    #[error("{}: {words}: fix it, or remove it to lift every lock", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        words: String,
    },
    /// There are too many.
    #[error("there are {MOST} locks already: lift one first")]
    Full,
}

/// Who is locked out. Clones are one.
#[derive(Clone, Default)]
pub(crate) struct Locks(Arc<Kept>);

#[derive(Default)]
struct Kept {
    /// None: they do not outlive the process.
    path: Option<PathBuf>,
    locks: Mutex<BTreeMap<String, Arc<Lock>>>,
}

impl Locks {
    /// Those in this file; none where it is not there.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub(crate) fn read(path: Option<PathBuf>) -> Result<Self, LocksError> {
        let found = path.as_deref().map(read).transpose()?.unwrap_or_default();
        let locks = found.into_iter().map(|lock| (lock.user.clone(), Arc::new(lock)));
        Ok(Self(Arc::new(Kept {
            locks: Mutex::new(locks.collect()),
            path,
        })))
    }

    /// Why this user is locked out now, if they are.
    #[must_use]
    pub(crate) fn of(&self, user: &str) -> Option<Arc<Lock>> {
        let now = Timestamp::now();
        self.lock().get(user).filter(|lock| lock.holds(now)).cloned()
    }

    /// All that hold now, by user.
    #[must_use]
    pub(crate) fn all(&self) -> Vec<Arc<Lock>> {
        let now = Timestamp::now();
        self.lock().values().filter(|lock| lock.holds(now)).cloned().collect()
    }

    /// Locks a user out from now on, instead of an earlier lock.
    ///
    /// # Errors
    /// If there are too many, and then nothing has changed; or if it cannot be kept, and then it holds until the process ends.
    pub(crate) fn add(&self, lock: Lock) -> Result<(), LocksError> {
        let mut locks = self.lock();
        let now = Timestamp::now();
        locks.retain(|_, lock| lock.holds(now));
        if locks.len() >= MOST && !locks.contains_key(&lock.user) {
            return Err(LocksError::Full);
        }
        locks.insert(lock.user.clone(), Arc::new(lock));
        self.keep(&locks)
    }

    /// Lifts a lock; false where there was none.
    ///
    /// # Errors
    /// If that cannot be kept: it is lifted until the process ends, and then holds again.
    pub(crate) fn lift(&self, user: &str) -> Result<bool, LocksError> {
        let mut locks = self.lock();
        let now = Timestamp::now();
        let held = locks.remove(user).is_some_and(|lock| lock.holds(now));
        self.keep(&locks)?;
        Ok(held)
    }

    fn keep(&self, locks: &BTreeMap<String, Arc<Lock>>) -> Result<(), LocksError> {
        let Some(path) = &self.0.path else { return Ok(()) };
        let locks: Vec<&Lock> = locks.values().map(|lock| &**lock).collect();
        let unusable = |error| LocksError::Unusable {
            path: path.clone(),
            error,
        };
        let text = serde_json::to_string_pretty(&locks).map_err(|error| unusable(error.into()))?;
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(unusable)?;
        }
        files::replace(path, &(text + "\n"), Some(Permissions::from_mode(0o600))).map_err(unusable)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Lock>>> {
        self.0.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Result<Vec<Lock>, LocksError> {
    let unreadable = |words: String| LocksError::Unreadable {
        path: path.to_owned(),
        words,
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => {
            return Err(LocksError::Unusable {
                path: path.to_owned(),
                error,
            });
        }
    };
    let bytes = files::read_capped(file, MAX_BYTES).map_err(|error| LocksError::Unusable {
        path: path.to_owned(),
        error,
    })?;
    let bytes = bytes.ok_or_else(|| unreadable(format!("it has more than {MAX_BYTES} bytes")))?;
    serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))
}

/// A time as the audit log has it.
mod time {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{time:.6}"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The same of a time that may be absent.
mod time_or_none {
    use jiff::Timestamp;
    use serde::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::time::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        super::time::deserialize(deserializer).map(Some)
    }
}

/// Users that can be locked out at once.
const MOST: usize = 10_000;
const MAX_BYTES: u64 = 32 << 20;

#[cfg(test)]
mod tests {
    use jiff::ToSpan;

    use super::*;

    fn lock(user: &str, until: Option<Timestamp>) -> Lock {
        Lock {
            user: user.to_owned(),
            reason: "incident 7".to_owned(),
            since: Timestamp::now(),
            until,
            uid: 0,
            admin: "root".to_owned(),
        }
    }

    /// To the microsecond, as it is kept.
    fn whole(time: Timestamp) -> Timestamp {
        format!("{time:.6}").parse().unwrap()
    }

    #[test]
    fn a_lock_outlives_the_process_and_ends_in_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/locks.json");
        let locks = Locks::read(Some(path.clone())).unwrap();
        let now = Timestamp::now();
        #[rustfmt::skip]
        let table = [
            // user, until,                 holds
            ("ann",  None,                   true),
            ("bob",  Some(whole(now + 1.hour())),   true),
            ("eve",  Some(whole(now - 1.second())), false),
        ];
        for (user, until, _) in table {
            locks.add(lock(user, until)).unwrap();
        }
        let again = Locks::read(Some(path.clone())).unwrap();
        for one in [&locks, &again] {
            for (user, until, holds) in table {
                assert_eq!(one.of(user).map(|lock| lock.until), holds.then_some(until), "{user}");
            }
            assert_eq!(one.all().len(), 2);
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(locks.lift("ann").unwrap() && !locks.lift("ann").unwrap() && !locks.lift("eve").unwrap());
        let again = Locks::read(Some(path)).unwrap();
        assert_eq!((again.of("ann"), again.all().len()), (None, 1));
    }

    #[test]
    fn a_file_that_says_nothing_lets_nobody_in_by_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("locks.json");
        assert!(Locks::read(Some(path.clone())).unwrap().all().is_empty());
        for text in ["", "{}", "[{\"user\":\"ann\"}]", "[{\"user\":"] {
            std::fs::write(&path, text).unwrap();
            let error = Locks::read(Some(path.clone())).err().unwrap().to_string();
            assert!(
                error.starts_with(path.to_str().unwrap()) && error.contains("line 1"),
                "{error}"
            );
        }
        // What cannot be kept holds as long as the process does.
        let locks = Locks::read(Some(folder.path().join("locks.json/x"))).err();
        assert!(locks.is_some());
        let beneath = folder.path().join("file");
        std::fs::write(&beneath, "").unwrap();
        let locks = Locks::read(None).unwrap();
        locks.add(lock("ann", None)).unwrap();
        assert!(locks.of("ann").is_some());
    }
}

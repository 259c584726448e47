//! Users who are locked out by an administrator, kept in a file.
//!
//! The room knows who is locked out, why and until when. Whoever lets a user in asks it, and whoever locks one out ends what that
//! user has open. A file that cannot be read is an error at start, because a user may be locked out in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::files;
use crate::request::printable;

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
    /// Whether all gateways of the fleet were told; only such a lock is lifted from another one.
    #[serde(default, skip_serializing_if = "is_alone")]
    pub fleet: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_alone(fleet: &bool) -> bool {
    !fleet
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
pub(crate) struct Locks(Arc<LockTable>);

#[derive(Default)]
struct LockTable {
    /// None: they do not outlive the process.
    path: Option<PathBuf>,
    locks: Mutex<BTreeMap<String, Arc<Lock>>>,
    /// Users who were locked out in the file when it was last read or written here.
    kept: Mutex<BTreeSet<String>>,
    /// Held by the one who changes the file; the table is never held meanwhile, so whoever asks does not wait for a file.
    changing: Mutex<()>,
}

impl Locks {
    /// Those in this file; none where it is not there.
    ///
    /// # Errors
    /// If it cannot be read or understood.
    pub(crate) fn read(path: Option<PathBuf>) -> Result<Self, LocksError> {
        let locks = path.as_deref().map(read).transpose()?.unwrap_or_default();
        Ok(Self(Arc::new(LockTable {
            kept: Mutex::new(locks.keys().cloned().collect()),
            locks: Mutex::new(locks),
            changing: Mutex::default(),
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

    /// Locks a user out from now on, instead of an earlier lock. It outlives the process once it is [kept](Self::keep).
    ///
    /// # Errors
    /// If there are too many, and then nothing has changed.
    pub(crate) fn hold(&self, lock: Lock) -> Result<(), LocksError> {
        let mut locks = self.lock();
        let now = Timestamp::now();
        locks.retain(|_, lock| lock.holds(now));
        if locks.len() >= MOST && !locks.contains_key(&lock.user) {
            return Err(LocksError::Full);
        }
        locks.insert(lock.user.clone(), Arc::new(lock));
        Ok(())
    }

    /// Lifts a lock; false where there was none. It is lifted for good once that is [kept](Self::keep).
    pub(crate) fn lift(&self, user: &str) -> bool {
        let lifted = self.lock().remove(user);
        lifted.is_some_and(|lock| lock.holds(Timestamp::now()))
    }

    /// Writes whether this user is locked out, as that is now, into the file. The rest of it stays: another gateway may keep its
    /// locks there, too. It may wait for a second: call it aside.
    ///
    /// # Errors
    /// If it cannot be written: what holds now holds until the process ends.
    pub(crate) fn keep(&self, user: &str) -> Result<(), LocksError> {
        let Some(path) = &self.0.path else { return Ok(()) };
        let _changing = self.changing();
        let unusable = |error| LocksError::Unusable {
            path: path.clone(),
            error,
        };
        if let Some(folder) = path.parent() {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(unusable)?;
        }
        let _turn = turn(path).map_err(unusable)?;
        let mut kept = read(path)?;
        let now = Timestamp::now();
        kept.retain(|name, lock| name != user && lock.holds(now));
        kept.extend(self.lock().get(user).map(|lock| (user.to_owned(), Arc::clone(lock))));
        let users = kept.keys().cloned().collect();
        let kept: Vec<&Lock> = kept.values().map(|lock| &**lock).collect();
        let text = serde_json::to_string_pretty(&kept).map_err(|error| unusable(error.into()))?;
        files::replace(path, &(text + "\n"), Some(Permissions::from_mode(0o600))).map_err(unusable)?;
        *self.0.kept.lock().unwrap_or_else(PoisonError::into_inner) = users;
        Ok(())
    }

    /// Reads the file again, which another process changes, too. Returns the locks that are new here. It may wait for a second: call
    /// it aside.
    ///
    /// # Errors
    /// If it cannot be read: nothing has changed then.
    pub(crate) fn read_again(&self) -> Result<Vec<Arc<Lock>>, LocksError> {
        let Some(path) = &self.0.path else {
            return Ok(Vec::new());
        };
        let _changing = self.changing();
        let file = read(path)?;
        let mut kept = self.0.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut locks = self.lock();
        for lifted in kept.iter().filter(|user| !file.contains_key(*user)) {
            locks.remove(lifted);
        }
        *kept = file.keys().cloned().collect();
        // What was said here last counts, even if it is not in the file yet.
        let is_new = |lock: &Arc<Lock>| locks.get(&lock.user).is_none_or(|ours| ours.since < lock.since);
        let new: Vec<_> = file.into_values().filter(is_new).collect();
        locks.extend(new.iter().map(|lock| (lock.user.clone(), Arc::clone(lock))));
        let now = Timestamp::now();
        Ok(new.into_iter().filter(|lock| lock.holds(now)).collect())
    }

    fn changing(&self) -> MutexGuard<'_, ()> {
        self.0.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Lock>>> {
        self.0.locks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of this process to change the file, until it is dropped (flock(2), on a file beside it that stays).
fn turn(path: &Path) -> io::Result<File> {
    let beside = path.with_extension("turn");
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(beside)?;
    for _ in 0..TRIES {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(file),
            Err(Errno::WOULDBLOCK) => std::thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "another process keeps it locked",
    ))
}

/// None where nothing is there, not even a link; anything else must be a regular file that says who is locked out.
fn read(path: &Path) -> Result<BTreeMap<String, Arc<Lock>>, LocksError> {
    let unusable = |error| LocksError::Unusable {
        path: path.to_owned(),
        error,
    };
    let unreadable = |words: String| LocksError::Unreadable {
        path: path.to_owned(),
        words,
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(unusable(error)),
        Ok(_) => {}
    }
    let bytes = files::read(path, MAX_BYTES).map_err(unusable)?;
    let locks: Vec<Lock> = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    let mut by_user = BTreeMap::new();
    for lock in locks {
        if lock.user.is_empty() {
            return Err(unreadable("a lock has an empty `user`".to_owned()));
        }
        let words = format!("user `{}` has two locks", printable(&lock.user, MAX_SHOWN));
        if by_user.insert(lock.user.clone(), Arc::new(lock)).is_some() {
            return Err(unreadable(words));
        }
    }
    Ok(by_user)
}

/// How often it is tried to get the turn, and the pause between: a second in all.
const TRIES: usize = 100;
const PAUSE: Duration = Duration::from_millis(10);
/// Of a name in an error.
const MAX_SHOWN: usize = 100;

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
#[path = "locks_tests.rs"]
mod tests;

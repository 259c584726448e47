//! Open sessions, tunnels and listeners, with the handles that close them.
//!
//! Entries live exactly as long as their guards, so an early return cannot leave one behind.
//! Reading does not stop the relay: counters are atomic, and the lock is held only to copy handles.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::accounts::Standing;
use crate::auth::ForwardLimits;
use crate::request::{Cause, Endpoint, ForwardRequest, Terms};

/// Everything that is open.
#[derive(Clone, Default)]
pub struct Registry {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Default)]
struct Tables {
    forwards: HashMap<String, Arc<Forward>>,
    sessions: usize,
    users: HashMap<String, Load>,
}

#[derive(Default)]
struct Load {
    sessions: usize,
    forwards: u32,
}

/// A tunnel or listener that is open.
pub struct Forward {
    /// What was asked.
    pub request: Arc<ForwardRequest>,
    /// Where it goes or listens.
    pub effective: Endpoint,
    /// What was dialled, of a tunnel.
    pub dialled: Option<SocketAddr>,
    /// Of whose login, and what that gives now.
    pub standing: Arc<Standing>,
    /// What the key or certificate permitted when it was allowed.
    pub limits: Arc<ForwardLimits>,
    /// The terms it was allowed on.
    pub terms: Terms,
    /// How to end it.
    pub stop: Stop,
    /// Tells its task that it could not be decided again, so that the task asks once more after a pause.
    pub doubt: Notify,
    /// Bytes so far.
    pub bytes: Bytes,
}

/// Bytes that passed.
#[derive(Default)]
pub struct Bytes {
    /// From the client to the target.
    pub up: AtomicU64,
    /// From the target to the client.
    pub down: AtomicU64,
}

impl Bytes {
    /// Both directions.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.up.load(Ordering::Relaxed) + self.down.load(Ordering::Relaxed)
    }
}

/// Ends something once, with the first cause that is given.
#[derive(Clone, Default)]
pub struct Stop {
    token: CancellationToken,
    cause: Arc<OnceLock<Cause>>,
}

impl Stop {
    /// Ends it.
    pub fn end(&self, cause: Cause) {
        let _ = self.cause.set(cause);
        self.token.cancel();
    }

    /// Waits until it is to end. Cancel-safe.
    pub async fn ended(&self) -> Cause {
        self.token.cancelled().await;
        self.cause.get().copied().unwrap_or(Cause::Closed)
    }

    /// The cause, if it is to end.
    #[must_use]
    pub fn cause(&self) -> Option<Cause> {
        self.cause.get().copied()
    }
}

/// The entry of a forward; dropped when it ends.
pub struct ForwardGuard {
    registry: Registry,
    forward: Arc<Forward>,
}

impl std::ops::Deref for ForwardGuard {
    type Target = Arc<Forward>;

    fn deref(&self) -> &Arc<Forward> {
        &self.forward
    }
}

impl Drop for ForwardGuard {
    fn drop(&mut self) {
        let mut tables = self.registry.lock();
        tables.forwards.remove(&self.forward.request.id);
        tables.unload(&self.forward.request.principal.user, |load| load.forwards -= 1);
    }
}

/// The entry of an authenticated session; dropped when it ends.
pub struct SessionGuard {
    registry: Registry,
    user: String,
}

impl Drop for SessionGuard {
    fn drop(&mut self) {
        let mut tables = self.registry.lock();
        tables.sessions -= 1;
        tables.unload(&self.user, |load| load.sessions -= 1);
    }
}

impl Registry {
    /// Enters a session of `user`, unless there are too many.
    #[must_use]
    pub fn enter_session(&self, user: &str, per_user: usize) -> Option<SessionGuard> {
        let mut tables = self.lock();
        let load = tables.users.entry(user.to_owned()).or_default();
        if load.sessions >= per_user {
            return None;
        }
        load.sessions += 1;
        tables.sessions += 1;
        Some(SessionGuard {
            registry: self.clone(),
            user: user.to_owned(),
        })
    }

    /// Enters a tunnel or listener.
    #[must_use]
    pub fn enter(&self, forward: Forward) -> ForwardGuard {
        let forward = Arc::new(forward);
        let mut tables = self.lock();
        let user = &forward.request.principal.user;
        tables.users.entry(user.clone()).or_default().forwards += 1;
        tables.forwards.insert(forward.request.id.clone(), Arc::clone(&forward));
        ForwardGuard {
            registry: self.clone(),
            forward,
        }
    }

    /// Open tunnels and listeners of a user.
    #[must_use]
    pub fn open_forwards(&self, user: &str) -> u32 {
        self.lock().users.get(user).map_or(0, |load| load.forwards)
    }

    /// Sessions of authenticated users.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.lock().sessions
    }

    /// Everything that is open now.
    #[must_use]
    pub fn forwards(&self) -> Vec<Arc<Forward>> {
        self.lock().forwards.values().cloned().collect()
    }

    /// What a user has open now, in all sessions.
    #[must_use]
    pub fn forwards_of(&self, user: &str) -> Vec<Arc<Forward>> {
        let mut found = self.forwards();
        found.retain(|forward| forward.request.principal.user == user);
        found
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn unload(&mut self, user: &str, change: impl FnOnce(&mut Load)) {
        let Some(load) = self.users.get_mut(user) else {
            return;
        };
        change(load);
        if load.sessions == 0 && load.forwards == 0 {
            self.users.remove(user);
        }
    }
}

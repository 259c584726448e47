//! The tables of what is open.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::quota::Quotas;
use super::{Elsewhere, Forward, Quota, Session};
use crate::request::Action;

/// Everything that is open. Clones are one.
#[derive(Clone, Default)]
pub struct Sessions(Arc<Register>);

#[derive(Default)]
struct Register {
    tables: Mutex<Tables>,
    quotas: Quotas,
    changes: AtomicU64,
    elsewhere: OnceLock<Arc<dyn Elsewhere>>,
}

#[derive(Default)]
struct Tables {
    sessions: HashMap<String, Arc<Session>>,
    seats: usize,
    users: HashMap<String, Load>,
    open: Open,
    /// Up and down, through tunnels that have ended.
    passed: (u64, u64),
}

/// How many tunnels and listeners are open.
#[derive(Clone, Copy, Default)]
struct Open {
    connects: usize,
    accepts: usize,
    listeners: usize,
}

impl Open {
    fn of(&mut self, action: Action) -> &mut usize {
        match action {
            Action::Connect => &mut self.connects,
            Action::Accept => &mut self.accepts,
            Action::Listen => &mut self.listeners,
        }
    }
}

/// How much is open, and how many bytes tunnels have carried since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Sessions whose user is in.
    pub sessions: usize,
    /// Tunnels that clients asked for.
    pub connects: usize,
    /// Tunnels from listeners.
    pub accepts: usize,
    /// Listeners.
    pub listeners: usize,
    /// Bytes from clients to targets, through all tunnels, open or not.
    pub bytes_up: u64,
    /// Bytes from targets to clients. Those on their way to a client count, until it is known that they do not arrive.
    pub bytes_down: u64,
}

/// What a user has in all sessions.
#[derive(Default)]
struct Load {
    seats: usize,
    /// Open tunnels and listeners, by id.
    forwards: HashMap<String, Arc<Forward>>,
    /// Up and down, through tunnels that have ended while the user had anything.
    passed: (u64, u64),
}

/// How much a user has open in all sessions, and how many bytes it has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Tunnels.
    pub tunnels: usize,
    /// Listeners.
    pub listeners: usize,
    /// Bytes from clients to targets and back, since the first of the sessions that are open now began.
    pub bytes: (u64, u64),
}

/// The place of a user who may come in; dropped when the session ends.
pub struct Seat {
    sessions: Sessions,
    user: String,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut tables = self.sessions.lock();
        tables.seats -= 1;
        tables.unload(&self.user, |load| load.seats -= 1);
        drop(tables);
        self.sessions.has_changed(&self.user);
    }
}

/// The entry of a session; dropped when it ends.
pub struct Entry {
    sessions: Sessions,
    session: Arc<Session>,
    _seat: Seat,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut tables = self.sessions.lock();
        self.sessions.0.changes.fetch_add(1, Ordering::AcqRel);
        let gone = tables.sessions.remove(&self.session.connection.id);
        drop(tables);
        drop(gone);
    }
}

/// The entry of a tunnel or listener; dropped when it ends.
pub struct ForwardGuard {
    sessions: Sessions,
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
        let mut tables = self.sessions.lock();
        let (up, down) = self.forward.bytes.both();
        self.forward.session.past.add((up, down));
        tables.passed.0 += up;
        tables.passed.1 += down;
        *tables.open.of(self.forward.request.action) -= 1;
        let user = &self.forward.request.principal.user;
        let mut gone = None;
        tables.unload(user, |load| {
            load.passed.0 += up;
            load.passed.1 += down;
            gone = load.forwards.remove(&self.forward.request.id);
        });
        drop(tables);
        drop(gone);
        self.sessions.has_changed(user);
    }
}

impl Sessions {
    /// Counts together with other gateways from now on; once, before anything is open.
    pub(crate) fn count_with(&self, others: Arc<dyn Elsewhere>) {
        let _ = self.0.elsewhere.set(others);
    }

    /// Whether new sessions and forwards must be refused, because other gateways cannot be reached.
    #[must_use]
    pub fn refuses_new(&self) -> bool {
        self.0.elsewhere.get().is_some_and(|others| others.refuses_new())
    }

    fn has_changed(&self, user: &str) {
        if let Some(others) = self.0.elsewhere.get() {
            others.changed(user);
        }
    }

    /// A place for one more session of `user`, unless there are `most` already, here or with those on other gateways.
    pub async fn admit_everywhere(&self, user: &str, most: usize) -> Option<Seat> {
        let seat = self.admit(user, most)?;
        if let Some(others) = self.0.elsewhere.get()
            && !others.admits(user, most).await
        {
            return None;
        }
        Some(seat)
    }

    /// A place for one more session of `user` here, unless there are `most` already.
    #[must_use]
    pub fn admit(&self, user: &str, most: usize) -> Option<Seat> {
        let mut tables = self.lock();
        let load = tables.users.entry(user.to_owned()).or_default();
        if load.seats >= most {
            return None;
        }
        load.seats += 1;
        tables.seats += 1;
        Some(Seat {
            sessions: self.clone(),
            user: user.to_owned(),
        })
    }

    /// Enters a session, whose user is in.
    #[must_use]
    pub fn enter(&self, session: &Arc<Session>, seat: Seat) -> Entry {
        let mut tables = self.lock();
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        let id = session.connection.id.clone();
        tables.sessions.insert(id, Arc::clone(session));
        Entry {
            sessions: self.clone(),
            session: Arc::clone(session),
            _seat: seat,
        }
    }

    /// Enters a tunnel or listener.
    #[must_use]
    pub fn open(&self, forward: Forward) -> ForwardGuard {
        let forward = Arc::new(forward);
        let mut tables = self.lock();
        *tables.open.of(forward.request.action) += 1;
        let load = tables.users.entry(forward.request.principal.user.clone()).or_default();
        load.forwards.insert(forward.request.id.clone(), Arc::clone(&forward));
        drop(tables);
        self.has_changed(&forward.request.principal.user);
        ForwardGuard {
            sessions: self.clone(),
            forward,
        }
    }

    /// What this user has over all sessions, for the limits of that.
    #[must_use]
    pub fn quota(&self, user: &str) -> Arc<Quota> {
        self.0.quotas.of(user)
    }

    /// How many users are in, each as often as they have a session.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().seats
    }

    /// How much is open and was carried. A tunnel that ends meanwhile counts once: what it carried moves from those that are
    /// open to those that have ended under the lock that this takes.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let tables = self.lock();
        let (mut bytes_up, mut bytes_down) = tables.passed;
        for forward in tables.forwards() {
            let (up, down) = forward.bytes.both();
            bytes_up += up;
            bytes_down += down;
        }
        let Open {
            connects,
            accepts,
            listeners,
        } = tables.open;
        Totals {
            sessions: tables.seats,
            connects,
            accepts,
            listeners,
            bytes_up,
            bytes_down,
        }
    }

    /// Every session whose user is in.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    /// A number that changes with every session that begins or ends.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    /// Open tunnels and listeners of a user.
    #[must_use]
    pub fn open_forwards(&self, user: &str) -> u32 {
        let open = self.lock().users.get(user).map_or(0, |load| load.forwards.len());
        u32::try_from(open).unwrap_or(u32::MAX)
    }

    /// Sessions of a user, also those that begin.
    #[must_use]
    pub fn sessions_of(&self, user: &str) -> usize {
        self.lock().users.get(user).map_or(0, |load| load.seats)
    }

    /// Every tunnel and listener.
    #[must_use]
    pub fn forwards(&self) -> Vec<Arc<Forward>> {
        self.lock().forwards().cloned().collect()
    }

    /// What a user has open now, in all sessions.
    #[must_use]
    pub fn forwards_of(&self, user: &str) -> Vec<Arc<Forward>> {
        let tables = self.lock();
        let load = tables.users.get(user);
        load.map(|load| load.forwards.values().cloned().collect())
            .unwrap_or_default()
    }

    /// How much a user has open now.
    #[must_use]
    pub fn share_of(&self, user: &str) -> Share {
        let tables = self.lock();
        let Some(load) = tables.users.get(user) else {
            return Share::default();
        };
        let mut share = Share {
            bytes: load.passed,
            ..Share::default()
        };
        for forward in load.forwards.values() {
            match forward.request.action {
                Action::Listen => share.listeners += 1,
                Action::Connect | Action::Accept => share.tunnels += 1,
            }
            let (up, down) = forward.bytes.both();
            share.bytes.0 += up;
            share.bytes.1 += down;
        }
        share
    }

    fn lock(&self) -> MutexGuard<'_, Tables> {
        self.0.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn forwards(&self) -> impl Iterator<Item = &Arc<Forward>> {
        self.users.values().flat_map(|load| load.forwards.values())
    }

    fn unload(&mut self, user: &str, change: impl FnOnce(&mut Load)) {
        let Some(load) = self.users.get_mut(user) else {
            return;
        };
        change(load);
        if load.seats == 0 && load.forwards.is_empty() {
            self.users.remove(user);
        }
    }
}

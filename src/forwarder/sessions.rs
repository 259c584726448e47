//! The sessions that are open, to find them again when what their logins give has changed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::Visit;

/// Every session whose user is in. An entry lasts as long as its [`Present`].
#[derive(Clone, Default)]
pub struct Sessions(Arc<Table>);

#[derive(Default)]
struct Table {
    visits: Mutex<HashMap<String, Arc<Visit>>>,
    changes: AtomicU64,
}

/// The entry of a session; dropped when it ends.
pub struct Present {
    sessions: Sessions,
    session: String,
}

impl Sessions {
    /// Enters a session.
    #[must_use]
    pub fn enter(&self, visit: &Arc<Visit>) -> Present {
        let session = visit.connection.id.clone();
        self.change(|visits| visits.insert(session.clone(), Arc::clone(visit)));
        Present {
            sessions: self.clone(),
            session,
        }
    }

    /// All of them.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Visit>> {
        let visits = self.0.visits.lock().unwrap_or_else(PoisonError::into_inner);
        visits.values().cloned().collect()
    }

    /// A number that changes with every session that begins or ends.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.0.changes.load(Ordering::Acquire)
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<String, Arc<Visit>>) -> T) -> T {
        let mut visits = self.0.visits.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        change(&mut visits)
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let gone = self.sessions.change(|visits| visits.remove(&self.session));
        drop(gone);
    }
}

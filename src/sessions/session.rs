//! One session: a user who is in, over one connection, and what all requests of it share.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Bytes, Full, Pace, Place, Quota, Stop};
use crate::accounts::Standing;
use crate::config::Limits;
use crate::events::Subject;
use crate::judgement::{Question, Verdicts};
use crate::request::{Cause, Connection, Principal};

/// A user who is in, shared by the requests of the session.
pub struct Session {
    /// The name that was logged in with.
    pub user: String,
    /// Who that is now, and what their key or certificate permits.
    pub standing: Arc<Standing>,
    /// From where.
    pub connection: Arc<Connection>,
    /// For the audit log.
    pub subject: Subject,
    /// Ends with the session.
    pub stop: Stop,
    /// The runtime of the thread that serves the session and everything it has open; none outside of one.
    pub(super) thread: Option<Handle>,
    /// What its client is told at the end, where somebody ended it.
    sentence: OnceLock<String>,
    /// Kept by status channels.
    uses: Arc<()>,
    verdicts: Arc<Verdicts>,
    /// What went through tunnels that have ended.
    pub(super) past: Bytes,
    carried: AtomicUsize,
    littered: AtomicUsize,
    /// When a tunnel or listener last ended; the beginning where none did.
    used: Mutex<Instant>,
    /// What the user has over all sessions.
    pub quota: Arc<Quota>,
    pub(super) tunnels: Arc<Semaphore>,
    most_tunnels: usize,
    pub(super) listeners: Arc<Semaphore>,
    most_listeners: usize,
    /// Of answers that give nothing.
    pub pace: Pace,
    /// For refusals that wait without a place among the tunnels.
    pub waiting: Arc<Semaphore>,
}

impl Session {
    /// A session of this user, served by the current thread.
    #[must_use]
    pub fn new(standing: Standing, connection: Connection, ceilings: &Limits, quota: Arc<Quota>) -> Self {
        let user = standing.rights().principal.user.clone();
        Self {
            quota,
            subject: Subject {
                session: Some(connection.id.clone()),
                user: Some(user.clone()),
                client: Some(connection.client),
                forward: None,
            },
            user,
            standing: Arc::new(standing),
            connection: Arc::new(connection),
            stop: Stop::default(),
            thread: Handle::try_current().ok(),
            sentence: OnceLock::new(),
            uses: Arc::default(),
            verdicts: Arc::default(),
            past: Bytes::default(),
            carried: AtomicUsize::new(0),
            littered: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
            tunnels: Arc::new(Semaphore::new(ceilings.tunnels_per_session)),
            most_tunnels: ceilings.tunnels_per_session,
            listeners: Arc::new(Semaphore::new(ceilings.listeners_per_session)),
            pace: Pace::default(),
            waiting: Arc::new(Semaphore::new(MOST_WAITING)),
            most_listeners: ceilings.listeners_per_session,
        }
    }

    /// Who the user is, as far as that was last asked.
    #[must_use]
    pub fn principal(&self) -> Arc<Principal> {
        Arc::clone(&self.standing.rights().principal)
    }

    /// Ends the session with all it has open, and tells its client why.
    pub fn end(&self, cause: Cause, sentence: &str) {
        if self.will_say(sentence) {
            self.stop.end(cause);
        }
    }

    /// Takes what its client is told at the end; false where somebody has ended it before.
    pub(super) fn will_say(&self, sentence: &str) -> bool {
        self.sentence.set(sentence.to_owned()).is_ok()
    }

    /// Ends the session, because its user may no longer log in.
    pub fn revoke(&self, reason: &str) {
        self.end(Cause::Revoked, &format!("the user may no longer log in: {reason}"));
    }

    /// What its client is told, if somebody ended it.
    #[must_use]
    pub fn sentence(&self) -> Option<&str> {
        self.sentence.get().map(String::as_str)
    }

    /// The session is in use as long as what comes back is kept: a status channel is open.
    #[must_use]
    pub fn in_use(&self) -> Arc<()> {
        Arc::clone(&self.uses)
    }

    /// Tunnels that are open or asked for.
    #[must_use]
    pub fn open_tunnels(&self) -> usize {
        self.most_tunnels.saturating_sub(self.tunnels.available_permits())
    }

    /// Listeners that are open or asked for.
    #[must_use]
    pub fn open_listeners(&self) -> usize {
        self.most_listeners.saturating_sub(self.listeners.available_permits())
    }

    /// What went up and down through tunnels that have ended.
    #[must_use]
    pub fn past(&self) -> (u64, u64) {
        self.past.both()
    }

    /// Since when nothing has been open; now, if a tunnel, a listener or a status channel is.
    #[must_use]
    pub fn unused_since(&self) -> Instant {
        if self.open_listeners() > 0 || self.open_tunnels() > 0 || Arc::strong_count(&self.uses) > 1 {
            return Instant::now();
        }
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there may be tunnels at all.
    pub(super) fn takes_tunnels(&self) -> Result<(), Full> {
        if self.is_littered() {
            self.end_if_used_up();
            return Err(Full::Litter);
        }
        Ok(())
    }

    /// A tunnel and its channel are gone.
    pub fn leave(&self, place: Place) {
        self.release(place);
        self.end_if_used_up();
    }

    /// A tunnel or listener is gone, which is a use of the session up to now.
    pub fn release(&self, place: Place) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        drop(place);
    }

    /// Where no tunnel is open and none will be, the client had better connect again.
    fn end_if_used_up(&self) {
        if self.is_littered() && self.open_tunnels() == 0 {
            self.stop.end(Cause::Failed);
        }
    }

    /// How long the next tunnel that is over may wait for the client to close it.
    ///
    /// russh forgets a channel wholly only where the client's close comes first, and most clients close at once. But
    /// `ssh -W`, and so `-J`, waits for the server: it has one tunnel, so the first few are not kept waiting.
    pub fn close_patience(&self) -> Duration {
        match self.carried.fetch_add(1, Ordering::Relaxed) {
            0..CLOSED_AT_ONCE => Duration::ZERO,
            _ => CLOSE_PATIENCE,
        }
    }

    /// A channel was not closed by the client first: russh keeps some 4 KiB of it until the session ends.
    pub fn litter(&self) {
        self.littered.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether so much is kept of channels that are gone that the session takes no new ones.
    #[must_use]
    pub fn is_littered(&self) -> bool {
        self.littered.load(Ordering::Relaxed) >= MOST_LITTER
    }

    /// A question of this session's user.
    #[must_use]
    pub fn question<D>(&self, asked: D) -> Question<D> {
        let question = Question::new(asked, &self.standing.rights(), Arc::clone(&self.connection));
        question.reusing(Arc::clone(&self.verdicts))
    }
}

/// Tunnels of a session that do not wait for the client's close.
const CLOSED_AT_ONCE: usize = 4;
const CLOSE_PATIENCE: Duration = Duration::from_millis(500);
/// Channels of a session, 16 MiB of them, that the client did not close before the gateway did.
pub(super) const MOST_LITTER: usize = 4096;
/// Refusals that may wait without a place among the tunnels.
const MOST_WAITING: usize = 256;

/// What the client of a user is told who is locked out.
#[must_use]
pub(crate) fn lock_sentence(reason: &str) -> String {
    format!("an administrator has locked this user: {reason}")
}

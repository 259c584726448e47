//! The places that a tunnel or a listener takes: among those of its session, among those of its user, and among the files
//! that the gateway may have open. A refusal names the limit that is reached.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Session;
use super::quota::{Counted, Counts};
use super::session::MOST_LITTER;
use crate::config::Limits;
use crate::request::Refusal;
use crate::shares::{Share, Shares};

/// What one tunnel or listener takes, until it is dropped.
pub struct Place {
    _session: OwnedSemaphorePermit,
    _user: Counted,
    _files: Vec<Share>,
}

/// Why there is no place for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// Of the session.
    #[error("this session has reached limits.tunnels-per-session")]
    Tunnels,
    /// Of the session.
    #[error("this session has reached limits.listeners-per-session")]
    Listeners,
    /// Over all sessions of the user.
    #[error("this user has reached limits.tunnels-per-user")]
    TunnelsOfUser,
    /// Over all sessions of the user.
    #[error("this user has reached limits.listeners-per-user")]
    ListenersOfUser,
    /// Connections of the user that are being made.
    #[error("this user has reached limits.dials-per-user")]
    Dials,
    /// Decisions of the user in a second.
    #[error("this user has reached limits.decisions-per-user-per-second")]
    Decisions,
    /// Open files of the process.
    #[error("the gateway has no more open files for this user (ulimit -n, LimitNOFILE)")]
    Files,
    /// The library would keep too much of channels that are gone.
    #[error("this session has had {MOST_LITTER} tunnels that its client did not close: connect again")]
    Litter,
}

impl Full {
    /// The code of the refusal.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Tunnels => "tunnels-per-session",
            Self::Listeners => "listeners-per-session",
            Self::TunnelsOfUser => "tunnels-per-user",
            Self::ListenersOfUser => "listeners-per-user",
            Self::Dials => "dials-per-user",
            Self::Decisions => "decisions-per-user-per-second",
            Self::Files => "open-files",
            Self::Litter => "unclosed-tunnels",
        }
    }

    /// What the user is told.
    #[must_use]
    pub fn refusal(self) -> Refusal {
        Refusal::Exhausted {
            code: self.code(),
            reason: self.to_string(),
        }
    }
}

impl Session {
    /// A place for a tunnel.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn tunnel_place(&self, limits: &Limits, files: &Arc<Shares>) -> Result<Place, Full> {
        self.takes_tunnels()?;
        let session = one_of(&self.tunnels, Full::Tunnels)?;
        let user = self.quota.take(Counts::Tunnels, limits.tunnels_per_user);
        self.with_files(session, user.ok_or(Full::TunnelsOfUser)?, files, OF_A_TUNNEL)
    }

    /// A place for a listener.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn listener_place(&self, limits: &Limits, files: &Arc<Shares>) -> Result<Place, Full> {
        let session = one_of(&self.listeners, Full::Listeners)?;
        let user = self.quota.take(Counts::Listeners, limits.listeners_per_user);
        self.with_files(session, user.ok_or(Full::ListenersOfUser)?, files, OF_A_LISTENER)
    }

    /// A place for a connection that is being made.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn dial_place(&self, limits: &Limits) -> Result<Counted, Full> {
        self.quota.take(Counts::Dials, limits.dials_per_user).ok_or(Full::Dials)
    }

    fn with_files(
        &self,
        session: OwnedSemaphorePermit,
        user: Counted,
        files: &Arc<Shares>,
        count: usize,
    ) -> Result<Place, Full> {
        let file = || files.try_take(&self.user).ok_or(Full::Files);
        Ok(Place {
            _files: std::iter::repeat_with(file).take(count).collect::<Result<_, _>>()?,
            _session: session,
            _user: user,
        })
    }
}

fn one_of(places: &Arc<Semaphore>, full: Full) -> Result<OwnedSemaphorePermit, Full> {
    Arc::clone(places).try_acquire_owned().map_err(|_| full)
}

/// The connection to the target, or from the visitor of a listener.
const OF_A_TUNNEL: usize = 1;
/// A socket for each address family.
const OF_A_LISTENER: usize = 2;

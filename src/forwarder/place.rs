//! The places that a tunnel or a listener takes: among those of its session, among those of its user, and among the files
//! that the gateway may have open. A refusal names the limit that is reached.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::quota::{Counted, Counts};
use super::{Desk, Visit};
use crate::request::Refusal;
use crate::shares::Share;

/// What one tunnel or listener takes, until it is dropped.
pub(super) struct Place {
    _session: OwnedSemaphorePermit,
    _user: Counted,
    _files: Vec<Share>,
}

/// Why there is no place for one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Full {
    #[error("this session has reached limits.tunnels-per-session")]
    Tunnels,
    #[error("this session has reached limits.listeners-per-session")]
    Listeners,
    #[error("this user has reached limits.tunnels-per-user")]
    TunnelsOfUser,
    #[error("this user has reached limits.listeners-per-user")]
    ListenersOfUser,
    #[error("this user has reached limits.dials-per-user")]
    Dials,
    #[error("this user has reached limits.decisions-per-user-per-second")]
    Decisions,
    #[error("the gateway has no more open files for this user (ulimit -n, LimitNOFILE)")]
    Files,
    #[error(
        "this session has had {} tunnels that its client did not close: connect again",
        super::visit::MOST_LITTER
    )]
    Litter,
}

impl Full {
    /// The code of the refusal.
    pub(super) fn code(self) -> &'static str {
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

    pub(super) fn refusal(self) -> Refusal {
        Refusal::Exhausted {
            code: self.code(),
            reason: self.to_string(),
        }
    }
}

impl Desk {
    /// A place for a tunnel.
    pub(super) fn tunnel_place(&self, visit: &Visit) -> Result<Place, Full> {
        visit.takes_tunnels()?;
        let session = one_of(&visit.tunnels, Full::Tunnels)?;
        let most = self.judge.current().limits.tunnels_per_user;
        let user = visit.quota.take(Counts::Tunnels, most).ok_or(Full::TunnelsOfUser)?;
        self.with_files(visit, session, user, OF_A_TUNNEL)
    }

    /// A place for a listener.
    pub(super) fn listener_place(&self, visit: &Visit) -> Result<Place, Full> {
        let session = one_of(&visit.listeners, Full::Listeners)?;
        let most = self.judge.current().limits.listeners_per_user;
        let user = visit.quota.take(Counts::Listeners, most).ok_or(Full::ListenersOfUser)?;
        self.with_files(visit, session, user, OF_A_LISTENER)
    }

    /// A place for a connection that is being made.
    pub(super) fn dial_place(&self, visit: &Visit) -> Result<Counted, Full> {
        let most = self.judge.current().limits.dials_per_user;
        visit.quota.take(Counts::Dials, most).ok_or(Full::Dials)
    }

    fn with_files(
        &self,
        visit: &Visit,
        session: OwnedSemaphorePermit,
        user: Counted,
        files: usize,
    ) -> Result<Place, Full> {
        let file = || self.files.try_take(&visit.user).ok_or(Full::Files);
        Ok(Place {
            _files: std::iter::repeat_with(file).take(files).collect::<Result<_, _>>()?,
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

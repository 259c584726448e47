//! The story of one request: judge it, record it, dial or listen, hand it back or refuse it.

mod connect;
mod judge;
mod listen;
mod pace;
mod place;
mod quota;
mod reconsider;
mod refusals;
mod renew;
mod sessions;
mod tunnel;
mod visit;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio_util::task::TaskTracker;

use crate::events::Events;
use crate::judgement::Judge;
use crate::registry::Registry;
use crate::shares::Shares;

pub use connect::Pending;
pub use listen::{Listening, Opener, Unopened};
pub use quota::{Quota, Quotas};
pub use refusals::Refusals;
pub use sessions::{Present, Sessions};
pub use visit::Visit;

/// What every request of the gateway shares.
pub struct Desk {
    /// Who judges.
    pub judge: Arc<Judge>,
    /// Where it is announced.
    pub events: Events,
    /// What is open.
    pub registry: Registry,
    /// Who is in.
    pub sessions: Sessions,
    /// What each user has over all sessions.
    pub quotas: Quotas,
    /// Files that forwards may have open: what is left is for accepting, for the log and for policies.
    pub files: Arc<Shares>,
    /// The gateway stops: nothing new is forwarded.
    pub draining: AtomicBool,
    /// What is refused over and over.
    pub refusals: Refusals,
    /// Every task.
    pub tasks: TaskTracker,
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

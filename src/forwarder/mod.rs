//! The story of one request: judge it, record it, dial or listen, hand it back or refuse it.

mod connect;
mod judge;
mod listen;
mod reconsider;
mod tunnel;
mod visit;

use std::sync::atomic::AtomicBool;
use std::time::Instant;

use arc_swap::ArcSwap;
use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::config::Limits;
use crate::judgement::Judge;
use crate::registry::Registry;

pub use connect::Pending;
pub use listen::{Listening, Opener, Unopened};
pub use visit::{News, Visit};

/// What every request of the gateway shares.
pub struct Desk {
    /// Who judges.
    pub judge: Judge,
    /// Where it is recorded.
    pub audit: Audit,
    /// What is open.
    pub registry: Registry,
    /// Defaults and ceilings.
    pub limits: ArcSwap<Limits>,
    /// Whether a swap judges again what is open.
    pub reevaluates: AtomicBool,
    /// The gateway stops: nothing new is forwarded.
    pub draining: AtomicBool,
    /// Every task.
    pub tasks: TaskTracker,
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

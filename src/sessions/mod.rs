//! What is open: sessions, with their tunnels and listeners, to be listed and ended by id.
//!
//! An entry lives exactly as long as its guard, so an early return cannot leave one behind. Reading does not stop the relay:
//! counters are atomic, and the lock is held only to copy handles or to add counters up. The room also keeps what a session and its user may have open
//! at once ([`Place`], [`Quota`]). It must not know how anything is carried, nor why it ends.

mod elsewhere;
mod forward;
mod open;
mod pace;
mod place;
mod quota;
mod session;
mod stop;
#[cfg(test)]
mod tests;

pub(crate) use elsewhere::Elsewhere;
pub(crate) use forward::{Bytes, Forward, SHORTEST};
pub(crate) use open::{Entry, ForwardGuard, Seat, Sessions, Share, Totals};
pub(crate) use pace::{Pace, Speed};
pub(crate) use place::{Full, Place};
pub(crate) use quota::{Counted, Quota};
pub(crate) use session::{Session, lock_sentence};
pub(crate) use stop::{Stop, end_all};

//! Holds back targets while too much waits for their client.
//!
//! The session takes whatever it is given and the connection takes it when it can (`ssh/wire`), so something else must hold
//! back the targets. While more than [`MARK`] bytes wait for a client, nothing is read from its targets and nothing of
//! theirs is sent. Waiting tunnels continue in the order in which they came, so that none is left out.
//!
//! Small writes have a separate lane, with twice the mark: a keystroke does not queue up behind downloads for its
//! turn, and passes before them.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use tokio::sync::Mutex;

/// The gate of one session.
#[derive(Default)]
pub(in crate::ssh) struct Gate {
    /// Bytes that the connection could not take yet.
    waiting: AtomicUsize,
    /// Bytes that have passed, and that the session has not been given yet.
    passing: AtomicUsize,
    bulk: Lane,
    little: Lane,
}

/// Those who wait for the same mark.
#[derive(Default)]
struct Lane {
    /// Held by the first in the queue.
    turn: Mutex<()>,
    first: AtomicWaker,
}

/// Bytes on their way to the session; dropped once they are there.
pub(in crate::ssh) struct Passage<'a> {
    gate: &'a Gate,
    bytes: usize,
}

impl Gate {
    /// So many bytes wait for the client now.
    pub(in crate::ssh) fn waits(&self, bytes: usize) {
        self.waiting.store(bytes, Ordering::SeqCst);
        self.wake();
    }

    /// Waits until so many bytes of a target may be given to the session. To drop the future is to leave the queue.
    pub(in crate::ssh) async fn pass(&self, bytes: usize) -> Passage<'_> {
        self.open(bytes).await;
        self.passing.fetch_add(bytes, Ordering::SeqCst);
        Passage { gate: self, bytes }
    }

    /// Waits until a target may be read that is expected to send so much. To drop the future is to leave the queue.
    pub(in crate::ssh) async fn open(&self, bytes: usize) {
        let lane = if bytes <= LITTLE { &self.little } else { &self.bulk };
        let _turn = lane.turn.lock().await;
        poll_fn(|context| {
            if self.is_open(bytes) {
                return Poll::Ready(());
            }
            lane.first.register(context.waker());
            // It may have opened meanwhile.
            match self.is_open(bytes) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }

    fn is_open(&self, bytes: usize) -> bool {
        let mark = if bytes <= LITTLE { 2 * MARK } else { MARK };
        self.waiting.load(Ordering::SeqCst) < mark && self.passing.load(Ordering::SeqCst) < MOST_PASSING
    }

    fn wake(&self) {
        if self.is_open(LITTLE) {
            self.little.first.wake();
        }
        if self.is_open(LITTLE + 1) {
            self.bulk.first.wake();
        }
    }
}

impl Drop for Passage<'_> {
    fn drop(&mut self) {
        self.gate.passing.fetch_sub(self.bytes, Ordering::SeqCst);
        self.gate.wake();
    }
}

/// As in OpenSSH's sshd, which reads no channel's socket while more than this waits (`channels.c`).
const MARK: usize = 64 << 10;
/// As much as the queue of the session holds: fewer would empty it, and cost more writes.
const MOST_PASSING: usize = 512 << 10;
/// What somebody may wait for who types.
pub(super) const LITTLE: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::FutureExt;

    use super::*;

    const BULK: usize = 32 << 10;

    #[test]
    fn while_much_waits_no_target_is_read_and_little_things_pass_before_large_ones() {
        let gate = Gate::default();
        let rows = [
            // waiting       little  bulk
            (0, true, true),
            (MARK - 1, true, true),
            (MARK, true, false),
            (2 * MARK - 1, true, false),
            (2 * MARK, false, false),
        ];
        for (waiting, little, bulk) in rows {
            gate.waits(waiting);
            let passes = [1, BULK].map(|bytes| gate.pass(bytes).now_or_never().is_some());
            let opens = [1, BULK].map(|bytes| gate.open(bytes).now_or_never().is_some());
            assert_eq!((passes, opens), ([little, bulk], [little, bulk]), "{waiting}");
        }
    }

    #[test]
    fn those_who_wait_go_on_in_their_order_and_those_who_leave_hold_up_none() {
        let gate = Gate::default();
        gate.waits(MARK);
        let mut waiting: Vec<_> = (0..4).map(|_| Box::pin(gate.pass(BULK))).collect();
        assert!(waiting.iter_mut().all(|one| one.now_or_never().is_none()));
        // The first in the queue goes away, and so does one behind it.
        drop(waiting.remove(2));
        drop(waiting.remove(0));
        gate.waits(0);
        let mut last = waiting.pop().unwrap();
        assert!((&mut last).now_or_never().is_none(), "it is not its turn");
        assert!(waiting.pop().unwrap().now_or_never().is_some());
        assert!(last.now_or_never().is_some());
    }

    #[test]
    fn what_is_on_its_way_counts_until_it_is_there() {
        let gate = Gate::default();
        let passages: Vec<_> = (0..MOST_PASSING / BULK)
            .map(|_| gate.pass(BULK).now_or_never().unwrap())
            .collect();
        let mut next = pin!(gate.pass(BULK));
        assert!(next.as_mut().now_or_never().is_none());
        drop(passages);
        assert!(next.now_or_never().is_some());
    }
}

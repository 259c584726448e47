//! What the targets of one session take, and what its client may be sent: the counts that SSH's windows follow.
//!
//! [`Flows`] is the session's side: it counts what arrives for each channel. A tunnel has [`Queued`] and [`Way`], which the relay knows
//! as a [`Queue`] and an [`Outlet`]. `window.rs` turns the counts into windows, `round.rs` groups the least of them, `pacing.rs`
//! limits how far a target runs ahead, and `gate.rs` holds targets back while too much waits for the client.

mod gate;
mod pacing;
mod round;
mod window;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::relay::{MAX_READ, Outlet, PIECE, Queue};

use gate::Gate;
use pacing::{Company, Lead};
use round::Round;

pub(super) use window::{Bounds, Throttle};

/// How many bytes the tunnels of all sessions hold together.
#[derive(Clone, Default)]
pub(in crate::ssh) struct Memory(Arc<Counts>);

#[derive(Default)]
struct Counts {
    for_targets: AtomicUsize,
    /// Tunnels that hold something for a target.
    holders: AtomicUsize,
    for_clients: AtomicUsize,
}

impl Memory {
    /// Bytes that wait for targets now.
    #[must_use]
    pub(in crate::ssh) fn bytes(&self) -> usize {
        self.0.for_targets.load(Ordering::Relaxed)
    }
}

/// What the targets of one session take, tunnel by tunnel.
///
/// The session counts what arrives for a tunnel and the tunnel what it is rid of; the difference waits. The two sides
/// find each other by the number of the channel.
#[derive(Clone, Default)]
pub(in crate::ssh) struct Flows(Arc<SessionFlows>);

#[derive(Default)]
struct SessionFlows {
    memory: Memory,
    /// Bytes that may wait for all targets together.
    most: usize,
    open: Mutex<HashMap<u32, Arc<Flow>>>,
    round: Round,
    company: Company,
    gate: Gate,
}

impl Flows {
    /// The flows of a session that counts into this memory, of which targets may keep `most` bytes waiting.
    #[must_use]
    pub(in crate::ssh) fn new(memory: &Memory, most: u64) -> Self {
        Self(Arc::new(SessionFlows {
            memory: memory.clone(),
            most: usize::try_from(most).unwrap_or(usize::MAX),
            ..SessionFlows::default()
        }))
    }

    /// Something may arrive for this channel from now on.
    pub(in crate::ssh) fn open(&self, channel: u32) {
        self.lock().entry(channel).or_default();
    }

    /// The queue of the tunnel that has this channel.
    #[must_use]
    pub(in crate::ssh) fn queue(&self, channel: u32) -> Queued {
        let flow = Arc::clone(self.lock().entry(channel).or_default());
        flow.carried.store(true, Ordering::Relaxed);
        Queued {
            flows: self.clone(),
            flow,
            channel,
            bytes: 0,
        }
    }

    /// The channel is gone.
    pub(in crate::ssh) fn close(&self, channel: u32) {
        self.lock().remove(&channel);
    }

    /// The client may be sent so much more over this channel now.
    pub(in crate::ssh) fn granted(&self, channel: u32, window: u32) {
        if let Some(flow) = self.find(channel) {
            flow.lead.granted(window);
        }
    }

    /// The round of the least grants.
    #[must_use]
    pub(in crate::ssh) fn round(&self) -> &Round {
        &self.0.round
    }

    /// Who may add to what waits for the client.
    #[must_use]
    pub(in crate::ssh) fn gate(&self) -> &Gate {
        &self.0.gate
    }

    /// The way to the client of the tunnel that has this channel; none if there is no such tunnel.
    #[must_use]
    pub(in crate::ssh) fn way(&self, channel: u32) -> Option<Way> {
        self.find(channel).map(Way)
    }

    pub(in crate::ssh) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    pub(in crate::ssh) fn find(&self, channel: u32) -> Option<Arc<Flow>> {
        self.lock().get(&channel).map(Arc::clone)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u32, Arc<Flow>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One tunnel's side of the count.
#[derive(Default)]
pub(in crate::ssh) struct Flow {
    lead: Lead,
    taken: AtomicU64,
    /// It is throttled.
    watched: AtomicBool,
    carried: AtomicBool,
    ended: AtomicBool,
}

impl Flow {
    /// What waits of this many bytes that arrived; nothing where no tunnel holds them.
    pub(in crate::ssh) fn waiting(&self, arrived: u64) -> u64 {
        if self.carried.load(Ordering::Relaxed) && !self.has_ended() {
            arrived.saturating_sub(self.taken.load(Ordering::Relaxed))
        } else {
            0
        }
    }

    /// The round is to go on once nothing waits any more.
    pub(in crate::ssh) fn watch(&self) {
        self.watched.store(true, Ordering::Relaxed);
    }

    pub(in crate::ssh) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }
}

/// The way to the client through one channel.
pub(in crate::ssh) struct Way(Arc<Flow>);

impl Way {
    /// How often the client has granted something so far.
    #[must_use]
    pub(in crate::ssh) fn grants(&self) -> u64 {
        self.0.lead.grants()
    }

    /// The session was given so many bytes of the target.
    pub(in crate::ssh) fn gives(&self, bytes: usize) {
        self.0.lead.gives(bytes);
    }

    /// Waits until the client has granted something more often than that.
    pub(in crate::ssh) async fn granted_since(&self, grants: u64) {
        self.0.lead.granted_since(grants).await;
    }
}

/// The client's side of one tunnel, as far as it may be sent something.
pub(in crate::ssh) struct Back {
    flows: Flows,
    flow: Arc<Flow>,
    channel: u32,
}

impl Outlet for Back {
    type Held = Holding;

    /// How much may be read of the target at once: little more where a lot is held for clients that do not take it.
    fn room(&self) -> usize {
        if self.flows.memory().0.for_clients.load(Ordering::Relaxed) < HELD {
            MAX_READ
        } else {
            PIECE
        }
    }

    /// Waits until the target may be read, which is expected to send so much.
    async fn open(&self, bytes: usize) {
        self.flows.gate().open(bytes).await;
    }

    /// Counts bytes that were read of the target while they are held.
    fn hold(&self, bytes: usize) -> Holding {
        let memory = self.flows.memory().clone();
        memory.0.for_clients.fetch_add(bytes, Ordering::Relaxed);
        Holding { memory, bytes }
    }

    /// Waits until some of so many bytes may be sent, and returns how many.
    async fn send(&self, bytes: usize) -> usize {
        self.flow.lead.send(self.channel, bytes, &self.flows.0.company).await
    }
}

/// Bytes of a target that are held for a client.
pub(in crate::ssh) struct Holding {
    memory: Memory,
    bytes: usize,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.memory.0.for_clients.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The bytes that one tunnel holds; they leave all counts when it is dropped.
pub(in crate::ssh) struct Queued {
    flows: Flows,
    flow: Arc<Flow>,
    channel: u32,
    bytes: usize,
}

impl Queue for Queued {
    type Outlet = Back;

    /// Bytes were queued.
    fn add(&mut self, bytes: usize) {
        let memory = self.flows.memory();
        memory.0.for_targets.fetch_add(bytes, Ordering::Relaxed);
        if self.bytes == 0 && bytes > 0 {
            memory.0.holders.fetch_add(1, Ordering::Relaxed);
        }
        self.bytes += bytes;
    }

    /// Whether more waits for all targets than may, and for this one no less than for most. What a client was granted cannot
    /// be taken back, so there is no other end to it than that of a tunnel.
    fn is_too_much(&self) -> bool {
        let all = self.flows.memory().bytes();
        if all <= self.flows.0.most {
            return false;
        }
        let holders = self.flows.memory().0.holders.load(Ordering::Relaxed).max(1);
        self.bytes > NOT_MUCH && self.bytes >= all / holders
    }

    /// Bytes left the queue.
    fn take(&mut self, bytes: usize) {
        let memory = self.flows.memory();
        memory.0.for_targets.fetch_sub(bytes, Ordering::Relaxed);
        self.bytes -= bytes;
        if self.bytes == 0 && bytes > 0 {
            memory.0.holders.fetch_sub(1, Ordering::Relaxed);
        }
        self.skip(bytes);
        if self.bytes == 0 && self.flow.watched.swap(false, Ordering::Relaxed) {
            self.flows.round().resume();
        }
    }

    /// Bytes arrived for a tunnel that no longer exists.
    fn skip(&self, bytes: usize) {
        self.flow.taken.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Where the other direction of the tunnel goes.
    fn outlet(&self) -> Back {
        Back {
            flows: self.flows.clone(),
            flow: Arc::clone(&self.flow),
            channel: self.channel,
        }
    }

    /// Bytes in this queue.
    fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.take(self.bytes);
        self.flow.ended.store(true, Ordering::Relaxed);
        self.flows.close(self.channel);
    }
}

/// A tunnel that holds no more is not ended for others.
const NOT_MUCH: usize = 256 << 10;
/// Bytes that may be held for all clients before it is read in smaller pieces.
const HELD: usize = 64 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrived_waits_until_it_is_taken_or_the_tunnel_ends() {
        let memory = Memory::default();
        let flows = Flows::new(&memory, u64::MAX);
        flows.open(7);
        let flow = flows.find(7).unwrap();
        assert_eq!(flow.waiting(100), 0, "nobody holds it yet");
        let mut queue = flows.queue(7);
        queue.add(60);
        assert_eq!((flow.waiting(100), memory.bytes()), (100, 60));
        queue.take(50);
        queue.skip(40);
        assert_eq!((flow.waiting(100), memory.bytes()), (10, 10));
        drop(queue);
        assert_eq!((flow.waiting(100), memory.bytes()), (0, 0));
        assert!(flows.find(7).is_none());
    }

    #[test]
    fn where_too_much_waits_those_with_the_most_of_it_end() {
        let memory = Memory::default();
        let [mut much, mut more] = [1, 2].map(|channel| Flows::new(&memory, 10 * NOT_MUCH as u64).queue(channel));
        let ends = |much: &Queued, more: &Queued| [much.is_too_much(), more.is_too_much()];
        much.add(4 * NOT_MUCH);
        more.add(6 * NOT_MUCH);
        assert_eq!(ends(&much, &more), [false, false], "it is no more than may wait");
        much.add(1);
        assert_eq!(ends(&much, &more), [false, true]);
        more.take(5 * NOT_MUCH);
        much.add(5 * NOT_MUCH);
        assert_eq!(ends(&much, &more), [true, false], "the other holds little");
        more.take(NOT_MUCH);
        more.add(9 * NOT_MUCH);
        much.take(1);
        assert_eq!(ends(&much, &more), [true, true], "they hold as much as each other");
        drop(much);
        assert!(!more.is_too_much());
    }

    #[test]
    fn where_clients_take_nothing_less_is_read_for_all() {
        let memory = Memory::default();
        let outlets = [1, 2].map(|channel| Flows::new(&memory, u64::MAX).queue(channel).outlet());
        let held: Vec<_> = (0..HELD / MAX_READ).map(|_| outlets[0].hold(MAX_READ)).collect();
        assert_eq!(outlets.each_ref().map(Back::room), [PIECE; 2]);
        drop(held);
        assert_eq!(outlets.each_ref().map(Back::room), [MAX_READ; 2]);
    }
}

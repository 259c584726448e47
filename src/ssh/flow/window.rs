//! Limits what a client may send for each tunnel, although the library has one number for all of them.
//!
//! # What there is to work with
//!
//! A data packet takes its length from the receive window of its channel. Where less than half of the session's *target*
//! is left, the window is topped up to the target, and only then a callback asks for the next target, which holds for every
//! channel. So a target that is given in the callback of one packet is taken by whichever channel next falls below half of
//! it. There is no other way to grant a window, and none to take one back. A target of 1 would be the end: nothing is
//! topped up below half of it, so the callback would never come again. [`LEAST`] is 2.
//!
//! # What is done with it
//!
//! A channel is *full* when more waits in its queue than the soft mark. While none is, the target is one whole window. While
//! one is, the target rests at [`LEAST`]: a full channel then sends two bytes for each round trip. Whatever else is on the
//! connection goes on with the window that it has, which lasts for a while, and needs a large one now and then. So the
//! target is *raised* for one packet at a time: in a callback after which, the last time it came, such a channel sent before
//! any full one did. Clients answer in a steady order, so that is nearly always right. A channel that has used up its
//! window and got the least is *thirsty*: it takes part in the round of two bytes each, and its turn is after the full
//! channel that it followed before. If the guess is wrong, a full channel gets what was meant for another, and is given
//! only so much of that: its queue and its window together may grow from thirteen sixteenths of its bound to the whole within the
//! time after which a stalled tunnel is closed. What is staked shrinks with each loss and grows with each success.
//!
//! The grants of the least are counted in a [`Round`](super::round::Round): they are written together, once all of the last round
//! were answered, because answers to grants that were written together come in a steady order. While no channel depends on
//! the round, it may be late.
//!
//! # Why nothing waits in a circle
//!
//! - The session never waits for a tunnel: a tunnel takes whatever arrives before it does anything else, whether its
//!   target takes bytes or sends them, and what it took is bounded here and not by a queue that could be full.
//! - Every channel may always send: after each packet its window is at least half of a target that is at least 2, or was
//!   topped up to one. So a client that has something to send can send it, and its packet comes with a callback as soon as
//!   its window is used up. A callback is all that is needed to grant more.
//! - In the other direction a tunnel waits for the client's window only, holds one piece of the target's bytes, and goes on
//!   taking what the client sends meanwhile.
//!
//! So neither a target that takes nothing, nor one that answers with much more than it is asked, can keep the session, its
//! neighbours, or the other direction of its own tunnel from going on.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Flow, Flows};

/// The windows of one session's channels.
pub(in crate::ssh) struct Throttle {
    flows: Flows,
    bounds: Bounds,
    channels: HashMap<u32, Box<Channel>>,
    /// Those that are full.
    full: Vec<u32>,
    /// Those that are not, but have no more than the least.
    thirsty: Vec<u32>,
    /// The full channel that sent last.
    last_full: Option<u32>,
    /// How many packets full channels sent.
    full_packets: u64,
    /// The channel of the last callback, while the packets after it are noted.
    noting: Option<u32>,
    /// What a raised target may be.
    stake: u32,
}

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(in crate::ssh) struct Bounds {
    initial: u32,
    window: u32,
    soft: u64,
    bound: u64,
    memory: u64,
    patience: Duration,
}

/// More arrived than was granted.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::ssh) struct Overrun;

struct Channel {
    flow: Arc<Flow>,
    arrived: u64,
    /// What the client may still send.
    window: u32,
    /// Until the packet of a callback is counted: what could be sent before.
    before: Option<u32>,
    /// Bytes beyond the window.
    excess: u32,
    full: bool,
    full_since: Option<Instant>,
    /// Who sent after the packet of this channel's last callback, before any full channel did.
    followers: Vec<u32>,
    /// How many packets full channels had sent at the last callback.
    seen: u64,
    /// The round in which it was granted the least.
    ticket: Option<u64>,
    /// Of a thirsty one, when it was granted the least.
    thirsty_since: Option<Instant>,
    /// Of a thirsty one, the full channel whose packet came before its last.
    predecessor: Predecessor,
    /// How often it was granted the least since a full channel sent anything.
    alone: u32,
}

/// Whose packet comes before that of a thirsty channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Predecessor {
    /// It has become thirsty just now.
    Unknown,
    /// No full channel sends anything.
    Nobody,
    Full(u32),
}

impl Bounds {
    /// One tunnel may hold `tunnel` bytes and all tunnels `memory`; a tunnel that takes nothing is closed after `patience`.
    #[must_use]
    pub(in crate::ssh) fn new(tunnel: u64, memory: u64, patience: Option<Duration>) -> Self {
        Self {
            initial: u32::try_from(tunnel / 2).unwrap_or(INITIAL).min(INITIAL),
            window: u32::try_from(tunnel / 8).unwrap_or(WINDOW).min(WINDOW),
            soft: tunnel / 8,
            bound: tunnel,
            memory,
            patience: patience.unwrap_or(PATIENCE),
        }
    }

    /// What a new channel may send at first.
    #[must_use]
    pub(in crate::ssh) fn initial(&self) -> u32 {
        self.initial
    }

    /// What a full channel may have, waiting and granted: more as time goes by.
    fn allowance(&self, since: Option<Instant>, now: Instant) -> u64 {
        let first = self.bound / 16 * 13;
        let rest = self.bound - first;
        let elapsed = since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        let share = elapsed.as_millis().min(self.patience.as_millis());
        let gained = u128::from(rest) * share / self.patience.as_millis().max(1);
        first + u64::try_from(gained).unwrap_or(rest)
    }
}

impl Channel {
    fn waiting(&self) -> u64 {
        self.flow.waiting(self.arrived)
    }

    /// What waits, and what may come without a further grant.
    fn exposure(&self) -> u64 {
        self.waiting() + u64::from(self.window) + u64::from(self.before.unwrap_or(0).min(PACKET))
    }
}

impl Throttle {
    /// The windows of a session with these flows.
    #[must_use]
    pub(in crate::ssh) fn new(flows: Flows, bounds: Bounds) -> Self {
        Self {
            flows,
            stake: bounds.window,
            bounds,
            channels: HashMap::new(),
            full: Vec::new(),
            thirsty: Vec::new(),
            last_full: None,
            full_packets: 0,
            noting: None,
        }
    }

    /// A channel was topped up to the target of `current`; returns the next target.
    pub(in crate::ssh) fn topped_up(&mut self, number: u32, current: u32, now: Instant) -> u32 {
        let full = self.granted(number, current, now);
        self.note(number, full);
        self.sort(now);
        let next = self.choose(number, now);
        let (full, thirsty) = (self.full.len(), self.thirsty.len());
        tracing::trace!(channel = number, current, next, self.stake, full, thirsty, "window");
        next
    }

    /// A packet arrived, after its callback if it had one.
    ///
    /// # Errors
    /// If it is more than its channel was granted, beyond the tenth of a window that OpenSSH tolerates, too.
    pub(in crate::ssh) fn arrived(&mut self, number: u32, length: usize) -> Result<(), Overrun> {
        let whole = self.whole_window();
        let soft = self.soft_mark(whole);
        let window = self.bounds.window;
        let Some(channel) = self.channel(number) else {
            return Ok(());
        };
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        let before = channel.before.take();
        let allowed = before.unwrap_or(channel.window);
        // The library leaves the window as it is where a packet does not fit.
        if before.is_none() && length <= channel.window {
            channel.window -= length;
        }
        channel.arrived += u64::from(length);
        channel.excess = channel.excess.saturating_add(length.saturating_sub(allowed));
        if channel.excess > window / 10 {
            return Err(Overrun);
        }
        let fills = !channel.full && channel.waiting() > soft;
        channel.full |= fills;
        let full = channel.full;
        if fills {
            self.full.push(number);
        }
        // A packet with a callback was noted there.
        if before.is_none() {
            self.note(number, full);
        }
        Ok(())
    }

    /// The client closed a channel.
    pub(in crate::ssh) fn closed(&mut self, number: u32) {
        self.channels.remove(&number);
        self.flows.close(number);
    }

    /// Ends the notes at the first full channel.
    fn note(&mut self, number: u32, full: bool) {
        if full {
            self.noting = None;
            self.last_full = Some(number);
            self.full_packets += 1;
        }
        let Some(noting) = self.noting.and_then(|noting| self.channels.get_mut(&noting)) else {
            return;
        };
        if noting.followers.len() < MOST_FOLLOWERS && !noting.followers.contains(&number) {
            noting.followers.push(number);
        }
    }

    /// The channel, if it carries a tunnel.
    fn channel(&mut self, number: u32) -> Option<&mut Channel> {
        if !self.channels.contains_key(&number) {
            let flow = self.flows.find(number)?;
            let channel = Channel {
                flow,
                arrived: 0,
                window: self.bounds.initial,
                before: None,
                excess: 0,
                full: false,
                full_since: None,
                followers: Vec::new(),
                seen: 0,
                ticket: None,
                thirsty_since: None,
                predecessor: Predecessor::Unknown,
                alone: 0,
            };
            self.channels.insert(number, Box::new(channel));
        }
        self.channels.get_mut(&number).map(Box::as_mut)
    }

    /// Counts a grant; answers whether it went to a full channel.
    fn granted(&mut self, number: u32, target: u32, now: Instant) -> bool {
        let (least_stake, most_stake) = (self.least_stake(), self.most_stake());
        let (last_full, packets) = (self.last_full, self.full_packets);
        let flows = self.flows.clone();
        let Some(channel) = self.channel(number) else {
            return false;
        };
        channel.before = Some(channel.window);
        channel.window = target;
        let full = channel.full;
        let seen = std::mem::replace(&mut channel.seen, packets);
        let answered = channel.ticket.take();
        if target <= LEAST {
            channel.ticket = Some(flows.round().grant(answered));
        } else {
            flows.round().answer(answered);
        }
        if target > LEAST {
            if !self.full.is_empty() {
                self.stake = if full {
                    (self.stake / 4).max(least_stake)
                } else {
                    self.stake.saturating_mul(2).min(most_stake)
                };
            }
        } else if !full {
            channel.alone = if seen == packets {
                channel.alone.saturating_add(1)
            } else {
                0
            };
            channel.predecessor = match last_full {
                _ if channel.thirsty_since.is_none() => Predecessor::Unknown,
                Some(last) if seen != packets => Predecessor::Full(last),
                _ if channel.alone >= ALONE => Predecessor::Nobody,
                // Twice in a row says little: clients are not that steady.
                _ => channel.predecessor,
            };
            channel.thirsty_since = Some(now);
            if !self.thirsty.contains(&number) {
                self.thirsty.push(number);
            }
        }
        full
    }

    /// Which are full, and which have nothing.
    fn sort(&mut self, now: Instant) {
        let soft = self.soft_mark(self.whole_window());
        let channels = &mut self.channels;
        let thirsty = &mut self.thirsty;
        self.full.retain(|number| {
            let Some(channel) = channels.get_mut(number) else {
                return false;
            };
            if channel.flow.has_ended() {
                channels.remove(number);
                return false;
            }
            if channel.waiting() > soft / 2 {
                channel.flow.watch();
                channel.full_since.get_or_insert(now);
                return true;
            }
            channel.full = false;
            channel.full_since = None;
            if channel.window <= LEAST {
                channel.thirsty_since = Some(now);
                thirsty.push(*number);
            }
            false
        });
        thirsty.retain(|number| {
            let Some(channel) = channels.get_mut(number) else {
                return false;
            };
            let stays = !channel.full && channel.window <= LEAST && !channel.flow.has_ended();
            if !stays {
                channel.thirsty_since = None;
            }
            stays
        });
    }

    /// The next target, in the callback of this channel.
    fn choose(&mut self, number: u32, now: Instant) -> u32 {
        let channel = self.channels.get_mut(&number);
        self.noting = channel.as_ref().map(|_| number);
        let followers = channel.map(|channel| std::mem::take(&mut channel.followers));
        let whole = self.whole_window();
        if self.full.is_empty() {
            return whole;
        }
        let raised = self.stake.min(whole.saturating_mul(2)).min(self.room(now));
        let useful = raised >= self.least_stake();
        let next = if useful { raised } else { self.least_stake() };
        let needed = self.follows_thirsty() || self.follows_needy(followers.unwrap_or_default(), next);
        self.flows.round().hurry(needed || self.is_anyone_thirsty(now));
        if needed && useful { raised } else { LEAST }
    }

    /// What may go to any full channel by mistake.
    fn room(&self, now: Instant) -> u32 {
        let full = self.full.iter().filter_map(|number| self.channels.get(number));
        let rooms = full.map(|channel| {
            let allowance = self.bounds.allowance(channel.full_since, now);
            allowance.saturating_sub(channel.exposure())
        });
        u32::try_from(rooms.min().unwrap_or(0)).unwrap_or(u32::MAX)
    }

    /// Whether the turn of a thirsty channel is next, which it has not had since the last full one sent.
    fn follows_thirsty(&self) -> bool {
        let mut thirsty = self.thirsty.iter().filter_map(|number| self.channels.get(number));
        thirsty.any(|channel| match channel.predecessor {
            Predecessor::Full(full) => self.last_full == Some(full) && channel.seen != self.full_packets,
            Predecessor::Nobody => channel.seen == self.full_packets,
            Predecessor::Unknown => false,
        })
    }

    /// Whether a channel is to come next that still has something and would take this target.
    fn follows_needy(&self, followers: Vec<u32>, target: u32) -> bool {
        followers.iter().any(|number| {
            let channel = self.channels.get(number);
            channel.is_some_and(|channel| !channel.full && (LEAST + 1..target / 2).contains(&channel.window))
        })
    }

    /// Whether somebody thirsty still takes part in the round.
    fn is_anyone_thirsty(&self, now: Instant) -> bool {
        let since = |number| self.channels.get(number).and_then(|channel| channel.thirsty_since);
        let mut since = self.thirsty.iter().filter_map(since);
        since.any(|since| now.saturating_duration_since(since) < ROUND)
    }

    /// The window to grant where nothing is full: less as the memory of all sessions is used up.
    fn whole_window(&self) -> u32 {
        let window = self.bounds.window;
        let half = (self.bounds.memory / 2).max(1);
        let left = self.bounds.memory.saturating_sub(self.flows.memory().bytes() as u64);
        if left >= half {
            return window;
        }
        let share = u64::from(window) * left / half;
        u32::try_from(share).unwrap_or(window).clamp(LEAST, window)
    }

    /// Twice the window, so that a channel that has less than one takes it.
    fn most_stake(&self) -> u32 {
        self.bounds.window.saturating_mul(2)
    }

    fn least_stake(&self) -> u32 {
        LEAST_STAKE.min(self.bounds.window)
    }

    fn soft_mark(&self, whole: u32) -> u64 {
        self.bounds.soft * u64::from(whole) / u64::from(self.bounds.window).max(1)
    }
}

/// What OpenSSH's sshd grants (`channels.h`, `CHAN_TCP_WINDOW_DEFAULT`).
const WINDOW: u32 = 2 << 20;
/// During a new exchange of keys that we begin, the library gives a client up that has more than twice this on its way,
/// over all of its channels. This is more than the buffers of a connection hold by default.
const INITIAL: u32 = 8 << 20;
/// A window of one would never be topped up again.
const LEAST: u32 = 2;
const LEAST_STAKE: u32 = 32 << 10;
/// The largest packet that the library takes.
const PACKET: u32 = 256 << 10;
/// Longer than a round of two bytes each.
const ROUND: Duration = Duration::from_millis(500);
const MOST_FOLLOWERS: usize = 8;
/// From then on the full channels are taken to send nothing.
const ALONE: u32 = 4;
/// Where a stalled tunnel is never closed.
const PATIENCE: Duration = Duration::from_secs(60);

#[cfg(test)]
#[path = "window_tests.rs"]
mod tests;

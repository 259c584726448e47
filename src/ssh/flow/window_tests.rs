//! What a client may send, where some of its targets take nothing.

use super::*;
use crate::relay::Queue;
use crate::ssh::flow::{Memory, Queued};

/// In which order a client sends what its windows allow.
#[derive(Clone, Copy, Debug)]
enum Order {
    Upwards,
    Downwards,
    /// As the grants came.
    Granted,
    /// As `ssh` does it: a few grants are read at a time, and then every channel has a turn that may send.
    Batches,
    /// Upwards, but at times those that are stalled come a round too late.
    Late,
    /// Every round another.
    Random,
}

/// A client that fills every window at once, and the library's side of it.
struct Scene {
    throttle: Throttle,
    target: u32,
    now: Instant,
    order: Order,
    random: u64,
    channels: Vec<End>,
    /// The channels that were granted something in this round.
    granted: Vec<usize>,
}

struct End {
    queue: Queued,
    /// Takes what arrives.
    takes: bool,
    /// Has something to send.
    sends: bool,
    /// The client's view of the window.
    window: u32,
    /// The library's.
    left: u32,
    arrived: u64,
}

const TUNNEL: u64 = 16 << 20;
const ROUND: Duration = Duration::from_millis(1);
/// What the wire carries in a round: 200 MB/s.
const WIRE: u32 = 200 << 10;

impl Scene {
    fn new(stalled: usize, healthy: usize, order: Order, patience: Duration) -> Self {
        let flows = Flows::new(&Memory::default(), u64::MAX);
        let bounds = Bounds::new(TUNNEL, 4 << 30, Some(patience));
        let end = |number: usize| End {
            queue: flows.queue(number as u32),
            takes: number >= stalled,
            sends: true,
            window: bounds.initial(),
            left: bounds.initial(),
            arrived: 0,
        };
        Self {
            channels: (0..stalled + healthy).map(end).collect(),
            throttle: Throttle::new(flows, bounds),
            target: bounds.initial(),
            now: Instant::now(),
            order,
            random: 7,
            granted: Vec::new(),
        }
    }

    fn random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// One round trip.
    fn round(&mut self) {
        self.now += ROUND;
        let mut turns: Vec<usize> = (0..self.channels.len()).collect();
        match self.order {
            Order::Upwards => {}
            Order::Late => {
                let late = self.random().is_multiple_of(7);
                turns.retain(|number| !late || self.channels[*number].takes);
            }
            Order::Downwards => turns.reverse(),
            Order::Granted => {
                let granted = std::mem::take(&mut self.granted);
                turns.sort_by_key(|number| granted.iter().position(|one| one == number).unwrap_or(usize::MAX));
            }
            Order::Batches => {
                let mut granted = std::mem::take(&mut self.granted);
                let others = (0..turns.len()).filter(|number| !granted.contains(number));
                turns = others.collect();
                let busy = turns.clone();
                while !granted.is_empty() {
                    let most = granted.len().min(20) as u64;
                    let mut batch: Vec<_> = granted.drain(..(self.random() % most + 1) as usize).collect();
                    batch.extend(&busy);
                    batch.sort_unstable();
                    turns.extend(batch);
                }
            }
            Order::Random => {
                for place in (1..turns.len()).rev() {
                    let other = (self.random() % (place as u64 + 1)) as usize;
                    turns.swap(place, other);
                }
            }
        }
        self.granted.clear();
        let mut wire = WIRE;
        let mut packets = Vec::new();
        while wire > 0 && !turns.is_empty() {
            turns.retain(|number| {
                let end = &mut self.channels[*number];
                let length = end.window.min(32 << 10).min(wire);
                if length == 0 || !end.sends {
                    return false;
                }
                end.window -= length;
                wire -= length;
                packets.push((*number, length));
                end.window > 0
            });
        }
        for (number, length) in packets {
            self.arrive(number, length);
        }
    }

    /// What russh does with a data packet.
    fn arrive(&mut self, number: usize, length: u32) {
        let end = &mut self.channels[number];
        end.left -= length;
        if end.left < self.target / 2 {
            end.window += self.target - end.left;
            end.left = self.target;
            self.granted.push(number);
            self.target = self.throttle.topped_up(number as u32, self.target, self.now);
        }
        assert_eq!(self.throttle.arrived(number as u32, length as usize), Ok(()));
        let end = &mut self.channels[number];
        end.arrived += u64::from(length);
        end.queue.add(length as usize);
        if end.takes {
            end.queue.take(end.queue.bytes());
        }
        let exposure = end.queue.bytes() as u64 + u64::from(end.left);
        assert!(exposure <= TUNNEL, "{exposure} bytes for channel {number}");
        assert!(end.left > 0, "channel {number} may send nothing");
    }

    fn seconds(&mut self, seconds: u32) {
        for _ in 0..1000 * seconds {
            self.round();
        }
    }

    /// What the channel sent in the next second.
    fn rate(&mut self, number: usize) -> u64 {
        let before = self.channels[number].arrived;
        self.seconds(1);
        self.channels[number].arrived - before
    }

    /// The least that the first healthy channel sent in any of these seconds.
    fn worst(&mut self, seconds: u32) -> u64 {
        let neighbour = self.channels.iter().position(|end| end.takes).unwrap();
        (0..seconds).map(|_| self.rate(neighbour)).min().unwrap()
    }
}

const CROWDS: [(usize, usize); 3] = [(1, 1), (3, 2), (50, 5)];

#[test]
fn a_neighbour_of_stalled_tunnels_goes_on_sending_in_every_second() {
    for order in [
        Order::Upwards,
        Order::Downwards,
        Order::Granted,
        Order::Batches,
        Order::Late,
    ] {
        for (stalled, healthy) in CROWDS {
            let mut scene = Scene::new(stalled, healthy, order, 5 * SECOND);
            // Before that, this client is busy filling the queues of all that are stalled.
            scene.seconds(3);
            let worst = scene.worst(2);
            assert!(
                worst > 10 << 20,
                "{order:?}, {stalled} stalled and {healthy} not: {worst} bytes"
            );
        }
    }
}

#[test]
fn a_client_without_any_order_is_served_as_far_as_memory_goes() {
    for (stalled, healthy) in CROWDS {
        let mut scene = Scene::new(stalled, healthy, Order::Random, 5 * SECOND);
        scene.seconds(3);
        let worst = scene.worst(2);
        assert!(worst > 100 << 10, "{stalled} stalled and {healthy} not: {worst} bytes");
    }
}

#[test]
fn a_target_that_resumes_has_its_whole_window_after_two_round_trips() {
    let mut scene = Scene::new(50, 1, Order::Upwards, 5 * SECOND);
    scene.seconds(3);
    scene.channels[50].sends = false;
    for end in &mut scene.channels {
        end.takes = true;
        end.queue.take(end.queue.bytes());
    }
    scene.round();
    scene.round();
    assert_eq!(scene.target, scene.throttle.bounds.window);
    let sent = |scene: &Scene| scene.channels.iter().map(|end| end.arrived).sum::<u64>();
    let before = sent(&scene);
    scene.round();
    scene.round();
    assert_eq!(sent(&scene) - before, 2 * u64::from(WIRE));
}

#[test]
fn one_that_resumes_among_many_that_do_not_is_served_again() {
    let mut scene = Scene::new(50, 0, Order::Upwards, 5 * SECOND);
    scene.seconds(3);
    let end = &mut scene.channels[20];
    end.takes = true;
    end.queue.take(end.queue.bytes());
    scene.round();
    assert!(scene.rate(20) > 10 << 20);
}

#[test]
fn a_stalled_tunnel_that_is_closed_is_forgotten() {
    let mut scene = Scene::new(1, 1, Order::Upwards, 5 * SECOND);
    scene.seconds(3);
    assert_eq!(scene.throttle.full, [0]);
    scene.channels.remove(0).queue.take(0);
    let next = scene.throttle.topped_up(1, scene.target, scene.now);
    assert_eq!((next, scene.throttle.full.len()), (scene.throttle.bounds.window, 0));
}

#[test]
fn more_than_the_window_is_an_overrun() {
    let flows = Flows::new(&Memory::default(), u64::MAX);
    let bounds = Bounds::new(TUNNEL, 1 << 30, None);
    let mut throttle = Throttle::new(flows.clone(), bounds);
    let _queue = flows.queue(0);
    let window = bounds.initial() as usize;
    assert_eq!(throttle.arrived(0, window), Ok(()));
    assert_eq!(throttle.arrived(0, window / 40), Ok(()), "as much as sshd lets pass");
    assert_eq!(throttle.arrived(0, 1), Err(Overrun));
    assert_eq!(throttle.arrived(1, 10 * window), Ok(()), "no tunnel holds it");
}

#[test]
fn windows_shrink_as_the_memory_of_all_sessions_is_used_up() {
    let memory = Memory::default();
    let bounds = Bounds::new(1 << 20, 4 << 20, None);
    let throttle = Throttle::new(Flows::new(&memory, u64::MAX), bounds);
    let mut elsewhere = Flows::new(&memory, u64::MAX).queue(0);
    assert_eq!(throttle.whole_window(), bounds.window);
    elsewhere.add(3 << 20);
    assert_eq!(throttle.whole_window(), bounds.window / 2);
    elsewhere.add(2 << 20);
    assert_eq!(throttle.whole_window(), LEAST);
}

const SECOND: Duration = Duration::from_secs(1);

//! Which rules a request has to be held against.
//!
//! Every rule is filed under one of its conditions, the one that sets it apart best: under the users it lists, or the
//! hosts, or the ports. A request then looks at the rules under its own user, host, port and so on, and at the few rules that
//! could not be filed. A filed rule that turns up is still checked in full, so that two keys with the same hash cost time
//! but never change an answer; and a rule that could match always turns up, because it is filed under every value it lists.

use std::collections::BTreeMap;

use crate::condition::{Condition, EndpointPattern, TargetPattern, Text};
use crate::network::Networks;
use crate::pattern::{Pattern, PatternList};
use crate::range::RangeSet;
use crate::request::{Endpoint, Facts};
use crate::rules::Rule;

/// The facts that rules are filed under.
#[derive(Debug, Clone, Copy)]
enum Topic {
    User,
    Group,
    Key,
    Principal,
    Host,
    HostEnd,
    Port,
    Socket,
    Client,
    Address,
    /// Rules that depend on addresses, for a target whose address has to be looked up.
    AnyAddress,
}

/// Rules by the hash of a topic and a value.
#[derive(Debug)]
pub(crate) struct Index {
    /// Open addressing; a power of two in length, at most half full.
    slots: Box<[Slot]>,
    /// Rule numbers; each slot points at an ascending run.
    numbers: Box<[u32]>,
    /// Rules that are held against every request, ascending.
    always: Box<[u32]>,
    /// The topics in use, one bit each.
    topics: u16,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slot {
    hash: u64,
    start: u32,
    /// 0: the slot is free.
    length: u32,
}

/// More ports than this in one rule are not worth a key each.
const MOST_PORTS: u32 = 16;
/// A range of addresses is covered by at most so many blocks.
const MOST_BLOCKS: u128 = 8;

impl Index {
    pub fn new(rules: &[Rule]) -> Self {
        let choices: Vec<Vec<Vec<Key>>> = rules
            .iter()
            .map(|rule| rule.conditions.iter().filter_map(keys).collect())
            .collect();
        let mut popularity: BTreeMap<u64, u32> = BTreeMap::new();
        // Names that have to be looked up may meet every rule with addresses; that says nothing about the other requests.
        for key in choices
            .iter()
            .flatten()
            .flatten()
            .filter(|key| !matches!(key.topic, Topic::AnyAddress))
        {
            *popularity.entry(key.hash).or_default() += 1;
        }
        let crowd = |keys: &Vec<Key>| {
            (
                keys.iter()
                    .map(|key| popularity.get(&key.hash).copied().unwrap_or(0))
                    .max(),
                keys.len(),
            )
        };

        let mut always = Vec::new();
        let mut topics = 0;
        let mut filed: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        for (number, choices) in (0..).zip(&choices) {
            let Some(keys) = choices.iter().min_by_key(|keys| crowd(keys)) else {
                always.push(number);
                continue;
            };
            for key in keys {
                topics |= 1 << key.topic as u16;
                let numbers = filed.entry(key.hash).or_default();
                if numbers.last() != Some(&number) {
                    numbers.push(number);
                }
            }
        }
        Self::lay_out(filed, always, topics)
    }

    fn lay_out(filed: BTreeMap<u64, Vec<u32>>, always: Vec<u32>, topics: u16) -> Self {
        let mut numbers = Vec::with_capacity(filed.values().map(Vec::len).sum());
        let mut slots = vec![Slot::default(); (filed.len() * 2).next_power_of_two()];
        let mask = slots.len() - 1;
        for (hash, run) in filed {
            let slot = Slot {
                hash,
                start: numbers.len() as u32,
                length: run.len() as u32,
            };
            numbers.extend(run);
            let mut at = hash as usize & mask;
            while let Some(taken) = slots.get(at).filter(|slot| slot.length > 0) {
                debug_assert_ne!(taken.hash, hash, "a hash is filed once");
                at = (at + 1) & mask;
            }
            if let Some(free) = slots.get_mut(at) {
                *free = slot;
            }
        }
        Self {
            slots: slots.into(),
            numbers: numbers.into(),
            always: always.into(),
            topics,
        }
    }

    /// Calls `check` with the candidates in the order of the rules until it returns something.
    pub fn first<T>(&self, facts: &Facts, mut check: impl FnMut(usize) -> Option<T>) -> Option<T> {
        let mut runs: Vec<&[u32]> = Vec::with_capacity(16);
        runs.push(&self.always);
        if self.topics != 0 {
            self.look_up(facts, |run| runs.push(run));
        }
        runs.retain(|run| !run.is_empty());
        loop {
            // The run with the lowest head is followed as far as no other run has a lower one.
            let (mut lowest, mut next) = ((u32::MAX, 0), u32::MAX);
            for (at, head) in runs
                .iter()
                .enumerate()
                .filter_map(|(at, run)| Some((at, *run.first()?)))
            {
                if head < lowest.0 {
                    (lowest, next) = ((head, at), lowest.0);
                } else {
                    next = next.min(head);
                }
            }
            let run = runs.get_mut(lowest.1)?;
            if run.is_empty() {
                return None;
            }
            while let Some((&number, rest)) = run.split_first().filter(|(number, _)| **number <= next) {
                if let Some(found) = check(number as usize) {
                    return Some(found);
                }
                *run = rest;
            }
        }
    }

    fn look_up<'a>(&'a self, facts: &Facts, mut found: impl FnMut(&'a [u32])) {
        let mut look = |topic: Topic, value: &[u8]| {
            if self.topics >> topic as u16 & 1 == 1 {
                found(self.run(hash(topic, value)));
            }
        };
        let identity = &facts.request.identity;
        look(Topic::User, identity.user.as_bytes());
        identity
            .groups
            .iter()
            .for_each(|group| look(Topic::Group, group.as_bytes()));
        identity.key.iter().for_each(|key| look(Topic::Key, key.as_bytes()));
        identity
            .principals
            .iter()
            .for_each(|principal| look(Topic::Principal, principal.as_bytes()));
        blocks_around(facts.client, |block| look(Topic::Client, block));
        match facts.request.target {
            Endpoint::Socket(path) => look(Topic::Socket, path.as_bytes()),
            Endpoint::Tcp(_, port) => {
                look(Topic::Port, &port.to_be_bytes());
                look(Topic::Host, facts.host.as_bytes());
                for (at, _) in facts.host.match_indices('.') {
                    look(Topic::HostEnd, facts.host.as_bytes().get(at..).unwrap_or_default());
                }
                match facts.literal() {
                    Some(address) => blocks_around(address, |block| look(Topic::Address, block)),
                    None => look(Topic::AnyAddress, b""),
                }
            }
        }
    }

    fn run(&self, hash: u64) -> &[u32] {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(slot) = self.slots.get(at).filter(|slot| slot.length > 0) {
            if slot.hash == hash {
                let start = slot.start as usize;
                return self
                    .numbers
                    .get(start..start + slot.length as usize)
                    .unwrap_or_default();
            }
            at = (at + 1) & mask;
        }
        &[]
    }
}

#[derive(Clone, Copy)]
struct Key {
    topic: Topic,
    hash: u64,
}

impl Key {
    fn new(topic: Topic, value: &[u8]) -> Self {
        Self {
            topic,
            hash: hash(topic, value),
        }
    }
}

/// All keys under one of which a request must look for this condition to hold, where there are few enough.
fn keys(condition: &Condition) -> Option<Vec<Key>> {
    match condition {
        Condition::Text(Text::User, list) => list_keys(Topic::User, list),
        Condition::Text(Text::Groups, list) => list_keys(Topic::Group, list),
        Condition::Text(Text::Key, list) => list_keys(Topic::Key, list),
        Condition::Text(Text::Principals, list) => list_keys(Topic::Principal, list),
        Condition::Text(Text::Socket, list) => list_keys(Topic::Socket, list),
        Condition::Text(Text::Host, list) => {
            let exact = list
                .exact()
                .iter()
                .map(|host| Some(Key::new(Topic::Host, host.as_bytes())));
            exact.chain(list.wild().iter().map(host_key)).collect()
        }
        Condition::Ports(ports) => port_keys(ports),
        Condition::Targets(patterns) => patterns
            .iter()
            .filter(|pattern| !pattern.is_exception)
            .map(target_keys)
            .collect::<Option<Vec<_>>>()
            .map(|keys| keys.concat()),
        Condition::Clients(networks) => network_keys(Topic::Client, networks),
        Condition::Addresses(networks) => {
            let mut keys = network_keys(Topic::Address, networks)?;
            keys.push(Key::new(Topic::AnyAddress, b""));
            Some(keys)
        }
        Condition::Text(Text::Method | Text::Issuer, _)
        | Condition::Peers(_)
        | Condition::Starts(_)
        | Condition::Expires(_)
        | Condition::When(_) => None,
    }
}

fn list_keys(topic: Topic, list: &PatternList) -> Option<Vec<Key>> {
    list.wild().is_empty().then(|| {
        list.exact()
            .iter()
            .map(|text| Key::new(topic, text.as_bytes()))
            .collect()
    })
}

fn host_key(pattern: &Pattern) -> Option<Key> {
    match pattern {
        Pattern::Exact(host) => Some(Key::new(Topic::Host, host.as_bytes())),
        Pattern::Suffix(end) if end.starts_with('.') => Some(Key::new(Topic::HostEnd, end.as_bytes())),
        _ => None,
    }
}

fn port_keys(ports: &RangeSet<u16>) -> Option<Vec<Key>> {
    let count: u32 = ports
        .ranges()
        .iter()
        .map(|&(low, high)| u32::from(high - low) + 1)
        .sum();
    (count <= MOST_PORTS).then(|| {
        ports
            .ranges()
            .iter()
            .flat_map(|&(low, high)| low..=high)
            .map(|port| Key::new(Topic::Port, &port.to_be_bytes()))
            .collect()
    })
}

fn target_keys(pattern: &TargetPattern) -> Option<Vec<Key>> {
    match &pattern.endpoint {
        EndpointPattern::Tcp(host, ports) => host_key(host).map(|key| vec![key]).or_else(|| port_keys(ports)),
        EndpointPattern::Socket(Pattern::Exact(path)) => Some(vec![Key::new(Topic::Socket, path.as_bytes())]),
        EndpointPattern::Socket(_) => None,
    }
}

/// Networks are filed under blocks of a few fixed sizes, the smallest of which a few cover the range.
fn network_keys(topic: Topic, networks: &Networks) -> Option<Vec<Key>> {
    let v4 = networks
        .v4
        .ranges()
        .iter()
        .map(|&(low, high)| (true, u128::from(low), u128::from(high)));
    let v6 = networks.v6.ranges().iter().map(|&(low, high)| (false, low, high));
    let mut keys = Vec::new();
    for (is_v4, low, high) in v4.chain(v6) {
        let sizes = if is_v4 { V4_BLOCKS } else { V6_BLOCKS };
        let size = sizes
            .into_iter()
            .find(|size| (high >> size) - (low >> size) < MOST_BLOCKS)?;
        keys.extend((low >> size..=high >> size).map(|block| Key::new(topic, &block_name(is_v4, size, block))));
    }
    Some(keys)
}

fn blocks_around(address: std::net::IpAddr, mut look: impl FnMut(&[u8])) {
    let (is_v4, sizes, number) = match address {
        std::net::IpAddr::V4(address) => (true, V4_BLOCKS, u128::from(u32::from(address))),
        std::net::IpAddr::V6(address) => (false, V6_BLOCKS, u128::from(address)),
    };
    sizes
        .into_iter()
        .for_each(|size| look(&block_name(is_v4, size, number >> size)));
}

/// Bits that are cut off: blocks of /32, /24, /16 and /8.
const V4_BLOCKS: [u32; 4] = [0, 8, 16, 24];
/// Bits that are cut off: blocks of /128, /64, /48 and /32.
const V6_BLOCKS: [u32; 4] = [0, 64, 80, 96];

fn block_name(is_v4: bool, size: u32, block: u128) -> [u8; 18] {
    let mut name = [0; 18];
    let (kind, number) = name.split_at_mut(2);
    kind.copy_from_slice(&[is_v4.into(), size as u8]);
    number.copy_from_slice(&block.to_be_bytes());
    name
}

/// FNV-1a with a last stir, because the lowest bits choose the slot.
fn hash(topic: Topic, value: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ (topic as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = value.iter().fold(start, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    hash ^ (hash >> 32)
}

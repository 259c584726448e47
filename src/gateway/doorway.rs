//! Limits the connections that have not logged in yet.
//!
//! There is a limit for all of them, and one for each source, which is an IPv4 /24 or an IPv6 /64. If a source is at its limit, a
//! new connection replaces the oldest one of its busiest address. If all places are taken, the source that holds the most loses
//! one, so a client from a quiet source always gets in. Only if every source holds as few places as the new client's is the new
//! client refused, at random as with OpenSSH's `MaxStartups`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

use crate::request::source;

/// Those who have not logged in.
#[derive(Default)]
pub(super) struct Doorway(Mutex<Inside>);

#[derive(Default)]
struct Inside {
    /// The place of the next one: places are numbered in the order of coming.
    next: u64,
    places: HashMap<u64, Occupant>,
    sources: HashMap<IpNet, BTreeMap<u64, IpAddr>>,
    /// Those who come through a balancer that has not said yet who they are.
    unknown: BTreeSet<u64>,
    evictions: Sparing,
}

struct Occupant {
    /// Unknown while a balancer has not said who it is.
    source: Option<IpNet>,
    evicted: CancellationToken,
}

/// How many there may be.
#[derive(Clone, Copy)]
pub(super) struct Most {
    pub(super) all: usize,
    pub(super) of_source: usize,
}

/// A place, until it is dropped.
pub(super) struct Place {
    doorway: Arc<Doorway>,
    number: u64,
    evicted: CancellationToken,
}

/// No place is free, and none is given up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Doorway {
    /// A place for a newcomer; one whose source is unknown takes one of all, and says later who it is.
    pub(super) fn enter(self: &Arc<Self>, address: Option<IpAddr>, most: Most) -> Result<Place, Full> {
        self.enter_by_chance(address, most, chance)
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.lock().places.len()
    }

    /// How many sources hold as many places as one may.
    pub(super) fn full_sources(&self, of_source: usize) -> usize {
        let inside = self.lock();
        inside
            .sources
            .values()
            .filter(|places| places.len() >= of_source)
            .count()
    }

    fn enter_by_chance(
        self: &Arc<Self>,
        address: Option<IpAddr>,
        most: Most,
        chance: impl FnOnce(usize) -> usize,
    ) -> Result<Place, Full> {
        let mut inside = self.lock();
        let past = (inside.places.len() + 1).saturating_sub(most.all);
        if past > 0 && past >= chance(most.all) {
            let held = address.map_or(0, |address| inside.held(source(address)));
            let (busiest, holds) = inside.busiest().ok_or(Full)?;
            if holds <= held + 1 {
                return Err(Full);
            }
            inside.make_room(busiest);
        }
        let number = inside.next;
        inside.next += 1;
        let evicted = CancellationToken::new();
        let occupant = Occupant {
            source: None,
            evicted: evicted.clone(),
        };
        inside.places.insert(number, occupant);
        match address {
            Some(address) => inside.settle(number, address, most.of_source),
            None => inside.wait_to_be_known(number, most.all),
        }
        Ok(Place {
            doorway: Arc::clone(self),
            number,
            evicted,
        })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Who was unknown comes from here.
    pub(super) fn is_of(&self, address: IpAddr, most: Most) {
        self.doorway.lock().settle(self.number, address, most.of_source);
    }

    /// Cancelled once another takes this place.
    pub(super) fn evicted(&self) -> CancellationToken {
        self.evicted.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.doorway.lock().leave(self.number);
    }
}

impl Inside {
    fn held(&self, source: IpNet) -> usize {
        self.sources.get(&source).map_or(0, BTreeMap::len)
    }

    /// The source that holds the most, and how much; of several the one that has had it for the longest.
    fn busiest(&self) -> Option<(IpNet, usize)> {
        let all = self.sources.iter();
        let busiest = all.max_by_key(|(_, places)| (places.len(), places.keys().next().map(|first| !first)));
        busiest.map(|(source, places)| (*source, places.len()))
    }

    /// Counts a place to its source, which gives up another where it now has too many.
    fn settle(&mut self, number: u64, address: IpAddr, most: usize) {
        let Some(occupant) = self.places.get_mut(&number) else {
            return;
        };
        if occupant.source.is_some() {
            return;
        }
        let source = source(address);
        occupant.source = Some(source);
        self.unknown.remove(&number);
        self.sources.entry(source).or_default().insert(number, address);
        if self.held(source) > most {
            self.make_room(source);
        }
    }

    /// Balancers say at once who comes. So that whoever keeps silent in their place holds up nobody, those who are unknown have
    /// half of all places, and the oldest of them goes.
    fn wait_to_be_known(&mut self, number: u64, all: usize) {
        self.unknown.insert(number);
        if self.unknown.len() > (all / 2).max(1)
            && let Some(occupant) = self.unknown.first().copied().and_then(|oldest| self.leave(oldest))
        {
            occupant.evicted.cancel();
        }
    }

    /// The oldest of the busiest address of a source goes.
    fn make_room(&mut self, source: IpNet) {
        let Some(places) = self.sources.get(&source) else {
            return;
        };
        let mut addresses: HashMap<IpAddr, (usize, u64)> = HashMap::new();
        for (number, address) in places {
            addresses.entry(*address).or_insert((0, *number)).0 += 1;
        }
        let busiest = addresses.values().max_by_key(|(count, oldest)| (*count, !oldest));
        let Some(&(_, oldest)) = busiest else {
            return;
        };
        if let Some(occupant) = self.leave(oldest) {
            occupant.evicted.cancel();
            if let Some(count) = self.evictions.say() {
                tracing::warn!(
                    %source,
                    count,
                    "disconnected unauthenticated clients to make room for others (limits.unauthenticated-per-source)"
                );
            }
        }
    }

    fn leave(&mut self, number: u64) -> Option<Occupant> {
        let occupant = self.places.remove(&number)?;
        self.unknown.remove(&number);
        if let Some(source) = occupant.source
            && let Some(places) = self.sources.get_mut(&source)
        {
            places.remove(&number);
            if places.is_empty() {
                self.sources.remove(&source);
            }
        }
        Some(occupant)
    }
}

/// What happens thousands of times a second is said once in one, with how often it was.
#[derive(Default)]
pub(super) struct Sparing {
    said: Option<Instant>,
    count: u64,
}

impl Sparing {
    /// Counts one more; answers how many there were where it is time to say so.
    pub(super) fn say(&mut self) -> Option<u64> {
        self.count += 1;
        if self.said.is_some_and(|said| said.elapsed() < SECOND) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.count))
    }
}

/// A number from 1 to `limit`, from the randomness of a new hash seed.
fn chance(limit: usize) -> usize {
    use std::hash::{BuildHasher, RandomState};
    let random = RandomState::new().hash_one(0);
    1 + usize::try_from(random % (limit as u64).max(1)).unwrap_or(0)
}

const SECOND: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Most = Most { all: 6, of_source: 3 };

    /// Enters from each of these addresses in turn, with the worst luck.
    struct Scene {
        doorway: Arc<Doorway>,
        places: Vec<(&'static str, Place)>,
    }

    impl Scene {
        fn new(addresses: &[&'static str]) -> Self {
            let mut scene = Self {
                doorway: Arc::default(),
                places: Vec::new(),
            };
            for address in addresses {
                scene.enters(address);
            }
            scene
        }

        fn enters(&mut self, address: &'static str) -> bool {
            let entered = self
                .doorway
                .enter_by_chance(Some(address.parse().unwrap()), MOST, |_| 1);
            entered.map(|place| self.places.push((address, place))).is_ok()
        }

        /// Who was let in and sent away again, by order of coming.
        fn evicted(&self) -> Vec<usize> {
            let gone = self.places.iter().enumerate();
            gone.filter(|(_, (_, place))| place.evicted.is_cancelled())
                .map(|(number, _)| number)
                .collect()
        }
    }

    #[test]
    fn one_more_of_a_full_source_takes_the_place_of_the_oldest_of_its_busiest_address() {
        #[rustfmt::skip]
        let rows: [(&[&str], &[usize]); 7] = [
            (&["192.0.2.1", "192.0.2.1", "192.0.2.1"], &[]),
            (&["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.1"], &[0, 1]),
            // Neighbours are one source.
            (&["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.255"], &[0]),
            (&["192.0.2.9", "192.0.2.1", "192.0.2.1", "192.0.2.7"], &[1]),
            (&["192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.3.1"], &[]),
            (&["2001:db8::1", "2001:db8::2", "2001:db8:0:0:f::", "2001:db8::ffff"], &[0]),
            (&["2001:db8::1", "2001:db8::1", "2001:db8::1", "2001:db8:0:1::1"], &[]),
        ];
        for (addresses, evicted) in rows {
            assert_eq!(Scene::new(addresses).evicted(), evicted, "{addresses:?}");
        }
    }

    #[test]
    fn a_source_counts_as_full_as_long_as_it_is_at_its_limit() {
        let mut scene = Scene::new(&["192.0.2.1", "192.0.2.2"]);
        let full = |scene: &Scene| scene.doorway.full_sources(MOST.of_source);
        assert_eq!(full(&scene), 0);
        assert!(scene.enters("192.0.2.3"));
        assert!(scene.enters("198.51.100.1"));
        assert_eq!(full(&scene), 1);
        assert!(scene.enters("192.0.2.4"));
        assert_eq!(full(&scene), 1, "an older one went");
        scene.places.clear();
        assert_eq!(full(&scene), 0);
    }

    #[test]
    fn where_all_places_are_taken_the_busiest_source_makes_room_and_never_a_quiet_newcomer() {
        let mut scene = Scene::new(&["10.0.0.1", "10.0.1.1", "10.0.1.1", "10.0.2.1", "10.0.2.1", "10.0.2.2"]);
        assert!(scene.enters("10.0.3.1"));
        assert_eq!(scene.evicted(), [3]);
        assert!(scene.enters("10.0.4.1"));
        assert_eq!(
            scene.evicted(),
            [1, 3],
            "of equals, the one that has been there for longer"
        );
        assert!(scene.enters("10.0.5.1"));
        assert_eq!(scene.evicted(), [1, 3, 4]);
        // All hold one: nobody is busier than the newcomer.
        assert!(!scene.enters("10.0.6.1"));
        assert!(!scene.enters("10.0.5.1"));
        assert_eq!(scene.evicted(), [1, 3, 4]);
        scene.places.pop();
        assert!(scene.enters("10.0.6.1"));
    }

    #[test]
    fn past_the_limit_chance_decides_and_past_twice_of_it_nobody_gets_in() {
        let doorway = Arc::new(Doorway::default());
        let address = |number: u8| Some(IpAddr::from([10, 0, number, 1]));
        let most = Most { all: 3, of_source: 3 };
        let lucky = |limit| limit;
        let mut places: Vec<_> = (0..5)
            .map(|number| doorway.enter_by_chance(address(number), most, lucky).unwrap())
            .collect();
        assert!(doorway.enter_by_chance(address(5), most, lucky).is_err());
        places.truncate(3);
        assert!(doorway.enter_by_chance(address(5), most, |_| 1).is_err());
        places.truncate(2);
        assert!(doorway.enter_by_chance(address(5), most, |_| 1).is_ok());
    }

    #[test]
    fn who_comes_through_a_balancer_counts_to_nobody_until_it_is_known() {
        let doorway = Arc::new(Doorway::default());
        let enter = || doorway.enter_by_chance(None, MOST, |limit| limit).unwrap();
        let places: Vec<_> = (0..5).map(|_| enter()).collect();
        for place in &places {
            place.is_of("192.0.2.1".parse().unwrap(), MOST);
        }
        let gone: Vec<_> = places.iter().map(|place| place.evicted().is_cancelled()).collect();
        assert_eq!(gone, [true, true, false, false, false]);
        drop(places);
        assert!(doorway.lock().places.is_empty() && doorway.lock().sources.is_empty());
    }

    #[test]
    fn whoever_keeps_silent_in_the_place_of_a_balancer_gives_way_to_those_who_speak() {
        let doorway = Arc::new(Doorway::default());
        let enter = |address: Option<&str>| {
            let address = address.map(|address| address.parse().unwrap());
            doorway.enter_by_chance(address, MOST, |_| 1)
        };
        let silent: Vec<_> = (0..20).map(|_| enter(None).expect("a place")).collect();
        let left = silent.iter().filter(|place| !place.evicted().is_cancelled()).count();
        assert_eq!(left, MOST.all / 2);
        let announced = enter(None).expect("a place");
        announced.is_of("192.0.2.1".parse().unwrap(), MOST);
        let _more: Vec<_> = (0..20).map(|_| enter(None).expect("a place")).collect();
        assert!(!announced.evicted().is_cancelled());
        let direct = enter(Some("198.51.100.1"));
        assert!(direct.is_ok());
    }

    #[test]
    fn what_happens_often_is_said_once_a_second() {
        let mut sparing = Sparing::default();
        assert_eq!(sparing.say(), Some(1));
        assert_eq!([sparing.say(), sparing.say()], [None, None]);
        sparing.said = Instant::now().checked_sub(SECOND);
        assert_eq!(sparing.say(), Some(3));
    }
}

//! How much may be on its way to a client, over ways and windows of many kinds.

use super::*;

/// A connection on which one tunnel downloads all the time: what it had on its way, and how fast it was.
#[derive(Debug)]
struct Download {
    /// From the gateway to the client, and back.
    way: Duration,
    /// What the client takes in a millisecond.
    speed: u64,
    window: u64,
    /// The client grants what it took in steps of so much.
    step: u64,
    /// What the session was given, but had not put into packets when the client first granted something.
    unseen: u64,
}

impl Download {
    /// The most that was on its way in the second half of so many milliseconds, and what was sent in it.
    fn run(&self, millis: u64, company: &Company) -> (u64, u64) {
        let start = Instant::now();
        let mut count = Count::default();
        let (mut arriving, mut grants) = (VecDeque::new(), VecDeque::new());
        let (mut at_client, mut taken, mut granted) = (0, 0, 0);
        let (mut waits, mut most, mut at_half) = (None, 0, 0);
        let tick: u16 = if self.way < Duration::from_millis(1) { 10 } else { 100 };
        for micros in (0..millis * 1000).step_by(usize::from(tick)) {
            let now = start + Duration::from_micros(micros);
            if company.lock().is_some() {
                company.joins(2, now);
            }
            while count.sent - granted + PIECE <= self.window && count.allows(1, company, now) > 0 {
                count.sends(PIECE as usize, now);
                count.given = count.sent;
                arriving.push_back(now + self.way);
                waits = None;
            }
            if count.allows(1, company, now) > 0 {
                waits = None; // For the window.
            } else if now.duration_since(*waits.get_or_insert(now)) > count.patience() {
                count.doubles();
                waits = None;
            }
            while arriving.pop_front_if(|when| *when <= now).is_some() {
                at_client += PIECE;
            }
            let part = at_client.min(self.speed * u64::from(tick) / 1000);
            at_client -= part;
            taken += part;
            if taken - grants.back().map_or(granted, |(_, edge)| *edge) >= self.step {
                grants.push_back((now + self.way, taken));
            }
            while let Some((_, edge)) = grants.pop_front_if(|(when, _)| *when <= now) {
                granted = edge;
                waits = None;
                let unseen = if count.first.is_none() { self.unseen } else { 0 };
                count.granted(self.window - (count.sent - granted) + unseen, now);
            }
            if micros >= millis * 500 {
                most = most.max(count.sent - taken);
            } else {
                at_half = count.sent;
            }
        }
        (most, count.sent - at_half)
    }

    fn is_fast_and_leaves_room(&self) {
        // Long enough for some round trips.
        let millis = 500 + u64::try_from(self.way.as_millis()).unwrap() * 60;
        let (_, alone) = self.run(millis, &Company::default());
        let (most, sent) = self.run(millis, &company());
        let holds = 2 * self.speed * u64::try_from(self.way.as_micros()).unwrap() / 1000;
        let enough = holds + holds / 4 + 2 * self.step.max(STEP) + self.unseen;
        assert!(most <= enough, "{most}, more than {enough}: {self:?}");
        assert!(sent >= alone / 100 * 93, "{sent} of {alone}: {self:?}");
    }
}

const PIECE: u64 = PACKET as u64;
const OPENSSH: Download = Download {
    way: Duration::from_micros(20),
    speed: 1 << 20,
    window: 2 << 20,
    step: 96 << 10,
    unseen: 0,
};

fn company() -> Company {
    let company = Company::default();
    company.joins(2, Instant::now());
    company
}

#[test]
fn a_tunnel_alone_fills_the_window() {
    let (most, _) = OPENSSH.run(200, &Company::default());
    assert!(most >= OPENSSH.window - 4 * PIECE, "{most}");
}

#[test]
fn beside_another_little_is_on_its_way_and_no_speed_is_lost() {
    // OpenSSH's window, libssh's, and others.
    for window in [
        2 << 20,
        1_280_000,
        (2 << 20) - 1,
        2_150_000,
        1_100_000,
        200_000,
        10 << 20,
    ] {
        // OpenSSH's step, those of clients that grant at once what they took, a tenth of the window, and a half.
        for step in [96 << 10, 8 << 10, 32 << 10, 200 << 10, 1 << 20] {
            // Way there in microseconds, and bytes a millisecond.
            for (way, speed) in [
                (20, 1 << 20),
                (20, 512 << 10),
                (100, 1 << 20),
                (250, 100 << 10),
                (1000, 512 << 10),
                (20_000, 30 << 10),
                (50_000, 10 << 10),
            ] {
                let way = Duration::from_micros(way);
                for unseen in [0, PIECE] {
                    let download = Download {
                        way,
                        speed,
                        window,
                        step,
                        unseen,
                    };
                    if step <= window / 2 {
                        download.is_fast_and_leaves_room();
                    }
                }
            }
        }
    }
}

#[test]
fn a_late_first_grant_does_not_hide_the_usual_window() {
    // What OpenSSH's client granted first, of eight packets: after more than [`FIRST_PATIENCE`], and what is usual.
    for first in [7 * PIECE, 229_375, 98_304] {
        let (mut count, now) = (Count::default(), Instant::now());
        count.sends(8 * PACKET, now);
        count.given = 8 * PIECE;
        count.granted(USUAL - count.given + first, now);
        count.sends(4 * PACKET, now);
        count.given += 4 * PIECE;
        count.granted(USUAL - count.given + first + 98_304, now);
        assert_eq!(count.window, USUAL, "after {first}");
    }
}

#[test]
fn others_are_those_who_were_heard_a_moment_ago() {
    let (company, now) = (company(), Instant::now());
    assert!(company.has_another(1, now));
    assert!(!company.has_another(2, now));
    assert!(!company.has_another(1, now + 2 * PRESENCE));
}

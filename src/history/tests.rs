//! What the status page is shown of the past.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::cell::Cell;
use super::kept::{Kept, MINUTES};
use super::ring::Ring;
use super::times::Times;
use super::*;
use crate::events::{ConnectFailed, Decided, Swap};
use crate::policy::{Installed, PolicyRef};
use crate::request::{Action, By, Endpoint, Host, Requested, Unreached, VerdictWord};
use crate::sessions::Totals;

fn moment(seconds: u64) -> Moment {
    Moment {
        since: Duration::from_secs(seconds),
        time: Timestamp::from_second(seconds.cast_signed()).unwrap(),
    }
}

fn requested(host: &str) -> Requested {
    Requested::Tcp {
        host: host.to_owned(),
        port: 1,
    }
}

fn decided(verdict: VerdictWord, by: By, code: &str) -> Decided {
    Decided {
        action: Action::Connect,
        requested: requested("db.internal"),
        target: None,
        effective: None,
        resolved: Vec::new(),
        names: BTreeMap::new(),
        originator: None,
        asked: None,
        verdict,
        code: (!code.is_empty()).then(|| code.to_owned()),
        reason: Some("alice may not".to_owned()),
        by,
        policy: None,
        micros: 300,
        terms: None,
        outbound: None,
        tags: BTreeMap::new(),
        again: None,
        repeated: None,
        told: None,
        times: vec![(Arc::from("rules"), Duration::from_micros(300))],
    }
}

fn event(decided: Decided) -> Event {
    Event::ForwardDecided(Box::new(decided))
}

fn alice() -> Subject {
    Subject {
        user: Some("alice".to_owned()),
        client: Some(SocketAddr::from((Ipv4Addr::new(192, 0, 2, 7), 5000))),
        ..Subject::default()
    }
}

fn installed(name: &str, version: &str) -> Installed {
    let policy = PolicyRef {
        name: name.to_owned(),
        version: version.to_owned(),
        sha256: "0123456789abcdef".to_owned(),
        settings_sha256: "fedcba9876543210".to_owned(),
    };
    Installed { policy, signer: None }
}

fn swapped(name: &str, version: &str) -> Event {
    Event::PolicySwapped(Box::new(Swap {
        policy: installed(name, version),
        previous: None,
        millis: 0,
        generation: None,
        by: "file".to_owned(),
        reason: None,
    }))
}

fn counted(allowed: u64) -> Cell {
    Cell {
        lasted: Duration::from_secs(1),
        allowed,
        ..Cell::default()
    }
}

/// How long a step is, in which seconds there were samples, and what is there at the end: where, and how much.
type Row<'a> = (u64, &'a [u64], &'a [(f64, f64)]);

#[test]
fn a_ring_keeps_its_span_and_no_more() {
    #[rustfmt::skip]
    let table: [Row<'_>; 6] = [
        (1,  &[0],                  &[(1.0, 1.0)]),
        (1,  &[0, 1, 2, 3],         &[(0.25, 1.0), (0.5, 1.0), (0.75, 1.0), (1.0, 1.0)]),
        (1,  &[0, 1, 2, 3, 4, 5],   &[(0.25, 1.0), (0.5, 1.0), (0.75, 1.0), (1.0, 1.0)]),
        (1,  &[0, 1, 9],            &[(1.0, 1.0)]),
        (1,  &[5, 8],               &[(0.25, 1.0), (1.0, 1.0)]),
        (10, &[8, 9, 10, 11, 30],   &[(0.475, 1.0), (0.725, 1.0), (1.0, 1.0)]),
    ];
    for (step, seconds, expected) in table {
        let mut ring = Ring::new(step, 4);
        for second in seconds {
            ring.add(*second, &counted(1));
        }
        let now = *seconds.last().unwrap() as f64;
        let points: Vec<_> = ring.points(now).iter().map(|point| (point.at, point.allowed)).collect();
        assert_eq!(points, expected, "{step} {seconds:?}");
        assert!(ring.len() <= 4);
    }
}

#[test]
fn an_hour_and_more_takes_no_more_memory_than_an_hour() {
    let mut kept = Kept::default();
    for second in 0..5000 {
        kept.sample(Duration::from_secs(second), Totals::default());
    }
    let now = Duration::from_secs(4999);
    assert_eq!(kept.look(now, Span::Minutes).points.len(), 300);
    assert_eq!(kept.look(now, Span::Hour).points.len(), 360);
}

#[test]
fn a_gap_is_longer_than_a_late_sample() {
    let reach = |step, most| Ring::new(step, most).reach();
    let second = 1.0 / 300.0;
    assert!(reach(1, 300) > 4.5 * second && reach(1, 300) < 6.5 * second);
    let second = 1.0 / 3600.0;
    assert!(reach(10, 360) > 11.5 * second && reach(10, 360) < 19.5 * second);
}

#[test]
fn a_rate_is_what_was_counted_by_how_long_it_took() {
    let totals = |up, down| Totals {
        sessions: 1,
        connects: 2,
        accepts: 3,
        listeners: 4,
        bytes_up: up,
        bytes_down: down,
    };
    let mut kept = Kept::default();
    // A late sample, bytes that were taken back, and a sample at the same moment.
    let table = [
        (1, totals(100, 50), (100.0, 50.0)),
        (5, totals(500, 60), (100.0, 2.5)),
        (6, totals(400, 60), (0.0, 0.0)),
        (6, totals(400, 60), (0.0, 0.0)),
        (7, totals(401, 60), (1.0, 0.0)),
    ];
    for (second, totals, expected) in table {
        let now = Duration::from_secs(second);
        kept.sample(now, totals);
        let last = kept.look(now, Span::Minutes).points.pop().unwrap();
        assert_eq!((last.up, last.down), expected, "{second}");
        assert_eq!((last.sessions, last.tunnels, last.listeners), (1, 5, 4));
    }
}

/// Times in microseconds, the part, and between which bounds its quantile must be.
type Quantile<'a> = (&'a [u64], f64, Option<(u64, u64)>);

#[test]
fn a_quantile_is_within_the_bucket_of_its_rank() {
    #[rustfmt::skip]
    let table: [Quantile<'_>; 9] = [
        (&[],                     0.5,  None),
        (&[0],                    0.5,  Some((0, 10))),
        (&[10],                   0.99, Some((0, 10))),
        (&[11],                   0.5,  Some((10, 20))),
        (&[30, 30, 30, 7_000],    0.5,  Some((20, 50))),
        (&[30, 30, 30, 7_000],    0.99, Some((5_000, 10_000))),
        (&[30, 7_000, 7_000],     0.5,  Some((5_000, 10_000))),
        (&[20_000_000],           0.99, Some((10_000_000, 20_000_000))),
        (&[90_000_000],           0.5,  Some((20_000_000, 20_000_000))),
    ];
    for (micros, part, expected) in table {
        let mut times = Times::default();
        micros
            .iter()
            .for_each(|micros| times.observe(Duration::from_micros(*micros)));
        let found = times.quantile(part);
        match expected {
            None => assert_eq!(found, None),
            Some((least, most)) => {
                let bounds = Duration::from_micros(least)..=Duration::from_micros(most);
                assert!(
                    found.is_some_and(|found| bounds.contains(&found)),
                    "{micros:?} {part}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn decisions_are_counted_by_verdict_and_code() {
    let mut kept = Kept::default();
    let mut repeated = decided(VerdictWord::Deny, By::Floor, "own-listeners");
    repeated.repeated = Some(20);
    let unreached = ConnectFailed {
        action: Action::Connect,
        requested: requested("db.internal"),
        target: endpoint(),
        effective: endpoint(),
        resolved: Vec::new(),
        why: Some(Unreached::Refused),
        step: None,
        reason: "connection to 192.0.2.7 refused".to_owned(),
        millis: 0,
    };
    let events = [
        event(decided(VerdictWord::Allow, By::Policy, "web")),
        event(decided(VerdictWord::Allow, By::Policy, "")),
        event(decided(VerdictWord::Rewrite, By::Policy, "")),
        event(decided(VerdictWord::Deny, By::Policy, "no-rule")),
        event(decided(VerdictWord::Failed, By::Policy, "deadline")),
        event(repeated),
        Event::ConnectFailed(Box::new(unreached)),
    ];
    for event in &events {
        assert!(Kept::wants(event));
        kept.hear(moment(3), &alice(), event);
    }
    kept.sample(Duration::from_secs(4), Totals::default());
    let picture = kept.look(Duration::from_secs(4), Span::Minutes);
    let outcomes: Vec<_> = picture
        .outcomes
        .iter()
        .map(|one| (one.what, one.by, &*one.code, one.recent, one.total))
        .collect();
    #[rustfmt::skip]
    assert_eq!(outcomes, [
        ("denied",    "floor",  "own-listeners", 20, 20),
        ("allowed",   "policy", "",              2,  2),
        ("denied",    "policy", "no-rule",       1,  1),
        ("failed",    "policy", "deadline",      1,  1),
        ("rewritten", "policy", "",              1,  1),
        ("unreached", "target", "refused",       1,  1),
    ]);
    let [point] = &picture.points[..] else {
        panic!("one sample: {:?}", picture.points)
    };
    assert_eq!((point.allowed, point.refused, point.failed), (0.75, 5.25, 0.25));
    assert!(point.median.is_some());
    // Long after, only the total is left.
    let later = kept.look(Duration::from_secs(4 + MINUTES + 10), Span::Minutes);
    assert!(later.points.is_empty());
    assert!(later.outcomes.iter().all(|one| one.recent == 0 && one.total > 0));
    assert_eq!(later.recent.median, None);
}

fn endpoint() -> Endpoint {
    Endpoint::Tcp {
        host: Host::Address(Ipv4Addr::LOCALHOST.into()),
        port: 1,
    }
}

#[test]
fn a_code_is_shown_if_it_is_a_word_that_names_nobody() {
    #[rustfmt::skip]
    let table = [
        ("no-rule",                "db.internal",  "no-rule"),
        ("Closed_2",               "db.internal",  "Closed_2"),
        ("no rule",                "db.internal",  "other"),
        ("no.rule",                "db.internal",  "other"),
        ("2-hosts",                "db.internal",  "other"),
        ("<script>",               "db.internal",  "other"),
        ("größe",                  "db.internal",  "other"),
        ("",                       "db.internal",  "other"),
        // The user, the client's address, and what was asked for.
        ("not-alice",              "db.internal",  "other"),
        ("Not_Alice",              "db.internal",  "other"),
        ("from-192-0-2-7",         "db.internal",  "other"),
        ("no-db-internal",         "db.internal",  "other"),
        ("no-db",                  "db",           "other"),
        ("no-database",            "db",           "no-database"),
        ("no-adb",                 "db",           "no-adb"),
        ("no-rule",                "",             "no-rule"),
    ];
    for (code, host, expected) in table {
        assert_eq!(
            codes::shown(code, &alice(), &requested(host)),
            expected,
            "{code} {host}"
        );
    }
    let long = "a".repeat(41);
    assert_eq!(codes::shown(&long, &alice(), &requested("x.y")), "other");
    let socket = Requested::Socket("/run/app".to_owned());
    assert_eq!(codes::shown("no-run-app", &alice(), &socket), "other");
}

#[test]
fn a_policy_that_invents_codes_makes_no_more_rows() {
    let mut kept = Kept::default();
    for number in 0..1000 {
        let denied = decided(VerdictWord::Deny, By::Policy, &format!("code-{number}"));
        kept.hear(moment(1), &alice(), &event(denied));
    }
    let outcomes = kept.look(Duration::from_secs(1), Span::Minutes).outcomes;
    assert_eq!(outcomes.len(), outcomes::MOST + 1);
    assert_eq!(outcomes[0].code, "other");
    assert_eq!(outcomes.iter().map(|one| one.total).sum::<u64>(), 1000);
}

#[test]
fn changes_are_marked_and_tell_since_when_a_policy_is_in_force() {
    let mut kept = Kept::default();
    let started = Event::GatewayStarted {
        process: 0,
        replaces: None,
        version: "0",
        listen: Vec::new(),
        policies: vec![installed("rules", "1.0.0"), installed("other", "1.0.0")],
    };
    let rejected = Event::PolicyRejected {
        name: "rules".to_owned(),
        sha256: None,
        reason: "/home/alice/policy.wasm: not a component".to_owned(),
    };
    let reloaded = Event::ConfigReloaded {
        ok: false,
        applied: Vec::new(),
        needs_restart: Vec::new(),
        reason: Some("user alice".to_owned()),
    };
    for (second, event) in [
        (0, started),
        (60, swapped("rules", "2.0.0")),
        (90, rejected),
        (120, reloaded),
    ] {
        assert!(Kept::wants(&event));
        kept.hear(moment(second), &Subject::default(), &event);
    }
    let picture = kept.look(Duration::from_secs(300), Span::Minutes);
    let percent = |at: f64| (at * 100.0).round();
    let marks: Vec<_> = picture
        .marks
        .iter()
        .map(|mark| (percent(mark.at), mark.time.as_second()))
        .collect();
    assert_eq!(marks, [(40.0, 120), (30.0, 90), (20.0, 60), (0.0, 0)]);
    assert_eq!(picture.marks[0].change, Change::Reloaded { ok: false });
    let swap = Change::Swapped {
        plugin: "rules".to_owned(),
        version: "2.0.0".to_owned(),
        sha256: "0123456789abcdef".to_owned(),
        settings_sha256: "fedcba9876543210".to_owned(),
    };
    assert_eq!(picture.marks[2].change, swap);
    let policy = |name: &str| {
        let policy = &picture.policies[name];
        (policy.since.as_second(), policy.swaps, policy.rejected)
    };
    assert_eq!((policy("rules"), policy("other")), ((60, 1, 1), (0, 0, 0)));
    let shown = format!("{picture:?}");
    assert!(!shown.contains("alice"), "{shown}");
    for second in 0..1000 {
        kept.hear(moment(300 + second), &Subject::default(), &swapped("rules", "3.0.0"));
    }
    assert_eq!(
        kept.look(Duration::from_secs(1300), Span::Hour).marks.len(),
        marks::MOST
    );
}

#[test]
fn what_is_not_shown_takes_no_lock() {
    let ended = Event::SessionClosed {
        millis: 0,
        reason: None,
    };
    assert!(!Kept::wants(&ended));
    assert!(!Kept::wants(&Event::GatewayStopped { process: 0 }));
}

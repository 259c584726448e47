//! Who may have how much open, and what the tables say of it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::{JoinSet, yield_now};
use tokio::time::Instant;

use super::session::MOST_LITTER;
use super::*;
use crate::accounts::{Accounts, Proof, Standing};
use crate::auth::parse_line;
use crate::config::{self, Config};
use crate::request::{Action, Cause, ForwardRequest, Terms};
use crate::shares::Shares;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINeq1q2UHWOiofHWo3o7mlNRgIcRSGImWFtTdN+oza4v";

fn configured(limits: &str) -> Config {
    let users = ["alice", "bob"].map(|name| format!("[[user]]\nname = \"{name}\"\nauthorized-keys = [\"{KEY}\"]\n"));
    let text = format!(
        "[limits]\n{limits}\n{}[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n",
        users.concat()
    );
    config::parse(&text, Path::new("test.toml")).unwrap_or_else(|faults| panic!("{faults}"))
}

/// A session of `user` that is in.
fn session(sessions: &Sessions, config: &Config, user: &str) -> Arc<Session> {
    let accounts = Arc::new(Accounts::new(config, Path::new("test.toml")).unwrap());
    let client: IpAddr = [127, 0, 0, 1].into();
    let proof = Proof::Key(parse_line(KEY).unwrap().unwrap().key);
    let admitted = accounts.judge(user, &proof, client).unwrap();
    let standing = Standing::new(admitted, client, Arc::downgrade(&accounts));
    let mut connection = (*request(user).connection).clone();
    connection.id = crate::request::new_id("s");
    Arc::new(Session::new(standing, connection, &config.limits, sessions.quota(user)))
}

fn request(user: &str) -> ForwardRequest {
    ForwardRequest::dry(user, Action::Connect, "127.0.0.1:1".parse().unwrap())
}

fn forward(session: &Arc<Session>) -> Forward {
    let mut request = request(&session.user);
    request.id = crate::request::new_id("f");
    Forward {
        session: Arc::clone(session),
        effective: request.target.clone(),
        limits: Arc::clone(&session.standing.rights().limits),
        request: Arc::new(request),
        dialled: None,
        terms: Terms::default(),
        through: None,
        policy: None,
        tags: BTreeMap::new(),
        since: jiff::Timestamp::now(),
        stop: Stop::default(),
        doubt: Notify::new(),
        bytes: Bytes::default(),
        look: Mutex::default(),
    }
}

fn files(count: usize) -> Arc<Shares> {
    Shares::new(count, count)
}

#[tokio::test]
async fn the_limit_that_is_reached_is_named() {
    let place = |session: &Session, config: &Config, files: &Arc<Shares>, what: &str| -> Result<Box<dyn Send>, Full> {
        let limits = &config.limits;
        Ok(match what {
            "tunnel" => Box::new(session.tunnel_place(limits, files)?),
            "listener" => Box::new(session.listener_place(limits, files)?),
            _ => Box::new(session.dial_place(limits)?),
        })
    };
    #[rustfmt::skip]
    let table = [
        // limits,                                               files, of what,   most, and then
        ("tunnels-per-session = 3",                              100,   "tunnel",   3, "tunnels-per-session"),
        ("tunnels-per-session = 9\ntunnels-per-user = 4",        100,   "tunnel",   4, "tunnels-per-user"),
        ("tunnels-per-session = 9",                              5,     "tunnel",   5, "open-files"),
        ("listeners-per-session = 2",                            100,   "listener", 2, "listeners-per-session"),
        ("listeners-per-session = 9\nlisteners-per-user = 3",    100,   "listener", 3, "listeners-per-user"),
        // A listener may take two.
        ("listeners-per-session = 9",                            5,     "listener", 2, "open-files"),
        ("dials-per-user = 2",                                   1,     "dial",     2, "dials-per-user"),
    ];
    for (limits, open_files, what, most, code) in table {
        let (config, files, sessions) = (configured(limits), files(open_files), Sessions::default());
        let alice = session(&sessions, &config, "alice");
        let mut held = Vec::new();
        let full = loop {
            match place(&alice, &config, &files, what) {
                Ok(_) if held.len() > 50 => panic!("{limits}: no limit holds"),
                Ok(place) => held.push(place),
                Err(full) => break full,
            }
        };
        assert_eq!(
            (held.len(), full.code()),
            (most, code),
            "{limits}, {open_files} files, {what}"
        );
        // What is refused takes nothing, and what is given back can be had again.
        held.pop();
        held.push(place(&alice, &config, &files, what).unwrap_or_else(|full| panic!("{limits}: {full}")));
        assert!(place(&alice, &config, &files, what).is_err(), "{limits}");
        // Of a limit by session another session of the user is free, of a limit by user another user.
        let other = session(&sessions, &config, "alice");
        let of_session = code.ends_with("per-session");
        assert_eq!(place(&other, &config, &files, what).is_ok(), of_session, "{limits}");
        let bob = session(&sessions, &config, "bob");
        let of_all = code == "open-files";
        assert_eq!(place(&bob, &config, &files, what).is_ok(), !of_all, "{limits}");
    }
}

#[test]
fn totals_count_every_kind_and_every_byte_once() {
    let (config, sessions) = (configured(""), Sessions::default());
    let alice = session(&sessions, &config, "alice");
    let open = |action: Action, bytes: (u64, u64)| {
        let forward = forward(&alice);
        forward.bytes.add(bytes);
        let request = ForwardRequest {
            action,
            ..(*forward.request).clone()
        };
        sessions.open(Forward {
            request: Arc::new(request),
            ..forward
        })
    };
    let _seat = sessions.admit("alice", 1).unwrap();
    let connect = open(Action::Connect, (1, 20));
    let _accept = open(Action::Accept, (300, 4000));
    let listener = open(Action::Listen, (0, 0));
    let mut expected = Totals {
        sessions: 1,
        connects: 1,
        accepts: 1,
        listeners: 1,
        bytes_up: 301,
        bytes_down: 4020,
    };
    assert_eq!(sessions.totals(), expected);
    drop((connect, listener));
    (expected.connects, expected.listeners) = (0, 0);
    assert_eq!(sessions.totals(), expected, "what ended tunnels carried still counts");
}

#[test]
fn totals_are_the_same_while_tunnels_end() {
    let (config, sessions) = (configured(""), Sessions::default());
    let alice = session(&sessions, &config, "alice");
    let open = || {
        let forward = forward(&alice);
        forward.bytes.add((1, 2));
        sessions.open(forward)
    };
    let tunnels: Vec<_> = (0..10_000).map(|_| open()).collect();
    let ending = std::thread::spawn(move || drop(tunnels));
    while !ending.is_finished() {
        let totals = sessions.totals();
        assert_eq!((totals.bytes_up, totals.bytes_down), (10_000, 20_000));
    }
    ending.join().unwrap();
}

#[tokio::test]
async fn a_session_that_is_littered_takes_no_tunnel_and_ends_with_its_last() {
    let (config, files, sessions) = (configured(""), files(100), Sessions::default());
    let alice = session(&sessions, &config, "alice");
    let last = alice.tunnel_place(&config.limits, &files).unwrap();
    for _ in 0..MOST_LITTER {
        assert!(!alice.is_littered());
        alice.litter();
    }
    let refused = alice.tunnel_place(&config.limits, &files).err();
    assert_eq!((refused, alice.stop.cause()), (Some(Full::Litter), None));
    alice.leave(last);
    assert_eq!(alice.stop.cause(), Some(Cause::Failed));
}

#[tokio::test]
async fn a_user_has_so_many_sessions() {
    let sessions = Sessions::default();
    let mut seats: Vec<_> = std::iter::from_fn(|| sessions.admit("alice", 3)).take(10).collect();
    assert_eq!((seats.len(), sessions.count()), (3, 3));
    let bob = sessions.admit("bob", 3);
    assert_eq!((bob.is_some(), sessions.count()), (true, 4));
    seats.pop();
    assert!(sessions.admit("alice", 3).is_some());
    drop((seats, bob));
    assert_eq!(sessions.count(), 0);
}

#[tokio::test]
async fn what_is_entered_is_listed_until_its_entry_is_dropped() {
    let (config, sessions) = (configured(""), Sessions::default());
    let ids = || -> Vec<_> { sessions.all().iter().map(|one| one.connection.id.clone()).collect() };
    let alice = session(&sessions, &config, "alice");
    let before = sessions.changes();
    let entry = sessions.enter(&alice, sessions.admit("alice", 1).unwrap());
    assert_eq!(ids(), std::slice::from_ref(&alice.connection.id));
    assert_ne!(sessions.changes(), before);
    let (one, two) = (sessions.open(forward(&alice)), sessions.open(forward(&alice)));
    let bob = session(&sessions, &config, "bob");
    let bobs = sessions.open(forward(&bob));
    let counts =
        || ["alice", "bob", "eve"].map(|user| (sessions.open_forwards(user), sessions.forwards_of(user).len()));
    assert_eq!(counts(), [(2, 2), (1, 1), (0, 0)]);
    one.bytes.up.store(3, Ordering::Relaxed);
    one.bytes.down.store(5, Ordering::Relaxed);
    assert_eq!(one.bytes.total(), 8);
    drop(one);
    // What went through it stays with the session.
    assert_eq!((alice.past.both(), counts()), ((3, 5), [(1, 1), (1, 1), (0, 0)]));
    drop((two, bobs));
    let before = sessions.changes();
    drop(entry);
    assert_ne!(sessions.changes(), before);
    assert!(ids().is_empty() && sessions.forwards().is_empty() && sessions.count() == 0);
}

#[tokio::test]
async fn a_session_is_used_while_anything_of_it_is_open() {
    let (config, files, sessions) = (configured(""), files(100), Sessions::default());
    let alice = session(&sessions, &config, "alice");
    // In use, it answers with the moment of the question; otherwise with one that stays the same.
    let in_use = || {
        let before = Instant::now();
        alice.unused_since() >= before
    };
    let begun = alice.unused_since();
    assert!(!in_use());
    let status = alice.in_use();
    assert!(in_use(), "a status channel is a use");
    drop(status);
    assert_eq!(alice.unused_since(), begun, "which leaves no trace");
    for listens in [false, true] {
        let limits = &config.limits;
        let place = match listens {
            true => alice.listener_place(limits, &files),
            false => alice.tunnel_place(limits, &files),
        };
        assert!(in_use(), "listens: {listens}");
        let before = Instant::now();
        alice.release(place.unwrap());
        let ended = alice.unused_since();
        assert!(ended >= before && !in_use(), "listens: {listens}");
        assert_eq!(alice.unused_since(), ended, "listens: {listens}");
    }
}

#[tokio::test]
async fn the_first_cause_of_an_end_counts() {
    let causes = [Cause::Killed, Cause::Revoked, Cause::Expired, Cause::Closed];
    for first in causes {
        for second in causes {
            let stop = Stop::default();
            assert_eq!(stop.cause(), None);
            stop.clone().end(first);
            stop.end(second);
            assert_eq!((stop.ended().await, stop.cause()), (first, Some(first)));
        }
    }
    let (config, sessions) = (configured(""), Sessions::default());
    let alice = session(&sessions, &config, "alice");
    alice.revoke("her key");
    alice.end(Cause::Killed, "an administrator");
    let bob = session(&sessions, &config, "bob");
    end_all(
        &[Arc::clone(&alice), Arc::clone(&bob)],
        "all of them",
        &[],
        Cause::Drained,
    );
    let told = Some("the user may no longer log in: her key");
    assert_eq!((alice.sentence(), alice.stop.cause()), (told, Some(Cause::Revoked)));
    assert_eq!(
        (bob.sentence(), bob.stop.cause()),
        (Some("all of them"), Some(Cause::Drained))
    );
    assert_eq!(bob.stop.ended().await, Cause::Drained);
}

#[tokio::test]
async fn what_ends_together_is_over_before_the_first_goes_on() {
    const MANY: usize = 200;
    let (config, sessions) = (configured(""), Sessions::default());
    let alice = session(&sessions, &config, "alice");
    let forwards: Vec<_> = (0..MANY).map(|_| Arc::new(forward(&alice))).collect();
    let steps = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = JoinSet::new();
    for forward in &forwards {
        let (stop, steps) = (forward.stop.clone(), Arc::clone(&steps));
        tasks.spawn(async move {
            let cause = stop.ended().await;
            steps.lock().unwrap().push("is over");
            yield_now().await;
            steps.lock().unwrap().push("goes on");
            cause
        });
    }
    yield_now().await;
    // Another thread ends them, while the one that serves them is busy.
    std::thread::scope(|scope| {
        scope.spawn(|| end_all(&[], "", &forwards, Cause::Killed));
    });
    let known = forwards
        .iter()
        .filter(|forward| forward.stop.cause() == Some(Cause::Killed));
    assert_eq!(known.count(), MANY, "as soon as somebody said so");
    assert!(tasks.join_all().await.iter().all(|cause| *cause == Cause::Killed));
    let steps = steps.lock().unwrap();
    let first = steps.iter().position(|step| *step == "goes on");
    assert_eq!((first, steps.len()), (Some(MANY), 2 * MANY));
}

#[tokio::test]
async fn the_first_tunnels_of_a_session_do_not_wait_for_the_clients_close() {
    let (config, sessions) = (configured(""), Sessions::default());
    let alice = session(&sessions, &config, "alice");
    let waits: Vec<_> = (0..6).map(|_| alice.close_patience().is_zero()).collect();
    assert_eq!(waits, [true, true, true, true, false, false]);
}

#[tokio::test]
async fn a_rate_is_of_the_time_since_the_last_look() {
    let (config, sessions) = (configured(""), Sessions::default());
    let forward = forward(&session(&sessions, &config, "alice"));
    let began = std::time::Instant::now();
    #[rustfmt::skip]
    let table = [
        // milliseconds, up and down so far, a second
        (0,      (0, 0),       None),
        (100,    (50, 0),      None),
        (1_000,  (1_000, 500), Some((1_000, 500))),
        // Too soon: what was said before.
        (1_100,  (9_000, 500), Some((1_000, 500))),
        (3_000,  (9_000, 500), Some((4_000, 0))),
        // Too long ago.
        (60_000, (9_000, 500), None),
        (60_250, (9_001, 502), Some((4, 8))),
    ];
    for (millis, (up, down), expected) in table {
        forward.bytes.up.store(up, Ordering::Relaxed);
        forward.bytes.down.store(down, Ordering::Relaxed);
        assert_eq!(
            forward.rate(began + Duration::from_millis(millis)),
            expected,
            "{millis}"
        );
    }
}

//! How refusals are counted, slowed and written.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::audit::Audit;
use crate::config;

#[test]
fn refusals_come_as_fast_as_a_user_may_ask() {
    #[rustfmt::skip]
    let table = [
        // decisions a second, of a session, of a user
        (1,          500,          1_000),
        (2_000,      500,          1_000),
        (2_003,      500,          1_000),
        (2_400,      600,          1_200),
        (1_000_000,  250_000,      500_000),
        (usize::MAX, u32::MAX / 2, u32::MAX - 1),
    ];
    for (decisions, of_session, of_user) in table {
        let (session, user) = speeds(decisions);
        assert_eq!(
            (session.at_once, session.each_second),
            (of_session, of_session),
            "{decisions}"
        );
        assert_eq!((user.at_once, user.each_second), (of_user, of_user), "{decisions}");
    }
}

fn subject(session: &str, forward: usize) -> Subject {
    Subject {
        session: Some(session.to_owned()),
        user: Some("alice".to_owned()),
        client: None,
        forward: Some(format!("f-{forward}")),
    }
}

fn refused(port: u32, by: By, code: &str) -> Decided {
    Decided {
        action: Action::Connect,
        requested: Requested::Tcp {
            host: "db".to_owned(),
            port,
        },
        target: None,
        effective: None,
        resolved: Vec::new(),
        names: BTreeMap::new(),
        originator: None,
        asked: None,
        verdict: VerdictWord::Deny,
        code: Some(code.to_owned()),
        reason: Some(format!("port {port} is closed")),
        by,
        policy: None,
        micros: 0,
        terms: None,
        outbound: None,
        tags: BTreeMap::new(),
        again: None,
        repeated: None,
        told: None,
        times: Vec::new(),
    }
}

fn log(path: &Path) -> Events {
    let config = config::Audit {
        file: config::AuditFile::Path(path.to_owned()),
        required: true,
    };
    Events::new(Audit::open(&config).unwrap(), Vec::new())
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Counts one, as a request does, but without its waits.
fn one(user: &OfUser, session: &str, forward: usize, decided: &Decided, now: Instant) -> Record {
    let subject = subject(session, forward);
    user.count(now, Cause::of(&subject, decided), &subject, decided)
}

#[test]
fn the_first_of_a_kind_have_lines_and_the_rest_of_a_second_has_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let events = log(&path);
    let refusals = Refusals::default();
    let user = refusals.of("alice");
    let now = Instant::now();
    let decided = refused(1, By::Policy, "closed");
    for forward in 0..3 {
        assert_eq!(one(&user, "s-1", forward, &decided, now), Record::Alone);
    }
    let Record::Counted { forward, after } = one(&user, "s-1", 3, &decided, now) else {
        panic!("a fourth line");
    };
    assert_eq!((forward.as_str(), after), ("f-3", Some(WINDOW)));
    for next in 4..1000 {
        let counted = one(&user, "s-1", next, &decided, now);
        let (forward, after) = ("f-3".to_owned(), None);
        assert_eq!(
            counted,
            Record::Counted { forward, after },
            "they are told of that line"
        );
    }
    user.write(&events, "f-3");
    // In the next second it goes on, without lines of their own.
    assert!(matches!(one(&user, "s-1", 1000, &decided, now), Record::Counted { .. }));
    refusals.flush(&events);
    refusals.flush(&events);
    events.audit().finish();
    let lines = lines(&path);
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        (&lines[0]["forward"], &lines[0]["repeated"]),
        (&"f-3".into(), &997.into())
    );
    assert_eq!(
        (&lines[1]["forward"], lines[1].get("repeated")),
        (&"f-1000".into(), None)
    );
    assert_eq!(lines[0]["requested"], "db:1");
}

#[test]
fn what_is_not_equal_is_counted_apart() {
    let user = OfUser::new(Instant::now());
    let now = Instant::now();
    for round in 0..3 {
        for (session, decided) in [
            ("s-1", refused(1, By::Policy, "closed")),
            ("s-2", refused(1, By::Policy, "closed")),
            ("s-1", refused(2, By::Policy, "closed")),
            ("s-1", refused(1, By::Policy, "shut")),
            ("s-1", refused(1, By::Floor, "closed")),
        ] {
            assert_eq!(one(&user, session, round, &decided, now), Record::Alone);
        }
    }
    // A limit is the same for whatever is asked for.
    for port in 1..=3 {
        assert_eq!(
            one(&user, "s-1", 0, &refused(port, By::Limit, "full"), now),
            Record::Alone
        );
    }
}

#[test]
fn what_waits_too_long_for_its_line_is_counted_by_its_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("audit.jsonl");
    let events = log(&path);
    let user = OfUser::new(Instant::now());
    let now = Instant::now();
    for port in 0..60_000 {
        let decided = refused(port, By::Policy, &format!("code-{}", port % 10_000));
        let subject = subject("s-1", port as usize);
        let counted = user.count_widely(now, Cause::of(&subject, &decided), &subject, &decided);
        assert!(matches!(counted, Record::Counted { .. }));
    }
    user.flush(&events);
    events.audit().finish();
    let lines = lines(&path);
    assert!(lines.len() <= MOST_CAUSES + 1, "{} lines", lines.len());
    let all: u64 = lines.iter().map(|line| line["repeated"].as_u64().unwrap_or(1)).sum();
    assert_eq!(all, 60_000);
}

#[test]
fn what_was_refused_a_while_ago_is_forgotten() {
    let refusals = Refusals::default();
    let user = refusals.of("alice");
    let now = Instant::now();
    for port in 0..1000 {
        one(&user, "s-1", 0, &refused(port, By::Policy, "closed"), now);
    }
    let later = now + WINDOW;
    one(&user, "s-1", 0, &refused(1, By::Policy, "closed"), later);
    assert_eq!(user.lock().causes.len(), 1);
    assert!(!user.is_over(later) && user.is_over(later + CALM));
}

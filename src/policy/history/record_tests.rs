//! The record of generations, and what serves by it after a restart.

use super::*;

fn identity(name: &str) -> Identity {
    Identity {
        component: name.to_owned(),
        settings_sha256: "-".to_owned(),
    }
}

fn begins(name: &str, second: i64) -> Begins {
    Begins {
        identity: identity(name),
        sha256: name.to_owned(),
        version: "1.0.0".to_owned(),
        settings: "{}".to_owned(),
        signer: None,
        by: "file".to_owned(),
        now: at(second),
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A record in which these served one after the other, each because the configuration named it.
fn record(names: &[&str]) -> Record {
    let mut record = Record::default();
    for (second, name) in (0..).zip(names) {
        record.begin(begins(name, second), Some(identity(name)));
    }
    record
}

fn numbers(record: &Record) -> Vec<u64> {
    record.entries.iter().map(|entry| entry.generation).collect()
}

#[test]
fn what_the_configuration_names_serves_unless_it_was_replaced_since() {
    let mut record = record(&["a", "b"]);
    assert_eq!(
        record.choose(&identity("b"), false, false),
        Choice::Configured,
        "it is in force"
    );
    assert_eq!(
        record.choose(&identity("c"), false, false),
        Choice::Configured,
        "it is new"
    );

    record.begin(begins("by hand", 5), None);
    let by_hand = record.in_force().unwrap().clone();
    assert_eq!(
        record.choose(&identity("b"), false, false),
        Choice::Kept(by_hand),
        "nothing new is named"
    );
    assert_eq!(
        record.choose(&identity("c"), false, false),
        Choice::Configured,
        "the file has changed"
    );
    assert_eq!(
        record.choose(&identity("a"), false, false),
        Choice::Configured,
        "it has changed back"
    );

    assert_eq!(
        Record::default().choose(&identity("a"), false, true),
        Choice::Configured
    );
}

#[test]
fn what_a_gate_refused_does_not_serve_after_a_restart_and_a_shadow_only_by_name() {
    let mut record = record(&["a"]);
    let active = Choice::Kept(record.in_force().unwrap().clone());
    record.refuse(identity("b"));
    #[rustfmt::skip]
    let table = [
        // named  only by name  at start  does what is in force stay?
        ("b",     false,        true,     true),
        ("b",     false,        false,    false),
        ("c",     false,        true,     false),
        ("c",     true,         false,    true),
        ("c",     true,         true,     true),
    ];
    for (named, only_by_name, at_start, stays) in table {
        let chosen = record.choose(&identity(named), only_by_name, at_start);
        assert_eq!(chosen == active, stays, "{named} {only_by_name} {at_start}");
        assert!(stays || chosen == Choice::Configured);
    }
    assert_eq!(
        Record::default().choose(&identity("a"), true, true),
        Choice::Configured,
        "nothing served yet"
    );
}

#[test]
fn what_was_rolled_back_comes_back_only_by_name() {
    let mut record = record(&["a", "b"]);
    assert_eq!(record.before().unwrap().generation, 1);
    record.go_back(1, "rollback", "it fails", at(9));
    assert_eq!(record.active, 1);
    let Choice::InsteadOf(serves, quarantined) = record.choose(&identity("b"), false, false) else {
        panic!("it was rolled back");
    };
    assert_eq!((serves.generation, quarantined.reason.as_str()), (1, "it fails"));
    assert_eq!(record.before(), None, "nothing but what was rolled back");

    assert_eq!(record.begin(begins("b", 10), None), 3);
    assert!(record.quarantined.is_empty(), "it was loaded by name");
    assert_eq!(record.before().unwrap().generation, 1);
}

#[test]
fn going_forth_and_back_keeps_one_entry_of_each() {
    let mut record = record(&["a", "b", "c"]);
    record.go_back(1, "rollback", "", at(9));
    record.go_back(2, "rollback", "", at(10));
    assert_eq!((record.active, numbers(&record)), (2, vec![3, 1, 2]));
    let quarantined: Vec<_> = record.quarantined.iter().map(|one| &*one.identity.component).collect();
    assert_eq!(quarantined, ["c", "a"], "what serves is not among them");
    record.go_back(7, "rollback", "", at(11));
    assert_eq!(record.active, 2, "there is no such generation");
}

#[test]
fn the_same_again_is_no_other_generation() {
    let mut record = record(&["a", "a", "b", "b"]);
    assert_eq!(numbers(&record), [1, 2]);
    record.confirm_by = Some(at(100));
    assert_eq!(record.begin(begins("b", 5), None), 2);
    assert_eq!(record.confirm_by, None);
}

#[test]
fn what_is_old_or_too_much_is_forgotten() {
    let day = 24 * 60 * 60;
    let kept = |keep, days: u64| Generations {
        keep,
        max_age: Duration::from_secs(days * 24 * 60 * 60),
    };
    #[rustfmt::skip]
    let table = [
        // keep  days  now       what is left
        (10,     90,   5,        vec![1, 2, 3, 4, 5]),
        (2,      90,   5,        vec![3, 4, 5]),
        (1,      90,   5,        vec![4, 5]),
        (10,     1,    day,      vec![1, 2, 3, 4, 5]),
        (10,     1,    day + 2,  vec![2, 3, 4, 5]),
        (10,     1,    9 * day,  vec![4, 5]),
    ];
    for (keep, days, now, left) in table {
        let mut record = record(&["a", "b", "c", "d", "e"]);
        record.trim(kept(keep, days), at(now));
        assert_eq!(numbers(&record), left, "keep {keep}, {days} days, at {now}");
    }
}

#[test]
fn a_record_is_read_as_it_was_written() {
    let mut record = record(&["a", "b"]);
    record.go_back(1, "rollback", "it fails", at(9));
    record.confirm_by = Some(deadline(at(9), Duration::from_secs(60)));
    let text = serde_json::to_string(&record).unwrap();
    assert_eq!(serde_json::from_str::<Record>(&text).unwrap(), record);
}

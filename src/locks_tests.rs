//! Locks in a file: kept, lifted, and read by another process.

use jiff::ToSpan;

use super::*;

fn lock(user: &str, until: Option<Timestamp>) -> Lock {
    Lock {
        user: user.to_owned(),
        reason: "incident 7".to_owned(),
        since: Timestamp::now(),
        until,
        uid: 0,
        admin: "root".to_owned(),
        fleet: false,
    }
}

fn keep(locks: &Locks, lock: Lock) {
    let user = lock.user.clone();
    locks.hold(lock).unwrap();
    locks.keep(&user).unwrap();
}

/// To the microsecond, as it is kept.
fn whole(time: Timestamp) -> Timestamp {
    format!("{time:.6}").parse().unwrap()
}

#[test]
fn a_lock_outlives_the_process_and_ends_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/locks.json");
    let locks = Locks::read(Some(path.clone())).unwrap();
    let now = Timestamp::now();
    #[rustfmt::skip]
    let table = [
        // user, until,                 holds
        ("ann",  None,                   true),
        ("bob",  Some(whole(now + 1.hour())),   true),
        ("eve",  Some(whole(now - 1.second())), false),
    ];
    for (user, until, _) in table {
        keep(&locks, lock(user, until));
    }
    let again = Locks::read(Some(path.clone())).unwrap();
    for one in [&locks, &again] {
        for (user, until, holds) in table {
            assert_eq!(one.of(user).map(|lock| lock.until), holds.then_some(until), "{user}");
        }
        assert_eq!(one.all().len(), 2);
    }
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(locks.lift("ann") && !locks.lift("ann") && !locks.lift("eve"));
    locks.keep("ann").unwrap();
    let again = Locks::read(Some(path)).unwrap();
    assert_eq!((again.of("ann"), again.all().len()), (None, 1));
}

#[test]
fn gateways_that_share_the_file_lose_none_of_each_others_locks() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locks.json");
    let [one, other] = [(), ()].map(|()| Locks::read(Some(path.clone())).unwrap());
    keep(&one, lock("ann", None));
    keep(&other, lock("bob", None));
    keep(&one, lock("eve", None));
    assert!(other.lift("bob"));
    other.keep("bob").unwrap();
    let users = |locks: &Locks| -> Vec<_> { locks.all().iter().map(|lock| lock.user.clone()).collect() };
    assert_eq!(users(&Locks::read(Some(path)).unwrap()), ["ann", "eve"]);
}

#[test]
fn what_another_process_locks_and_lifts_is_seen_when_the_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locks.json");
    let [one, other] = [(), ()].map(|()| Locks::read(Some(path.clone())).unwrap());
    let users = |new: Vec<Arc<Lock>>| -> Vec<_> { new.iter().map(|lock| lock.user.clone()).collect() };
    keep(&one, lock("ann", None));
    keep(&other, lock("bob", None));
    one.hold(lock("eve", None)).unwrap();
    assert_eq!(users(one.read_again().unwrap()), ["bob"]);
    assert!(one.read_again().unwrap().is_empty());
    assert!(other.lift("bob"));
    other.keep("bob").unwrap();
    one.read_again().unwrap();
    assert!(one.of("bob").is_none());
    assert!(
        one.of("ann").is_some() && one.of("eve").is_some(),
        "not in the file yet"
    );
}

#[test]
fn a_file_that_says_nothing_lets_nobody_in_by_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("locks.json");
    assert!(Locks::read(Some(path.clone())).unwrap().all().is_empty());
    for text in ["", "{}", "[{\"user\":\"ann\"}]", "[{\"user\":"] {
        std::fs::write(&path, text).unwrap();
        let error = Locks::read(Some(path.clone())).err().unwrap().to_string();
        assert!(
            error.starts_with(path.to_str().unwrap()) && error.contains("line 1"),
            "{error}"
        );
    }
    // What cannot be kept holds as long as the process does.
    let locks = Locks::read(Some(folder.path().join("locks.json/x"))).err();
    assert!(locks.is_some());
    let beneath = folder.path().join("file");
    std::fs::write(&beneath, "").unwrap();
    let locks = Locks::read(None).unwrap();
    keep(&locks, lock("ann", None));
    assert!(locks.of("ann").is_some());
}

//! How something scarce is shared among users.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::*;

/// Takes as many as the user may have.
fn fill(shares: &Arc<Shares>, user: &str) -> Vec<Share> {
    std::iter::from_fn(|| shares.try_take(user)).collect()
}

fn ask<'a>(shares: &'a Arc<Shares>, user: &'a str) -> BoxFuture<'a, Share> {
    let mut asked = shares.take(user).boxed();
    assert!((&mut asked).now_or_never().is_none(), "{user} need not wait");
    asked
}

/// Free places, and users who wait.
fn counts(shares: &Arc<Shares>) -> (usize, usize) {
    let state = shares.lock();
    (state.free, state.line.len())
}

#[test]
fn each_of_several_users_gets_a_share_and_a_newcomer_finds_a_place() {
    #[rustfmt::skip]
    let table = [
        // places, weight, users who take all that they may, what each gets
        (1,  1, 1,  &[1][..]),
        (2,  1, 1,  &[1]),
        (64, 1, 1,  &[32]),
        (64, 1, 2,  &[32, 16]),
        (64, 1, 8,  &[32, 16, 8, 4, 2, 1, 1]),
        (64, 3, 1,  &[48]),
        (64, 3, 2,  &[48, 12]),
        (768, 3, 1, &[576]),
    ];
    for (places, weight, users, expected) in table {
        let shares = Shares::new(places, weight);
        let held: Vec<_> = (0..users).map(|user| fill(&shares, &user.to_string())).collect();
        let counts: Vec<_> = held.iter().map(Vec::len).filter(|count| *count > 0).collect();
        assert_eq!(counts, expected, "{places} places, weight {weight}, {users} users");
    }
}

#[test]
fn users_who_take_in_turn_get_equal_shares_however_many_there_are() {
    for users in [2, 3, 7, 15, 31] {
        let shares = Shares::new(64, 1);
        let mut held: Vec<Vec<Share>> = (0..users).map(|_| Vec::new()).collect();
        for _ in 0..64 {
            for (user, held) in held.iter_mut().enumerate() {
                held.extend(shares.try_take(&user.to_string()));
            }
        }
        let counts: Vec<_> = held.iter().map(Vec::len).collect();
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most - least <= 1, "{users}: {counts:?}");
        assert!(shares.try_take("newcomer").is_some(), "{users}: {counts:?}");
    }
}

#[test]
fn a_user_at_their_bound_waits_and_no_other_user_does() {
    let shares = Shares::new(8, 1);
    let mut held = fill(&shares, "greedy");
    let mut waits: Vec<_> = (0..1000).map(|_| ask(&shares, "greedy")).collect();
    let honest = shares.try_take("honest");
    assert!(honest.is_some());
    drop(honest);
    held.pop();
    let given: Vec<_> = waits.iter_mut().filter_map(|one| one.now_or_never()).collect();
    assert_eq!(given.len(), 1, "one place for the one that came back");
}

#[test]
fn those_of_one_user_get_their_places_in_order() {
    let shares = Shares::new(1, 1);
    let held = shares.try_take("one").unwrap();
    let (mut first, mut second) = (ask(&shares, "one"), ask(&shares, "one"));
    drop(held);
    let got = (&mut first).now_or_never().expect("the first");
    assert!((&mut second).now_or_never().is_none());
    assert!(shares.try_take("one").is_none(), "none overtakes");
    drop(got);
    assert!((&mut second).now_or_never().is_some());
}

#[test]
fn the_next_place_goes_to_the_user_who_holds_the_fewest() {
    let shares = Shares::new(2, 4);
    let held = [shares.try_take("many").unwrap(), shares.try_take("many").unwrap()];
    let mut many = ask(&shares, "many");
    let mut few = ask(&shares, "few");
    let [one, other] = held;
    drop(one);
    assert!(
        (&mut many).now_or_never().is_none(),
        "asked first, and holds one already"
    );
    assert!((&mut few).now_or_never().is_some());
    drop(other);
}

#[test]
fn whoever_stops_waiting_leaves_nothing_behind() {
    let shares = Shares::new(1, 1);
    let held = shares.try_take("a").unwrap();
    drop([ask(&shares, "a"), ask(&shares, "b")]);
    assert!(shares.lock().line.is_empty());
    // Given, and not looked at any more.
    let given = ask(&shares, "b");
    drop(held);
    assert_eq!(counts(&shares), (0, 0));
    drop(given);
    assert_eq!(shares.lock().free, 1);
    assert!(shares.lock().users.is_empty());
}

#[test]
fn a_thousand_who_leave_at_once_lose_no_place() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .build()
        .unwrap();
    let shares = Shares::new(4, 1);
    runtime.block_on(async {
        let tasks: Vec<_> = (0..1000)
            .map(|number| {
                let shares = Arc::clone(&shares);
                tokio::spawn(async move {
                    let user = (number % 7).to_string();
                    let share = shares.take(&user).await;
                    tokio::task::yield_now().await;
                    drop(share);
                })
            })
            .collect();
        for task in tasks.iter().step_by(3) {
            task.abort();
        }
        for task in tasks {
            let _ = task.await;
        }
    });
    assert_eq!(counts(&shares), (4, 0));
    assert!(shares.lock().users.is_empty());
}

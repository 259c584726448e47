//! Decisions that wait: for their turn, for a name and for a place of their user.

use std::future::pending;

use futures_util::FutureExt;

use super::*;
use crate::policy::Meter;

fn sandbox() -> Arc<Sandbox> {
    Arc::new(Sandbox::new(1 << 20, Meter::Off).unwrap())
}

/// What of a user's decisions may begin at once; the others wait.
fn begin(places: &Places, user: &str, sandbox: &Arc<Sandbox>) -> Vec<Turn> {
    std::iter::from_fn(|| places.enter(user, sandbox).now_or_never()?.ok()).collect()
}

#[tokio::test]
async fn decisions_that_wait_for_a_name_take_no_turn() {
    let (places, sandbox) = (Places::new(), sandbox());
    // A user who asks for names that are not answered, as often as they may.
    let mut waiting = Vec::new();
    while let Some(mut turn) = places.enter("slow", &sandbox).now_or_never().and_then(Result::ok) {
        let mut asked = async move { turn.aside(pending::<()>()).await }.boxed();
        assert!((&mut asked).now_or_never().is_none());
        waiting.push(asked);
    }
    assert_eq!(waiting.len(), INSTANCES / 2, "half of the instances are the others'");
    // And others, who find all turns but their own bound.
    let of_others = ["a", "b", "c"].map(|user| begin(&places, user, &sandbox));
    assert_eq!(of_others.each_ref().map(Vec::len), [32, 16, 8]);
}

#[tokio::test]
async fn a_decision_that_was_answered_waits_for_its_next_turn() {
    let (places, sandbox) = (Places::new(), sandbox());
    let mut first = places.enter("one", &sandbox).await.unwrap();
    let (answer, answered) = tokio::sync::oneshot::channel();
    let mut asked = async move {
        let answer = first.aside(answered).await;
        (answer, first)
    }
    .boxed();
    assert!((&mut asked).now_or_never().is_none());
    let mut others = begin(&places, "one", &sandbox);
    assert_eq!(others.len(), DECISIONS / 2);
    answer.send("192.0.2.1").unwrap();
    assert!((&mut asked).now_or_never().is_none(), "the user's turns are all taken");
    others.pop();
    let (answer, turn) = (&mut asked).now_or_never().expect("its turn");
    assert_eq!((answer, turn.computes.is_some()), (Ok("192.0.2.1"), true));
}

#[tokio::test]
async fn what_is_there_at_once_keeps_its_turn() {
    let (places, sandbox) = (Places::new(), sandbox());
    let mut turn = places.enter("one", &sandbox).await.unwrap();
    let _others = begin(&places, "one", &sandbox);
    assert_eq!(turn.aside(async { 7 }).now_or_never(), Some(7));
}

#[tokio::test]
async fn a_decision_waits_for_a_place_of_its_own_user_and_not_for_ever() {
    let (mut places, sandbox) = (Places::new(), sandbox());
    places.patience = Duration::from_millis(1);
    let _held = begin(&places, "many", &sandbox);
    assert_eq!(places.enter("many", &sandbox).await.err(), Some(Failure::QueueFull));
    assert!(places.enter("other", &sandbox).now_or_never().is_some());
}

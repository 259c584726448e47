//! A verdict is used again for an equal request of the same connection, and for no other.

use super::*;
use crate::policy::PolicyRef;
use crate::request::{Principal, Terms};

fn request(action: Action, target: &str, originator: &str) -> ForwardRequest {
    let mut request = ForwardRequest::dry("alice", action, target.parse().unwrap());
    request.originator = Some(originator.parse().unwrap());
    request
}

fn answer() -> PolicyAnswer {
    PolicyAnswer {
        verdict: Verdict::Allow(Terms::default()),
        policy: Option::<PolicyRef>::None,
        names: Vec::new(),
    }
}

#[tokio::test]
async fn an_equal_request_is_one_that_the_policy_could_not_tell_apart() {
    let (_, generation) = policies().await;
    let (_, another) = chain::chain().await;
    let kept = request(Action::Connect, "ten.test:80", "192.0.2.1:1000");
    let with = |change: fn(&mut ForwardRequest)| {
        let mut request = kept.clone();
        change(&mut request);
        request
    };
    #[rustfmt::skip]
    let table = [
        ("the same",                         with(|_| {}),                                                        &generation, true),
        ("another id and time",              with(|one| (one.id, one.now) = ("f-2".to_owned(), Timestamp::UNIX_EPOCH)), &generation, true),
        ("another port of the originator",   with(|one| one.originator = "192.0.2.1:2000".parse().ok()),          &generation, true),
        ("another originator",               with(|one| one.originator = "192.0.2.2:1000".parse().ok()),          &generation, false),
        ("no originator",                    with(|one| one.originator = None),                                   &generation, false),
        ("another port",                     with(|one| one.target = "ten.test:81".parse().unwrap()),             &generation, false),
        ("another host",                     with(|one| one.target = "many.test:80".parse().unwrap()),            &generation, false),
        ("another spelling",                 with(|one| one.requested = Requested::Tcp { host: "TEN.test".to_owned(), port: 80 }), &generation, false),
        ("another action",                   with(|one| one.action = Action::Listen),                             &generation, false),
        ("a user who is told of otherwise",  with(|one| one.principal = Arc::new(Principal::clone(&one.principal))), &generation, false),
        ("other policies",                   with(|_| {}),                                                        &another,    false),
    ];
    for (what, asked, generation_now, found) in table {
        let verdicts = Verdicts::default();
        verdicts.keep(&kept, &generation, answer(), 60);
        assert_eq!(verdicts.find(&asked, generation_now).is_some(), found, "{what}");
    }
}

#[tokio::test]
async fn a_verdict_is_kept_for_its_time_and_there_are_not_many() {
    let (_, generation) = policies().await;
    let verdicts = Verdicts::default();
    let kept = request(Action::Connect, "ten.test:80", "192.0.2.1:1000");
    verdicts.keep(&kept, &generation, answer(), 0);
    assert!(verdicts.find(&kept, &generation).is_none(), "its time was over at once");
    let numbered = |port: u16| request(Action::Connect, &format!("ten.test:{port}"), "192.0.2.1:1000");
    let all: Vec<_> = (1..=300).map(numbered).collect();
    for one in &all {
        verdicts.keep(one, &generation, answer(), 60);
    }
    let found = all.iter().filter(|one| verdicts.find(one, &generation).is_some());
    // Its principal is another object for each of them, and each finds its own.
    assert_eq!(
        found.count(),
        256,
        "what is over made room, and no more than so many are kept"
    );
}

#[tokio::test]
async fn only_what_the_policy_lets_be_used_again_is() {
    let judge = judge("").await;
    #[rustfmt::skip]
    let table = [
        // asked twice         the policy was asked
        ("ten.test:7006",      1),
        ("ten.test:80",        2),
        ("ten.test:23",        2),
    ];
    for (endpoint, expected) in table {
        let verdicts = Arc::new(Verdicts::default());
        let asker = rights("");
        let mut times = 0;
        for _ in 0..2 {
            let question = match asked("connect", endpoint) {
                Asked::Connect(asked) => Question::new(asked, &asker, connection()),
                other => panic!("{other:?}"),
            };
            let judgement = judge
                .judge(&judge.current(), question.reusing(Arc::clone(&verdicts)))
                .await;
            // What is used again took no time at all.
            times += usize::from(judgement.line().micros > 0);
        }
        assert_eq!(times, expected, "{endpoint}");
    }
}

fn connection() -> Arc<crate::request::Connection> {
    ForwardRequest::dry("alice", Action::Connect, "ten.test:1".parse().unwrap()).connection
}

//! Orders over a real Redis.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::server_tests::Server;
use super::state_tests::configured;
use super::{Fleet, Heard, Hears, Keep};
use crate::config;

/// A gateway that notes what it hears, and answers each order with itself.
struct Gateway {
    fleet: Fleet,
    heard: Arc<Mutex<Vec<String>>>,
    tasks: Vec<AbortHandle>,
}

impl Gateway {
    fn of(server: &Server) -> Self {
        // Nobody's lease ends here, however busy the machine is.
        let config = config::Fleet {
            lease: Duration::from_secs(300),
            ..configured(server)
        };
        let fleet = Fleet::new(&config).unwrap().unwrap();
        let (link, counts) = (Arc::clone(&fleet.link), Arc::clone(&fleet.counts));
        let mut gateway = Self {
            fleet,
            heard: Arc::default(),
            tasks: vec![
                tokio::spawn(async move { link.keep().await }).abort_handle(),
                tokio::spawn(async move { counts.keep().await }).abort_handle(),
            ],
        };
        gateway.hear();
        gateway
    }

    fn hear(&mut self) {
        let (heard, orders) = (Arc::clone(&self.heard), Arc::clone(&self.fleet.orders));
        let answers = Arc::clone(&orders);
        let hears: Hears = Arc::new(move |told| -> BoxFuture<'static, ()> {
            let (heard, answers) = (Arc::clone(&heard), Arc::clone(&answers));
            Box::pin(async move {
                let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
                match told {
                    Heard::Kept(kept) => heard.lock().unwrap().push(format!("kept: {}", text(kept))),
                    Heard::Order { at, order } => {
                        assert!(at > 1_600_000_000_000, "{at}");
                        let order = text(order);
                        heard.lock().unwrap().push(order.clone());
                        if let Some(question) = order.strip_prefix("ask ") {
                            answers.answer(question, b"here").await;
                        }
                    }
                }
            })
        });
        let task = tokio::spawn(async move { orders.hear(&hears).await });
        self.tasks.push(task.abort_handle());
    }

    async fn until_it_heard(&self, expected: &[&str]) {
        let heard = || {
            let mut heard = self.heard.lock().unwrap().clone();
            heard.retain(|order| order != BEGIN);
            heard
        };
        let until = async {
            while heard() != expected {
                sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(
            timeout(PATIENCE, until).await.is_ok(),
            "{:?} and not {expected:?}",
            heard()
        );
    }

    async fn tell(&self, order: &str, user: Option<&str>) {
        self.tell_for(order, user, None).await;
    }

    async fn tell_for(&self, order: &str, user: Option<&str>, lasts: Option<Duration>) {
        let kept = user.map(|user| Keep {
            user,
            order: order.as_bytes(),
            lasts,
        });
        while self.fleet.orders.tell(order.as_bytes(), kept).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Nobody hears what was said before they began.
async fn until_all_hear(gateways: &[&Gateway]) {
    let hears = |gateway: &&Gateway| gateway.heard.lock().unwrap().iter().any(|order| order == BEGIN);
    while !gateways.iter().all(hears) {
        gateways[0].tell(BEGIN, None).await;
        sleep(Duration::from_millis(20)).await;
    }
}

const BEGIN: &str = "begin";
const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn all_hear_each_order_once_and_in_order_also_who_was_away() {
    let server = Server::start();
    let one = Gateway::of(&server);
    let mut two = Gateway::of(&server);
    until_all_hear(&[&one, &two]).await;
    // It hears nothing for a while, as if it were cut off.
    two.tasks.pop().unwrap().abort();
    let many: Vec<_> = (0..250).map(|number| format!("order {number}")).collect();
    for order in &many {
        one.tell(order, None).await;
    }
    two.hear();
    let all: Vec<_> = many.iter().map(String::as_str).collect();
    one.until_it_heard(&all).await;
    two.until_it_heard(&all).await;
}

#[tokio::test]
async fn who_comes_later_knows_what_is_kept_and_nothing_else() {
    let server = Server::start();
    let one = Gateway::of(&server);
    one.tell("lock alice", Some("alice")).await;
    one.tell("lock bob", Some("bob")).await;
    one.tell("close something", None).await;
    one.tell("unlock alice", Some("alice")).await;
    let later = Gateway::of(&server);
    let until = async {
        while later.heard.lock().unwrap().len() < 2 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, until).await.unwrap();
    let mut heard = later.heard.lock().unwrap().clone();
    heard.sort();
    assert_eq!(heard, ["kept: lock bob", "kept: unlock alice"]);
}

#[tokio::test]
async fn what_is_kept_for_a_while_ends_and_a_later_order_may_last() {
    let server = Server::start();
    let one = Gateway::of(&server);
    let kept = |user: &str| server.cli(&["HGET", "portreeve:{orders}:locks", user]);
    let soon = Some(Duration::from_millis(1));
    let late = Some(Duration::from_secs(60));
    one.tell_for("unlock alice", Some("alice"), soon).await;
    one.tell_for("unlock bob", Some("bob"), soon).await;
    one.tell_for("unlock carol", Some("carol"), late).await;
    // What lasts for good no longer ends.
    one.tell("lock bob", Some("bob")).await;
    // Each order removes what has ended.
    loop {
        one.tell_for("unlock dave", Some("dave"), late).await;
        if kept("alice").is_empty() {
            break;
        }
    }
    assert_eq!(
        [kept("bob"), kept("carol"), kept("dave")],
        ["lock bob", "unlock carol", "unlock dave"]
    );
    assert_eq!(server.cli(&["ZCARD", "portreeve:{orders}:ends"]), "2");
}

#[tokio::test]
async fn a_question_is_answered_by_all_who_are_there_and_names_who_is_silent() {
    let server = Server::start();
    let (one, two) = (Gateway::of(&server), Gateway::of(&server));
    until_all_hear(&[&one, &two]).await;
    let ask = || async {
        let answered = one
            .fleet
            .orders
            .ask(|question| format!("ask {question}").into_bytes())
            .await;
        let answered = answered.unwrap().into_iter();
        answered
            .map(|one| (one.gateway, one.answer.map(|answer| String::from_utf8(answer).unwrap())))
            .collect::<Vec<_>>()
    };
    let here = ("gw-1".to_owned(), Some("here".to_owned()));
    while ask().await != [here.clone(), here.clone()] {
        sleep(Duration::from_millis(5)).await;
    }
    two.tasks.iter().for_each(AbortHandle::abort);
    let mut answered = ask().await;
    answered.sort();
    assert_eq!(answered, [("gw-1".to_owned(), None), here]);
}

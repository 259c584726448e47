//! Counts over several gateways on a real Redis.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use super::keys;
use super::notes::texts;
use super::scripts::RENEW;
use super::server_tests::Server;
use super::state_tests::configured;
use super::{Condition, Fleet, Open};
use crate::config;
use crate::policy::CountsElsewhere;

/// A gateway that has open what the test says.
struct Gateway {
    fleet: Fleet,
    open: Arc<Mutex<HashMap<String, Open>>>,
    tasks: Vec<AbortHandle>,
}

impl Gateway {
    async fn of(config: &config::Fleet) -> Self {
        let fleet = Fleet::new(config).unwrap().unwrap();
        let open = Arc::new(Mutex::new(HashMap::<String, Open>::new()));
        let seen = Arc::clone(&open);
        fleet
            .counts
            .counted_by(move |user| seen.lock().unwrap().get(user).copied().unwrap_or_default());
        let (link, counts) = (Arc::clone(&fleet.link), Arc::clone(&fleet.counts));
        let tasks = vec![
            tokio::spawn(async move { link.keep().await }).abort_handle(),
            tokio::spawn(async move { counts.keep().await }).abort_handle(),
        ];
        let gateway = Self { fleet, open, tasks };
        gateway.until_connected(true).await;
        gateway
    }

    async fn until_connected(&self, connected: bool) {
        let mut conditions = self.fleet.link.conditions();
        let wanted = |condition: &Condition| {
            matches!(
                (condition, connected),
                (Condition::Connected(_), true) | (Condition::Away(_), false)
            )
        };
        timeout(PATIENCE, conditions.wait_for(wanted)).await.unwrap().unwrap();
    }

    /// One more session, if it may be.
    async fn admit(&self, user: &str, most: usize) -> bool {
        self.change(user, |open| open.sessions += 1);
        let admitted = self.fleet.counts.admits(user, most).await;
        if !admitted {
            self.change(user, |open| open.sessions -= 1);
        }
        admitted
    }

    fn change(&self, user: &str, change: impl FnOnce(&mut Open)) {
        change(self.open.lock().unwrap().entry(user.to_owned()).or_default());
        self.fleet.counts.changed(user);
    }

    fn forwards(&self, user: &str, forwards: u64) {
        self.change(user, |open| open.forwards = forwards);
    }

    async fn count(&self, user: &str) -> u32 {
        self.fleet.counts.open_forwards(user).await
    }

    async fn until_it_counts(&self, user: &str, count: u32) {
        let counted = async {
            while self.count(user).await != count {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let found = timeout(PATIENCE, counted).await;
        assert!(found.is_ok(), "it counts {} and not {count}", self.count(user).await);
    }

    /// As `kill -9`.
    fn die(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.die();
    }
}

const PATIENCE: Duration = Duration::from_secs(40);

#[tokio::test]
async fn what_one_gateway_opens_counts_on_all_until_it_closes_or_dies() {
    let server = Server::start();
    let config = configured(&server);
    let (one, two) = (Gateway::of(&config).await, Gateway::of(&config).await);
    one.forwards("alice", 3);
    two.forwards("alice", 4);
    two.forwards("bob", 1);
    for gateway in [&one, &two] {
        gateway.until_it_counts("alice", 7).await;
        gateway.until_it_counts("bob", 1).await;
        gateway.until_it_counts("eve", 0).await;
    }
    two.forwards("bob", 0);
    one.until_it_counts("bob", 0).await;
    let key = "portreeve:open:{bob}";
    while server.cli(&["EXISTS", key]) != "0" {
        sleep(Duration::from_millis(5)).await;
    }
    two.die();
    one.until_it_counts("alice", 3).await;
    // What is seen of the dead is removed.
    while server.cli(&["HLEN", "portreeve:open:{alice}"]) != "1" {
        assert_eq!(one.count("alice").await, 3);
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_gateway_that_leaves_counts_no_more_at_once() {
    let server = Server::start();
    let config = config::Fleet {
        lease: Duration::from_secs(300),
        ..configured(&server)
    };
    let (one, two) = (Gateway::of(&config).await, Gateway::of(&config).await);
    two.forwards("alice", 4);
    one.until_it_counts("alice", 4).await;
    two.fleet.counts.leave().await;
    assert_eq!(server.cli(&["ZCARD", "portreeve:{gateways}"]), "1");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_sessions_are_admitted_than_may_be_whoever_asks_at_once() {
    let server = Server::start();
    let config = configured(&server);
    let mut gateways = Vec::new();
    for _ in 0..3 {
        gateways.push(Gateway::of(&config).await);
    }
    let asked = (0..90).map(|number| gateways[number % 3].admit("alice", 10));
    let admitted = futures_util::future::join_all(asked).await;
    let admitted = admitted.into_iter().filter(|admitted| *admitted).count();
    assert!(admitted <= 10, "{admitted}");
    // Those that were refused leave nothing behind.
    let mut more = 0;
    while admitted + more < 10 {
        more += usize::from(gateways[0].admit("alice", 10).await);
    }
    for gateway in &gateways {
        assert!(!gateway.admit("alice", 10).await);
    }
    assert!(gateways[0].admit("bob", 10).await);
    gateways[1].die();
    let had = usize::try_from(gateways[1].open.lock().unwrap()["alice"].sessions).unwrap();
    for _ in 0..had {
        while !gateways[0].admit("alice", 10).await {
            sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(!gateways[2].admit("alice", 10).await);
}

#[tokio::test]
async fn without_redis_a_gateway_counts_its_own_and_afterwards_all_again() {
    let mut server = Server::start();
    let config = configured(&server);
    let (one, two) = (Gateway::of(&config).await, Gateway::of(&config).await);
    one.forwards("alice", 3);
    two.forwards("alice", 4);
    one.until_it_counts("alice", 7).await;
    server.end();
    one.until_connected(false).await;
    assert_eq!(one.count("alice").await, 3);
    one.forwards("alice", 2);
    assert!(one.admit("alice", 1).await);
    assert!(!one.admit("alice", 1).await);
    server.begin();
    // The new server knows nothing: each gateway notes what it has.
    one.until_it_counts("alice", 6).await;
    two.until_it_counts("alice", 6).await;
    assert!(!two.admit("alice", 1).await);
}

#[tokio::test]
async fn a_refused_login_leaves_nothing_behind_and_an_admitted_one_is_noted_at_once() {
    let server = Server::start();
    let config = configured(&server);
    let (one, two) = (Gateway::of(&config).await, Gateway::of(&config).await);
    // Nothing is written but by the logins themselves.
    one.tasks[1].abort();
    two.tasks[1].abort();
    assert!(one.admit("alice", 1).await);
    for _ in 0..3 {
        assert!(!two.admit("alice", 1).await);
        assert_eq!(server.cli(&["HLEN", "portreeve:open:{alice}"]), "1");
    }
    assert!(two.admit("alice", 2).await);
    assert_eq!(server.cli(&["HLEN", "portreeve:open:{alice}"]), "2");
    assert!(!two.admit("alice", 2).await);
    let noted = server.cli(&["HVALS", "portreeve:open:{alice}"]);
    assert!(noted.lines().all(|note| note.ends_with(" 0 1")), "{noted}");
}

#[tokio::test]
async fn a_gateway_that_is_gone_has_no_last_place() {
    let server = Server::start();
    let config = configured(&server);
    let (one, two) = (Gateway::of(&config).await, Gateway::of(&config).await);
    assert!(two.admit("alice", 1).await);
    assert!(!one.admit("alice", 1).await);
    two.die();
    while server.cli(&["ZCARD", "portreeve:{gateways}"]) != "1" {
        sleep(Duration::from_millis(5)).await;
    }
    let admitted = async {
        while !one.admit("alice", 1).await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, admitted).await.expect("the place is free again");
    // What it noted is still there: nobody has removed it for good.
    assert_eq!(server.cli(&["HLEN", "portreeve:open:{alice}"]), "2");
}

#[tokio::test]
async fn what_has_changed_back_is_not_written() {
    let server = Server::start();
    let gateway = Gateway::of(&configured(&server)).await;
    let noted = || server.cli(&["HVALS", "portreeve:open:{alice}"]);
    let until_it_is = async |forwards: u64| {
        gateway.forwards("alice", forwards);
        while !noted().ends_with(&format!(" {forwards} 0")) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    until_it_is(3).await;
    // Also what the confirmation of the last note has begun is over.
    until_it_is(4).await;
    let before = noted();
    for forwards in [5, 6, 4] {
        gateway.forwards("alice", forwards);
    }
    gateway.forwards("bob", 1);
    while server.cli(&["HLEN", "portreeve:open:{bob}"]) != "1" {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(noted(), before);
}

#[tokio::test]
async fn a_renewal_lists_the_gateways_only_if_one_has_come_or_gone() {
    let server = Server::start();
    let gateway = Gateway::of(&configured(&server)).await;
    gateway.tasks[1].abort();
    let renew = async |name: &str, known: &str| {
        let answer = gateway
            .fleet
            .link
            .run(&RENEW, &keys::GATEWAYS, &[name, "60000", known])
            .await;
        let words = texts(answer.unwrap());
        (words[0].clone(), words[1].clone(), words.len() - 2)
    };
    let (had, list, there) = renew("a", "").await;
    assert_eq!((had.as_str(), there), ("no", 2));
    assert_eq!(renew("a", &list).await, ("yes".to_owned(), list.clone(), 0));
    let (had, second, there) = renew("b", &list).await;
    assert_eq!((had.as_str(), there), ("no", 3));
    assert_eq!(renew("a", &list).await, ("yes".to_owned(), second.clone(), 3));
    assert_eq!(renew("a", &second).await, ("yes".to_owned(), second.clone(), 0));
    gateway.fleet.counts.leave().await;
    let (_, third, there) = renew("a", &second).await;
    assert_eq!(there, 2);
    assert_eq!(renew("b", &third).await, ("yes".to_owned(), third, 0));
}

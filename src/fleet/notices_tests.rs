//! Notices over a real Redis.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::server_tests::Server;
use super::state_tests::configured;
use super::{Condition, Fleet};
use crate::config;

async fn gateway(server: &Server, name: &str) -> Fleet {
    let config = config::Fleet {
        name: Some(name.to_owned()),
        ..configured(server)
    };
    let fleet = Fleet::new(&config).unwrap().unwrap();
    let link = fleet.link.clone();
    tokio::spawn(async move { link.keep().await });
    let mut conditions = fleet.link.conditions();
    let connected = conditions.wait_for(Condition::is_connected);
    timeout(PATIENCE, connected).await.unwrap().unwrap();
    fleet
}

#[tokio::test]
async fn each_is_heard_under_its_name_until_it_has_been_silent() {
    let server = Server::start();
    let (one, two) = (gateway(&server, "gw-1").await, gateway(&server, "gw-2").await);
    let hour = Duration::from_secs(3600);
    one.notices.say("rules", b"first", hour).await.unwrap();
    one.notices.say("rules", b"second", hour).await.unwrap();
    one.notices.say("other", b"apart", hour).await.unwrap();
    two.notices
        .say("rules", b"soon gone", Duration::from_millis(1))
        .await
        .unwrap();
    let names = ["gw-3", "gw-1", "gw-2"].map(str::to_owned);
    let until = async {
        loop {
            let said = two.notices.said("rules", &names).await.unwrap();
            assert_eq!(
                (said.len(), &said[0], said[1].as_deref()),
                (3, &None, Some(&b"second"[..]))
            );
            if said[2].is_none() {
                return;
            }
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, until).await.unwrap();
}

#[tokio::test]
async fn words_that_are_too_long_are_not_heard() {
    let server = Server::start();
    let one = gateway(&server, "gw-1").await;
    let names = ["gw-1".to_owned()];
    for (length, heard) in [(64 << 10, true), ((64 << 10) + 1, false)] {
        one.notices.say("rules", &vec![b'x'; length], PATIENCE).await.unwrap();
        let said = one.notices.said("rules", &names).await.unwrap();
        assert_eq!(said[0].is_some(), heard, "{length}");
    }
}

const PATIENCE: Duration = Duration::from_secs(60);

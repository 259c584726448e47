//! State on a real Redis: the same as in memory, over several clients, and whatever becomes of the server.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio::time::sleep;

use super::server_tests::{Program, Server, free_port};
use super::{Condition, Fleet, Keep, Open, Published, SharedState};
use crate::config::{self, RedisNode, Topology};
use crate::policy::suite::Bench;
use crate::policy::{Remembers, StateError};

/// A part in a fleet on this server, patient enough for a busy machine.
pub(super) fn configured(server: &Server) -> config::Fleet {
    let text = format!(
        "[fleet]\nname = \"gw-1\"\nredis = \"{}\"\ntimeout = \"2s\"\nlease = \"3s\"\n[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"",
        server.url()
    );
    config::parse(&text, Path::new("/portreeve.toml")).unwrap().fleet
}

/// A part in a fleet whose connection is kept.
struct Part {
    fleet: Fleet,
    state: Arc<SharedState>,
    kept: AbortHandle,
}

impl Part {
    fn of(config: &config::Fleet) -> Self {
        let fleet = Fleet::new(config).unwrap().unwrap();
        let link = Arc::clone(&fleet.link);
        Self {
            state: fleet.state(),
            fleet,
            kept: tokio::spawn(async move { link.keep().await }).abort_handle(),
        }
    }

    async fn connected(config: &config::Fleet) -> Self {
        let part = Self::of(config);
        part.until(Condition::is_connected).await;
        part
    }

    async fn until(&self, wanted: impl Fn(&Condition) -> bool) {
        let mut conditions = self.fleet.link.conditions();
        tokio::time::timeout(PATIENCE, conditions.wait_for(wanted))
            .await
            .expect("it never came to that")
            .unwrap();
    }

    async fn add(&self, key: &str, delta: i64, window: Duration) -> Result<i64, StateError> {
        self.state
            .add("rules", key.to_owned(), delta, window, Instant::now())
            .await
    }

    fn count(&self, outcome: &str) -> u64 {
        let mut outcomes = self.fleet.link.outcomes();
        outcomes.find(|(word, _)| *word == outcome).unwrap().1
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.kept.abort();
    }
}

const PATIENCE: Duration = Duration::from_secs(40);
const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn redis_keeps_to_the_contract() {
    let server = Server::start();
    let part = Part::connected(&configured(&server)).await;
    Bench::new(&*part.state, "run").all().await;
}

#[tokio::test]
async fn entries_of_a_namespace_are_bounded_on_redis() {
    let server = Server::start();
    let part = Part::connected(&configured(&server)).await;
    Bench::new(&*part.state, "run").entries_are_bounded().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_gateways_share_a_window_to_the_last_request() {
    let server = Server::start();
    let config = configured(&server);
    let parts = [Part::connected(&config).await, Part::connected(&config).await];
    let asked = (0..600).map(|number| parts[number % 2].add("rate", 1, HOUR));
    let mut sums: Vec<i64> = join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(sums.iter().filter(|sum| **sum <= 100).count(), 100);
    sums.sort_unstable();
    assert_eq!(sums, (1..=600).collect::<Vec<_>>(), "each sum is given once");
}

#[tokio::test]
async fn one_call_is_one_round_trip() {
    let server = Server::start();
    let part = Part::connected(&configured(&server)).await;
    let calls = || -> u64 {
        let stats = server.cli(&["INFO", "commandstats"]);
        let of = |name: &str| {
            let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{name}:")));
            line.map_or(0, |line| line.split(['=', ',']).nth(1).unwrap().parse().unwrap())
        };
        of("evalsha") + of("eval")
    };
    part.add("k", 1, HOUR).await.unwrap();
    let before = calls();
    for _ in 0..10 {
        part.add("k", 1, HOUR).await.unwrap();
    }
    assert_eq!(calls() - before, 10);
    server.cli(&["SCRIPT", "FLUSH"]);
    assert_eq!(part.add("k", 1, HOUR).await, Ok(12), "a lost script is sent again");
    let before = calls();
    part.add("k", 1, HOUR).await.unwrap();
    assert_eq!(calls() - before, 1);
}

#[tokio::test]
async fn nothing_stays_on_redis_once_all_has_ended() {
    let server = Server::start();
    let part = Part::connected(&configured(&server)).await;
    part.add("k", 1, Duration::from_millis(300)).await.unwrap();
    assert_eq!(server.cli(&["DBSIZE"]), "2");
    while server.cli(&["DBSIZE"]) != "0" {
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_paused_server_makes_calls_unavailable_in_time_and_nothing_waits_for_it() {
    let server = Server::start();
    let config = config::Fleet {
        timeout: Duration::from_millis(500),
        ..configured(&server)
    };
    let part = Part::connected(&config).await;
    part.add("k", 1, HOUR).await.unwrap();
    server.pause();
    let slow = join_all((0..50).map(|_| part.add("k", 1, HOUR))).await;
    assert_eq!(slow, vec![Err(StateError::Unavailable); 50]);
    assert_eq!(part.count("timed-out"), 50);
    part.until(|condition| matches!(condition, Condition::Away(_))).await;
    // Now nothing is even tried.
    assert_eq!(part.add("k", 1, HOUR).await, Err(StateError::Unavailable));
    assert_eq!((part.count("timed-out"), part.count("away")), (50, 1));
    server.resume();
    part.until(Condition::is_connected).await;
    let sum = part.add("k", 1, HOUR).await.unwrap();
    assert!(
        (2..=52).contains(&sum),
        "what had no answer may have been counted: {sum}"
    );
}

#[tokio::test]
async fn a_server_that_comes_late_or_again_is_found_by_itself() {
    let mut server = Server::start();
    server.end();
    let part = Part::of(&configured(&server));
    part.until(|condition| matches!(condition, Condition::Away(_))).await;
    assert_eq!(part.add("k", 1, HOUR).await, Err(StateError::Unavailable));
    for _ in 0..2 {
        server.begin();
        part.until(Condition::is_connected).await;
        assert_eq!(
            part.add("k", 1, HOUR).await,
            Ok(1),
            "a new server knows nothing, not even scripts"
        );
        server.end();
        part.until(|condition| matches!(condition, Condition::Away(_))).await;
    }
    assert_eq!(part.fleet.link.connections(), 2);
}

#[tokio::test]
async fn a_user_of_the_acl_logs_in_with_the_password_of_the_file() {
    let server = Server::on_a_port(&[]);
    server.cli(&["ACL", "SETUSER", "gate", "on", ">open sesame", "~portreeve:*", "+@all"]);
    server.cli(&["ACL", "SETUSER", "default", "off"]);
    let path = server.folder.path().join("password");
    let written = |text: &str, mode| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    let mut config = configured(&server);
    config.redis_password_file = Some(path.clone());
    config.redis.as_mut().unwrap().user = Some("gate".to_owned());

    written("open sesame\n", 0o644);
    assert!(Fleet::new(&config).err().unwrap().contains("chmod it to 0600"));
    written("\n", 0o600);
    assert!(Fleet::new(&config).err().unwrap().contains("is empty"));

    written("wrong\n", 0o600);
    let part = Part::of(&config);
    part.until(|condition| matches!(condition, Condition::Away(_))).await;
    let Condition::Away(why) = part.fleet.link.condition() else {
        panic!("it was let in");
    };
    assert!(!why.contains("wrong"), "{why}");
    // A new password is read with the next try.
    written("open sesame\n", 0o600);
    part.until(Condition::is_connected).await;
    assert_eq!(part.add("k", 1, HOUR).await, Ok(1));
}

#[tokio::test]
async fn a_server_that_refuses_is_said_to_and_forgiven() {
    let server = Server::start();
    let part = Part::connected(&configured(&server)).await;
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(part.add("k", 1, HOUR).await, Err(StateError::Unavailable));
    assert!(part.fleet.link.is_refused());
    assert!(part.fleet.link.condition().is_connected());
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    assert_eq!(part.add("k", 1, HOUR).await, Ok(1));
    assert!(!part.fleet.link.is_refused());
}

#[tokio::test]
async fn half_of_a_namespace_that_was_evicted_is_forgotten_in_whole() {
    let server = Server::start();
    let part = Part::connected(&configured(&server)).await;
    for half in ["portreeve:state:{rules}:ends", "portreeve:state:{rules}:entries"] {
        part.add("k", 5, HOUR).await.unwrap();
        assert_eq!(server.cli(&["DEL", half]), "1");
        assert_eq!(part.add("k", 1, HOUR).await, Ok(1), "{half}");
        assert_eq!(server.cli(&["HGET", "portreeve:state:{rules}:entries", "b"]), "1");
    }
}

#[tokio::test]
async fn a_cluster_runs_every_script_within_one_slot() {
    let bus = free_port().to_string();
    let server = Server::on_a_port(&["--cluster-enabled", "yes", "--cluster-port", &bus]);
    server.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    while !server.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok") {
        sleep(Duration::from_millis(5)).await;
    }
    let mut config = configured(&server);
    let redis = config.redis.as_mut().unwrap();
    let Topology::One(node) = redis.topology.clone() else {
        panic!("a port");
    };
    redis.topology = Topology::Cluster(vec![node]);
    let part = Part::connected(&config).await;
    Bench::new(&*part.state, "run").all().await;
    let counts = Arc::clone(&part.fleet.counts);
    counts.counted_by(|_| Open {
        forwards: 2,
        sessions: 1,
    });
    assert!(counts.admits("alice", 1).await);
    assert!(!counts.admits("alice", 0).await);
    let keep = Keep {
        user: "alice",
        order: b"lock",
        lasts: Some(Duration::from_secs(60)),
    };
    let told = part.fleet.orders.tell(b"lock", Some(keep)).await;
    assert!(told.is_ok());
    assert_eq!(server.cli(&["XLEN", "portreeve:{orders}"]), "1");
    let begun = part.fleet.streams.begin().await.unwrap();
    let published = part.fleet.streams.publish(begun.stream, b"event").await;
    assert_eq!(published, Ok(Published::Taken));
    assert_eq!(
        part.fleet
            .streams
            .read(begun, begun.entry)
            .await
            .unwrap()
            .unwrap()
            .len(),
        1
    );
    assert!(!part.fleet.link.is_refused());
}

#[tokio::test]
async fn sentinels_name_the_primary() {
    let server = Server::on_a_port(&[]);
    let mut config = configured(&server);
    let redis = config.redis.as_mut().unwrap();
    let Topology::One(primary) = redis.topology.clone() else {
        panic!("a port");
    };
    let file = server.folder.path().join("sentinel.conf");
    let text = format!("sentinel monitor main {} {} 1\n", primary.host, primary.port);
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let port = free_port();
    let text = port.to_string();
    let _sentinel = Program::start(
        "redis-server",
        &[file, "--sentinel", "--port", &text, "--bind", "127.0.0.1"],
    );
    redis.topology = Topology::Sentinel {
        nodes: vec![RedisNode {
            host: "127.0.0.1".to_owned(),
            port,
        }],
        service: "main".to_owned(),
    };
    let part = Part::connected(&config).await;
    assert_eq!(part.add("k", 1, HOUR).await, Ok(1));
    assert_eq!(server.cli(&["EXISTS", "portreeve:state:{rules}:ends"]), "1");
}

#[tokio::test]
async fn a_certificate_that_nobody_trusts_is_refused() {
    let (server, port) = Server::with_tls();
    let mut config = configured(&server);
    let redis = config.redis.as_mut().unwrap();
    redis.tls = true;
    redis.topology = Topology::One(RedisNode {
        host: "localhost".to_owned(),
        port,
    });
    let part = Part::of(&config);
    part.until(|condition| matches!(condition, Condition::Away(_))).await;
    let condition = format!("{:?}", part.fleet.link.condition());
    assert!(condition.contains("certificate"), "{condition}");
}

/// Passes everything on to a Redis and back, but sends what a test says in the place of one reply.
async fn between(port: u16) -> (u16, Arc<Mutex<Option<&'static [u8]>>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let odd = Arc::new(Mutex::new(None::<&'static [u8]>));
    let sent = Arc::clone(&odd);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
                return;
            };
            let (mut asked, mut answered) = client.into_split();
            let (mut replies, mut questions) = server.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut asked, &mut questions).await });
            let odd = Arc::clone(&sent);
            tokio::spawn(async move {
                let mut bytes = vec![0; 1 << 16];
                while let Ok(count @ 1..) = replies.read(&mut bytes).await {
                    let odd = odd.lock().unwrap().take();
                    let passed = answered.write_all(odd.unwrap_or(&bytes[..count])).await;
                    if passed.is_err() {
                        return;
                    }
                }
            });
        }
    });
    (own, odd)
}

#[tokio::test]
async fn a_reply_without_an_end_ends_the_connection_and_the_next_one_is_good() {
    let server = Server::on_a_port(&[]);
    let mut config = configured(&server);
    let redis = config.redis.as_mut().unwrap();
    let Topology::One(node) = &mut redis.topology else {
        panic!("a port");
    };
    let (port, odd) = between(node.port).await;
    node.port = port;
    let part = Part::connected(&config).await;
    part.add("k", 1, HOUR).await.unwrap();
    for (number, reply) in ["*99999999\r\n", "$9999999999\r\n"].into_iter().enumerate() {
        let mut conditions = part.fleet.link.conditions();
        conditions.mark_unchanged();
        *odd.lock().unwrap() = Some(reply.as_bytes());
        assert_eq!(part.add("k", 1, HOUR).await, Err(StateError::Unavailable));
        conditions.changed().await.unwrap();
        let away = format!("{:?}", *conditions.borrow_and_update());
        assert!(away.contains("redis sends a reply"), "{away}");
        part.until(Condition::is_connected).await;
        assert_eq!(part.add("k", 1, HOUR).await, Ok(3 + 2 * i64::try_from(number).unwrap()));
    }
    assert_eq!(part.count("timed-out"), 0);
}

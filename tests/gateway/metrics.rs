//! `GET /metrics` of a running gateway: the documented names, exact counts, and no more series than there should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use russh::keys::{PrivateKeyWithHashAlg, load_secret_key};

use crate::admin::get;
use crate::guests::{Guest, When, allows, denies};
use crate::harness::{PATIENCE, Running, Setup, eventually, free_port, make_key, wire};
use crate::terms::target;

const MONITORED: &str = "[admin]\nhttp = \"127.0.0.1:0\"\n";

/// Odd numbers, so that they are nobody's buffers.
const UP: usize = 70_001;
const DOWN: usize = 40_007;

/// A policy that allows all but one port.
fn all_but_9() -> Guest {
    Guest::that(allows()).on(When::Port(9), denies("not that one"))
}

fn monitored(guest: &Guest) -> Running {
    Setup::asking(guest).tables(MONITORED).start()
}

/// The value of each series.
#[derive(Debug)]
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn of(gateway: &Running) -> Self {
        let (status, text) = get(gateway.monitored().unwrap(), "/metrics");
        assert_eq!(status, "HTTP/1.1 200 OK");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self(series.collect())
    }

    /// A series, without the prefix that all have.
    fn value(&self, series: &str) -> u64 {
        let value = self.0.get(&format!("portreeve_{series}"));
        *value.unwrap_or_else(|| panic!("{series} is not there: {self:#?}")) as u64
    }

    /// The sum over all labels.
    fn sum(&self, name: &str) -> u64 {
        let name = format!("portreeve_{name}{{");
        let series = self.0.iter().filter(|(series, _)| series.starts_with(&name));
        series.map(|(_, value)| *value as u64).sum()
    }

    fn names(&self) -> BTreeSet<String> {
        self.0.keys().cloned().collect()
    }
}

/// Scrapes until a series has this value.
fn until(gateway: &Running, series: &str, value: u64) -> Scrape {
    eventually(format!("{series} {value}"), || {
        Some(Scrape::of(gateway)).filter(|scrape| scrape.value(series) == value)
    })
}

#[test]
fn a_known_sequence_is_counted_exactly() {
    let gateway = monitored(&all_but_9());
    let (port, far) = target(|mut stream: TcpStream| {
        stream.read_exact(&mut [0; UP]).unwrap();
        stream.write_all(&[7; DOWN]).unwrap();
        stream
    });
    let local = gateway.local(&format!("127.0.0.1:{port}"));
    let mut near = local.connect();
    near.write_all(&[7; UP]).unwrap();
    near.read_exact(&mut [0; DOWN]).unwrap();
    let far = far.recv_timeout(PATIENCE).unwrap();

    // Open tunnels count, too.
    let scrape = until(&gateway, "relayed_bytes_total{direction=\"up\"}", UP as u64);
    assert_eq!(scrape.value("relayed_bytes_total{direction=\"down\"}"), DOWN as u64);
    assert_eq!(scrape.value("tunnels{action=\"connect\"}"), 1);
    assert_eq!((scrape.value("sessions"), scrape.value("unauthenticated")), (1, 0));
    assert_eq!(scrape.sum("tunnel_closes_total"), 0);

    drop((near, far));
    let scrape = until(&gateway, "tunnels{action=\"connect\"}", 0);
    assert_eq!(scrape.value("tunnel_closes_total{cause=\"closed\"}"), 1);
    assert_eq!(scrape.sum("tunnel_closes_total"), 1);
    assert_eq!(scrape.value("relayed_bytes_total{direction=\"up\"}"), UP as u64);
    assert_eq!(scrape.value("relayed_bytes_total{direction=\"down\"}"), DOWN as u64);

    gateway.through("127.0.0.1:9");
    let stranger = gateway.path("stranger");
    make_key(&stranger, "ed25519");
    gateway.ssh_with_key(&stranger).args(["-W", "127.0.0.1:9"]).run(b"");
    let scrape = until(&gateway, "auth_total{method=\"publickey\",result=\"failed\"}", 1);
    let decision = |verdict: &str| {
        let series = format!("decisions_total{{action=\"connect\",verdict=\"{verdict}\",by=\"policy\"}}");
        scrape.value(&series)
    };
    assert_eq!((decision("allow"), decision("deny"), decision("failed")), (1, 1, 0));
    assert_eq!(scrape.sum("decisions_total"), 2);
    assert_eq!(scrape.value("decision_seconds_count{plugin=\"test\"}"), 2);
    assert_eq!(scrape.value("auth_total{method=\"publickey\",result=\"succeeded\"}"), 2);
    assert_eq!(scrape.sum("auth_total"), 3);
    assert_eq!(scrape.sum("dial_failures_total"), 0);
    assert_eq!(
        (
            scrape.value("audit_lines_total{result=\"failed\"}"),
            scrape.value("audit_lines_total{result=\"dropped\"}")
        ),
        (0, 0)
    );
    eventually("as many lines as are in the log", || {
        let written = Scrape::of(&gateway).value("audit_lines_total{result=\"written\"}");
        (written == gateway.audit().len() as u64).then_some(())
    });
}

#[test]
fn listeners_and_what_they_accept_are_counted() {
    let gateway = monitored(&Guest::that(allows()));
    let port = free_port();
    let remote = gateway.remote(&format!("{port}:127.0.0.1:{}", free_port()));
    let scrape = Scrape::of(&gateway);
    assert_eq!(scrape.value("listeners"), 1);
    assert_eq!(
        scrape.value("decisions_total{action=\"listen\",verdict=\"allow\",by=\"policy\"}"),
        1
    );
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    until(
        &gateway,
        "decisions_total{action=\"accept\",verdict=\"allow\",by=\"policy\"}",
        1,
    );
    drop(remote);
    until(&gateway, "listeners", 0);
}

#[test]
fn a_failed_dial_has_one_of_few_reasons() {
    let gateway = monitored(&Guest::that(allows()));
    gateway.through(&format!("127.0.0.1:{}", free_port()));
    let scrape = until(&gateway, "dial_failures_total{reason=\"refused\"}", 1);
    assert_eq!(scrape.sum("dial_failures_total"), 1);
    gateway.through("nowhere.invalid:80");
    let scrape = until(&gateway, "dial_failures_total{reason=\"name\"}", 1);
    assert_eq!(scrape.sum("dial_failures_total"), 2);
}

#[test]
fn swaps_are_counted_and_the_policy_in_force_is_shown() {
    let gateway = monitored(&Guest::that(allows()));
    let swap = |result: &str| format!("policy_swaps_total{{plugin=\"test\",result=\"{result}\"}}");
    let before = Scrape::of(&gateway);
    assert_eq!(
        (before.value(&swap("swapped")), before.value(&swap("rejected"))),
        (0, 0)
    );
    let swapped = gateway.swap(&Guest::that(denies("no")).version("2.0.0"));
    gateway.swap_bytes(b"not a component");
    let after = until(&gateway, &swap("rejected"), 1);
    assert_eq!(after.value(&swap("swapped")), 1);
    let infos: Vec<_> = after.0.keys().filter(|name| name.contains("policy_info{")).collect();
    let [info] = infos[..] else {
        panic!("one policy is in force: {infos:?}");
    };
    assert!(
        info.contains("plugin=\"test\"") && info.contains("version=\"2.0.0\""),
        "{info}"
    );
    assert!(info.contains(swapped["policy"]["sha256"].as_str().unwrap()), "{info}");
}

/// A few at a time: fewer may be without a login at once.
const USERS: usize = 150;
const TARGETS: u32 = 1000;

#[test]
fn what_clients_choose_makes_no_new_series() {
    let gateway = monitored(&Guest::that(denies("not here")));
    gateway.through("127.0.0.1:1");
    let before = Scrape::of(&gateway).names();
    gateway.block_on(async {
        let client = wire::log_in(&gateway).await;
        let hosts: Vec<_> = (0..TARGETS).map(|number| format!("host-{number}.internal")).collect();
        let hosts: Vec<_> = hosts.chunks(500).collect();
        for hosts in hosts {
            let ask = |host: &String| client.channel_open_direct_tcpip(host.clone(), 5432, "127.0.0.1", 1);
            assert!(join_all(hosts.iter().map(ask)).await.iter().all(Result::is_err));
        }
        let users: Vec<_> = (0..USERS).map(|number| format!("user-{number}")).collect();
        for users in users.chunks(10) {
            join_all(users.iter().map(|user| is_refused(&gateway, user))).await;
        }
    });
    let failed = "auth_total{method=\"publickey\",result=\"failed\"}";
    until(&gateway, failed, USERS as u64);
    // Those that are counted together have their line within a second.
    let deny = "decisions_total{action=\"connect\",verdict=\"deny\",by=\"policy\"}";
    let after = until(&gateway, deny, u64::from(TARGETS) + 1);
    assert_eq!(after.names(), before);
}

async fn is_refused(gateway: &Running, user: &str) {
    let mut client = wire::connect(gateway).await;
    let key = load_secret_key(gateway.path("id"), None).unwrap();
    let key = PrivateKeyWithHashAlg::new(Arc::new(key), None);
    let answer = client.authenticate_publickey(user, key).await.unwrap();
    assert!(!answer.success());
}

/// Every metric of the manual is there, and no other; with the labels that the manual names.
#[test]
fn the_manual_has_every_metric_with_its_labels() {
    let fleet = "[fleet]\nredis = \"redis+unix:///nonexistent/redis.sock\"";
    let gateway = Setup::allowing().tables(MONITORED).tables(fleet).start();
    let labels = |series: &str| -> BTreeSet<String> {
        let (_, labels) = series.split_once('{').unwrap_or_default();
        let names = labels.split(',').filter_map(|label| label.split_once('='));
        names
            .map(|(name, _)| name.to_owned())
            .filter(|name| name != "le")
            .collect()
    };
    let mut there: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for series in Scrape::of(&gateway).0.keys() {
        let name = series.split('{').next().unwrap();
        let name = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|part| name.strip_suffix(part))
            .unwrap_or(name);
        there.insert(name.to_owned(), labels(series));
    }
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let manual = fs::read_to_string(manual).unwrap();
    let rows = manual.lines().filter(|line| line.starts_with("| `portreeve_"));
    let documented: BTreeMap<String, BTreeSet<String>> = rows
        .map(|row| {
            let cells: Vec<_> = row.split('|').collect();
            let words = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(str::to_owned).collect() };
            (words(cells[1]).remove(0), words(cells[2]).into_iter().collect())
        })
        .collect();
    assert_eq!(there, documented);
}

#[test]
fn a_token_is_asked_for_where_there_is_one() {
    let token = "0123456789abcdef";
    let setup = Setup::allowing().tables(&format!("{MONITORED}token-file = \"token\"\n"));
    fs::write(setup.path("token"), token).unwrap();
    fs::set_permissions(setup.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    let gateway = setup.start();
    let address = gateway.monitored().unwrap();
    for (path, words, status) in [
        ("/metrics", "", "401 Unauthorized"),
        ("/nothing", "", "401 Unauthorized"),
        ("/metrics", "Bearer fedcba9876543210", "401 Unauthorized"),
        ("/metrics", "Bearer 0123456789abcdef", "200 OK"),
        ("/nothing", "Bearer 0123456789abcdef", "404 Not Found"),
        ("/healthz", "", "200 OK"),
    ] {
        assert_eq!(
            status_of(address, path, words),
            format!("HTTP/1.1 {status}"),
            "{path} {words}"
        );
    }
}

fn status_of(address: SocketAddr, path: &str, authorization: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let header = match authorization {
        "" => String::new(),
        words => format!("Authorization: {words}\r\n"),
    };
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"
    )
    .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.lines().next().unwrap().to_owned()
}

//! What a verdict binds a tunnel to, kept to the byte and to the moment.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::abi::V;
use crate::guests::{Guest, When, allows, allows_with, denies};
use crate::harness::{PATIENCE, Running, Server, Setup, eventually, hear, ping, wire};

pub fn number(name: &'static str, number: u64) -> Guest {
    Guest::that(allows_with(vec![(name, V::some(V::Number(number)))]))
}

/// A target that serves one connection in this way; what that returns can be received.
pub fn target<T: Send + 'static>(serve: impl FnOnce(TcpStream) -> T + Send + 'static) -> (u16, Receiver<T>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, telling) = channel();
    thread::spawn(move || told.send(serve(listener.accept().unwrap().0)));
    (port, telling)
}

pub fn heard(mut stream: impl Read) -> usize {
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard);
    heard.len()
}

pub fn says(mut stream: TcpStream, length: usize) {
    let _ = stream.write_all(&vec![7; length]);
    let _ = stream.read(&mut [0]);
}

pub fn count(line: &Value, name: &str) -> u64 {
    line[name].as_u64().unwrap()
}

#[test]
fn max_bytes_are_exact_in_both_directions_together() {
    let gateway = Setup::asking(&number("max-bytes", 100_000)).start();
    let proxy = gateway.dynamic();

    let (port, taken) = target(heard);
    let mut up = proxy.socks5("127.0.0.1", port).unwrap();
    let _ = up.write_all(&[7; 200_000]);
    assert_eq!(taken.recv_timeout(PATIENCE).unwrap(), 100_000, "what the target hears");

    let (port, _said) = target(|stream| says(stream, 200_000));
    assert_eq!(
        heard(proxy.socks5("127.0.0.1", port).unwrap()),
        100_000,
        "what the client hears"
    );

    let (port, taken) = target(|stream| {
        let copy = stream.try_clone().unwrap();
        thread::spawn(move || says(copy, 200_000));
        heard(stream)
    });
    let mut both = proxy.socks5("127.0.0.1", port).unwrap();
    let _ = both.write_all(&[7; 200_000]);
    heard(both);
    let taken = taken.recv_timeout(PATIENCE).unwrap() as u64;
    let closed = eventually("three ends", || {
        Some(gateway.events("tunnel-closed")).filter(|lines| lines.len() == 3)
    });
    for line in &closed {
        assert_eq!(line["cause"], "byte-limit", "{line}");
        assert_eq!(count(line, "bytes_up") + count(line, "bytes_down"), 100_000, "{line}");
    }
    // A target that still sends when its tunnel ends may lose the last of what it was sent.
    assert!(
        closed.iter().any(|line| count(line, "bytes_up") >= taken),
        "{taken}: {closed:?}"
    );
}

#[test]
fn a_tunnel_that_uses_up_its_bytes_and_no_more_ends_as_usual() {
    let gateway = Setup::asking(&number("max-bytes", 100_000)).start();
    let (port, taken) = target(heard);
    let proxy = gateway.dynamic();
    let mut up = proxy.socks5("127.0.0.1", port).unwrap();
    up.write_all(&[7; 100_000]).unwrap();
    up.shutdown(Shutdown::Write).unwrap();
    assert_eq!((taken.recv_timeout(PATIENCE).unwrap(), heard(up)), (100_000, 0));
    assert_eq!(gateway.event("tunnel-closed")["cause"], "closed");
}

#[test]
fn an_idle_tunnel_is_one_without_a_byte_in_either_direction() {
    let gateway = Setup::asking(&number("idle-seconds", 2)).start();
    let proxy = gateway.dynamic();
    let (hears, _heard) = target(heard);
    let (speaks, speaking) = target(|stream| stream);
    let echo = Server::echo().port;
    let [mut up, mut down, mut both] = [hears, speaks, echo].map(|port| proxy.socks5("127.0.0.1", port).unwrap());
    let mut speaker = speaking.recv_timeout(PATIENCE).unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(4500) {
        up.write_all(b"x").unwrap();
        speaker.write_all(b"x").unwrap();
        down.read_exact(&mut [0]).unwrap();
        assert!(ping(&mut both), "it ended after {:?}", began.elapsed());
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(gateway.events("tunnel-closed").len(), 0);
    let quiet = Instant::now();
    for stream in [up, down, both] {
        assert_eq!(heard(stream), 0);
    }
    assert!(quiet.elapsed() > Duration::from_millis(300), "{:?}", quiet.elapsed());
    let closed = eventually("three ends", || {
        Some(gateway.events("tunnel-closed")).filter(|lines| lines.len() == 3)
    });
    assert!(closed.iter().all(|line| line["cause"] == "idle"), "{closed:?}");
}

#[test]
fn the_shorter_of_two_idle_times_counts() {
    let target = Server::echo();
    for (seconds, configured) in [(Some(3600), "300ms"), (Some(1), "1h"), (None, "300ms")] {
        let terms = seconds.map_or_else(|| Guest::that(allows()), |seconds| number("idle-seconds", seconds));
        let tables = format!("[limits]\nidle-timeout = \"{configured}\"");
        let gateway = Setup::asking(&terms).tables(&tables).start();
        let proxy = gateway.dynamic();
        let mut stream = proxy.socks5("127.0.0.1", target.port).unwrap();
        assert!(ping(&mut stream));
        assert_eq!(
            gateway.event("tunnel-closed")["cause"],
            "idle",
            "{seconds:?} {configured}"
        );
    }
}

#[test]
fn max_seconds_count_from_the_beginning_whatever_is_sent() {
    let gateway = Setup::asking(&number("max-seconds", 1)).start();
    let target = Server::echo();
    let began = Instant::now();
    let proxy = gateway.dynamic();
    let mut stream = proxy.socks5("127.0.0.1", target.port).unwrap();
    let opened = Instant::now();
    while ping(&mut stream) {
        assert!(opened.elapsed() < PATIENCE, "it goes on");
    }
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(gateway.event("tunnel-closed")["cause"], "expired");
}

#[test]
fn a_recheck_asks_again_and_a_refusal_closes() {
    let gateway = Setup::asking(&number("recheck-seconds", 1))
        .policy("on-swap = \"keep\"")
        .start();
    let target = Server::echo();
    let proxy = gateway.dynamic();
    let mut stream = proxy.socks5("127.0.0.1", target.port).unwrap();
    assert!(ping(&mut stream));
    gateway.audited("a recheck", |line| {
        line["again"] == "recheck" && line["verdict"] == "allow"
    });
    assert!(ping(&mut stream), "a recheck that allows changes nothing");
    gateway.swap(&Guest::that(denies("no more")));
    gateway.audited("a recheck", |line| {
        line["again"] == "recheck" && line["verdict"] == "deny"
    });
    assert_eq!(gateway.event("tunnel-closed")["cause"], "revoked");
    assert!(!ping(&mut stream));
}

#[test]
fn a_recheck_of_a_listener_asks_again_and_a_refusal_closes() {
    let gateway = Setup::asking(&Guest::that(allows()).on(
        When::Listen,
        allows_with(vec![("recheck-seconds", V::some(V::Number(1)))]),
    ))
    .policy("on-swap = \"keep\"")
    .start();
    let _client = gateway.remote("0:localhost:1");
    gateway.audited("a recheck", |line| {
        line["again"] == "recheck" && line["verdict"] == "allow"
    });
    assert_eq!(gateway.open(), 1, "a recheck that allows changes nothing");
    gateway.swap(&Guest::that(denies("no more")));
    assert_eq!(gateway.event("listener-closed")["cause"], "revoked");
}

#[test]
fn address_rules_of_a_later_verdict_hold_for_the_address_that_was_dialled() {
    let rule = |cidr, effect| V::Record(vec![("cidr", V::text(cidr)), ("effect", V::Case(effect, None))]);
    let gateway = Setup::allowing().start();
    let target = Server::echo();
    let proxy = gateway.dynamic();
    let mut stream = proxy.socks5("localhost", target.port).unwrap();
    assert!(ping(&mut stream));
    // The name has another address, which may still be dialled.
    let rules = vec![rule("127.0.0.1/32", "refuse")];
    gateway.swap(&Guest::that(allows_with(vec![("address-rules", V::List(rules))])));
    assert_eq!(gateway.event("tunnel-closed")["cause"], "revoked");
}

/// Whether the policy was asked about these, each with its originator.
fn asked(gateway: &Running, requests: &[(&str, u16, (&str, u32))]) -> Vec<bool> {
    let before = gateway.events("forward-decided").len();
    gateway.block_on(async {
        let client = wire::log_in(gateway).await;
        for (host, port, (address, from)) in requests {
            let opened = client
                .channel_open_direct_tcpip(*host, (*port).into(), *address, *from)
                .await;
            assert!(opened.is_ok(), "{:?}", opened.err());
        }
    });
    let lines = gateway.events("forward-decided");
    // Nobody computes a verdict in less than a microsecond.
    lines[before..].iter().map(|line| count(line, "micros") > 0).collect()
}

#[test]
fn a_verdict_is_used_again_for_what_is_equal_in_all_that_the_policy_could_see() {
    let gateway = Setup::asking(&number("reuse-seconds", 3600)).start();
    let [one, other] = [(); 2].map(|()| Server::echo());
    let requests = [
        ("127.0.0.1", one.port, ("192.0.2.1", 1000)),
        ("127.0.0.1", one.port, ("192.0.2.1", 1000)),
        // OpenSSH names another port each time, with -D as with -L.
        ("127.0.0.1", one.port, ("192.0.2.1", 1001)),
        ("127.0.0.1", one.port, ("192.0.2.2", 1000)),
        ("127.0.0.1", other.port, ("192.0.2.1", 1000)),
        ("localhost", one.port, ("192.0.2.1", 1000)),
        ("LOCALHOST", one.port, ("192.0.2.1", 1000)),
        ("127.0.0.1", one.port, ("192.0.2.1", 1002)),
    ];
    let expected = [true, false, false, true, true, true, true, false];
    assert_eq!(asked(&gateway, &requests), expected);
    // Another connection is another client.
    assert_eq!(asked(&gateway, &requests[..1]), [true]);
}

#[test]
fn a_verdict_is_used_again_for_a_proxy_of_openssh() {
    let gateway = Setup::asking(&number("reuse-seconds", 3600)).start();
    let target = Server::echo();
    let proxy = gateway.dynamic();
    for _ in 0..3 {
        assert!(ping(&mut proxy.socks5("127.0.0.1", target.port).unwrap()));
    }
    let asked: Vec<_> = gateway.events("forward-decided");
    let asked = asked.iter().filter(|line| count(line, "micros") > 0).count();
    assert_eq!(asked, 1);
}

#[test]
fn a_verdict_is_used_again_for_so_many_seconds_and_no_longer() {
    let gateway = Setup::asking(&number("reuse-seconds", 1)).start();
    let target = Server::echo();
    let client = gateway.block_on(wire::log_in(&gateway));
    let mut turns = Vec::new();
    eventually("another question after verdicts that were used again", || {
        let port = target.port.into();
        let opened = gateway.block_on(client.channel_open_direct_tcpip("127.0.0.1", port, "192.0.2.1", 1000));
        gateway.block_on(opened.unwrap().close()).unwrap();
        turns = gateway.events("forward-decided");
        let asked: Vec<_> = turns.iter().map(|line| count(line, "micros") > 0).collect();
        asked.ends_with(&[false, true]).then_some(())
    });
    let time = |line: &Value| line["asked"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let again = time(turns.last().unwrap()).duration_since(time(&turns[0]));
    assert!(again >= jiff::SignedDuration::from_millis(999), "{again}");
}

#[test]
fn a_verdict_without_that_term_is_not_used_again() {
    let gateway = Setup::asking(&Guest::that(allows())).start();
    let target = Server::echo();
    let request = ("127.0.0.1", target.port, ("192.0.2.1", 1000));
    assert_eq!(asked(&gateway, &[request, request]), [true, true]);
}

#[test]
fn a_swap_ends_the_use_of_verdicts() {
    let gateway = Setup::asking(&number("reuse-seconds", 3600))
        .policy("on-swap = \"keep\"")
        .start();
    let target = Server::echo();
    let open = async |client: &russh::client::Handle<wire::Anyone>| {
        let port = target.port.into();
        client
            .channel_open_direct_tcpip("127.0.0.1", port, "192.0.2.1", 1000)
            .await
            .is_ok()
    };
    let client = gateway.block_on(wire::log_in(&gateway));
    assert!(gateway.block_on(open(&client)) && gateway.block_on(open(&client)));
    gateway.swap(&Guest::that(denies("no more")));
    assert!(!gateway.block_on(open(&client)));
}

#[test]
fn an_obligation_that_nobody_knows_is_a_refusal() {
    let duty = V::Tuple(vec![V::text("record-session"), V::case("flag", V::Flag(true))]);
    let target = Server::named("x");
    let bound = allows_with(vec![("obligations", V::List(vec![duty]))]);
    let gateway = Setup::asking(&Guest::that(allows()).on(When::Port(target.port), bound)).start();
    assert_eq!(gateway.through(&target.address()).stdout, "");
    let decision = gateway.decision(&target.address());
    assert_eq!(
        (&decision["verdict"], &decision["code"]),
        (&"failed".into(), &"unknown-obligation".into())
    );
}

#[test]
fn a_socket_file_that_nobody_listens_on_is_replaced_where_the_policy_obliges() {
    let duty = |flag| V::Tuple(vec![V::text("replace-socket"), V::case("flag", V::Flag(flag))]);
    for replaces in [true, false] {
        let bound = allows_with(vec![("obligations", V::List(vec![duty(replaces)]))]);
        let gateway = Setup::asking(&Guest::that(allows()).on(When::Listen, bound)).start();
        let (target, path) = (Server::named("x"), gateway.path("remote.sock"));
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let forward = format!("{}:{}", path.display(), target.address());
        if replaces {
            let _client = gateway.remote(&forward);
            assert_eq!(hear(std::os::unix::net::UnixStream::connect(&path).unwrap()), "x");
        } else {
            let client = gateway.ssh().args(["-v", "-N", "-R", &forward]).start();
            client.says("Remote: Address already in use");
        }
    }
}

#[test]
fn a_target_that_does_not_answer_is_given_up_after_the_dial_timeout() {
    let gateway = Setup::allowing().tables("[limits]\ndial-timeout = \"300ms\"").start();
    // A listener whose queue is full answers nothing.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    full.listen(0).unwrap();
    let address = full.local_addr().unwrap().as_socket().unwrap();
    let waiting: Vec<_> = (0..4)
        .map_while(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok())
        .collect();
    let began = Instant::now();
    let answer = gateway.through(&address.to_string());
    assert!(
        answer.errors.contains("connect failed: Connection timed out"),
        "{}",
        answer.errors
    );
    assert!(began.elapsed() < Duration::from_secs(10));
    drop(waiting);
}

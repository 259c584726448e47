//! What the tunnels carry: every byte, in both directions, each direction to its own end.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;

use crate::harness::{Duplex, PATIENCE, Server, Setup, eventually, hear, ping, wire};

/// 24 MiB in which no two places look alike.
fn payload() -> Vec<u8> {
    let words = 0..(24 << 20) / 8;
    words
        .flat_map(|word: u64| word.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
        .collect()
}

/// Sends everything, says that it was all, and hears the rest.
fn round_trip<D: Duplex>(mut stream: D, sent: &[u8]) -> Vec<u8> {
    let mut writer = stream.again();
    let copy = sent.to_vec();
    let writing = thread::spawn(move || {
        writer.write_all(&copy).expect("it takes everything");
        writer.end_writing();
    });
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).expect("it ends well");
    writing.join().expect("the writer");
    heard
}

#[test]
fn a_local_forward_carries_every_byte_both_ways() {
    let (gateway, target) = (Setup::allowing().start(), Server::echo());
    let local = gateway.local(&target.address());
    let sent = payload();
    assert!(round_trip(local.connect(), &sent) == sent);
    let closed = gateway.event("tunnel-closed");
    assert_eq!(
        (&closed["bytes_up"], &closed["bytes_down"]),
        (&sent.len().into(), &sent.len().into())
    );
    assert_eq!(
        (&closed["cause"], &closed["dialled"]),
        (&"closed".into(), &target.address().into())
    );
    gateway.stop();
}

#[test]
fn a_remote_forward_carries_every_byte_both_ways() {
    let (gateway, target) = (Setup::allowing().start(), Server::echo());
    let path = gateway.path("remote.sock");
    let _client = gateway.remote(&format!("{}:{}", path.display(), target.address()));
    let sent = payload();
    assert!(round_trip(UnixStream::connect(&path).unwrap(), &sent) == sent);
    assert_eq!(gateway.event("tunnel-closed")["cause"], "closed");
    gateway.stop();
}

#[test]
fn a_target_that_has_said_all_still_hears() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let serving = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut heard = String::new();
        stream.read_to_string(&mut heard).unwrap();
        heard
    });
    let gateway = Setup::allowing().start();
    let local = gateway.local(&format!("127.0.0.1:{port}"));
    let mut stream = local.connect();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0, "the target's end arrives");
    stream.write_all(b"still here").unwrap();
    drop(stream);
    assert_eq!(serving.join().unwrap(), "still here");
}

#[test]
fn a_dead_target_leaves_its_neighbours_alone() {
    let (gateway, target) = (Setup::allowing().start(), Server::echo());
    let proxy = gateway.dynamic();
    let mut alive = proxy.socks5("127.0.0.1", target.port).unwrap();
    let dead = crate::harness::free_port();
    assert!(proxy.socks5("127.0.0.1", dead).is_none());
    proxy.client.says("open failed: connect failed: Connection refused");
    let decision = gateway.decision(&format!("127.0.0.1:{dead}"));
    assert_eq!(decision["verdict"], "allow", "the policy had nothing against it");
    assert!(proxy.socks5("no-such-host.invalid", 80).is_none());
    proxy.client.says("open failed: connect failed: no-such-host.invalid: ");
    assert!(ping(&mut alive));
}

#[test]
fn a_target_that_takes_nothing_holds_up_nobody_else() {
    let stuck = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (gateway, target) = (Setup::allowing().start(), Server::echo());
    let proxy = gateway.dynamic();
    let full = proxy.socks5("127.0.0.1", stuck.local_addr().unwrap().port()).unwrap();
    let (_held, _) = stuck.accept().unwrap();
    let mut writer = full.again();
    writer
        .set_write_timeout(Some(std::time::Duration::from_millis(500)))
        .unwrap();
    let mut sent = 0;
    while let Ok(length) = writer.write(&[7; 1 << 16]) {
        sent += length;
    }
    assert!(sent > 1 << 20, "{sent}");
    let mut neighbour = proxy.socks5("127.0.0.1", target.port).unwrap();
    assert!((0..20).all(|_| ping(&mut neighbour)));
    assert_eq!(
        hear(proxy.socks5("127.0.0.1", Server::named("a new one").port).unwrap()),
        "a new one"
    );
}

#[test]
fn a_tunnel_ends_at_the_end_of_its_terms() {
    use crate::abi::V;
    use crate::guests::{Guest, When, allows, allows_with};
    let target = Server::echo();
    let terms = |name, number| allows_with(vec![(name, V::some(V::Number(number)))]);
    let guest = Guest::that(allows())
        .on(
            When::Port(1),
            crate::guests::rewrites_with(&target.address(), vec![("max-seconds", V::some(V::Number(1)))]),
        )
        .on(
            When::Port(2),
            crate::guests::rewrites_with(&target.address(), vec![("idle-seconds", V::some(V::Number(1)))]),
        )
        .on(
            When::Port(3),
            crate::guests::rewrites_with(&target.address(), vec![("max-bytes", V::some(V::Number(100)))]),
        )
        .on(When::Listen, terms("max-seconds", 1));
    let gateway = Setup::asking(&guest).start();
    let proxy = gateway.dynamic();
    for (port, cause) in [(1, "expired"), (2, "idle"), (3, "byte-limit")] {
        let mut stream = proxy.socks5("db", port).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        if port == 3 {
            stream.write_all(&[7; 200]).unwrap();
        } else {
            assert!(ping(&mut stream));
        }
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        gateway.audited(cause, |line| line["event"] == "tunnel-closed" && line["cause"] == cause);
        if port == 3 {
            assert!(rest.len() <= 100, "{} bytes", rest.len());
        }
    }
    let _client = gateway.remote("0:localhost:1");
    assert_eq!(gateway.event("listener-closed")["cause"], "expired");
    gateway.stop();
}

#[test]
fn address_rules_are_judged_on_what_a_name_resolves_to() {
    use crate::abi::V;
    use crate::guests::{Guest, allows_with};
    let target = Server::named("the target");
    let rule = |cidr, effect| V::Record(vec![("cidr", V::text(cidr)), ("effect", V::Case(effect, None))]);
    let rules = V::List(vec![
        rule("127.0.0.1/32", "permit"),
        rule("0.0.0.0/0", "refuse"),
        rule("::/0", "refuse"),
    ]);
    let gateway = Setup::asking(&Guest::that(allows_with(vec![("address-rules", rules)]))).start();
    assert_eq!(
        gateway.through(&format!("localhost:{}", target.port)).stdout,
        "the target"
    );
    let refused = gateway.through(&format!("127.0.0.2:{}", target.port));
    assert!(
        refused
            .errors
            .contains("administratively prohibited: this forward is not permitted"),
        "{}",
        refused.errors
    );
    assert_eq!(
        gateway.decision(&format!("127.0.0.2:{}", target.port))["code"],
        "address-rule"
    );
}

#[test]
fn a_port_that_is_none_is_refused_and_the_session_goes_on() {
    let (gateway, target) = (Setup::allowing().start(), Server::echo());
    gateway.block_on(async {
        let client = wire::log_in(&gateway).await;
        for port in [0, 65_536, 65_536 + 22, u32::MAX] {
            let opened = client
                .channel_open_direct_tcpip("127.0.0.1", port, "127.0.0.1", 1)
                .await;
            let error = opened.expect_err("it is refused").to_string();
            assert!(error.contains("AdministrativelyProhibited"), "port {port}: {error}");
        }
        for port in [65_536, 65_536 + 40_000, u32::MAX] {
            assert!(client.tcpip_forward("localhost", port).await.is_err(), "port {port}");
        }
        let opened = client
            .channel_open_direct_tcpip("127.0.0.1", target.port.into(), "127.0.0.1", 1)
            .await;
        assert!(opened.is_ok(), "{:?}", opened.err());
    });
    let strange = gateway.audited("a line", |line| line["requested"] == "127.0.0.1:65558");
    assert_eq!(
        (&strange["verdict"], &strange["code"]),
        (&"deny".into(), &"bad-endpoint".into())
    );
    assert_eq!(strange.get("target"), None);
}

#[test]
fn a_host_that_is_none_is_refused_and_the_session_goes_on() {
    let (gateway, target) = (Setup::allowing().start(), Server::echo());
    gateway.block_on(async {
        let client = wire::log_in(&gateway).await;
        for host in ["", "a b", "fe80::1%eth0", "256.1.1.1", "nul\0byte", &"x".repeat(70_000)] {
            let opened = client.channel_open_direct_tcpip(host, 80, "127.0.0.1", 1).await;
            assert!(opened.is_err(), "{host:?}");
        }
        let opened = client
            .channel_open_direct_tcpip("127.0.0.1", target.port.into(), "", 70_000)
            .await;
        assert!(opened.is_ok(), "the originator's claims do not matter");
    });
}

#[test]
fn a_client_without_room_for_a_refusal_hears_all_else() {
    let gateway = Setup::allowing().start();
    let target = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = target.local_addr().unwrap().port();
    gateway.block_on(async {
        let config = russh::client::Config {
            window_size: 0,
            ..russh::client::Config::default()
        };
        let client = wire::log_in_as(&gateway, config).await;
        let program = client.channel_open_session().await.unwrap();
        program.exec(true, "ls").await.unwrap();
        let opened = client.channel_open_direct_tcpip("127.0.0.1", port.into(), "127.0.0.1", 1);
        let mut tunnel = opened.await.unwrap();
        drop(target);
        let heard = tokio::time::timeout(PATIENCE, tunnel.wait()).await;
        assert!(matches!(heard, Ok(Some(_))), "{heard:?}");
    });
}

#[test]
fn a_thousand_short_connections_leave_nothing_open() {
    let (gateway, target) = (Setup::allowing().start(), Server::named("x"));
    let proxy = gateway.dynamic();
    let loops: Vec<_> = (0..4)
        .map(|_| {
            let (proxy, port) = (proxy.again(), target.port);
            thread::spawn(move || {
                (0..250)
                    .filter(|_| {
                        proxy
                            .socks5("127.0.0.1", port)
                            .is_some_and(|one: TcpStream| hear(one) == "x")
                    })
                    .count()
            })
        })
        .collect();
    let heard: usize = loops.into_iter().map(|one| one.join().unwrap()).sum();
    assert_eq!(heard, 1000);
    eventually("all closed", || (gateway.open() == 0).then_some(()));
    let lines = gateway.stop();
    for event in ["forward-decided", "tunnel-opened", "tunnel-closed"] {
        let ids: std::collections::HashSet<_> = lines
            .iter()
            .filter(|line| line["event"] == event)
            .map(|line| line["forward"].as_str())
            .collect();
        assert_eq!(ids.len(), 1000, "{event}");
        assert_eq!(
            lines.iter().filter(|line| line["event"] == event).count(),
            1000,
            "{event}"
        );
    }
}

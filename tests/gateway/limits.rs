//! Bounds on how much of anything there may be, and what is left when somebody goes without a word.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::harness::{PATIENCE, Reached, Server, Setup, eventually, free_port, hear, ping, wire};

#[test]
fn a_session_has_so_many_tunnels_and_no_more() {
    let target = Server::echo();
    let gateway = Setup::allowing().tables("[limits]\ntunnels-per-session = 2").start();
    let proxy = gateway.dynamic();
    let mut open = [(); 2].map(|()| proxy.socks5("127.0.0.1", target.port).unwrap());
    assert!(open.iter_mut().all(ping));
    assert!(proxy.socks5("127.0.0.1", target.port).is_none());
    proxy
        .client
        .says("open failed: resource shortage: this session has reached limits.tunnels-per-session [ref f-");
    let refused = gateway.audited("the refusal", |line| line["verdict"] == "deny");
    assert_eq!(
        (&refused["by"], &refused["code"]),
        (&"limit".into(), &"tunnels-per-session".into())
    );
    let [_kept, ended] = open;
    drop(ended);
    gateway.event("tunnel-closed");
    eventually("a place", || proxy.socks5("127.0.0.1", target.port));
    gateway.stop();
}

#[test]
fn a_session_has_so_many_listeners_and_no_more() {
    let gateway = Setup::allowing().tables("[limits]\nlisteners-per-session = 2").start();
    let three = ["-R", "0:localhost:1", "-R", "0:localhost:2", "-R", "0:localhost:3"];
    let client = gateway.ssh().args(["-v", "-N"]).args(three).start();
    client.says("Remote: this session has reached limits.listeners-per-session [ref f-");
    client.says("remote port forwarding failed for listen port 0");
    drop(client);
    gateway.event("session-closed");
    assert_eq!(gateway.events("listener-opened").len(), 2);
}

#[test]
fn a_user_has_so_many_tunnels_over_all_sessions_and_no_more() {
    let target = Server::echo();
    let gateway = Setup::allowing().tables("[limits]\ntunnels-per-user = 3").start();
    let sessions = [(); 3].map(|()| gateway.dynamic());
    let mut open: Vec<_> = sessions
        .iter()
        .map(|session| session.socks5("127.0.0.1", target.port).unwrap())
        .collect();
    assert!(open.iter_mut().all(ping));
    for session in &sessions {
        assert!(session.socks5("127.0.0.1", target.port).is_none());
        let words = "open failed: resource shortage: this user has reached limits.tunnels-per-user [ref f-";
        session.client.says(words);
    }
    let refused = gateway.audited("the refusal", |line| line["verdict"] == "deny");
    assert_eq!(
        (&refused["by"], &refused["code"]),
        (&"limit".into(), &"tunnels-per-user".into())
    );
    drop(open.pop());
    gateway.event("tunnel-closed");
    eventually("a place", || sessions[0].socks5("127.0.0.1", target.port));
}

#[test]
fn visitors_of_listeners_count_as_tunnels_of_the_user() {
    let target = Server::echo();
    let gateway = Setup::allowing().tables("[limits]\ntunnels-per-user = 1").start();
    let path = gateway.path("remote.sock");
    let _client = gateway.remote(&format!("{}:{}", path.display(), target.address()));
    let mut first = UnixStream::connect(&path).unwrap();
    assert!(ping(&mut first));
    assert!(gateway.dynamic().socks5("127.0.0.1", target.port).is_none());
    assert_eq!(hear(UnixStream::connect(&path).unwrap()), "");
    let refused = gateway.audited("the refusal", |line| {
        line["action"] == "accept" && line["verdict"] == "deny"
    });
    assert_eq!(refused["code"], "tunnels-per-user");
    assert!(ping(&mut first));
}

#[test]
fn a_user_has_so_many_listeners_over_all_sessions_and_no_more() {
    let gateway = Setup::allowing().tables("[limits]\nlisteners-per-user = 1").start();
    let first = gateway.remote("0:localhost:1");
    let client = gateway.ssh().args(["-v", "-N", "-R", "0:localhost:2"]).start();
    client.says("Remote: this user has reached limits.listeners-per-user [ref f-");
    drop(first);
    gateway.event("listener-closed");
    let _third = gateway.remote("0:localhost:3");
    eventually("a place", || {
        (gateway.events("listener-opened").len() == 2).then_some(())
    });
}

/// A target that takes no connection: what waits to be accepted is full, and the system lets further ones wait.
fn unreachable() -> (socket2::Socket, Vec<TcpStream>, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: std::net::SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    socket.listen(0).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let moment = Duration::from_millis(100);
    let waiting = std::iter::from_fn(|| TcpStream::connect_timeout(&address, moment).ok()).collect();
    (socket, waiting, address.port())
}

#[test]
fn a_user_makes_so_many_connections_at_once_and_no_more() {
    let target = Server::echo();
    let (_full, _waiting, port) = unreachable();
    let gateway = Setup::allowing().tables("[limits]\ndials-per-user = 2").start();
    let sessions = [(); 2].map(|()| gateway.dynamic());
    let dialling: Vec<_> = sessions.iter().map(|session| session.ask5("127.0.0.1", port)).collect();
    eventually("two dials", || {
        let allowed = gateway.events("forward-decided");
        (allowed.iter().filter(|line| line["verdict"] == "allow").count() == 2).then_some(())
    });
    assert!(sessions[0].socks5("127.0.0.1", target.port).is_none());
    let words = "open failed: resource shortage: this user has reached limits.dials-per-user [ref f-";
    sessions[0].client.says(words);
    let refused = gateway.audited("the refusal", |line| line["verdict"] == "deny");
    assert_eq!(
        (&refused["by"], &refused["code"]),
        (&"limit".into(), &"dials-per-user".into())
    );
    // What ends leaves its place, whatever it came to.
    drop((dialling, sessions));
    eventually("a place", || gateway.dynamic().socks5("127.0.0.1", target.port));
}

#[test]
fn a_user_is_decided_on_so_often_in_a_second_and_no_more() {
    let target = Server::echo();
    let gateway = Setup::allowing()
        .tables("[limits]\ndecisions-per-user-per-second = 1")
        .start();
    let answers = gateway.block_on(async {
        let sessions = [wire::log_in(&gateway).await, wire::log_in(&gateway).await];
        let open = |number: usize| {
            let port = target.port.into();
            sessions[number % 2].channel_open_direct_tcpip("127.0.0.1", port, "127.0.0.1", 1)
        };
        futures_util::future::join_all((0..8).map(open)).await
    });
    let opened = answers.iter().filter(|answer| answer.is_ok()).count();
    assert!((1..8).contains(&opened), "{opened}");
    let refused = gateway.audited("a refusal", |line| line["verdict"] == "deny");
    assert_eq!(
        (&refused["by"], &refused["code"]),
        (&"limit".into(), &"decisions-per-user-per-second".into())
    );
}

#[test]
fn a_part_of_the_files_is_left_for_those_who_come() {
    let target = Server::echo();
    let files = "--nofile=300:300";
    let gateway = Setup::allowing().start_program_under(&["prlimit", files]);
    let mut sessions = vec![gateway.dynamic()];
    let mut open = Vec::new();
    while let Some(mut tunnel) = sessions[0].socks5("127.0.0.1", target.port) {
        assert!(ping(&mut tunnel));
        open.push(tunnel);
    }
    sessions[0]
        .client
        .says("the gateway has no more open files for this user (ulimit -n, LimitNOFILE)");
    let refused = gateway.audited("the refusal", |line| line["verdict"] == "deny");
    assert_eq!(
        (&refused["by"], &refused["code"]),
        (&"limit".into(), &"open-files".into())
    );
    assert!((50..200).contains(&open.len()), "{}", open.len());
    // Others still come in, and the log is still written.
    for _ in 0..20 {
        sessions.push(gateway.dynamic());
    }
    eventually("the sessions", || {
        (gateway.events("auth-succeeded").len() == 21).then_some(())
    });
    assert!(open.iter_mut().all(ping));
}

#[test]
fn a_user_has_so_many_sessions_and_no_more() {
    let target = Server::named("x");
    let gateway = Setup::allowing().tables("[limits]\nsessions-per-user = 1").start();
    let first = gateway.dynamic();
    gateway.event("auth-succeeded");
    assert!(gateway.through(&target.address()).errors.contains("Permission denied"));
    let failed = gateway.event("auth-failed");
    assert!(
        failed["reason"].as_str().unwrap().contains("limits.sessions-per-user"),
        "{failed}"
    );
    drop(first);
    gateway.event("session-closed");
    assert_eq!(gateway.through(&target.address()).stdout, "x");
}

#[test]
fn a_gateway_has_so_many_sessions_and_no_more() {
    let gateway = Setup::allowing().tables("[limits]\nsessions = 1").start();
    let _first = gateway.dynamic();
    gateway.event("auth-succeeded");
    assert_eq!(gateway.through("localhost:1").code, Some(255));
    assert_eq!(gateway.events("auth-succeeded").len(), 1);
}

#[test]
fn strangers_who_say_nothing_are_bounded() {
    let gateway = Setup::allowing().tables("[limits]\nunauthenticated = 2").start();
    let mut silent: Vec<_> = (0..10)
        .map(|_| TcpStream::connect(gateway.address()).unwrap())
        .collect();
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    }
    // Those that are let in get the version string, the others the end.
    let greeted = silent
        .iter_mut()
        .map(|stream| std::io::Read::read(stream, &mut [0; 8]))
        .filter(|read| matches!(read, Ok(1..)))
        .count();
    assert!((2..=4).contains(&greeted), "{greeted}");
    drop(silent);
    eventually("a place", || {
        (gateway.through("localhost:1").errors.contains("open failed")).then_some(())
    });
}

/// A connection from this address of loopback that says nothing.
fn silent(gateway: &Reached, from: [u8; 4]) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    socket.connect(&gateway.address().into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

/// How many of these the gateway still holds.
fn held(silent: &[TcpStream]) -> usize {
    let is_over = |mut stream: &TcpStream| loop {
        match stream.read(&mut [0; 64]) {
            Ok(1..) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            _ => return true,
        }
    };
    silent.iter().filter(|stream| !is_over(stream)).count()
}

#[test]
fn strangers_of_one_network_share_their_places_and_the_last_to_come_have_them() {
    let gateway = Setup::allowing()
        .tables("[limits]\nunauthenticated-per-source = 4")
        .start();
    let silent: Vec<_> = (0..30)
        .map(|number| silent(&gateway, [127, 0, 1, 1 + number % 7]))
        .collect();
    eventually("an end of all but four", || (held(&silent) == 4).then_some(()));
    assert_eq!(held(&silent[26..]), 4);
    let target = Server::named("x");
    assert_eq!(gateway.through(&target.address()).stdout, "x");
}

#[test]
fn strangers_of_many_networks_keep_no_quiet_one_out() {
    let target = Server::named("x");
    let gateway = Setup::allowing()
        .tables("[limits]\nunauthenticated = 10\nunauthenticated-per-source = 4")
        .start();
    let silent: Vec<_> = (0..100)
        .map(|number| silent(&gateway, [127, 0, 1 + number % 8, 1 + number % 5]))
        .collect();
    // All that come are let in or sent away; no more than twice the limit stay.
    eventually("an end of those who are too many", || {
        (held(&silent) <= 20).then_some(())
    });
    assert!(held(&silent) >= 10, "{}", held(&silent));
    for _ in 0..3 {
        assert_eq!(gateway.through(&target.address()).stdout, "x");
    }
}

#[test]
fn a_connection_that_forwards_nothing_is_ended() {
    let gateway = Setup::allowing()
        .tables("[limits]\nunused-connection-timeout = \"1s\"")
        .start();
    let answer = gateway.ssh().args(["-N"]).start().finish(b"");
    assert!(answer.errors.contains("the connection is unused"), "{}", answer.errors);
    let closed = gateway.event("session-closed");
    assert_eq!(closed["reason"], "the connection is unused");
}

#[test]
fn a_connection_is_unused_only_once_nothing_was_forwarded_for_so_long() {
    let target = Server::echo();
    let gateway = Setup::allowing()
        .tables("[limits]\nunused-connection-timeout = \"2s\"")
        .start();
    let proxy = gateway.dynamic();
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(5) {
        let mut stream = proxy.socks5("127.0.0.1", target.port).expect("a tunnel");
        assert!(ping(&mut stream), "after {count} tunnels, {:?}", began.elapsed());
        drop(stream);
        count += 1;
        eventually("the end of the tunnel", || {
            (gateway.events("tunnel-closed").len() == count).then_some(())
        });
    }
    let closed = gateway.event("session-closed");
    assert_eq!(closed["reason"], "the connection is unused");
}

/// russh keeps something of each until the session ends.
#[test]
fn a_session_whose_tunnels_its_client_does_not_close_is_used_up() {
    let gateway = Setup::allowing()
        .tables(
            "[limits]\ntunnels-per-session = 10000\ntunnels-per-user = 10000\ndecisions-per-user-per-second = 100000",
        )
        .start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let reached = Arc::new(Mutex::new(Vec::new()));
    let accepted = Arc::clone(&reached);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
            accepted.lock().unwrap().push(stream);
        }
    });
    let (_client, tunnels) = gateway.block_on(async {
        let client = wire::log_in(&gateway).await;
        let open = || client.channel_open_direct_tcpip("127.0.0.1", port.into(), "127.0.0.1", 1);
        let mut open_ones = Vec::new();
        while open_ones.len() < 8000 {
            let opened: Vec<_> = futures_util::future::join_all((0..200).map(|_| open())).await;
            let is_full = |one: &Result<_, russh::Error>| {
                let error = one.as_ref().err().map(ToString::to_string);
                error.is_some_and(|error| error.contains("ResourceShortage"))
            };
            let full = opened.iter().any(is_full);
            let tunnels = opened.iter().flatten().count();
            open_ones.extend(opened.into_iter().flatten());
            // All of a round are open before they are reset.
            while reached.lock().unwrap().len() < tunnels {
                tokio::task::yield_now().await;
            }
            reached.lock().unwrap().clear();
            if full {
                // It hears that nothing more comes before its channel is closed, and has time to close it.
                let mut heard = Vec::new();
                while let Some(message) = open_ones[10].wait().await {
                    heard.push(message);
                }
                assert!(matches!(heard.first(), Some(russh::ChannelMsg::Eof)), "{heard:?}");
                break;
            }
        }
        // Whoever lets go of them closes them.
        (client, open_ones)
    });
    let opened = tunnels.len();
    assert!((4000..8000).contains(&opened), "{opened} tunnels");
    let closed = gateway.event("session-closed");
    assert_eq!(closed["reason"], "the client left too many finished tunnels open");
}

#[test]
fn a_listener_is_a_use_of_its_session_as_long_as_it_listens() {
    let target = Server::echo();
    let gateway = Setup::allowing()
        .tables("[limits]\nunused-connection-timeout = \"1s\"")
        .start();
    let listening = gateway.remote(&format!("0:{}", target.address()));
    let proxy = gateway.dynamic();
    let mut open = proxy.socks5("127.0.0.1", target.port).unwrap();
    assert!(ping(&mut open));
    // A third session, as old as the others or younger, forwards nothing and is ended for that.
    let idle = gateway.ssh().args(["-N"]).start().finish(b"");
    assert!(idle.errors.contains("the connection is unused"), "{}", idle.errors);
    assert!(ping(&mut open));
    assert_eq!((gateway.sessions(), gateway.events("listener-closed").len()), (2, 0));
    drop(listening);
    assert_eq!(gateway.event("listener-closed")["cause"], "closed");
}

#[test]
fn visitors_of_a_listener_count_as_tunnels_of_the_session() {
    let target = Server::echo();
    let gateway = Setup::allowing().tables("[limits]\ntunnels-per-session = 1").start();
    let path = gateway.path("remote.sock");
    let _client = gateway.remote(&format!("{}:{}", path.display(), target.address()));
    let mut first = UnixStream::connect(&path).unwrap();
    assert!(ping(&mut first));
    assert_eq!(hear(UnixStream::connect(&path).unwrap()), "");
    let refused = gateway.audited("the refusal", |line| line["verdict"] == "deny");
    assert_eq!(
        (&refused["action"], &refused["code"]),
        (&"accept".into(), &"tunnels-per-session".into())
    );
    assert!(ping(&mut first));
}

#[test]
fn what_a_killed_client_had_open_ends_once_each() {
    let target = Server::echo();
    let gateway = Setup::allowing().start();
    let (local, remote, port) = (gateway.path("local"), gateway.path("remote.sock"), free_port());
    let [l, r, p] = [
        format!("{}:{}", local.display(), target.address()),
        format!("{}:{}", remote.display(), target.address()),
        format!("{port}:{}", target.address()),
    ];
    let mut client = gateway.ssh().args(["-N", "-L", &l, "-R", &r, "-R", &p]).start();
    eventually("both listeners", || {
        (gateway.events("listener-opened").len() == 2).then_some(())
    });
    let mut near = eventually("a local forward", || UnixStream::connect(&local).ok());
    let mut far = UnixStream::connect(&remote).unwrap();
    let mut third = TcpStream::connect(("127.0.0.1", port)).unwrap();
    assert!(ping(&mut near) && ping(&mut far) && ping(&mut third));
    client.kill();
    gateway.event("session-closed");
    eventually("the end of it all", || (gateway.open() == 0).then_some(()));
    assert!(!remote.exists());
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert_eq!((hear(far), hear(third)), (String::new(), String::new()));
    let lines = gateway.stop();
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    let counts = [
        "tunnel-opened",
        "tunnel-closed",
        "listener-opened",
        "listener-closed",
        "session-closed",
    ]
    .map(count);
    assert_eq!(counts, [3, 3, 2, 2, 1]);
}

#[test]
fn clients_that_vanish_again_and_again_leave_nothing() {
    let target = Server::echo();
    let gateway = Setup::allowing().start();
    for round in 0..10 {
        let mut proxy = std::sync::Arc::into_inner(gateway.dynamic().client).unwrap();
        eventually("a login", || {
            (gateway.events("auth-succeeded").len() > round).then_some(())
        });
        proxy.kill();
    }
    for _ in 0..10 {
        let mut local = gateway.local(&target.address());
        let mut stream = local.connect();
        assert!(ping(&mut stream));
        local.client.kill();
    }
    eventually("all sessions closed", || {
        (gateway.events("session-closed").len() == 20).then_some(())
    });
    let lines = gateway.stop();
    assert_eq!(lines.iter().filter(|line| line["event"] == "tunnel-closed").count(), 10);
}

#[test]
fn a_drain_ends_what_is_open_after_its_time() {
    let target = Server::echo();
    let gateway = Setup::allowing().tables("[limits]\ndrain-timeout = \"1s\"").start();
    let proxy = gateway.dynamic();
    let mut open = proxy.socks5("127.0.0.1", target.port).unwrap();
    assert!(ping(&mut open));
    let _listener = gateway.remote("0:localhost:1");
    let began = Instant::now();
    let lines = gateway.stop();
    let took = began.elapsed();
    assert!((Duration::from_secs(1)..PATIENCE).contains(&took), "{took:?}");
    let cause = |event: &str| lines.iter().find(|line| line["event"] == event).unwrap()["cause"].clone();
    assert_eq!(
        (cause("tunnel-closed"), cause("listener-closed")),
        ("drained".into(), "drained".into())
    );
    assert_eq!(hear(open), "");
}

#[test]
fn nothing_is_forwarded_that_cannot_be_recorded() {
    let target = Server::named("x");
    let gateway = Setup::allowing().audit_file("/dev/full").start();
    let answer = gateway.through(&target.address());
    assert!(
        answer.errors.contains("the gateway cannot write its audit log"),
        "{}",
        answer.errors
    );
    assert_eq!(answer.stdout, "");
}

#[test]
fn a_log_that_is_not_required_holds_up_nothing() {
    let target = Server::named("x");
    let gateway = Setup::allowing()
        .audit_file("/dev/full\"\nrequired = false\n#\"")
        .start();
    assert_eq!(gateway.through(&target.address()).stdout, "x");
}

#[test]
fn a_log_that_was_moved_away_is_opened_again_by_a_reload() {
    let gateway = Setup::allowing().start();
    std::fs::rename(gateway.path("audit.jsonl"), gateway.path("old.jsonl")).unwrap();
    gateway.reload().unwrap();
    assert_eq!(gateway.event("config-reloaded")["ok"], true);
    let old = std::fs::read_to_string(gateway.path("old.jsonl")).unwrap();
    assert!(old.contains("gateway-started"));
}

#[test]
fn noise_on_the_port_is_shrugged_off() {
    let target = Server::named("x");
    let gateway = Setup::allowing().start();
    for noise in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        vec![0; 100_000],
        b"SSH-2.0-x\r\n\xff\xff\xff\xff\xff".to_vec(),
    ] {
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        let _ = stream.write_all(&noise);
        hear(stream);
    }
    assert_eq!(gateway.through(&target.address()).stdout, "x");
    gateway.stop();
}

//! Clients that answer nothing any more: their sessions end, and all that they had open. Those that answer stay.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use crate::harness::{Client, PATIENCE, Running, Server, Setup, eventually, free_port, hear, ping};

/// Three questions, and the fourth time that nothing has come is the end.
const QUESTIONS: usize = 3;
const KEEPALIVE: &str = "[limits]\nkeepalive = { interval = \"300ms\", count = 3 }";

/// A client that shows what it is asked.
fn talkative(gateway: &Running, forward: &str) -> (Client, UnixStream) {
    let socket = gateway.path(&format!("near-{}", crate::harness::unique()));
    let local = format!("{}:{forward}", socket.display());
    let client = gateway.ssh().args(["-v", "-N", "-L", &local]).start();
    let near = eventually("a local forward", || UnixStream::connect(&socket).ok());
    near.set_read_timeout(Some(PATIENCE)).unwrap();
    (client, near)
}

/// Waits until the client was asked so often whether it is still there.
fn asked(client: &Client, times: usize) {
    eventually("questions", || {
        (client.count("rtype keepalive@openssh.com") >= times).then_some(())
    });
}

#[test]
fn a_client_that_answers_nothing_is_given_up_and_one_that_answers_is_not() {
    let (gateway, target) = (Setup::allowing().tables(KEEPALIVE).start(), Server::echo());
    let (answering, mut kept) = talkative(&gateway, &target.address());
    assert!(ping(&mut kept));

    let (socket, port) = (gateway.path("near"), free_port());
    let local = format!("{}:{}", socket.display(), target.address());
    let remote = format!("{port}:{}", target.address());
    let client = gateway.ssh().args(["-N", "-L", &local, "-R", &remote]).start();
    gateway.event("listener-opened");
    let mut near = eventually("a local forward", || UnixStream::connect(&socket).ok());
    let mut far = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    assert!(ping(&mut near) && ping(&mut far));
    assert_eq!((gateway.sessions(), gateway.open()), (2, 4));

    client.pause();
    let closed = gateway.event("session-closed");
    assert_eq!(closed["reason"], "the client does not respond");
    eventually("the end of it all", || (gateway.open() == 1).then_some(()));
    assert_eq!(gateway.sessions(), 1);
    assert!(
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err(),
        "nobody listens"
    );
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(hear(far), "", "the visitor is told");
    for (event, count) in [("listener-closed", 1), ("tunnel-closed", 2)] {
        let lines = gateway.events(event);
        assert_eq!(lines.len(), count, "{event}");
        for line in lines {
            assert_eq!(
                (&line["session"], &line["cause"]),
                (&closed["session"], &"closed".into()),
                "{line}"
            );
            assert!(
                event != "tunnel-closed" || (line["bytes_up"] == 5 && line["bytes_down"] == 5),
                "{line}"
            );
        }
    }

    // More often than a mute client is asked.
    asked(&answering, 3 * (QUESTIONS + 1));
    assert!(ping(&mut kept));
    assert_eq!(gateway.events("session-closed").len(), 1);
    drop(near);
    drop((answering, kept));
    let lines = gateway.stop();
    let ends = lines.iter().filter(|line| line["event"] == "session-closed");
    assert_eq!(ends.count(), 2);
}

/// A target that sends without end; answers its port.
fn flood() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || while stream.write_all(&[7; 1 << 16]).is_ok() {});
        }
    });
    port
}

#[test]
fn a_client_that_takes_nothing_is_given_up_however_much_waits_for_it() {
    let gateway = Setup::allowing().tables(KEEPALIVE).start();
    let proxy = gateway.dynamic();
    let port = flood();
    // More windows than the buffers of one connection hold, and each of them open, because all is read.
    for _ in 0..12 {
        let mut near = proxy.socks5("127.0.0.1", port).unwrap();
        near.read_exact(&mut [0; 1 << 16]).unwrap();
        thread::spawn(move || std::io::copy(&mut near, &mut std::io::sink()));
    }
    proxy.client.pause();
    let closed = gateway.event("session-closed");
    let reason = closed["reason"].as_str().unwrap();
    // It is asked while there is room for a question.
    let reasons = ["the client stopped reading", "the client does not respond"];
    assert!(reasons.contains(&reason), "{reason}");
    eventually("the end of it all", || {
        (gateway.open() == 0 && gateway.sessions() == 0).then_some(())
    });
    gateway.stop();
}

/// What arrives at this port goes on to the gateway, and what comes back is slowed down to so much in a second.
fn slow(gateway: &Running, speed: usize) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let gateway = gateway.address();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        let mut server = TcpStream::connect(gateway).unwrap();
        let (mut up, mut on) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut up, &mut on));
        let mut piece = [0; 8 << 10];
        while let Ok(length @ 1..) = server.read(&mut piece) {
            thread::sleep(Duration::from_secs_f64(length as f64 / speed as f64));
            if client.write_all(&piece[..length]).is_err() {
                return;
            }
        }
    });
    port
}

#[test]
fn a_client_that_takes_little_at_a_time_is_not_given_up() {
    const SPEED: usize = 700 << 10;
    // Longer than a busy machine may hold up the test itself, shorter than the test takes.
    let patient = "[limits]\nkeepalive = { interval = \"1s\", count = 3 }";
    let gateway = Setup::allowing().tables(patient).start();
    let (port, socket) = (flood(), gateway.path("near"));
    let forward = format!("{}:127.0.0.1:{port}", socket.display());
    let _client = gateway
        .ssh()
        .args(["-N", "-L", &forward])
        .at(slow(&gateway, SPEED))
        .start();
    let mut near = Vec::new();
    for _ in 0..8 {
        near.push(eventually("a local forward", || UnixStream::connect(&socket).ok()));
    }
    // Far longer than a client may take nothing, and than the buffers on the way last.
    let mut readers = Vec::new();
    for mut stream in near {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        readers.push(thread::spawn(move || {
            let mut heard = vec![0; SPEED];
            stream.read_exact(&mut heard).map(|()| stream)
        }));
    }
    for reader in readers {
        reader.join().unwrap().expect("the session goes on");
    }
    assert_eq!(gateway.events("session-closed").len(), 0);
}

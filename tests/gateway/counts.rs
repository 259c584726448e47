//! What the log says of how much a tunnel carried, to the byte, however it ended.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use crate::abi::V;
use crate::guests::{Guest, When, allows, denies, rewrites_with};
use crate::harness::{PATIENCE, Running, Setup, eventually};
use crate::terms::{count, heard, target};

/// Odd numbers, so that they are nobody's buffers.
const UP: usize = 70_001;
const DOWN: usize = 40_007;

/// A target that hears so much, says so much, and hands its connection over.
fn partner() -> (u16, Receiver<TcpStream>) {
    target(|mut stream: TcpStream| {
        stream.read_exact(&mut [0; UP]).unwrap();
        stream.write_all(&[7; DOWN]).unwrap();
        stream
    })
}

/// Both have heard what was said.
fn talk(mut near: TcpStream, far: &Receiver<TcpStream>) -> (TcpStream, TcpStream) {
    near.write_all(&[7; UP]).unwrap();
    near.read_exact(&mut [0; DOWN]).unwrap();
    (near, far.recv_timeout(PATIENCE).unwrap())
}

fn closed(gateway: &Running, cause: &str) -> (u64, u64) {
    let line = gateway.audited(cause, |line| line["event"] == "tunnel-closed" && line["cause"] == cause);
    (count(&line, "bytes_up"), count(&line, "bytes_down"))
}

#[test]
fn what_was_carried_is_in_the_log_to_the_byte_however_it_ended() {
    let partners: Vec<_> = (0..7).map(|_| partner()).collect();
    let rewrites = |index: usize, terms| {
        let (port, _) = partners[index];
        (
            When::Port(1 + index as u16),
            rewrites_with(&format!("127.0.0.1:{port}"), terms),
        )
    };
    let number = |name, number| vec![(name, V::some(V::Number(number)))];
    let rules = [
        rewrites(0, vec![]),
        rewrites(1, vec![]),
        rewrites(2, number("idle-seconds", 2)),
        rewrites(3, number("max-seconds", 2)),
        rewrites(4, number("max-bytes", (UP + DOWN) as u64)),
        rewrites(5, vec![]),
        rewrites(6, vec![]),
    ];
    let guest = rules
        .into_iter()
        .fold(Guest::that(allows()), |guest, (when, does)| guest.on(when, does));
    let gateway = Setup::asking(&guest).tables("[limits]\ndrain-timeout = \"0\"").start();
    let proxy = gateway.dynamic();
    let open = |index: usize| talk(proxy.socks5("db", 1 + index as u16).unwrap(), &partners[index].1);
    let all = (UP as u64, DOWN as u64);

    let (near, far) = open(0);
    near.shutdown(Shutdown::Write).unwrap();
    drop(far);
    assert_eq!(closed(&gateway, "closed"), all);

    let (_near, far) = open(1);
    socket2::SockRef::from(&far).set_linger(Some(Duration::ZERO)).unwrap();
    drop(far);
    assert_eq!(closed(&gateway, "failed"), all);

    let _idle = open(2);
    assert_eq!(closed(&gateway, "idle"), all);
    let _expired = open(3);
    assert_eq!(closed(&gateway, "expired"), all);

    let (mut near, far) = open(4);
    let _ = near.write_all(b"one too many");
    assert_eq!(closed(&gateway, "byte-limit"), all);
    assert_eq!(heard(far), 0, "not one more");

    let (_near, _far) = open(5);
    gateway.swap(&Guest::that(denies("no more")));
    assert_eq!(closed(&gateway, "revoked"), all);

    gateway.swap(&guest);
    let _open = open(6);
    let lines = gateway.stop();
    let drained = lines.iter().find(|line| line["cause"] == "drained").unwrap();
    assert_eq!((count(drained, "bytes_up"), count(drained, "bytes_down")), all);
}

#[test]
fn what_is_cut_in_the_middle_is_in_the_log_to_the_byte() {
    let (up, pushed) = target(|stream: TcpStream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    });
    let (down, _said) = target(|mut stream: TcpStream| while stream.write_all(&[7; 1 << 16]).is_ok() {});
    let expires = |port| {
        rewrites_with(
            &format!("127.0.0.1:{port}"),
            vec![("max-seconds", V::some(V::Number(1)))],
        )
    };
    let guest = Guest::that(allows())
        .on(When::Port(1), expires(up))
        .on(When::Port(2), expires(down));
    let gateway = Setup::asking(&guest).start();
    let proxy = gateway.dynamic();

    // Neither is read from before its end.
    let mut near = proxy.socks5("db", 1).unwrap();
    while near.write_all(&[7; 1 << 16]).is_ok() {}
    let far = pushed.recv_timeout(PATIENCE).unwrap();
    let (carried, _) = closed(&gateway, "expired");
    assert_eq!(carried, heard(far) as u64, "up");

    let near = proxy.socks5("db", 2).unwrap();
    let second = eventually("the other end", || gateway.events("tunnel-closed").into_iter().nth(1));
    assert_eq!(second["cause"], "expired");
    assert_eq!(count(&second, "bytes_down"), heard(near) as u64, "down");
}

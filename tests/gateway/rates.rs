//! How fast a tunnel may be, whichever side opened it.

use std::io::Read;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use crate::abi::V;
use crate::guests::{Guest, When, allows, allows_with};
use crate::harness::{Duplex, PATIENCE, Setup};
use crate::terms::{number, says, target};

const RATE: usize = 400_000;

/// What arrived when.
type Arrivals = Vec<(Duration, usize)>;

/// What arrived when, until so much had arrived.
fn arrivals(stream: &mut impl Read, began: Instant, length: usize) -> Arrivals {
    let (mut buffer, mut total, mut arrivals) = ([0; 1 << 14], 0, Vec::new());
    while total < length {
        let part = stream.read(&mut buffer).unwrap();
        assert_ne!(part, 0, "it ended after {total} bytes");
        total += part;
        arrivals.push((began.elapsed(), total));
    }
    arrivals
}

/// A target that sends more than a second's worth at once, hears a second's worth, and stays.
fn busy(began: Instant) -> (u16, Receiver<(Arrivals, TcpStream)>) {
    target(move |mut stream: TcpStream| {
        let copy = stream.try_clone().unwrap();
        thread::spawn(move || says(copy, 2 * RATE));
        (arrivals(&mut stream, began, RATE), stream)
    })
}

/// The same from the other end.
fn is_busy<D: Duplex>(mut stream: D, began: Instant) -> Arrivals {
    let mut copy = stream.again();
    thread::spawn(move || copy.write_all(&vec![7; 2 * RATE]));
    arrivals(&mut stream, began, RATE)
}

fn keep_to_the_rate(directions: [(&str, Arrivals); 2]) {
    for (direction, arrivals) in directions {
        for (at, total) in &arrivals {
            // A bucket that holds a quarter of a second, full at first.
            let most = RATE as f64 * (at.as_secs_f64() + 0.26);
            assert!(*total as f64 <= most, "{direction}: {total} bytes after {at:?}");
        }
        let (took, _) = arrivals.last().unwrap();
        assert!(
            *took < Duration::from_secs(5),
            "{direction}: not kept back for so long: {took:?}"
        );
    }
}

#[test]
fn bytes_per_second_are_kept_in_each_direction_without_a_burst() {
    let gateway = Setup::asking(&number("bytes-per-second", RATE as u64)).start();
    let proxy = gateway.dynamic();
    let began = Instant::now();
    let (port, up) = busy(began);
    let down = is_busy(proxy.socks5("127.0.0.1", port).unwrap(), began);
    let (up, _stays) = up.recv_timeout(PATIENCE).unwrap();
    keep_to_the_rate([("up", up), ("down", down)]);
}

#[test]
fn bytes_per_second_are_kept_for_a_visitor_of_a_listener_too() {
    let slow = allows_with(vec![("bytes-per-second", V::some(V::Number(RATE as u64)))]);
    let gateway = Setup::asking(&Guest::that(allows()).on(When::Accept, slow)).start();
    let path = gateway.path("remote.sock");
    let began = Instant::now();
    // Behind the client: what it hears has come down from the visitor.
    let (port, down) = busy(began);
    let _client = gateway.remote(&format!("{}:127.0.0.1:{port}", path.display()));
    let visitor = UnixStream::connect(&path).unwrap();
    visitor.set_read_timeout(Some(PATIENCE)).unwrap();
    let up = is_busy(visitor, began);
    let (down, _stays) = down.recv_timeout(PATIENCE).unwrap();
    keep_to_the_rate([("up", up), ("down", down)]);
}

//! Targets that take nothing for a while, or for good, and what that costs the other tunnels of their connection: as
//! little as can be. Whatever is measured is compared with the same thing a moment earlier, when nothing was stalled.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::harness::{Dynamic, PATIENCE, Running, Server, Setup, eventually, ping};

/// A target that takes nothing until it is told to, and then everything.
struct Stalled {
    listener: TcpListener,
    held: Vec<TcpStream>,
}

impl Stalled {
    fn new() -> Self {
        Self {
            listener: TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap(),
            held: Vec::new(),
        }
    }

    /// A tunnel to it, into which a client pushes all that it takes.
    fn pushed(&mut self, proxy: &Dynamic) -> Pusher {
        let port = self.listener.local_addr().unwrap().port();
        let stream = proxy.socks5("127.0.0.1", port).unwrap();
        self.held.push(self.listener.accept().unwrap().0);
        Pusher::new(stream)
    }
}

/// Sends without end, in a thread of its own.
struct Pusher {
    sent: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pusher {
    fn new(mut stream: TcpStream) -> Self {
        let (sent, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        stream.set_write_timeout(Some(Duration::from_millis(100))).unwrap();
        let thread = thread::spawn({
            let (sent, over) = (Arc::clone(&sent), Arc::clone(&over));
            move || {
                while !over.load(Ordering::Relaxed) {
                    match stream.write(&[7; 1 << 15]) {
                        Ok(length) => sent.fetch_add(length, Ordering::Relaxed),
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => 0,
                        Err(_) => break,
                    };
                }
            }
        });
        Self {
            sent,
            over,
            thread: Some(thread),
        }
    }

    fn sent(&self) -> usize {
        self.sent.load(Ordering::Relaxed)
    }

    /// Waits until nothing more is taken.
    fn is_stuck(&self) {
        let mut last = (0, Instant::now());
        eventually("the end of what is taken", || {
            let sent = self.sent();
            if sent != last.0 {
                last = (sent, Instant::now());
            }
            (sent > 0 && last.1.elapsed() > Duration::from_millis(300)).then_some(())
        });
    }
}

impl Drop for Pusher {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A target that takes everything and says nothing.
fn sink() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
        }
    });
    port
}

/// The median and the ninety-ninth percentile of so many round trips.
fn round_trips(stream: &mut TcpStream, count: usize) -> (Duration, Duration) {
    let mut times: Vec<_> = (0..count)
        .map(|_| {
            let began = Instant::now();
            assert!(ping(stream));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    (times[count / 2], times[count * 99 / 100])
}

/// How long it takes to send and hear so much.
fn echo(stream: &mut TcpStream, length: usize) -> Duration {
    let began = Instant::now();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(&vec![1; length]).unwrap());
    let mut heard = vec![0; length];
    stream.read_exact(&mut heard).unwrap();
    writing.join().unwrap();
    began.elapsed()
}

fn upload(port: u16, proxy: &Dynamic, length: usize) -> Duration {
    let began = Instant::now();
    let mut stream = proxy.socks5("127.0.0.1", port).unwrap();
    stream.write_all(&vec![1; length]).unwrap();
    // The end comes back when all that was sent has been taken.
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    began.elapsed()
}

fn neighbours_of(stalled: usize) {
    let gateway = Setup::allowing().start();
    let (target, sink) = (Server::echo(), sink());
    let proxy = gateway.dynamic();
    let mut talk = proxy.socks5("127.0.0.1", target.port).unwrap();
    round_trips(&mut talk, 50);
    let quiet = (
        round_trips(&mut talk, 300),
        upload(sink, &proxy, BULK),
        echo(&mut talk, BULK),
    );

    let mut stuck = Stalled::new();
    let pushers: Vec<_> = (0..stalled).map(|_| stuck.pushed(&proxy)).collect();
    pushers.iter().for_each(Pusher::is_stuck);
    let under = (
        round_trips(&mut talk, 300),
        upload(sink, &proxy, BULK),
        echo(&mut talk, BULK),
    );

    // This machine may be busy with other tests. The strict figures are those of tests/bench/stalls.py.
    let patience = |quiet: Duration| 10 * quiet + Duration::from_millis(100);
    assert!(
        under.0.0 < patience(quiet.0.0),
        "round trips: {:?} and {:?}",
        quiet.0,
        under.0
    );
    let least = Duration::from_secs((BULK >> 20) as u64);
    assert!(
        under.1 < least,
        "an upload below 1 MiB/s: {:?} and {:?}",
        quiet.1,
        under.1
    );
    assert!(
        under.2 < least,
        "an echo below 1 MiB/s: {:?} and {:?}",
        quiet.2,
        under.2
    );
    let mut new = proxy.socks5("127.0.0.1", target.port).unwrap();
    assert!(ping(&mut new));
    assert_eq!(
        gateway
            .events("tunnel-closed")
            .iter()
            .filter(|line| line["cause"] == "stalled")
            .count(),
        0
    );
    resumed(&gateway, stuck, pushers);
}

/// All that were stalled go on at once.
fn resumed(gateway: &Running, stuck: Stalled, pushers: Vec<Pusher>) {
    let before: Vec<_> = pushers.iter().map(Pusher::sent).collect();
    for mut stream in stuck.held {
        thread::spawn(move || std::io::copy(&mut stream, &mut std::io::sink()));
    }
    // More than the trickle and all buffers on the way let through.
    eventually("full speed", || {
        let more = pushers.iter().zip(&before).map(|(one, before)| one.sent() - before);
        more.into_iter().all(|more| more > 12 << 20).then_some(())
    });
    drop(pushers);
    eventually("all closed", || (gateway.open() <= 2).then_some(()));
}

#[test]
fn neighbours_of_a_stalled_target_go_on() {
    neighbours_of(1);
}

#[test]
fn neighbours_of_twenty_stalled_targets_go_on() {
    neighbours_of(20);
}

#[test]
fn a_target_that_stays_stalled_is_closed_as_that() {
    let gateway = Setup::allowing().tables("[limits]\nstall-timeout = \"1s\"").start();
    let (target, sink) = (Server::echo(), sink());
    let proxy = gateway.dynamic();
    let mut talk = proxy.socks5("127.0.0.1", target.port).unwrap();
    let mut stuck = Stalled::new();
    let began = Instant::now();
    let _pusher = stuck.pushed(&proxy);
    let closed = gateway.event("tunnel-closed");
    assert_eq!(closed["cause"], "stalled");
    assert!(began.elapsed() >= Duration::from_secs(1));
    // What went up is what the sockets on the target's side hold; the rest was never taken.
    let mut taken = Vec::new();
    stuck.held[0].set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stuck.held[0].read_to_end(&mut taken);
    assert!(closed["bytes_up"].as_u64().unwrap() >= taken.len() as u64);
    assert!(ping(&mut talk));
    upload(sink, &proxy, BULK);
}

#[test]
fn what_a_session_leaves_behind_is_delivered_as_long_as_its_target_takes_it() {
    let gateway = Setup::allowing().tables("[limits]\nstall-timeout = \"0\"").start();
    let proxy = gateway.dynamic();
    let (mut stuck, mut taken) = (Stalled::new(), Stalled::new());
    let pushers = [stuck.pushed(&proxy), taken.pushed(&proxy)];
    pushers.iter().for_each(Pusher::is_stuck);
    drop(proxy);
    let mut stream = taken.held.remove(0);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
    let closed = eventually("both ends", || {
        Some(gateway.events("tunnel-closed")).filter(|lines| lines.len() == 2)
    });
    assert!(closed.iter().all(|line| line["cause"] == "closed"), "{closed:?}");
    let most = closed.iter().map(|line| line["bytes_up"].as_u64().unwrap()).max();
    assert_eq!(most, Some(heard));
    // More than the sockets on the way held by themselves.
    assert!(
        heard
            > closed
                .iter()
                .map(|line| line["bytes_up"].as_u64().unwrap())
                .min()
                .unwrap()
    );
}

#[test]
fn a_target_that_is_slow_is_not_stalled() {
    let gateway = Setup::allowing().tables("[limits]\nstall-timeout = \"2s\"").start();
    let proxy = gateway.dynamic();
    let mut stuck = Stalled::new();
    let pusher = stuck.pushed(&proxy);
    pusher.is_stuck();
    let mut stream = stuck.held.remove(0);
    let began = Instant::now();
    let mut buffer = vec![0; 1 << 20];
    // It takes a little more often than a stall lasts.
    while began.elapsed() < Duration::from_secs(5) {
        stream.read_exact(&mut buffer).unwrap();
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(gateway.events("tunnel-closed").len(), 0);
}

#[test]
fn what_a_stalled_target_is_sent_is_bounded() {
    const BOUND: usize = 1 << 20;
    // An eighth may wait before a tunnel counts as full, and until half of that is gone it is given next to nothing.
    const LEAST: usize = BOUND / 16;
    let gateway = Setup::allowing().tables("[limits]\ntunnel-buffer = \"1MiB\"").start();
    let (proxy, sink) = (gateway.dynamic(), sink());
    let (mut pushers, mut stuck) = (Vec::new(), Stalled::new());
    for count in 1..=5 {
        let pusher = stuck.pushed(&proxy);
        pusher.is_stuck();
        pushers.push(pusher);
        // While others go on, those that are stalled may be given what was meant for them.
        eventually("what is meant for those that are stalled", || {
            upload(sink, &proxy, BULK);
            let held = eventually("the end of the upload", || {
                (gateway.open() == count).then(|| gateway.buffered())
            });
            assert!(held <= count * BOUND, "{held} bytes for {count} targets");
            (held >= count * LEAST).then_some(())
        });
    }
    drop((pushers, stuck));
    eventually("nothing held", || (gateway.buffered() == 0).then_some(()));
}

const BULK: usize = 24 << 20;

#[test]
fn what_all_stalled_targets_are_sent_is_bounded() {
    const BOUND: usize = 16 << 20;
    let limits = "[limits]\ntunnel-buffer = \"16MiB\"\nbuffer-memory = \"16MiB\"";
    let gateway = Setup::allowing().tables(limits).start();
    let (proxy, neighbour) = (gateway.dynamic(), Server::echo());
    let mut neighbour = proxy.socks5("127.0.0.1", neighbour.port).unwrap();
    let mut stuck = Stalled::new();
    // What each is granted at first is half of all, about as much again as the sockets on the way take.
    let pushers: Vec<_> = (0..20).map(|_| stuck.pushed(&proxy)).collect();
    gateway.event("tunnel-closed");
    pushers.iter().for_each(Pusher::is_stuck);
    eventually("no more than may be held", || {
        (gateway.buffered() <= BOUND).then_some(())
    });
    let closed = gateway.events("tunnel-closed");
    assert!(closed.len() < 20, "{closed:?}");
    assert!(closed.iter().all(|line| line["cause"] == "stalled"), "{closed:?}");
    assert!(ping(&mut neighbour));
}

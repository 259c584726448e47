//! Two hundred tunnels on one connection, each with a size, a delay and an end of its own: every byte that survives is
//! right, and nothing is left behind, neither a task nor a file nor a thread nor memory.

use std::cell::Cell;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use crate::crowd::{Noise, hears, sends};
use crate::harness::{Dynamic, PATIENCE, Process, Server, Setup, eventually, ping};

/// How a tunnel of the crowd ends.
#[derive(Clone, Copy)]
enum Ends {
    /// The client says that it was all, and hears the rest.
    HalfClosed,
    /// The target says all it has and is gone; the client hears it.
    ByTarget,
    /// The client resets the connection in the middle.
    Reset,
    /// The target does.
    ResetByTarget,
}

const ENDS: [Ends; 4] = [Ends::HalfClosed, Ends::ByTarget, Ends::Reset, Ends::ResetByTarget];

/// What a tunnel of this number does.
struct Plan {
    seed: u64,
    delay: Duration,
    length: usize,
    ends: Ends,
}

impl Plan {
    fn new(seed: u64) -> Self {
        let mut noise = Noise(seed);
        Self {
            seed,
            ends: ENDS[(noise.next() % 4) as usize],
            length: (noise.next() % (1 << (noise.next() % 20)) + 1) as usize,
            delay: Duration::from_millis(noise.next() % 20),
        }
    }

    fn noise(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        sends(&mut bytes, self.seed, self.length);
        bytes
    }

    /// Hears until the end, whatever that is; what came before it must be how this plan's noise begins.
    fn hears_some(&self, stream: &mut TcpStream) -> Result<(), String> {
        let (mut heard, mut piece) = (Vec::new(), [0; 1 << 14]);
        while let Ok(length @ 1..) = stream.read(&mut piece) {
            heard.extend_from_slice(&piece[..length]);
        }
        let right = self.noise().starts_with(&heard);
        right
            .then_some(())
            .ok_or_else(|| format!("tunnel {}: wrong bytes", self.seed))
    }
}

/// A target whose first bytes say which plan it is to follow.
struct Oracle {
    port: u16,
    complaints: Receiver<String>,
}

impl Oracle {
    fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (complain, complaints) = channel();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let complain = complain.clone();
                thread::spawn(move || serve(stream, &complain));
            }
        });
        Self { port, complaints }
    }
}

fn serve(mut stream: TcpStream, complain: &Sender<String>) -> io::Result<()> {
    let mut seed = [0; 8];
    stream.read_exact(&mut seed)?;
    let plan = Plan::new(u64::from_le_bytes(seed));
    match plan.ends {
        Ends::HalfClosed => {
            let mut reader = stream.try_clone()?;
            io::copy(&mut reader, &mut stream)?;
        }
        Ends::ByTarget => {
            stream.write_all(&plan.noise())?;
        }
        Ends::Reset => {
            if let Err(complaint) = plan.hears_some(&mut stream) {
                let _ = complain.send(complaint);
            }
            return Ok(());
        }
        Ends::ResetByTarget => {
            stream.write_all(&plan.noise())?;
            return reset(&stream);
        }
    }
    stream.shutdown(Shutdown::Write)
}

fn reset(stream: &TcpStream) -> io::Result<()> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))
}

fn one_of_the_crowd(mut stream: TcpStream, plan: &Plan) {
    thread::sleep(plan.delay);
    stream.write_all(&plan.seed.to_le_bytes()).unwrap();
    let (seed, length) = (plan.seed, plan.length);
    match plan.ends {
        Ends::HalfClosed => {
            let mut writer = stream.try_clone().unwrap();
            let sending = thread::spawn(move || {
                let sent = sends(&mut writer, seed, length);
                writer.shutdown(Shutdown::Write).unwrap();
                sent
            });
            let heard = hears(&mut stream);
            assert_eq!(heard, (length, sending.join().unwrap()), "tunnel {seed}");
        }
        Ends::ByTarget => {
            let expected = sends(&mut io::sink(), seed, length);
            assert_eq!(hears(&mut stream), (length, expected), "tunnel {seed}");
        }
        Ends::Reset => {
            let _ = stream.write_all(&plan.noise());
            reset(&stream).unwrap();
        }
        Ends::ResetByTarget => plan.hears_some(&mut stream).unwrap(),
    }
}

/// Two hundred tunnels through one connection, which nobody else has had before.
fn crowd(proxy: &Dynamic, oracle: &Oracle, round: u64) {
    let tunnels: Vec<_> = (0..CROWD)
        .map(|number| {
            let stream = eventually("a tunnel", || proxy.socks5("127.0.0.1", oracle.port));
            stream.set_read_timeout(Some(4 * PATIENCE)).unwrap();
            let plan = Plan::new(round * CROWD + number);
            thread::spawn(move || one_of_the_crowd(stream, &plan))
        })
        .collect();
    for tunnel in tunnels {
        tunnel.join().unwrap();
    }
    let complaints: Vec<_> = oracle.complaints.try_iter().collect();
    assert!(complaints.is_empty(), "{complaints:?}");
}

#[test]
fn two_hundred_tunnels_of_every_kind_lose_nothing_and_leave_nothing() {
    let gateway = Setup::allowing().start();
    let (oracle, target) = (Oracle::new(), Server::echo());
    let alone = gateway.tasks();
    let proxy = gateway.dynamic();
    let mut talk = proxy.socks5("127.0.0.1", target.port).unwrap();
    assert!(ping(&mut talk));
    let before = gateway.tasks();
    crowd(&proxy, &oracle, 0);
    eventually("all closed", || (gateway.open() == 1).then_some(()));
    eventually("all tasks ended", || (gateway.tasks() <= before).then_some(()));
    assert!(ping(&mut talk));
    drop((talk, proxy));
    eventually("nobody left", || {
        (gateway.open() == 0 && gateway.sessions() == 0 && gateway.tasks() <= alone).then_some(())
    });
    let lines = gateway.stop();
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
    assert_eq!((count("tunnel-opened"), count("tunnel-closed")), (201, 201));
}

/// What the process holds.
#[derive(Clone, Copy, Debug)]
struct Held {
    files: usize,
    threads: usize,
    memory: usize,
}

impl Held {
    fn by(gateway: &Process) -> Self {
        Self {
            files: gateway.files(),
            threads: gateway.threads(),
            memory: gateway.memory(),
        }
    }
}

/// What was held after two crowds, and what is held now.
struct Than<'a>(Held, &'a Cell<Held>);

impl fmt::Display for Than<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?} or less, but {:?}", self.0, self.1.get())
    }
}

/// A crowd over a connection of its own, which ends with it.
fn visits(gateway: &Process, oracle: &Oracle, round: u64) {
    let proxy = gateway.dynamic();
    crowd(&proxy, oracle, round);
    drop(proxy);
    eventually("the end of the session", || {
        let count = |event| gateway.events(event).len();
        (count("session-closed") == count("auth-succeeded")).then_some(())
    });
}

#[test]
fn crowds_that_come_and_go_leave_no_file_no_thread_and_no_memory() {
    let gateway = Setup::allowing().start_program();
    let oracle = Oracle::new();
    visits(&gateway, &oracle, 0);
    visits(&gateway, &oracle, 1);
    // Right after a crowd, while the allocator still keeps what it needed.
    let before = Held::by(&gateway);
    for round in 2..2 + CROWDS {
        visits(&gateway, &oracle, round);
    }
    let after = Cell::new(before);
    eventually(Than(before, &after), || {
        let now = Held::by(&gateway);
        after.set(now);
        // Eight thousand tunnels: a leak of four KiB each, the least that a tunnel reads into, would be 31 MiB. What the
        // allocator is late to give back was 13 MiB at most.
        let same = now.files <= before.files && now.threads <= before.threads;
        (same && now.memory < before.memory + (20 << 20)).then_some(())
    });
    let lines = gateway.audit();
    let count = |event: &str| lines.iter().filter(|line| line["event"] == event).count() as u64;
    let all = (CROWDS + 2) * CROWD;
    assert_eq!((count("tunnel-opened"), count("tunnel-closed")), (all, all));
}

const CROWD: u64 = 200;
const CROWDS: u64 = 40;

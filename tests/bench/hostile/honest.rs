//! The honest user: tunnels that are held and used, and a new forward every few moments.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use russh::Channel;
use russh::client::Msg;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::client;
use crate::gateway::Running;

/// What they noticed.
pub struct Noticed {
    /// From asking to the confirmation, in order of length.
    took: Vec<Duration>,
    trips: Vec<Duration>,
    refused: Vec<String>,
    closed: usize,
}

/// A target that sends back what it gets.
pub fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.set_nodelay(true);
            let serve = move || {
                let mut buffer = [0; 4096];
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    if stream.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
            };
            let _ = thread::Builder::new().stack_size(64 << 10).spawn(serve);
        }
    });
    port
}

pub async fn work(gateway: &Running, target: u16, time: Duration) -> Noticed {
    let session = client::log_in(gateway.port, "honest", &gateway.key("honest"))
        .await
        .unwrap();
    let closed = Arc::new(AtomicUsize::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let mut held = Vec::new();
    for _ in 0..HELD {
        let tunnel = client::open(&session, "127.0.0.1", target).await.unwrap();
        held.push(tokio::spawn(hold(tunnel, Arc::clone(&closed), Arc::clone(&over))));
    }
    let mut noticed = Noticed {
        took: Vec::new(),
        trips: Vec::new(),
        refused: Vec::new(),
        closed: 0,
    };
    let mut ticks = interval(EACH);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = Instant::now() + time;
    let mut number = 0;
    while Instant::now() < end {
        ticks.tick().await;
        number += 1;
        let host = match number % 4 {
            0 => format!("n{number}.answered.test"),
            _ => "127.0.0.1".to_owned(),
        };
        let began = Instant::now();
        match timeout(PATIENCE, client::open(&session, &host, target)).await {
            Ok(Ok(tunnel)) => {
                noticed.took.push(began.elapsed());
                noticed.trips.push(ping(tunnel).await);
            }
            Ok(Err(error)) => noticed.refused.push(format!("{host}: {error}")),
            Err(_) => noticed.refused.push(format!("{host}: no answer within {PATIENCE:?}")),
        }
    }
    over.store(true, Ordering::Relaxed);
    for one in held {
        let _ = one.await;
    }
    noticed.closed = closed.load(Ordering::Relaxed);
    noticed.took.sort();
    noticed.trips.sort();
    noticed
}

async fn ping(tunnel: Channel<Msg>) -> Duration {
    let began = Instant::now();
    let mut stream = tunnel.into_stream();
    let mut back = [0];
    let trip = async {
        stream.write_all(b"x").await?;
        stream.read_exact(&mut back).await
    };
    let _ = timeout(PATIENCE, trip).await;
    began.elapsed()
}

/// Uses a tunnel now and then until the time is over, and counts it if it ends before.
async fn hold(tunnel: Channel<Msg>, closed: Arc<AtomicUsize>, over: Arc<AtomicBool>) {
    let mut stream = tunnel.into_stream();
    let mut ticks = interval(Duration::from_millis(200));
    while !over.load(Ordering::Relaxed) {
        ticks.tick().await;
        let mut back = [0];
        let trip = async {
            stream.write_all(b"x").await?;
            stream.read_exact(&mut back).await
        };
        if !timeout(PATIENCE, trip).await.is_ok_and(|passed| passed.is_ok()) {
            closed.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }
}

impl Noticed {
    pub fn is_well(&self) -> bool {
        self.refused.is_empty() && self.closed == 0 && at(&self.took, 99) < MOST
    }
}

impl fmt::Display for Noticed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |one: Duration| one.as_secs_f64() * 1000.0;
        write!(
            out,
            "{} forwards: p50 {:.1} ms, p99 {:.1} ms, most {:.1} ms; first byte p99 {:.1} ms; {} refused, {} of {HELD} \
             tunnels closed",
            self.took.len(),
            millis(at(&self.took, 50)),
            millis(at(&self.took, 99)),
            millis(self.took.last().copied().unwrap_or_default()),
            millis(at(&self.trips, 99)),
            self.refused.len(),
            self.closed,
        )?;
        for reason in self.refused.iter().take(5) {
            write!(out, "\n  refused: {reason}")?;
        }
        Ok(())
    }
}

fn at(sorted: &[Duration], percent: usize) -> Duration {
    let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(index).copied().unwrap_or_default()
}

const HELD: usize = 20;
const EACH: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(10);
/// What a decided forward may take at the 99th percentile.
const MOST: Duration = Duration::from_millis(50);

//! The hostile user, in a process of its own: all that one user can ask for, over as many sessions as they may have.

use std::process::{Child, Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use russh::Error;
use tokio::time::timeout;

use crate::client;
use crate::gateway::Running;

/// Begins, and ends by itself after so many seconds. Less than the others it gets the processor: it stands for machines of
/// its own.
pub fn start(gateway: &Running, target: u16, seconds: u64) -> Child {
    Command::new("nice")
        .args(["-n", "5"])
        .arg(std::env::current_exe().unwrap())
        .args(["attack", &gateway.port.to_string(), &gateway.key("hostile")])
        .args([target.to_string(), seconds.to_string()])
        .spawn()
        .expect("nice")
}

#[derive(Clone, Copy)]
enum Asks {
    /// The policy asks for a name that is not answered.
    Granted,
    /// The gateway does.
    Plain,
    /// What the policy refuses.
    Refused,
    /// Tunnels, which are kept.
    Tunnels,
}

#[derive(Default)]
struct Counts {
    sessions: AtomicUsize,
    asked: [AtomicUsize; 4],
    opened: AtomicUsize,
}

pub fn run(port: u16, key: &str, target: u16, seconds: u64) -> ExitCode {
    let counts = Arc::new(Counts::default());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let time = Duration::from_secs(seconds);
    let end = Instant::now() + time;
    runtime.block_on(async {
        let mut sessions: FuturesUnordered<_> = SESSIONS
            .iter()
            .flat_map(|(asks, count)| std::iter::repeat_n(*asks, *count))
            .map(|asks| session(port, key, target, asks, end, &counts))
            .collect();
        let _ = timeout(time, async { while sessions.next().await.is_some() {} }).await;
    });
    let [granted, plain, refused, tunnels] = counts.asked.each_ref().map(|one| one.load(Ordering::Relaxed));
    println!(
        "{:<24} {} sessions; answered: {granted} names for the policy, {plain} for the gateway, {refused} refusals, {tunnels} \
         tunnels asked for, {} opened",
        "the hostile one",
        counts.sessions.load(Ordering::Relaxed),
        counts.opened.load(Ordering::Relaxed),
    );
    ExitCode::SUCCESS
}

/// Asks at full rate; a session that is cut off is begun anew.
async fn session(port: u16, key: &str, target: u16, asks: Asks, end: Instant, counts: &Counts) {
    while Instant::now() < end {
        let Ok(session) = client::log_in(port, "hostile", key).await else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        counts.sessions.fetch_add(1, Ordering::Relaxed);
        let mut number = 0;
        let mut next = || {
            number += 1;
            let (host, port) = match asks {
                Asks::Granted => (format!("n{number}.granted.test"), 1),
                Asks::Plain => (format!("n{number}.plain.test"), 1),
                Asks::Refused => ("127.0.0.1".to_owned(), 1),
                Asks::Tunnels => ("127.0.0.1".to_owned(), target),
            };
            let session = &session;
            async move { client::open(session, &host, port).await }
        };
        let mut lanes: FuturesUnordered<_> = (0..WIDTH).map(|_| next()).collect();
        let mut kept = Vec::new();
        while let Some(answer) = lanes.next().await {
            counts.asked[asks as usize].fetch_add(1, Ordering::Relaxed);
            match answer {
                Ok(tunnel) => {
                    counts.opened.fetch_add(1, Ordering::Relaxed);
                    kept.push(tunnel);
                }
                // At a limit: some are let go, so that it goes on.
                Err(Error::ChannelOpenFailure(_)) => drop(kept.drain(..kept.len() / 8)),
                Err(_) => break,
            }
            lanes.push(next());
        }
    }
}

const SESSIONS: [(Asks, usize); 4] = [
    (Asks::Granted, 8),
    (Asks::Plain, 8),
    (Asks::Refused, 4),
    (Asks::Tunnels, 20),
];
/// Requests of a session that wait for an answer.
const WIDTH: usize = 100;

//! Handles the signals of a serving gateway.
//!
//! A separate thread listens, so that a second request to stop works even if everything else is blocked by a file system that
//! hangs or a pipe that no process reads. Every signal lets the gateway write its last audit line, except signals that cannot
//! be caught and signals that report a fault of the gateway itself.

use std::io;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as threads;
use std::thread;
use std::time::Duration;

use nix::libc;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;

use super::FAILED;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Read everything again.
    Reload,
    /// Leave the listeners to the program that is there now.
    Upgrade,
    /// Drain and end; asked a second time, end at once.
    Stop,
}

/// What a signal means.
#[derive(Clone, Copy)]
enum Meaning {
    Order(Order),
    /// It would end the process, and nothing here asks for it: this is its name.
    Nothing(&'static str),
    /// A write past the limit on file size fails, which is said where it was written.
    FileSize,
}

/// The orders that come by signal.
pub(super) struct Signals {
    stops: mpsc::Receiver<()>,
    reloads: mpsc::Receiver<()>,
    upgrades: mpsc::Receiver<()>,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// If the system has no thread, or does not let a signal be caught.
    pub(super) fn listen() -> io::Result<Self> {
        let (ready, listening) = threads::channel();
        // A third request to stop asks for nothing new, nor does one to reload while another waits.
        let (stop, stops) = mpsc::channel(2);
        let (reload, reloads) = mpsc::channel(1);
        let (upgrade, upgrades) = mpsc::channel(1);
        thread::Builder::new().name("signals".to_owned()).spawn(move || {
            let listener = Listener {
                stop,
                reload,
                upgrade,
                stops: AtomicUsize::new(0),
            };
            match listen_for(Arc::new(listener)) {
                Ok(runtime) => {
                    let _ = ready.send(Ok(()));
                    runtime.block_on(std::future::pending::<()>());
                }
                Err(error) => drop(ready.send(Err(error))),
            }
        })?;
        listening.recv().map_err(io::Error::other)??;
        Ok(Self {
            stops,
            reloads,
            upgrades,
        })
    }

    /// The next order. Cancel-safe.
    pub(super) async fn next(&mut self) -> Order {
        tokio::select! {
            biased;
            Some(()) = self.stops.recv() => Order::Stop,
            Some(()) = self.reloads.recv() => Order::Reload,
            Some(()) = self.upgrades.recv() => Order::Upgrade,
            else => std::future::pending().await,
        }
    }
}

fn listen_for(listener: Arc<Listener>) -> io::Result<Runtime> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let there = runtime.enter();
    for (number, meaning) in meanings() {
        let caught = signal(SignalKind::from_raw(number))?;
        runtime.spawn(Arc::clone(&listener).obey(caught, meaning));
    }
    drop(there);
    Ok(runtime)
}

struct Listener {
    stop: mpsc::Sender<()>,
    reload: mpsc::Sender<()>,
    upgrade: mpsc::Sender<()>,
    stops: AtomicUsize,
}

impl Listener {
    async fn obey(self: Arc<Self>, mut caught: Signal, meaning: Meaning) {
        while caught.recv().await.is_some() {
            match meaning {
                Meaning::Order(order) => {
                    let orders = match order {
                        Order::Stop => &self.stop,
                        Order::Reload => &self.reload,
                        Order::Upgrade => &self.upgrade,
                    };
                    let _ = orders.try_send(());
                    if order == Order::Stop && self.stops.fetch_add(1, Ordering::AcqRel) > 0 {
                        tokio::time::sleep(LAST_PATIENCE).await;
                        // Whatever still waits then has had its time. `main` cannot end the process: it may be what waits.
                        process::exit(FAILED.into());
                    }
                }
                Meaning::Nothing(name) => tracing::warn!("ignored {name}: it has no meaning for a gateway"),
                Meaning::FileSize => {}
            }
        }
    }
}

/// Every signal that can be caught, would end the process, and does not report a fault in it.
fn meanings() -> impl Iterator<Item = (i32, Meaning)> {
    let known = [
        (libc::SIGHUP, Meaning::Order(Order::Reload)),
        (libc::SIGUSR2, Meaning::Order(Order::Upgrade)),
        (libc::SIGTERM, Meaning::Order(Order::Stop)),
        (libc::SIGINT, Meaning::Order(Order::Stop)),
        (libc::SIGQUIT, Meaning::Order(Order::Stop)),
        (libc::SIGXFSZ, Meaning::FileSize),
        (libc::SIGXCPU, Meaning::Nothing("SIGXCPU")),
        (libc::SIGUSR1, Meaning::Nothing("SIGUSR1")),
        (libc::SIGALRM, Meaning::Nothing("SIGALRM")),
        (libc::SIGVTALRM, Meaning::Nothing("SIGVTALRM")),
        (libc::SIGPROF, Meaning::Nothing("SIGPROF")),
        (libc::SIGIO, Meaning::Nothing("SIGIO")),
        (libc::SIGPWR, Meaning::Nothing("SIGPWR")),
        (libc::SIGSTKFLT, Meaning::Nothing("SIGSTKFLT")),
    ];
    let realtime = (libc::SIGRTMIN()..=libc::SIGRTMAX()).map(|number| (number, Meaning::Nothing("a real-time signal")));
    known.into_iter().chain(realtime)
}

/// How long a gateway that was told twice to stop may take to record what it cuts.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

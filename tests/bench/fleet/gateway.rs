//! One gateway, as far as Redis sees it.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portreeve::config;
use portreeve::fleet::{Fleet, Heard, Hears, Open, SharedState};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) struct Gateway {
    pub(crate) fleet: Fleet,
    pub(crate) state: Arc<SharedState>,
    open: Arc<Mutex<HashMap<String, Open>>>,
    /// The number of the last order.
    heard: watch::Receiver<u64>,
    ending: CancellationToken,
}

impl Gateway {
    /// With all that a real one runs for its part in a fleet. The timeout is long, so that a busy Redis shows as slow calls.
    pub(crate) fn start(url: &str) -> Self {
        let text = format!(
            "[fleet]\nname = \"gw\"\nredis = \"{url}\"\ntimeout = \"2s\"\n[[policy.plugin]]\nname = \"rules\"\ncomponent = \"builtin:rules\"\n"
        );
        let config = config::parse(&text, Path::new("bench.toml")).unwrap().fleet;
        let fleet = Fleet::new(&config).unwrap().unwrap();
        let open = Arc::new(Mutex::new(HashMap::<String, Open>::new()));
        let counted = Arc::clone(&open);
        fleet
            .counts
            .counted_by(move |user| counted.lock().unwrap().get(user).copied().unwrap_or_default());
        let (told, heard) = watch::channel(0);
        let hears: Hears = Arc::new(move |order| {
            if let Heard::Order { order, .. } = order {
                let number = String::from_utf8(order).unwrap().parse().unwrap();
                told.send_replace(number);
            }
            Box::pin(std::future::ready(()))
        });
        let ending = CancellationToken::new();
        tokio::spawn(fleet.clone().keep_link(ending.clone()));
        tokio::spawn(fleet.clone().keep_counts(ending.clone()));
        tokio::spawn(fleet.clone().keep_hearing(hears, ending.clone()));
        Self {
            state: fleet.state(),
            fleet,
            open,
            heard,
            ending,
        }
    }

    pub(crate) async fn until_connected(&self) {
        let began = Instant::now();
        while !self.fleet.link.condition().is_connected() {
            assert!(began.elapsed() < PATIENCE, "{:?}", self.fleet.link.condition());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// A session of a user, and so many tunnels.
    pub(crate) fn open(&self, user: &str, forwards: u64) {
        self.change(user, |open| {
            open.sessions += 1;
            open.forwards += forwards;
        });
    }

    pub(crate) fn change(&self, user: &str, change: impl FnOnce(&mut Open)) {
        change(self.open.lock().unwrap().entry(user.to_owned()).or_default());
        self.fleet.counts.changed(user);
    }

    /// One more session that ends at once. Whether it was admitted.
    pub(crate) async fn log_in(&self, user: &str) -> bool {
        self.change(user, |open| open.sessions += 1);
        let admitted = self.fleet.counts.admits(user, 100_000).await;
        self.change(user, |open| open.sessions -= 1);
        admitted
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.ending.cancel();
    }
}

/// How long an order takes until all have heard it.
pub(crate) async fn reach_all(gateways: &[Gateway]) -> Duration {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let began = Instant::now();
    let mut repeated = began;
    let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    let order = number.to_string();
    gateways[0].fleet.orders.tell(order.as_bytes(), None).await.unwrap();
    for gateway in gateways {
        let mut heard = gateway.heard.clone();
        // One that has just begun to listen hears only what is said from then on.
        while tokio::time::timeout(AGAIN, heard.wait_for(|last| *last >= number))
            .await
            .is_err()
        {
            assert!(began.elapsed() < PATIENCE, "an order never reached all");
            if repeated.elapsed() > AGAIN {
                repeated = Instant::now();
                let _ = gateways[0].fleet.orders.tell(order.as_bytes(), None).await;
            }
        }
    }
    began.elapsed()
}

const AGAIN: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);

//! The largest rate at which decisions still come in time: requests arrive by the clock, whether
//! those before them are answered or not.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::Asking;
use crate::names::Lookups;
use crate::policy::Generation;

/// Halves the distance between a rate that is kept and one that is not, as often as the time allows.
pub(super) async fn largest_rate(
    generation: &Arc<Generation>,
    asking: &Asking,
    deadline: Duration,
    guess: f64,
    time: Duration,
) -> f64 {
    let each = time / PROBES;
    let (mut kept, mut lost) = (0.0, guess * 1.5);
    for _ in 0..PROBES {
        let rate = f64::midpoint(kept, lost);
        if keeps(generation, asking, deadline, rate, each).await {
            kept = rate;
        } else {
            lost = rate;
        }
    }
    kept
}

/// Whether at that rate 99 of 100 requests are decided within the deadline, counted from when they
/// were due.
async fn keeps(generation: &Arc<Generation>, asking: &Asking, deadline: Duration, rate: f64, time: Duration) -> bool {
    let count = ((rate * time.as_secs_f64()) as usize).clamp(1, MOST);
    let began = Instant::now();
    let mut running = JoinSet::new();
    let mut late = 0_usize;
    for number in 0..count {
        let due = began + Duration::from_secs_f64(number as f64 / rate.max(1e-9));
        if Instant::now() < due {
            sleep_until(due).await;
        }
        let (generation, request) = (Arc::clone(generation), Arc::clone(&asking.request));
        let lookups = Lookups::new(asking.host.resolver.clone());
        running.spawn(async move {
            let opinion = generation.decide(request, lookups).await;
            // A trap of the guest is an answer; one that came too late is none.
            let undecided = matches!(
                opinion.verdict,
                Err(crate::policy::Failure::QueueFull
                    | crate::policy::Failure::Deadline
                    | crate::policy::Failure::Overdue(_))
            );
            undecided || due.elapsed() > deadline
        });
        while let Some(done) = running.try_join_next() {
            late += usize::from(done.unwrap_or(true));
        }
        // Lost already, and what is due must not pile up.
        if late * 100 > count || running.len() > WAITING {
            running.abort_all();
            return false;
        }
    }
    while let Some(done) = running.join_next().await {
        late += usize::from(done.unwrap_or(true));
    }
    late * 100 <= count
}

const PROBES: u32 = 8;
const MOST: usize = 500_000;
const WAITING: usize = 20_000;

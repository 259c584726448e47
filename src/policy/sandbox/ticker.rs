//! The one thread that drives an engine's epochs, and sleeps while no guest runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, Thread};
use std::time::Duration;

use wasmtime::EngineWeak;

use super::engine::TICK;
use crate::vital::{Pulse, Vital, keep_thread};

/// Increments the engine's epoch every [`TICK`] while a guest runs, and sleeps once none does: ticking on for a second cost
/// eight milliseconds after each decision, waking up costs microseconds. It does not sleep if guests begin so often that it would be woken at once.
pub(super) struct Ticker {
    activity: Arc<Activity>,
    thread: Thread,
    pub(super) pulse: Pulse,
}

#[derive(Default)]
struct Activity {
    running: AtomicUsize,
    /// Guests that began since the last tick.
    began: AtomicUsize,
    asleep: AtomicBool,
}

impl Ticker {
    pub(super) fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let activity = Arc::new(Activity::default());
        let seen = Arc::clone(&activity);
        let pulse = Pulse::default();
        let handle = keep_thread("policy-epoch", Vital::Epochs, pulse.clone(), move || {
            tick(&engine, &seen)
        })?;
        Ok(Self {
            activity,
            thread: handle.thread().clone(),
            pulse,
        })
    }

    pub(super) fn enter(&self) -> Running {
        self.activity.running.fetch_add(1, Ordering::SeqCst);
        self.activity.began.fetch_add(1, Ordering::Relaxed);
        if self.activity.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(Arc::clone(&self.activity))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

/// Held while a guest runs.
pub(in crate::policy) struct Running(Arc<Activity>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends with the engine. `asleep` is set before `running` is looked at, and [`Ticker::enter`] does
/// the reverse, so that one of the two always sees the other.
///
/// Whoever wakes this thread has just begun: an epoch that began at once would cut that decision's first turn short.
fn tick(engine: &EngineWeak, activity: &Activity) {
    while let Some(engine) = engine.upgrade() {
        let runs = activity.running.load(Ordering::SeqCst) > 0;
        if runs {
            engine.increment_epoch();
        }
        drop(engine);
        let began = activity.began.swap(0, Ordering::Relaxed);
        if !runs && began < CROWD {
            activity.asleep.store(true, Ordering::SeqCst);
            if activity.running.load(Ordering::SeqCst) == 0 {
                thread::park_timeout(Duration::from_secs(1));
            }
            activity.asleep.store(false, Ordering::SeqCst);
        }
        thread::sleep(TICK);
    }
}

/// From so many new guests between two ticks on, ticking costs less than being woken.
const CROWD: usize = 2;

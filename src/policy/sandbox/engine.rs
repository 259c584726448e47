use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, Thread};
use std::time::Duration;

use tokio::sync::OnceCell;
use wasmtime::component::Component;
use wasmtime::{Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use crate::policy::LoadError;
use crate::policy::compile::{Target, Workshop};
use crate::policy::pool::Stockroom;
use crate::vital::{Pulse, Vital, keep_thread};

/// The WebAssembly engine with its limits, and the one OS thread that drives its epochs.
pub(in crate::policy) struct Sandbox {
    pub(in crate::policy) engine: Engine,
    /// All memories and tables of one instance, bytes.
    pub(in crate::policy) memory: u64,
    pub(in crate::policy) meter: Meter,
    /// What was compiled before, by its digest; only where the same component is loaded with many
    /// settings.
    pub(in crate::policy) kept: Option<Kept>,
    /// Where components are compiled.
    pub(in crate::policy) workshop: Arc<Workshop>,
    /// Where instances are made ahead.
    pub(in crate::policy) stockroom: Stockroom,
    ticker: Ticker,
}

/// Components by what was made of which bytes, each compiled by the first who asks; none if that cannot be made.
pub(in crate::policy) type Kept = Mutex<HashMap<String, Arc<OnceCell<Option<Component>>>>>;

/// Whether what guests compute is counted. Counting is the one difference between the engine that
/// serves and the one of the workbench; it costs guests some of their speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// As it serves.
    Off,
    /// Each instruction costs fuel: the same decision costs the same everywhere.
    Fuel,
}

impl Sandbox {
    /// Prepares an engine whose instances may hold `memory` bytes each.
    ///
    /// Reserving address space for all instances at once makes a fresh instance cheap; where the
    /// address space is limited (`ulimit -v`, small containers) instances are allocated one by one.
    pub(in crate::policy) fn new(memory: u64, workshop: Arc<Workshop>) -> Result<Self, LoadError> {
        Self::with(memory, workshop, Meter::Off)
    }

    /// As [`Sandbox::new`], counting or not.
    pub(in crate::policy) fn with(memory: u64, workshop: Arc<Workshop>, meter: Meter) -> Result<Self, LoadError> {
        let settings = |pool| {
            let mut settings = settings(memory, pool);
            settings.consume_fuel(meter == Meter::Fuel);
            settings
        };
        let engine = match Engine::new(&settings(Some(pool(memory)))) {
            Ok(engine) => engine,
            Err(error) => {
                tracing::warn!(
                    error = format!("{error:#}"),
                    "no address space for pooled instances: each decision allocates its own, which is slower"
                );
                Engine::new(&settings(None)).map_err(|error| LoadError::Engine(format!("{error:#}")))?
            }
        };
        let ticker = Ticker::start(engine.weak())
            .map_err(|error| LoadError::Engine(format!("no thread for the epochs: {error}")))?;
        Ok(Self {
            engine,
            memory,
            meter,
            workshop,
            stockroom: Stockroom::open()?,
            kept: None,
            ticker,
        })
    }

    /// Compiles the same bytes only once from here on.
    pub(in crate::policy) fn keeping(self) -> Self {
        Self {
            kept: Some(Kept::default()),
            ..self
        }
    }

    /// Whether guests are interrupted at their deadlines.
    pub(in crate::policy) fn interrupts(&self) -> bool {
        self.ticker.pulse.is_there()
    }

    /// What is compiled for it.
    pub(in crate::policy) fn target(&self) -> Target {
        Target::new(self.memory, self.meter == Meter::Fuel)
    }

    /// Keeps the epochs moving while the guard lives.
    pub(in crate::policy) fn running(&self) -> Running {
        self.ticker.enter()
    }
}

/// How often a running guest is interrupted to look at its deadline and to let others run.
pub(in crate::policy) const TICK: Duration = Duration::from_millis(1);

/// Decisions that compute at once.
pub(in crate::policy) const DECISIONS: usize = 64;
/// Decisions that compute or wait for a name.
pub(in crate::policy) const INSTANCES: usize = 128;
/// Instances that are kept ready, of all policies.
pub(in crate::policy) const PREPARED: usize = 32;
/// Instances that were used and wait to be cleared away.
pub(in crate::policy) const CLEARING: usize = 16;
/// Candidates that are being tried, observers, and the instance that is being made.
const FURTHER: usize = 8;
/// Core instances of one component; each may take a megabyte wherever the component is instantiated.
const MOST_INSTANCES: u32 = 64;
const SLOTS: u32 = (INSTANCES + PREPARED + CLEARING + FURTHER) as u32;

/// Without a pool this is the compiler's engine: what it gives runs on one with a pool.
pub(in crate::policy) fn settings(memory: u64, pool: Option<PoolingAllocationConfig>) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(true)
        .concurrency_support(false)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20)
        .memory_reservation(memory)
        .memory_guard_size(32 << 20)
        .wasm_memory64(false);
    if let Some(pool) = pool {
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    }
    config
}

/// Sized by the heaviest guest language: a Python component is 40 core instances, a QuickJS one
/// has three memories.
fn pool(memory: u64) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::default();
    pool.total_component_instances(SLOTS)
        .total_core_instances(48 * SLOTS)
        .total_memories(3 * SLOTS)
        .total_tables(3 * SLOTS)
        .total_stacks(SLOTS)
        .max_core_instances_per_component(MOST_INSTANCES)
        .max_memory_size(usize::try_from(memory).unwrap_or(usize::MAX))
        .linear_memory_keep_resident(512 << 10)
        .table_keep_resident(64 << 10)
        .async_stack_keep_resident(64 << 10)
        .max_unused_warm_slots(16)
        .pagemap_scan(Enabled::Auto);
    pool
}

/// Increments the engine's epoch every [`TICK`] while a guest runs, and sleeps once none does: ticking on for a second cost
/// eight milliseconds after each decision, waking up costs microseconds.
struct Ticker {
    shared: Arc<Shared>,
    thread: Thread,
    pulse: Pulse,
}

#[derive(Default)]
struct Shared {
    running: AtomicUsize,
    asleep: AtomicBool,
}

impl Ticker {
    fn start(engine: EngineWeak) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let seen = Arc::clone(&shared);
        let pulse = Pulse::default();
        let handle = keep_thread("policy-epoch", Vital::Epochs, pulse.clone(), move || {
            tick(&engine, &seen)
        })?;
        Ok(Self {
            shared,
            thread: handle.thread().clone(),
            pulse,
        })
    }

    fn enter(&self) -> Running {
        self.shared.running.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.load(Ordering::SeqCst) {
            self.thread.unpark();
        }
        Running(Arc::clone(&self.shared))
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.thread.unpark();
    }
}

/// Held while a guest runs.
pub(in crate::policy) struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Ends with the engine. `asleep` is set before `running` is looked at, and [`Ticker::enter`] does
/// the reverse, so that one of the two always sees the other.
///
/// Whoever wakes this thread has just begun: an epoch that began at once would cut that decision's first turn short.
fn tick(engine: &EngineWeak, shared: &Shared) {
    while let Some(engine) = engine.upgrade() {
        let runs = shared.running.load(Ordering::SeqCst) > 0;
        if runs {
            engine.increment_epoch();
        }
        drop(engine);
        if !runs {
            shared.asleep.store(true, Ordering::SeqCst);
            if shared.running.load(Ordering::SeqCst) == 0 {
                thread::park_timeout(Duration::from_secs(1));
            }
            shared.asleep.store(false, Ordering::SeqCst);
        }
        thread::sleep(TICK);
    }
}

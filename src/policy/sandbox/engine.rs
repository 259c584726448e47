//! The WebAssembly engine: its settings, and the number of guests that run on it at once.

use std::time::Duration;

use wasmtime::{Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::ticker::{Running, Ticker};
use crate::policy::LoadError;

/// The WebAssembly engine with its limits, and the one OS thread that drives its epochs.
pub(in crate::policy) struct Sandbox {
    pub(in crate::policy) engine: Engine,
    /// All memories and tables of one instance, bytes.
    pub(in crate::policy) memory: u64,
    pub(in crate::policy) meter: Meter,
    ticker: Ticker,
}

/// Whether what guests compute is counted. Counting is the one difference between the engine that
/// serves and the one of the tools; it costs guests some of their speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meter {
    /// As it serves.
    Off,
    /// Each instruction costs fuel: the same decision costs the same everywhere.
    Fuel,
}

impl Sandbox {
    /// Prepares an engine whose instances may hold `memory` bytes each, counting what they compute or not.
    ///
    /// Reserving address space for all instances at once makes a fresh instance cheap; where the
    /// address space is limited (`ulimit -v`, small containers) instances are allocated one by one.
    ///
    /// # Errors
    /// If the engine cannot be started.
    pub(in crate::policy) fn new(memory: u64, meter: Meter) -> Result<Self, LoadError> {
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
            .map_err(|error| LoadError::Engine(format!("cannot start the thread for deadlines: {error}")))?;
        Ok(Self {
            engine,
            memory,
            meter,
            ticker,
        })
    }

    /// Whether guests are interrupted at their deadlines.
    pub(in crate::policy) fn interrupts(&self) -> bool {
        self.ticker.pulse.is_there()
    }

    /// Keeps the epochs moving while the guard lives.
    pub(in crate::policy) fn running(&self) -> Running {
        self.ticker.enter()
    }
}

/// How often a running guest is interrupted to look at its deadline and to let others run.
pub(super) const TICK: Duration = Duration::from_millis(1);

/// Decisions that compute at once.
pub(super) const DECISIONS: usize = 64;
/// Decisions that compute or wait for a name.
pub(super) const INSTANCES: usize = 128;
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

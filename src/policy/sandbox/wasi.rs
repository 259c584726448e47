//! A WASI that does nothing, for guests whose toolchain requires one (`wasi = "inert"`).
//!
//! Nothing is preopened, there are no sockets, arguments or environment; the clocks stand on
//! `request.now`, random numbers are seeded from the request id, and stdout and stderr go to the
//! log, capped. Until a decision begins there is no request: then the clocks stand on zero and the
//! seed is always the same, whether the instance was made ahead or not.

use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use wasmtime::component::Linker;
use wasmtime_wasi::p2::pipe::MemoryOutputPipe;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::guest::Guest;

/// A guest's WASI and what it printed.
pub(in crate::policy) struct Inert {
    context: WasiCtx,
    printed: MemoryOutputPipe,
}

impl Inert {
    /// Before there is a request.
    pub(in crate::policy) fn new() -> Self {
        Self::with(Duration::ZERO, "", MemoryOutputPipe::new(MAX_PRINTED))
    }

    /// For one request; streams that the guest has open already lead where they led before.
    pub(in crate::policy) fn begin(&mut self, now: Duration, seed: &str) {
        *self = Self::with(now, seed, self.printed.clone());
    }

    fn with(now: Duration, seed: &str, printed: MemoryOutputPipe) -> Self {
        let mut builder = WasiCtx::builder();
        builder
            .stdout(printed.clone())
            .stderr(printed.clone())
            .wall_clock(Standing(now))
            .monotonic_clock(Standing(now))
            .max_random_size(MAX_RANDOM)
            .allow_tcp(false)
            .allow_udp(false)
            .allow_ip_name_lookup(false);
        let mut random = Sha256::digest(seed.as_bytes()).to_vec();
        random.truncate(32);
        builder
            .secure_random(wasmtime_wasi::random::Deterministic::new(random.clone()))
            .insecure_random(wasmtime_wasi::random::Deterministic::new(random))
            .insecure_random_seed(0);
        Self {
            context: builder.build(),
            printed,
        }
    }

    pub(in crate::policy) fn printed(&self) -> Bytes {
        self.printed.contents()
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let inert = self.wasi.get_or_insert_with(Inert::new);
        WasiCtxView {
            ctx: &mut inert.context,
            table: &mut self.table,
        }
    }
}

pub(in crate::policy) fn add_to_linker(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)
}

struct Standing(Duration);

impl HostWallClock for Standing {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        self.0
    }
}

impl HostMonotonicClock for Standing {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }
}

const MAX_PRINTED: usize = 16 << 10;
const MAX_RANDOM: u64 = 64 << 10;

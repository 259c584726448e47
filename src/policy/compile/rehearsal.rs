//! Loads compiled code as the gateway will, but first in a process that may fail.
//!
//! The code itself is mapped from a file, but what wasmtime notes beside it (types, names, tables of functions) becomes
//! objects on the heap of the gateway. A component of a few megabytes can have a million of them. So the process that
//! compiled it loads it once, on a stack that is smaller than the gateway's, and looks at what that took.

use std::fs;
use std::thread;

use wasmtime::Engine;

use super::forbidden::is_forbidden;
use super::sealed::Code;
use crate::confined::{Sealed, Wrong};

pub(super) fn rehearse(engine: &Engine, code: &[u8]) -> Result<(), Wrong> {
    let broken = |error: std::io::Error| Wrong::Broken(error.to_string());
    let code = Code::from_compiler(Sealed::of(code).map_err(broken)?);
    let before = resident();
    let loaded = thread::scope(|scope| {
        let rehearsing = thread::Builder::new().name("rehearsal".to_owned()).stack_size(STACK);
        let loading = rehearsing.spawn_scoped(scope, || code.load(engine)).map_err(broken)?;
        let loaded = loading
            .join()
            .map_err(|panic| Wrong::Panicked(crate::vital::words(&*panic)))?;
        match loaded {
            // The gateway meets the same, and knows what to say of it.
            Err(error) if is_forbidden(&error) => Ok(None),
            loaded => loaded.map(Some).map_err(Wrong::faulty),
        }
    })?;
    let took = resident().saturating_sub(before);
    drop(loaded);
    if took > MAX_HELD {
        return Err(Wrong::Faulty(format!(
            "it has too many parts: they would take {} MiB of the gateway's memory besides its code; the limit is {}",
            took >> 20,
            MAX_HELD >> 20
        )));
    }
    Ok(())
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_ascii_whitespace().nth(1)?.parse::<usize>().ok());
    pages.unwrap_or(0) * PAGE
}

/// Half of what threads of the gateway have.
const STACK: usize = 1 << 20;
const PAGE: usize = 4096;
/// The notes of a component of 18 MB in Python are half a megabyte as they are written.
const MAX_HELD: usize = 48 << 20;

//! Checks on the bytes of a component before anything parses them.

use wasmparser::Parser;

use crate::files::MOST_COMPONENT;
use crate::policy::LoadError;
use crate::policy::source::{Component, hex};

/// Whether they are a component of a size that is accepted, with the digest that is pinned, if one is.
///
/// # Errors
/// The first of that which is not so.
pub(in crate::policy) fn check_bytes(component: &Component, pin: Option<&[u8; 32]>) -> Result<(), LoadError> {
    if let Some(pin) = pin.filter(|pin| *pin != component.digest()) {
        return Err(LoadError::Pin {
            found: component.sha256().to_owned(),
            pinned: hex(pin),
        });
    }
    let bytes = component.bytes();
    if bytes.len() as u64 > MOST_COMPONENT {
        return Err(LoadError::TooLarge(bytes.len()));
    }
    if Parser::is_component(bytes) {
        Ok(())
    } else if Parser::is_core_wasm(bytes) {
        Err(LoadError::CoreModule)
    } else {
        Err(LoadError::NotWasm)
    }
}

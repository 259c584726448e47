//! What shows in the bytes of a component before anything reads them.

use wasmparser::Parser;

use crate::files::MOST_COMPONENT;
use crate::policy::LoadError;
use crate::policy::source::hex;

/// Whether they are a component of a size that is accepted, with the digest that is pinned, if one is.
///
/// # Errors
/// The first of that which is not so.
pub(in crate::policy) fn check_bytes(bytes: &[u8], sha256: &str, pin: Option<&[u8; 32]>) -> Result<(), LoadError> {
    if let Some(pin) = pin {
        let pinned = hex(pin);
        if pinned != sha256 {
            let found = sha256.to_owned();
            return Err(LoadError::Pin { found, pinned });
        }
    }
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

//! From the module that a compiler made to a component, in this process.

use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding};
use wit_parser::Resolve;

use super::failure::BuildError;
use super::world::{self, World};
use crate::plugin::contract::Contract;

/// Makes a component of a module whose compiler knows nothing of components.
///
/// # Errors
/// Where the module does not have what the world asks for.
pub(super) fn embed(mut module: Vec<u8>, contract: Contract, kind: World) -> Result<Vec<u8>, BuildError> {
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("policy.wit", &world::whole(contract, kind))
        .map_err(unfit)?;
    let world = resolve.select_world(&[package], Some(world::NAME)).map_err(unfit)?;
    wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(unfit)?;
    encode(&module)
}

/// Makes a component of a module that holds its world already.
///
/// # Errors
/// Where it is no such module.
pub(super) fn encode(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    let adapter = wat::parse_str(ADAPTER).map_err(unfit)?;
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", &adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(unfit)
}

/// The interfaces that a component imports, but for `types`, which has no function.
///
/// # Errors
/// Where it is no component.
pub(super) fn imports(component: &[u8]) -> Result<Vec<String>, BuildError> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component).map_err(unfit)? else {
        return Err(unfit("the compiler made something else"));
    };
    let imports = resolve
        .worlds
        .get(world)
        .map(|world| &world.imports)
        .into_iter()
        .flatten();
    let names = imports.map(|(key, _)| resolve.name_world_key(key));
    Ok(names
        .filter(|name| !name.starts_with("portreeve:policy/types@"))
        .collect())
}

fn unfit(error: impl std::fmt::Display) -> BuildError {
    BuildError::Unfit(format!("{error:#}"))
}

/// Answers the calls of WASI preview 1 inside of the component.
pub(in crate::plugin) const ADAPTER: &str = include_str!("../../../plugins/adapter/wasi-none.wat");

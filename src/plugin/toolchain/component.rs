//! From the module that a compiler made to a component.
//!
//! Others may have written the project, so its module is read in a separate process, with limits on time, memory and stack, like
//! every component ([`confined`](crate::confined)).

use serde::{Deserialize, Serialize};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding};
use wit_parser::Resolve;

use super::failure::BuildError;
use super::world::{self, World};
use crate::confined::{Confinement, Order, Sealed, Task, Wrong};
use crate::plugin::contract::Contract;

/// What is to be done with a module or a component.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Making {
    /// Make a component of a module whose compiler knows nothing of components, for this world.
    Embed {
        /// Whether the world is that of an observing policy.
        observing: bool,
        /// Of this version of the contract.
        contract: Contract,
    },
    /// Make a component of a module that holds its world already.
    Encode,
    /// Name the interfaces that a component imports.
    Imports,
}

impl Making {
    /// What a process makes of an order, if it is one of this room.
    #[must_use]
    pub(crate) fn ordered(order: &Order) -> Option<Self> {
        order.of_room(ROOM)
    }
}

/// Makes a component of a module whose compiler knows nothing of components.
///
/// # Errors
/// Fails if the module does not have what the world asks for.
pub(super) fn embed(module: &[u8], contract: Contract, world: World) -> Result<Vec<u8>, BuildError> {
    let observing = world == World::Observing;
    confined(Making::Embed { observing, contract }, module)
}

/// Makes a component of a module that holds its world already.
///
/// # Errors
/// Fails if it is no such module.
pub(super) fn encode(module: &[u8]) -> Result<Vec<u8>, BuildError> {
    confined(Making::Encode, module)
}

/// The interfaces that a component imports, but for `types`, which has no function.
///
/// # Errors
/// Fails if it is no component.
pub(super) fn imports(component: &[u8]) -> Result<Vec<String>, BuildError> {
    let names = confined(Making::Imports, component)?;
    serde_json::from_slice(&names).map_err(unfit)
}

fn confined(making: Making, input: &[u8]) -> Result<Vec<u8>, BuildError> {
    let (doing, most) = match making {
        Making::Imports => ("reading", MAX_NAMES),
        Making::Embed { .. } | Making::Encode => ("making a component", MAX_COMPONENT),
    };
    let task = Task {
        room: ROOM,
        work: &making,
        doing,
        most,
    };
    let input = Sealed::of(input).map_err(unfit)?;
    let made = Confinement::this_program().run(&task, input, move |input| perform(making, input));
    made.map_err(|failed| unfit(failed.words()))?.to_vec().map_err(unfit)
}

/// Does the work.
///
/// # Errors
/// What is wrong with the input.
pub(crate) fn perform(making: Making, input: Vec<u8>) -> Result<Vec<u8>, Wrong> {
    match making {
        Making::Embed { observing, contract } => {
            let world = if observing { World::Observing } else { World::Policy };
            embed_here(input, contract, world)
        }
        Making::Encode => encode_here(&input),
        Making::Imports => {
            let names = imports_here(&input)?;
            serde_json::to_vec(&names).map_err(Wrong::faulty)
        }
    }
}

fn embed_here(mut module: Vec<u8>, contract: Contract, kind: World) -> Result<Vec<u8>, Wrong> {
    let mut resolve = Resolve::default();
    let package = resolve
        .push_str("policy.wit", &world::whole(contract, kind))
        .map_err(Wrong::faulty)?;
    let world = resolve
        .select_world(&[package], Some(world::NAME))
        .map_err(Wrong::faulty)?;
    let embedded = wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8);
    embedded.map_err(Wrong::faulty)?;
    encode_here(&module)
}

fn encode_here(module: &[u8]) -> Result<Vec<u8>, Wrong> {
    let adapter = wat::parse_str(ADAPTER).map_err(Wrong::faulty)?;
    ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter("wasi_snapshot_preview1", &adapter))
        .and_then(|mut encoder| encoder.encode())
        .map_err(Wrong::faulty)
}

fn imports_here(component: &[u8]) -> Result<Vec<String>, Wrong> {
    let decoded = wit_component::decode(component).map_err(Wrong::faulty)?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err(Wrong::Faulty("the compiler did not produce a component".to_owned()));
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
const ROOM: &str = "plugin";
const MAX_COMPONENT: u64 = 256 << 20;
const MAX_NAMES: u64 = 4 << 20;

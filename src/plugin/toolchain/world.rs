//! The world that a policy is built for.
//!
//! The toolchains of the script languages let a component import every interface of its world, used or not; the gateway
//! refuses an import that is not granted. So a project's world has `log`, `calendar` and the interfaces of its grants, and no more.

use crate::config::Grant;
use crate::plugin::contract::Contract;

/// Which exports a policy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::plugin) enum World {
    /// `describe`, `configure` and `decide`.
    Policy,
    /// These and `on-ended`.
    Observing,
}

impl World {
    /// The word for it in `policy.toml`, as WIT names it.
    pub(in crate::plugin) const WORDS: [(&str, Self); 2] =
        [("policy", Self::Policy), ("observing-policy", Self::Observing)];
}

/// The contract with one world, called [`NAME`].
pub(super) fn narrowed(contract: Contract, world: World, grants: &[Grant]) -> String {
    let mut text = interfaces(contract.wit()).to_owned();
    text.push_str("world policy {\n    import log;\n");
    if contract.has_calendar() {
        text.push_str("    import calendar;\n");
    }
    for (grant, interface) in [(Grant::Names, "names"), (Grant::State, "state"), (Grant::View, "view")] {
        if grants.contains(&grant) {
            text.push_str(&format!("    import {interface};\n"));
        }
    }
    text.push_str("    export lifecycle;\n    export decision;\n");
    if world == World::Observing {
        text.push_str("    export observer;\n");
    }
    text.push_str("}\n");
    text
}

/// The contract with a world that imports all of its interfaces, for compilers that leave out what is not used.
pub(super) fn whole(contract: Contract, world: World) -> String {
    narrowed(contract, world, &[Grant::Names, Grant::State, Grant::View])
}

/// The contract without its worlds, which stand at its end.
fn interfaces(contract: &str) -> &str {
    let first = contract.find("\nworld ").map_or(contract.len(), |before| before + 1);
    let above = contract.get(..first).unwrap_or(contract);
    // What is said of the first world stands above it.
    let end = above.rfind("}\n").map_or(above.len(), |brace| brace + 2);
    above.get(..end).unwrap_or(above)
}

/// What the world of [`narrowed`] and [`whole`] is called.
pub(super) const NAME: &str = "policy";

#[cfg(test)]
mod tests {
    use super::*;
    use wit_parser::{Resolve, WorldId};

    fn parse(text: &str, world: &str) -> (Resolve, WorldId) {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("policy.wit", text).expect("it parses");
        let world = resolve
            .select_world(&[package], Some(world))
            .expect("the world is there");
        (resolve, world)
    }

    /// What a world imports and exports, by name.
    fn items(text: &str, world: &str) -> (Vec<String>, Vec<String>) {
        let (resolve, world) = parse(text, world);
        let world = &resolve.worlds[world];
        let names =
            |items: Vec<&wit_parser::WorldKey>| items.into_iter().map(|key| resolve.name_world_key(key)).collect();
        (
            names(world.imports.keys().collect()),
            names(world.exports.keys().collect()),
        )
    }

    #[test]
    fn the_whole_world_is_that_of_the_contract() {
        for (_, contract) in Contract::WORDS {
            for (name, world) in World::WORDS {
                let (mut imports, mut exports) = items(&whole(contract, world), NAME);
                let (mut theirs, mut they_export) = items(contract.wit(), name);
                for list in [&mut imports, &mut exports, &mut theirs, &mut they_export] {
                    list.sort();
                }
                assert_eq!((imports, exports), (theirs, they_export));
            }
        }
    }

    #[test]
    fn what_is_not_granted_is_not_in_the_world() {
        let short = |contract| -> Vec<String> {
            let (imports, _) = items(&narrowed(contract, World::Policy, &[Grant::State]), NAME);
            let names = imports.iter().filter_map(|name| name.strip_prefix("portreeve:policy/"));
            names.map(str::to_owned).collect()
        };
        assert_eq!(short(Contract::V0_1), ["log@0.1.0", "state@0.1.0", "types@0.1.0"]);
        assert_eq!(
            short(Contract::V0_2),
            ["log@0.2.0", "calendar@0.2.0", "state@0.2.0", "types@0.2.0"]
        );
    }
}

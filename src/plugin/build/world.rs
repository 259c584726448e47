//! The world that a policy is built for.
//!
//! The toolchains of the script languages let a component import every interface of its world, used or not; the gateway
//! refuses an import that is not granted. So a project's world has `log` and the interfaces of its grants, and no more.

use crate::config::Grant;

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
pub(super) fn narrowed(world: World, grants: &[Grant]) -> String {
    let mut text = interfaces().to_owned();
    text.push_str("world policy {\n    import log;\n");
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
pub(super) fn whole(world: World) -> String {
    narrowed(world, &[Grant::Names, Grant::State, Grant::View])
}

/// The contract without its worlds, which stand at its end.
fn interfaces() -> &'static str {
    let end = CONTRACT.find("\nworld ").map_or(CONTRACT.len(), |before| before + 1);
    CONTRACT.get(..end).unwrap_or(CONTRACT)
}

/// What the world of [`narrowed`] and [`whole`] is called.
pub(super) const NAME: &str = "policy";

const CONTRACT: &str = include_str!("../../../wit/policy.wit");

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
        for (name, world) in World::WORDS {
            let (mut imports, mut exports) = items(&whole(world), NAME);
            let (mut theirs, mut they_export) = items(CONTRACT, name);
            for list in [&mut imports, &mut exports, &mut theirs, &mut they_export] {
                list.sort();
            }
            assert_eq!((imports, exports), (theirs, they_export));
        }
    }

    #[test]
    fn what_is_not_granted_is_not_in_the_world() {
        let (imports, _) = items(&narrowed(World::Policy, &[Grant::State]), NAME);
        let short: Vec<_> = imports
            .iter()
            .filter_map(|name| name.strip_prefix("portreeve:policy/"))
            .collect();
        assert_eq!(short, ["log@0.1.0", "state@0.1.0", "types@0.1.0"]);
    }
}

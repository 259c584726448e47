//! Checks how deeply a component is nested, before anything with less stack recurses over it.

use wasmparser::{
    ComponentType, ComponentTypeDeclaration, CoreType, InstanceTypeDeclaration, ModuleTypeDeclaration, Parser, Payload,
};

use crate::confined::Wrong;

/// Refuses what is nested deeper than [`MAX_NESTING`]: components, and types of components and instances. What does not
/// parse is left to the validator, whose words are better.
pub(super) fn check(component: &[u8]) -> Result<(), Wrong> {
    let depth = depth(component).unwrap_or(0);
    if depth > MAX_NESTING {
        return Err(Wrong::Faulty(format!(
            "it is nested {depth} levels deep; the limit is {MAX_NESTING}"
        )));
    }
    Ok(())
}

fn depth(component: &[u8]) -> wasmparser::Result<usize> {
    let mut open = 0_usize;
    let mut deepest = 0;
    for payload in Parser::new(0).parse_all(component) {
        let inner = match payload? {
            Payload::Version { .. } => {
                open += 1;
                0
            }
            Payload::End(_) => {
                open = open.saturating_sub(1);
                0
            }
            Payload::ComponentTypeSection(section) => {
                let mut most = 0;
                for kind in section {
                    most = most.max(of_type(&kind?));
                }
                most
            }
            Payload::CoreTypeSection(section) => {
                let mut most = 0;
                for kind in section {
                    most = most.max(of_core_type(&kind?));
                }
                most
            }
            _ => 0,
        };
        deepest = deepest.max(open + inner);
    }
    Ok(deepest)
}

fn of_type(kind: &ComponentType<'_>) -> usize {
    let inner = match kind {
        ComponentType::Component(declarations) => declarations.iter().map(in_component).max(),
        ComponentType::Instance(declarations) => declarations.iter().map(in_instance).max(),
        ComponentType::Defined(_) | ComponentType::Func(_) | ComponentType::Resource { .. } => None,
    };
    1 + inner.unwrap_or(0)
}

fn in_component(declaration: &ComponentTypeDeclaration<'_>) -> usize {
    match declaration {
        ComponentTypeDeclaration::Type(kind) => of_type(kind),
        ComponentTypeDeclaration::CoreType(kind) => of_core_type(kind),
        _ => 0,
    }
}

fn in_instance(declaration: &InstanceTypeDeclaration<'_>) -> usize {
    match declaration {
        InstanceTypeDeclaration::Type(kind) => of_type(kind),
        InstanceTypeDeclaration::CoreType(kind) => of_core_type(kind),
        _ => 0,
    }
}

fn of_core_type(kind: &CoreType<'_>) -> usize {
    match kind {
        CoreType::Module(declarations) => {
            let holds_types = declarations
                .iter()
                .any(|declaration| matches!(declaration, ModuleTypeDeclaration::Type(_)));
            1 + usize::from(holds_types)
        }
        CoreType::Rec(_) => 1,
    }
}

/// Components that compilers make are nested a handful deep.
const MAX_NESTING: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// A component whose `what` is nested so deep.
    fn nested(what: &str, levels: usize) -> Vec<u8> {
        let (open, close) = match what {
            "component" => ("(component ", ")"),
            _ => unreachable!(),
        };
        wat::parse_str(format!("(component {}{})", open.repeat(levels), close.repeat(levels))).unwrap()
    }

    #[test]
    fn what_is_nested_a_little_is_accepted() {
        for levels in [0, 3, 50] {
            check(&nested("component", levels)).unwrap();
            assert_eq!(depth(&nested("component", levels)).unwrap(), levels + 1);
        }
    }

    #[test]
    fn types_count_like_components() {
        let text = "(component (component (type (component (type (instance (type (component)) (type (list u8))))))))";
        assert_eq!(depth(&wat::parse_str(text).unwrap()).unwrap(), 5);
        let core = "(component (core type (module (type (func)))))";
        assert_eq!(depth(&wat::parse_str(core).unwrap()).unwrap(), 3);
    }
}

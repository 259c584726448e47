//! Checks how many parts a component has, before they become objects on the gateway's heap.

use wasmparser::{
    ComponentDefinedType, ComponentType, ComponentTypeDeclaration, CoreType, InstanceTypeDeclaration, Parser, Payload,
};

use crate::confined::Wrong;

/// Refuses more than [`MAX_PARTS`] types with their fields, imports, exports, globals, tables, memories, instances and aliases, in
/// all modules and components together. It recurses over types, so their nesting is checked before. Functions and data do not count: their bytes are mapped from a file. The validator says what is wrong with
/// bytes that do not parse.
pub(super) fn check(component: &[u8]) -> Result<(), Wrong> {
    let parts = parts(component).unwrap_or(0);
    if parts > MAX_PARTS {
        return Err(Wrong::Faulty(format!(
            "it has too many parts: {parts} types, imports, exports, globals and the like; the limit is {MAX_PARTS}"
        )));
    }
    Ok(())
}

fn parts(component: &[u8]) -> wasmparser::Result<u64> {
    let mut parts = 0;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload?;
        parts += in_types(&payload)?;
        parts += u64::from(match payload {
            Payload::TypeSection(section) => section.count(),
            Payload::ImportSection(section) => section.count(),
            Payload::TableSection(section) => section.count(),
            Payload::MemorySection(section) => section.count(),
            Payload::TagSection(section) => section.count(),
            Payload::GlobalSection(section) => section.count(),
            Payload::ExportSection(section) => section.count(),
            Payload::ElementSection(section) => section.count(),
            Payload::InstanceSection(section) => section.count(),
            Payload::ComponentInstanceSection(section) => section.count(),
            Payload::ComponentAliasSection(section) => section.count(),
            Payload::ComponentCanonicalSection(section) => section.count(),
            Payload::ComponentImportSection(section) => section.count(),
            Payload::ComponentExportSection(section) => section.count(),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => 1,
            _ => 0,
        });
    }
    Ok(parts)
}

/// What component and core types hold, which may be much in one.
fn in_types(payload: &Payload<'_>) -> wasmparser::Result<u64> {
    let mut parts = 0;
    match payload {
        Payload::ComponentTypeSection(section) => {
            for kind in section.clone() {
                parts += of_type(&kind?);
            }
        }
        Payload::CoreTypeSection(section) => {
            for kind in section.clone() {
                parts += of_core_type(&kind?);
            }
        }
        _ => {}
    }
    Ok(parts)
}

fn of_type(kind: &ComponentType<'_>) -> u64 {
    let inner = match kind {
        ComponentType::Component(declarations) => declarations.iter().map(in_component).sum(),
        ComponentType::Instance(declarations) => declarations.iter().map(in_instance).sum(),
        ComponentType::Func(function) => function.params.len() as u64,
        ComponentType::Defined(defined) => in_defined(defined),
        ComponentType::Resource { .. } => 0,
    };
    1 + inner
}

fn in_component(declaration: &ComponentTypeDeclaration<'_>) -> u64 {
    match declaration {
        ComponentTypeDeclaration::Type(kind) => of_type(kind),
        ComponentTypeDeclaration::CoreType(kind) => of_core_type(kind),
        _ => 1,
    }
}

fn in_instance(declaration: &InstanceTypeDeclaration<'_>) -> u64 {
    match declaration {
        InstanceTypeDeclaration::Type(kind) => of_type(kind),
        InstanceTypeDeclaration::CoreType(kind) => of_core_type(kind),
        _ => 1,
    }
}

fn in_defined(defined: &ComponentDefinedType<'_>) -> u64 {
    let fields = match defined {
        ComponentDefinedType::Record(fields) => fields.len(),
        ComponentDefinedType::Variant(cases) => cases.len(),
        ComponentDefinedType::Tuple(types) => types.len(),
        ComponentDefinedType::Flags(names) | ComponentDefinedType::Enum(names) => names.len(),
        _ => 0,
    };
    fields as u64
}

fn of_core_type(kind: &CoreType<'_>) -> u64 {
    match kind {
        CoreType::Module(declarations) => 1 + declarations.len() as u64,
        CoreType::Rec(group) => group.types().len() as u64,
    }
}

/// A component in Python, with all of its libraries, has 11,000.
const MAX_PARTS: u64 = 100_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn globals(count: usize) -> Vec<u8> {
        let globals = "(global (mut i32) (i32.const 0))".repeat(count);
        wat::parse_str(format!("(component (core module {globals}))")).unwrap()
    }

    #[test]
    fn parts_are_counted_in_all_modules() {
        let text =
            "(component (type (func)) (core module (type (func)) (func (export \"f\"))) (core module (memory 1)))";
        // Two types, two modules, an export and a memory; the function is none.
        assert_eq!(parts(&wat::parse_str(text).unwrap()).unwrap(), 6);
        assert_eq!(parts(&globals(3)).unwrap(), 4);
    }

    #[test]
    fn what_one_type_holds_counts() {
        #[rustfmt::skip]
        let table = [
            ("(type (record (field \"a\" u8) (field \"b\" u8)))",                       3),
            ("(type (enum \"a\" \"b\" \"c\"))",                                        4),
            ("(type (tuple u8 u8))",                                                    3),
            ("(type (func (param \"a\" u8) (param \"b\" u8)))",                         3),
            ("(type (instance (type (func)) (export \"f\" (func (type 0)))))",          3),
            ("(type (component (type (instance (type (record (field \"a\" u8)))))))",   4),
            ("(core type (module (type (func)) (import \"a\" \"b\" (func (type 0)))))", 3),
        ];
        for (text, expected) in table {
            let component = wat::parse_str(format!("(component {text})")).unwrap();
            assert_eq!(parts(&component).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn too_many_are_refused_and_the_number_is_said() {
        let most = usize::try_from(MAX_PARTS).unwrap();
        check(&globals(most - 1)).unwrap();
        let Err(Wrong::Faulty(words)) = check(&globals(most)) else {
            panic!("one too many");
        };
        assert!(words.contains("100001 types"), "{words}");
    }
}

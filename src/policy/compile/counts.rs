//! Checks how many parts a component has, before they become objects on the gateway's heap.

use wasmparser::{Parser, Payload};

use crate::confined::Wrong;

/// Refuses more than [`MAX_PARTS`] types, imports, exports, globals, tables, memories, instances and aliases, in all modules and
/// components together. Functions and data do not count: their bytes are mapped from a file. The validator says what is wrong with
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
        parts += u64::from(match payload? {
            Payload::TypeSection(section) => section.count(),
            Payload::ImportSection(section) => section.count(),
            Payload::TableSection(section) => section.count(),
            Payload::MemorySection(section) => section.count(),
            Payload::TagSection(section) => section.count(),
            Payload::GlobalSection(section) => section.count(),
            Payload::ExportSection(section) => section.count(),
            Payload::ElementSection(section) => section.count(),
            Payload::InstanceSection(section) => section.count(),
            Payload::CoreTypeSection(section) => section.count(),
            Payload::ComponentInstanceSection(section) => section.count(),
            Payload::ComponentAliasSection(section) => section.count(),
            Payload::ComponentTypeSection(section) => section.count(),
            Payload::ComponentCanonicalSection(section) => section.count(),
            Payload::ComponentImportSection(section) => section.count(),
            Payload::ComponentExportSection(section) => section.count(),
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => 1,
            _ => 0,
        });
    }
    Ok(parts)
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
    fn too_many_are_refused_and_the_number_is_said() {
        let most = usize::try_from(MAX_PARTS).unwrap();
        check(&globals(most - 1)).unwrap();
        let Err(Wrong::Faulty(words)) = check(&globals(most)) else {
            panic!("one too many");
        };
        assert!(words.contains("100001 types"), "{words}");
    }
}

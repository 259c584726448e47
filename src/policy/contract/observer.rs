//! The optional `observer` export: whether a component has it, and whether its types match.

use wasmtime::Store;
use wasmtime::component::{Component, ComponentExportIndex, Instance};

use super::newest::types::Ended;
use super::version;

/// Where a component exports `on-ended`, if it does.
pub(in crate::policy) fn find(component: &Component) -> Option<ComponentExportIndex> {
    let interface = version::full_of_each("observer").find_map(|name| component.get_export_index(None, name))?;
    component.get_export_index(Some(&interface), "on-ended")
}

/// Checks that the export takes what the gateway will tell it.
pub(in crate::policy) fn check<G: 'static>(
    store: &mut Store<G>,
    instance: &Instance,
    export: &ComponentExportIndex,
) -> wasmtime::Result<()> {
    instance.get_typed_func::<(Ended,), ()>(store, export).map(|_| ())
}

//! The types of `wit/policy.wit`, generated; the only place where generated code may be unsafe.
#![allow(missing_docs, clippy::all, unsafe_code)]

wasmtime::component::bindgen!({
    path: "wit",
    world: "policy",
    imports: { default: async | trappable },
    exports: { default: async },
});

//! The types of every track, generated; the only place where generated code may be unsafe.
#![allow(missing_docs, clippy::all, unsafe_code)]

/// `wit/policy.wit`, the newest.
pub(super) mod v0_2 {
    wasmtime::component::bindgen!({
        path: "wit",
        world: "policy",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

/// Track 0.1, as it was published.
pub(super) mod v0_1 {
    wasmtime::component::bindgen!({
        path: "wit/published/0.1.0",
        world: "policy",
        imports: { default: async | trappable },
        exports: { default: async },
    });
}

//! What `wit-bindgen` makes of the contract. Nothing is written by hand here, and only here may `unsafe` be generated.
//!
//! The types are the crate's own, on every target. What calls the gateway is compiled on every target too, and called on
//! `wasm32` only.
#![allow(
    missing_docs,
    unsafe_code,
    clippy::all,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

wit_bindgen::generate!({
    world: "policy",
    path: "wit",
    additional_derives: [PartialEq],
    generate_unused_types: true,
    pub_export_macro: true,
    export_macro_name: "export_policy",
});

/// The optional export. It is a world of its own, so that a component has it only where the policy observes; the two worlds
/// are joined when the component is made.
pub mod observing {
    wit_bindgen::generate!({
        inline: "package portreeve:sdk; world observing { export portreeve:policy/observer@0.2.0; }",
        path: "wit",
        world: "portreeve:sdk/observing",
        with: { "portreeve:policy/types@0.2.0": crate::bindings::portreeve::policy::types },
        pub_export_macro: true,
        export_macro_name: "export_observer",
    });
}

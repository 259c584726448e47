//! What `wit-bindgen` makes of the contract. Nothing is written by hand here, and only here may `unsafe` be generated.
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
    path: "../../wit/published/0.1.0",
    pub_export_macro: true,
});

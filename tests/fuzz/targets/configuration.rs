//! Any bytes as a configuration.

#![no_main]

#[allow(dead_code)]
#[path = "../parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|text: &str| parsers::configuration(text));

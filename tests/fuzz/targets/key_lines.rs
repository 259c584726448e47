//! Any bytes as the lines of `authorized_keys`.

#![no_main]

#[allow(dead_code)]
#[path = "../parsers.rs"]
mod parsers;

libfuzzer_sys::fuzz_target!(|text: &str| parsers::key_lines(text));

//! The program as it is typed: what it prints, and the code with which it ends.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    dead_code,
    reason = "a test that cannot go on should say so and stop; the guests serve two suites"
)]

#[path = "../gateway/abi.rs"]
mod abi;
mod audit_log;
mod commands;
mod confined;
mod ctl;
mod explain;
#[path = "../gateway/guests.rs"]
mod guests;
mod import;
mod plugin_check;
mod plugin_compiled;
mod plugin_errors;
mod plugin_inspect;
mod plugin_new;
mod plugin_replay;
mod plugin_run;
mod plugin_signatures;
mod plugin_test;
mod plugin_tracks;
mod program;
mod serve;

//! The gateway as its users meet it: started in this process on a port of its own, with real OpenSSH clients.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test that cannot go on should say so and stop"
)]

mod abi;
mod compiled;
mod counts;
mod crowd;
mod forwarding;
#[allow(dead_code, reason = "the suite of the command line has policies of its own")]
mod guests;
mod harness;
mod leaks;
mod limits;
mod login;
mod misbehaving;
mod misdeeds;
mod mute;
mod outputs;
mod prepared;
mod rates;
mod refusals;
mod relay;
mod reloads;
mod replayed;
mod signatures;
mod stalls;
mod standing;
mod swaps;
mod terms;
mod together;

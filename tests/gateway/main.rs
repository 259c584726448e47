//! The gateway as its users meet it: started in this process on a port of its own, with real OpenSSH clients.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test that cannot go on should say so and stop"
)]

mod abi;
mod admin;
mod algorithms;
mod canary;
mod compiled;
mod counts;
mod credentials;
mod crowd;
#[allow(dead_code, reason = "the suite of odd components uses the rest")]
#[path = "../fuzz/dice.rs"]
mod dice;
mod fleet;
mod forwarding;
#[allow(dead_code, reason = "the suite of the command line has policies of its own")]
mod guests;
mod harness;
mod late;
mod leaks;
mod limits;
mod login;
mod metrics;
mod misbehaving;
mod misdeeds;
mod mute;
#[allow(dead_code, reason = "the room of names uses the rest")]
#[path = "../../src/names/server_tests.rs"]
mod name_server;
mod names;
#[allow(dead_code, reason = "the suite of odd components uses the rest")]
#[path = "../odd/mod.rs"]
mod odd;
mod openapi;
mod operators;
mod outbound;
mod outputs;
mod page;
mod prepared;
mod rates;
#[allow(dead_code, reason = "the room of the fleet uses the rest")]
#[path = "../../src/fleet/server_tests.rs"]
mod redis;
mod refusals;
mod registry;
mod registry_server;
mod relay;
mod reloads;
mod replayed;
mod rollout;
mod signatures;
mod sockets;
mod stalls;
mod standing;
mod status;
mod stumbles;
mod swaps;
mod terminal;
mod terms;
mod together;
mod top;
mod upgrade;

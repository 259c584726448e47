//! `portreeve plugin`: what the author of a policy needs between the first line and the swap.
//!
//! Every command asks the policy where it would serve: the room `policy` loads components through
//! the gates of a swap and asks them on the path of a decision. This room reads what is to be
//! asked, and prints what came of it; it decides nothing. It must not know sockets or SSH.
//!
//! Invariant: what a command says of a component is what the gateway would do with it.

mod answer;
mod bench;
mod bindings;
mod cases;
mod check;
mod contract;
mod inspect;
mod language;
mod loading;
mod new;
mod project;
mod replay;
mod request;
mod run;
mod sign;
mod template;
mod toolchain;
mod verify;
mod wasi;
mod wit;
mod wrong;

use std::ffi::OsString;

pub use contract::Contract;
pub(crate) use run::fact;
pub use toolchain::{Making, perform};
pub(crate) use wrong::{fail, invalid};

use clap::Subcommand;

/// Tools for those who write policies.
#[derive(Subcommand)]
pub enum Plugin {
    /// Begin a policy: a project that builds, with cases that pass.
    New(new::New),
    /// Compile a policy and make a component of it.
    Build(toolchain::Build),
    /// Print the contract (WIT), or the adapter for WASI preview 1.
    Wit(wit::Wit),
    /// Show what a component is, or what changed between two.
    Inspect(inspect::Inspect),
    /// Send a component through every gate of a swap, without a gateway.
    Check(check::Check),
    /// Ask a policy the requests of case files, and compare its answers.
    Test(cases::Test),
    /// Ask a policy one request, and show what it did.
    Run(Box<run::Run>),
    /// Ask a policy every decision of an audit log again, and say what it would decide differently.
    Replay(replay::Replay),
    /// Measure what decisions of a policy cost, on the path of the server.
    Bench(bench::Bench),
    /// Sign a component, as `ssh-keygen -Y sign -n policy@portreeve` does.
    Sign(sign::Sign),
    /// Check the signature of a component, as `ssh-keygen -Y verify -n policy@portreeve` does.
    Verify(verify::Verify),
}

/// Does what the command says; the exit code is the answer.
pub async fn run(command: Plugin) -> u8 {
    match command {
        Plugin::New(command) => new::run(&command),
        Plugin::Build(command) => toolchain::run(&command),
        Plugin::Wit(command) => wit::run(&command),
        Plugin::Inspect(command) => inspect::run(command).await,
        Plugin::Check(command) => check::run(command).await,
        Plugin::Test(command) => cases::run(command).await,
        Plugin::Run(command) => run::run(*command).await,
        Plugin::Replay(command) => replay::run(command).await,
        Plugin::Bench(command) => bench::run(command).await,
        Plugin::Sign(command) => sign::run(&command),
        Plugin::Verify(command) => verify::run(&command),
    }
}

/// Whether a command line that was not understood asks a command of this room, or `explain`, for JSON.
pub(crate) fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let words = arguments.skip(1).take_while(|word| word != "--");
    let mut words = words.peekable();
    let command = words.peek().is_some_and(|word| word == "plugin" || word == "explain");
    command && words.any(|word| word == "--json")
}

/// What is wrong with such a command line.
pub(crate) fn misused(words: &str) -> String {
    let words = words.trim();
    let wrong = wrong::Wrong {
        words: words.strip_prefix("error: ").unwrap_or(words).to_owned(),
        file: None,
        line: None,
    };
    wrong.json()
}

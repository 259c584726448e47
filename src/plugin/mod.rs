//! `portreeve plugin`: what the author of a policy needs between the first line and the swap.
//!
//! Every command asks the policy where it would serve: the room `policy` loads components through
//! the gates of a swap and asks them on the path of a decision. This room reads what is to be
//! asked, and prints what came of it; it decides nothing. It must not know sockets or SSH.
//!
//! Invariant: what a command says of a component is what the gateway would do with it.

mod answer;
mod bindings;
mod build;
mod language;
mod new;
mod paint;
mod project;
mod request;
mod template;
mod test;

use clap::Subcommand;

/// Tools for those who write policies.
#[derive(Subcommand)]
pub enum Plugin {
    /// Begin a policy: a project that builds, with cases that pass.
    New(new::New),
    /// Compile a policy and make a component of it.
    Build(build::Build),
    /// Ask a policy the requests of case files, and compare its answers.
    Test(test::Test),
}

/// Does what the command says; the exit code is the answer.
pub async fn run(command: Plugin) -> u8 {
    match command {
        Plugin::New(command) => new::run(&command),
        Plugin::Build(command) => build::run(&command),
        Plugin::Test(command) => test::run(command).await,
    }
}

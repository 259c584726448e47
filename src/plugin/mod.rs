//! `portreeve plugin`: the tools of a policy author, from the first line to the swap.
//!
//! Every command runs a policy as the gateway would: the room `policy` loads components with the
//! checks of a swap and decides as for a client. This room reads the requests and prints the
//! results; it decides nothing. It must not know sockets or SSH.
//!
//! Invariant: a command says of a component exactly what the gateway would do with it.

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
mod pull;
mod push;
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

pub(crate) use cases::CaseFiles;
pub(crate) use run::fact;
pub(crate) use toolchain::{Making, perform};
pub(crate) use wrong::{fail, invalid};

use clap::Subcommand;

/// Write, build, test and sign policies.
#[derive(Subcommand)]
pub(crate) enum Plugin {
    /// Create a policy project that builds, with test cases that pass.
    New(new::New),
    /// Compile a policy to a component.
    Build(toolchain::Build),
    /// Print the contract (WIT), or the adapter for WASI preview 1.
    Wit(wit::Wit),
    /// Show what a component exports, imports and needs, or compare two.
    Inspect(inspect::Inspect),
    /// Check a component as a gateway would before a swap.
    Check(check::Check),
    /// Run a policy's test cases.
    Test(cases::Test),
    /// Ask a policy about one request, and show what it did.
    Run(Box<run::Run>),
    /// Replay the decisions in an audit log against a policy, and show what would change.
    Replay(replay::Replay),
    /// Measure how long a policy's decisions take in the gateway.
    Bench(bench::Bench),
    /// Sign a component, as `ssh-keygen -Y sign -n policy@portreeve` does.
    Sign(sign::Sign),
    /// Verify the signature of a component, as `ssh-keygen -Y verify -n policy@portreeve` does.
    Verify(verify::Verify),
    /// Push a component to a registry, with its signature.
    Push(push::Push),
    /// Pull a component from a registry, with its signature.
    Pull(pull::Pull),
}

/// Does what the command says; the exit code is the answer.
pub(crate) async fn run(command: Plugin) -> u8 {
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
        Plugin::Push(command) => push::run(command).await,
        Plugin::Pull(command) => pull::run(command).await,
    }
}

/// Whether a command line that was not understood asks a command of this room, `explain` or `import` for JSON.
pub(crate) fn wants_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let words = arguments.skip(1).take_while(|word| word != "--");
    let mut words = words.peekable();
    let command = words
        .peek()
        .is_some_and(|word| word == "plugin" || word == "explain" || word == "import");
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

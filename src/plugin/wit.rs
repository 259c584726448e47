//! `portreeve plugin wit`: prints the contract for compilers and editors that need it as a file.

use clap::Args;

use super::contract::Contract;
use super::toolchain::ADAPTER;
use crate::say::print;

/// Print the contract (WIT), or the adapter for WASI preview 1.
#[derive(Args)]
pub(crate) struct Wit {
    /// Version of the contract [default: the newest].
    #[arg(long, value_name = "VERSION", value_parser = contract, conflicts_with = "adapter")]
    contract: Option<Contract>,
    /// Print the adapter for WASI preview 1 as WebAssembly text, for `wasm-tools component new --adapt
    /// wasi_snapshot_preview1=FILE`.
    #[arg(long)]
    adapter: bool,
}

pub(super) fn run(command: &Wit) -> u8 {
    print(match command.adapter {
        true => ADAPTER,
        false => command.contract.unwrap_or_default().wit(),
    })
}

fn contract(word: &str) -> Result<Contract, String> {
    let known = Contract::WORDS.map(|(version, _)| version);
    let found = Contract::WORDS.into_iter().find(|(version, _)| *version == word);
    found
        .map(|(_, contract)| contract)
        .ok_or_else(|| format!("expected one of {}", known.join(", ")))
}

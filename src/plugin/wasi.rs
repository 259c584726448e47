//! `--wasi`, the same for every command that loads a component.

use clap::Args;

use crate::config::Wasi;

/// What WASI imports find.
#[derive(Args)]
pub(super) struct WasiFlags {
    /// How to treat WASI imports, as `wasi` in the configuration: `refuse` or `inert`.
    #[arg(long, value_name = "WORD", value_parser = word)]
    wasi: Option<Wasi>,
    /// Short for `--wasi inert`.
    #[arg(long, hide = true, conflicts_with = "wasi")]
    wasi_inert: bool,
}

impl WasiFlags {
    /// What was said, if anything was.
    pub(super) fn said(&self) -> Option<Wasi> {
        self.wasi.or(self.wasi_inert.then_some(Wasi::Inert))
    }
}

fn word(word: &str) -> Result<Wasi, String> {
    match word {
        "refuse" => Ok(Wasi::Refuse),
        "inert" => Ok(Wasi::Inert),
        _ => Err("expected `refuse` or `inert`".to_owned()),
    }
}

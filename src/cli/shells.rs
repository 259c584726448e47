//! What shells get: a script that completes the command line, what it asks for at each Tab, and the manual page.

use std::ffi::OsStr;

use clap::{CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_complete::env::{CompleteEnv, Shells};

use super::Cli;
use crate::say::{FAILED, fail, write};

/// What `portreeve completions` prints.
#[derive(Clone, Copy)]
pub(super) enum Printed {
    /// The completion script of this shell.
    Script(Shell),
    /// The manual page.
    Page,
}

impl ValueEnum for Printed {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Script(Shell::Bash),
            Self::Script(Shell::Elvish),
            Self::Script(Shell::Fish),
            Self::Script(Shell::PowerShell),
            Self::Script(Shell::Zsh),
            Self::Page,
        ]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        match self {
            Self::Script(shell) => shell.to_possible_value(),
            Self::Page => Some(clap::builder::PossibleValue::new("man").help("the manual page instead")),
        }
    }
}

/// Answers a script that asks what comes next, and ends the process; does nothing for everybody else.
pub(super) fn answer_script() {
    if std::env::var_os(VARIABLE).is_some_and(|shell| shell != OsStr::new("")) {
        CompleteEnv::with_factory(Cli::command)
            .var(VARIABLE)
            .bin(NAME)
            .completer(NAME)
            .complete();
    }
}

pub(super) fn show(what: Printed) -> u8 {
    match what {
        Printed::Script(shell) => script(shell),
        Printed::Page => page(),
    }
}

fn script(shell: Shell) -> u8 {
    let mut text = Vec::new();
    let shells = Shells::builtins();
    let written = match shells.completer(&shell.to_string()) {
        Some(completer) => completer.write_registration(VARIABLE, NAME, NAME, NAME, &mut text),
        None => return fail(FAILED, &format!("no completion script for {shell}")),
    };
    if let Err(error) = written {
        return fail(FAILED, &format!("cannot write the script: {error}"));
    }
    let command = Cli::command();
    let names = command.get_subcommands().filter(|one| !one.is_hide_set());
    let names: Vec<_> = names.map(clap::Command::get_name).collect();
    text.extend_from_slice(format!("# Asks portreeve itself at each Tab, for {}.\n", names.join(", ")).as_bytes());
    write(&text)
}

/// All commands on one page, as roff.
pub(super) fn page() -> u8 {
    let mut text = Vec::new();
    match clap_mangen::Man::new(Cli::command()).render(&mut text) {
        Ok(()) => write(&text),
        Err(error) => fail(FAILED, &format!("cannot write the manual page: {error}")),
    }
}

const NAME: &str = "portreeve";
/// The shell's name, set by the script alone.
const VARIABLE: &str = "PORTREEVE_COMPLETE";

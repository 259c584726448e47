//! The command line: what each command does and with which code it exits.

mod check;
mod serve;
mod shells;
mod signals;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::confined;
use crate::ctl::{self, Ctl};
use crate::explain::{self, Explain};
use crate::import::{self, Import};
use crate::logging::{self, Filter, Format, Lines};
use crate::outlet::Outlet;
use crate::password;
use crate::plugin::{self, Plugin};
use crate::policy;
use crate::registry;
use crate::say::{DONE, FAILED, INVALID, fail, print};
use crate::top::{self, Top};

/// An SSH server that only forwards ports. A WebAssembly policy decides every forward.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the gateway.
    Serve {
        /// Configuration file [default: the embedded one, which serves the current user].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Address to listen on instead of the configured ones; repeatable.
        #[arg(long, value_name = "ADDR")]
        listen: Vec<SocketAddr>,
        /// How log lines on standard error look.
        #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
        log_format: Format,
        /// Which lines to log: off, error, warn, info, debug or trace, or a list such as `info,policy=debug` [default: RUST_LOG, else info].
        #[arg(long, value_name = "LEVEL")]
        log_level: Option<Filter>,
    },
    /// Validate the configuration, keys and policies without opening a socket.
    Check {
        /// Configuration file [default: the embedded one].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Also say what would change in a gateway that runs with this configuration, and when it would apply.
        #[arg(long, value_name = "RUNNING")]
        diff: Option<PathBuf>,
        /// Print faults as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask the configured policy whether it would permit a forward, and why.
    Explain(Explain),
    /// Write, build, test and sign policies.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Inspect and control a running gateway.
    Ctl(Ctl),
    /// Watch a running gateway in the terminal: sessions, tunnels, rates, and each decision as it happens.
    Top(Top),
    /// Make a configuration from that of another server.
    #[command(subcommand)]
    Import(Import),
    /// Hash a password for `password-hash`: prompts on a terminal, else reads one line from standard input.
    HashPassword,
    /// Internal: the process that reads or compiles a component.
    #[command(name = confined::SUBCOMMAND, hide = true)]
    WorkForParent(confined::Order),
    /// Print a completion script for a shell.
    Completions {
        /// Shell to complete for.
        shell: shells::Printed,
    },
    /// Print the manual page, as roff.
    Man,
}

/// How long the end waits for who reads what was said.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the command of this process.
#[must_use]
pub fn run() -> ExitCode {
    shells::answer_script();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            if error.use_stderr() && plugin::wants_json(std::env::args_os()) {
                // As every other error of such a command.
                print(&plugin::misused(&error.to_string()));
            }
            return ExitCode::from(if error.use_stderr() { INVALID } else { DONE });
        }
    };
    // Nothing that serves waits for who reads the log.
    let (level, format) = match &cli.command {
        Command::Serve {
            log_level, log_format, ..
        } => (log_level.clone(), *log_format),
        _ => (None, Format::Text),
    };
    let serves = matches!(cli.command, Command::Serve { .. });
    let lines = serves.then(|| log_lines(format)).flatten();
    // A policy that is tried is heard in what the command prints.
    let filter = match &cli.command {
        // Its standard error is the answer to its parent.
        Command::WorkForParent(_) => "off",
        // The screen is its own.
        Command::Top(_) => "off",
        Command::Plugin(_) => "warn,policy=off,russh=off",
        _ => "info,russh=off",
    };
    #[cfg(feature = "otlp")]
    let export = match serves.then(crate::otlp::Export::from_environment).transpose() {
        Ok(export) => export,
        Err(error) => return ExitCode::from(fail(INVALID, &format!("OTEL_EXPORTER_OTLP_*: {error}"))),
    };
    #[cfg(feature = "otlp")]
    let also = export.as_ref().and_then(crate::otlp::Export::lines);
    #[cfg(not(feature = "otlp"))]
    let also = None;
    logging::start(filter, level, format, lines.as_ref(), also);
    let code = match cli.command {
        Command::Completions { shell } => shells::show(shell),
        Command::Man => shells::page(),
        Command::WorkForParent(order) => work(&order),
        Command::HashPassword => password::run(),
        Command::Serve { config, listen, .. } => {
            let log = serve::Log {
                lines: lines.as_ref(),
                format,
            };
            within_runtime(serve::run(config, listen, log))
        }
        Command::Check { config, diff, json } => within_runtime(check::run(config, diff, json)),
        Command::Explain(question) => within_runtime(explain::run(question)),
        Command::Plugin(command) => within_runtime(plugin::run(command)),
        Command::Ctl(asked) => within_runtime(ctl::run(asked)),
        Command::Top(asked) => within_runtime(top::run(asked)),
        Command::Import(command) => within_runtime(import::run(command)),
    };
    if let Some(lines) = lines {
        lines.flush(LAST_WORDS);
    }
    ExitCode::from(code)
}

/// The log of a gateway, by a thread; where the system gives none, it is written by who logs.
fn log_lines(format: Format) -> Option<Lines> {
    let outlet = Outlet::standard(io::stderr().as_fd()).ok()?;
    Lines::start("log", outlet, format).ok()
}

fn work(order: &confined::Order) -> u8 {
    if let Some(work) = policy::Work::ordered(order) {
        return confined::serve(order, move |input| policy::perform(work, &input));
    }
    if registry::is_ordered(order) {
        return confined::serve(order, |input| registry::perform(&input));
    }
    match plugin::Making::ordered(order) {
        Some(making) => confined::serve(order, move |input| plugin::perform(making, input)),
        None => fail(INVALID, "this command is internal to portreeve"),
    }
}

fn within_runtime(command: impl Future<Output = u8>) -> u8 {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(command);
            runtime.shutdown_background();
            code
        }
        Err(error) => fail(FAILED, &format!("cannot start: {error}")),
    }
}

//! The command line: what each command does and with which code it exits.

mod signals;

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;

use self::signals::{Order, Signals};
use crate::config::{AuditFile, Config, Faults};
use crate::confined;
use crate::ctl::{self, Ctl};
use crate::embedded::Embedded;
use crate::explain::{self, Explain};
use crate::gateway::{self, Gateway, Origin, Prepared, StartError};
use crate::logging::{self, Lines};
use crate::origin::origin;
use crate::outlet::Outlet;
use crate::password;
use crate::plugin::{self, Plugin};
use crate::policy::{self, Installed};
use crate::say::{DONE, FAILED, INVALID, UNBOUND, fail, invalid, plain, print, shown, write};
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
    },
    /// Validate the configuration, keys and policies without opening a socket.
    Check {
        /// Configuration file [default: the embedded one].
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
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
    /// Hash a password for `password-hash`: prompts on a terminal, else reads one line from standard input.
    HashPassword,
    /// Internal: the process that reads or compiles a component.
    #[command(name = confined::SUBCOMMAND, hide = true)]
    WorkForParent(confined::Order),
    /// Print a completion script for a shell.
    Completions {
        /// Shell to complete for.
        shell: Shell,
    },
}

/// How long the end waits for who reads what was said.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Runs the command of this process.
#[must_use]
pub fn run() -> ExitCode {
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
    let lines = matches!(cli.command, Command::Serve { .. }).then(log_lines).flatten();
    // A policy that is tried is heard in what the command prints.
    let filter = match &cli.command {
        // Its standard error is the answer to its parent.
        Command::WorkForParent(_) => "off",
        // The screen is its own.
        Command::Top(_) => "off",
        Command::Plugin(_) => "warn,policy=off,russh=off",
        _ => "info,russh=off",
    };
    logging::start(filter, lines.as_ref());
    let code = match cli.command {
        Command::Completions { shell } => completions(shell),
        Command::WorkForParent(order) => work(&order),
        Command::HashPassword => password::run(),
        Command::Serve { config, listen } => within_runtime(serve(config, listen, lines.as_ref())),
        Command::Check { config, json } => within_runtime(check(config, json)),
        Command::Explain(question) => within_runtime(explain::run(question)),
        Command::Plugin(command) => within_runtime(plugin::run(command)),
        Command::Ctl(asked) => within_runtime(ctl::run(asked)),
        Command::Top(asked) => within_runtime(top::run(asked)),
    };
    if let Some(lines) = lines {
        lines.flush(LAST_WORDS);
    }
    ExitCode::from(code)
}

/// The log of a gateway, by a thread; where the system gives none, it is written by who logs.
fn log_lines() -> Option<Lines> {
    let outlet = Outlet::standard(io::stderr().as_fd()).ok()?;
    Lines::start("log", outlet).ok()
}

fn work(order: &confined::Order) -> u8 {
    if let Some(work) = policy::Work::ordered(order) {
        return confined::serve(order, move |input| policy::perform(work, &input));
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

fn completions(shell: Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "portreeve", &mut script);
    write(&script)
}

async fn serve(config: Option<PathBuf>, listen: Vec<SocketAddr>, log: Option<&Lines>) -> u8 {
    let welcome = match &config {
        None => match Embedded::new(listen.clone()) {
            Ok(embedded) => Some(embedded),
            Err(faults) => return invalid(&faults),
        },
        Some(_) => None,
    };
    // Before anything serves, so that a signal that comes early is not missed.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(FAILED, &format!("cannot listen for signals: {error}")),
    };
    let started = match origin(config, listen) {
        Ok(origin) => Gateway::start(origin).await,
        Err(faults) => return invalid(&faults),
    };
    let gateway = match started {
        Ok(gateway) => gateway,
        Err(StartError::Invalid(faults)) => return invalid(&faults),
        Err(error @ StartError::Bind { .. }) => return fail(UNBOUND, &error.to_string()),
        Err(error @ StartError::Admin(_)) => return fail(UNBOUND, &error.to_string()),
        Err(error @ (StartError::Audit(_) | StartError::Locks(_) | StartError::Threads(_))) => {
            return fail(FAILED, &error.to_string());
        }
    };
    let mut text = String::new();
    for address in gateway.addresses() {
        text.push_str(&format!("portreeve listens on {address}\n"));
    }
    if let (Some(welcome), Some(address)) = (welcome, gateway.addresses().first()) {
        text.push('\n');
        text.push_str(&welcome.commands(*address));
    }
    // Where the audit log is on standard output, nothing else may be.
    let words = match gateway.audit_file() {
        AuditFile::Stdout => log.cloned(),
        AuditFile::Path(_) => Outlet::standard(io::stdout().as_fd())
            .and_then(|outlet| Lines::start("words", outlet))
            .ok(),
    };
    if let Some(words) = &words {
        words.add(shown(&text).as_bytes());
    }
    let code = obey(signals, &gateway).await;
    if let Some(words) = words {
        words.flush(LAST_WORDS);
    }
    code
}

/// Reloads when told, until told to stop.
async fn obey(mut signals: Signals, gateway: &Gateway) -> u8 {
    loop {
        tokio::select! {
            order = signals.next() => match order {
                Order::Reload => gateway.reload_in_background(),
                Order::Stop => break,
            },
            () = gateway.asked_to_drain() => break,
        }
    }
    let stops_again = async { while signals.next().await != Order::Stop {} };
    tokio::select! {
        () = gateway.drain() => return DONE,
        () = stops_again => {}
    }
    gateway.abandon().await;
    FAILED
}

async fn check(config: Option<PathBuf>, json: bool) -> u8 {
    let checked = match origin(config, Vec::new()) {
        Ok(origin) => match origin.load() {
            Ok(config) => whole(config, &*origin).await,
            Err(faults) => Err(faults),
        },
        Err(faults) => Err(faults),
    };
    match checked {
        Ok(prepared) => print(&report(&prepared, json)),
        Err(faults) if json => {
            let text = serde_json::to_string_pretty(&serde_json::json!({ "ok": false, "faults": faults.faults }));
            print(&(text.unwrap_or_default() + "\n"));
            INVALID
        }
        Err(faults) => invalid(&faults),
    }
}

/// The configuration prepared, or all that keeps a gateway from its start.
async fn whole(config: Config, origin: &dyn Origin) -> Result<Prepared, Faults> {
    let file = origin.file();
    let mut missing = gateway::missing(&config, file);
    match Prepared::new(config, file).await {
        Ok(prepared) if missing.is_empty() => {
            prepared.keeps_to(origin.invariants(), file).await?;
            Ok(prepared)
        }
        Ok(_) => Err(Faults {
            file: file.to_owned(),
            faults: missing,
        }),
        Err(mut faults) => {
            faults.faults.append(&mut missing);
            Err(faults)
        }
    }
}

fn report(prepared: &Prepared, json: bool) -> String {
    let generation = &prepared.generation;
    let keys: Vec<_> = prepared.host_keys.fingerprints().collect();
    if json {
        let policies: Vec<_> = generation.installed().collect();
        let value = serde_json::json!({ "ok": true, "policies": policies, "host-keys": keys });
        return format!("{value:#}\n");
    }
    let mut text = "the configuration is valid\n".to_owned();
    for key in keys {
        text.push_str(&format!("host key {key}\n"));
    }
    for Installed { policy, signer } in generation.installed() {
        let digest = policy.sha256.get(..12).unwrap_or_default();
        let signed =
            signer.map(|signer| format!(", signed by {} with {}", plain(&signer.principal), signer.fingerprint));
        text.push_str(&format!(
            "policy {} {} (sha256 {digest}…{})\n",
            plain(&policy.name),
            plain(&policy.version),
            signed.unwrap_or_default()
        ));
    }
    text
}

//! The command line: what each command does and with which code it exits.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::config::{self, Config, Draft, Faults};
use crate::confined;
use crate::embedded::Embedded;
use crate::explain::{self, Explain};
use crate::gateway::{Gateway, Origin, Prepared, StartError};
use crate::password;
use crate::plugin::{self, Plugin};
use crate::policy::{self, Installed};
use crate::request::printable;

/// An SSH server that only forwards ports, every forward decided by a WebAssembly policy.
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
        /// The configuration; without it the embedded default serves the current user.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Listen here instead of the configured addresses; may be given several times.
        #[arg(long, value_name = "ADDR")]
        listen: Vec<SocketAddr>,
    },
    /// Validate configuration, keys and policies without opening a socket.
    Check {
        /// The configuration; without it the embedded default is checked.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// Print the faults as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Ask the configured policy: may this be forwarded, and why?
    Explain(Explain),
    /// Tools for those who write policies.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Hash a password for `password-hash`: asked for on a terminal, or the first line of standard input.
    HashPassword,
    /// What this program starts to read or compile a component; not for people.
    #[command(name = confined::SUBCOMMAND, hide = true)]
    WorkForParent(confined::Order),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
}

/// Done, or allowed.
pub(crate) const DONE: u8 = 0;
/// It was tried and failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage or invalid configuration.
pub(crate) const INVALID: u8 = 2;
/// An address cannot be listened on.
const UNBOUND: u8 = 3;

/// The answer is deny.
pub(crate) const DENIED: u8 = 10;
/// The policy failed to decide.
pub(crate) const UNDECIDED: u8 = 11;

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
    // A policy that is tried is heard in what the command prints.
    start_logging(match &cli.command {
        // Its standard error is the answer to its parent.
        Command::WorkForParent(_) => "off",
        Command::Plugin(_) => "warn,policy=off,russh=off",
        _ => "info,russh=off",
    });
    let code = match cli.command {
        Command::Completions { shell } => completions(shell),
        Command::WorkForParent(order) => work(&order),
        Command::HashPassword => password::run(),
        Command::Serve { config, listen } => within_runtime(serve(config, listen)),
        Command::Check { config, json } => within_runtime(check(config, json)),
        Command::Explain(question) => within_runtime(explain::run(question)),
        Command::Plugin(command) => within_runtime(plugin::run(command)),
    };
    ExitCode::from(code)
}

/// Logs go to stderr; `RUST_LOG` filters them, `NO_COLOR` and a pipe take the colour.
fn start_logging(filter: &str) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(colour)
        .init();
}

fn work(order: &confined::Order) -> u8 {
    if let Some(work) = policy::Work::ordered(order) {
        return confined::serve(order, move |input| policy::perform(work, &input));
    }
    match plugin::Making::ordered(order) {
        Some(making) => confined::serve(order, move |input| plugin::perform(making, input)),
        None => fail(INVALID, "this command is not for people"),
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

pub(crate) fn fail(code: u8, words: &str) -> u8 {
    let _ = writeln!(io::stderr(), "portreeve: {}", lines(words));
    code
}

pub(crate) fn invalid(faults: &Faults) -> u8 {
    let _ = writeln!(io::stderr(), "{}", lines(&faults.to_string()));
    INVALID
}

/// What somebody else wrote, on one line and without anything that a terminal would obey.
pub(crate) fn plain(text: &str) -> String {
    printable(text, usize::MAX)
}

/// The same line by line: the program itself puts one fault on each.
fn lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(plain).collect();
    lines.join("\n")
}

pub(crate) fn print(text: &str) -> u8 {
    match write!(io::stdout().lock(), "{text}") {
        Ok(()) => DONE,
        Err(_) => FAILED,
    }
}

fn completions(shell: Shell) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "portreeve", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// A configuration file.
struct FromFile {
    path: PathBuf,
    listen: Vec<SocketAddr>,
}

impl Origin for FromFile {
    fn file(&self) -> &Path {
        &self.path
    }

    fn load(&self) -> Result<Config, Faults> {
        Ok(self.listening(config::load(&self.path)?))
    }

    fn draft(&self) -> Result<Draft, Faults> {
        let Draft { config, settings_files } = config::draft(&self.path)?;
        Ok(Draft {
            config: self.listening(config),
            settings_files,
        })
    }
}

impl FromFile {
    fn listening(&self, mut config: Config) -> Config {
        if !self.listen.is_empty() {
            config.server.listen.clone_from(&self.listen);
        }
        config
    }
}

/// The file, or the embedded default.
pub(crate) fn origin(config: Option<PathBuf>, listen: Vec<SocketAddr>) -> Result<Box<dyn Origin>, Faults> {
    match config {
        Some(path) => Ok(Box::new(FromFile { path, listen })),
        None => Ok(Box::new(Embedded::new(listen)?)),
    }
}

async fn serve(config: Option<PathBuf>, listen: Vec<SocketAddr>) -> u8 {
    let welcome = match &config {
        None => match Embedded::new(listen.clone()) {
            Ok(embedded) => Some(embedded),
            Err(faults) => return invalid(&faults),
        },
        Some(_) => None,
    };
    // Before anything serves, so that a signal that comes early is not missed.
    let Some(signals) = Signals::listen() else {
        return fail(FAILED, "cannot listen for signals");
    };
    let started = match origin(config, listen) {
        Ok(origin) => Gateway::start(origin).await,
        Err(faults) => return invalid(&faults),
    };
    let gateway = match started {
        Ok(gateway) => gateway,
        Err(StartError::Invalid(faults)) => return invalid(&faults),
        Err(error @ StartError::Bind { .. }) => return fail(UNBOUND, &error.to_string()),
        Err(error @ (StartError::Audit(_) | StartError::Threads(_))) => return fail(FAILED, &error.to_string()),
    };
    let mut text = String::new();
    for address in gateway.addresses() {
        text.push_str(&format!("portreeve listens on {address}\n"));
    }
    if let (Some(welcome), Some(address)) = (welcome, gateway.addresses().first()) {
        text.push('\n');
        text.push_str(&welcome.commands(*address));
    }
    print(&text);
    signals.obey(&gateway).await
}

/// SIGHUP reloads; SIGTERM or SIGINT drains, and a second one exits at once.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn listen() -> Option<Self> {
        Some(Self {
            hangup: signal(SignalKind::hangup()).ok()?,
            terminate: signal(SignalKind::terminate()).ok()?,
            interrupt: signal(SignalKind::interrupt()).ok()?,
        })
    }

    async fn obey(mut self, gateway: &Gateway) -> u8 {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    gateway.reload_in_background();
                }
                _ = self.terminate.recv() => break,
                _ = self.interrupt.recv() => break,
            }
        }
        tokio::select! {
            () = gateway.drain() => return DONE,
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        gateway.abandon().await;
        FAILED
    }
}

async fn check(config: Option<PathBuf>, json: bool) -> u8 {
    let checked = match origin(config, Vec::new()) {
        Ok(origin) => match origin.load() {
            Ok(config) => Prepared::new(config, origin.file()).await,
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

//! `portreeve serve`: runs the gateway, does what signals and administrators ask for, and says so to a service manager.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::pin::pin;

use super::LAST_WORDS;
use super::signals::{Order, Signals};
use crate::config::AuditFile;
use crate::embedded::Embedded;
use crate::gateway::{Gateway, StartError};
use crate::handover::{Predecessor, Program, Sockets, activated};
use crate::logging::{Format, Lines};
use crate::notify::{self, Fact};
use crate::origin::origin;
use crate::outlet::Outlet;
use crate::say::{DONE, FAILED, INVALID, UNBOUND, fail, invalid, shown};

/// The log for operators.
#[derive(Clone, Copy)]
pub(super) struct Log<'a> {
    pub(super) lines: Option<&'a Lines>,
    pub(super) format: Format,
}

impl Log<'_> {
    /// Says why the command fails, and where the log has one object a line, as such a line; gives the code back.
    fn fail(self, code: u8, words: &str, say: impl FnOnce() -> u8) -> u8 {
        match self.format {
            Format::Text => say(),
            Format::Json => {
                tracing::error!("{words}");
                code
            }
        }
    }
}

/// Serves until told to stop; returns the exit code.
pub(super) async fn run(config: Option<PathBuf>, listen: Vec<SocketAddr>, log: Log<'_>) -> u8 {
    // Before anything else: the name that it was started by may lead elsewhere later.
    let program = Program::started();
    // Before anything serves, so that a signal that comes early is not missed.
    let signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return failed(log, FAILED, &format!("cannot listen for signals: {error}")),
    };
    let (predecessor, sockets) = match Predecessor::greet() {
        Ok(Some((predecessor, sockets))) => (Some(predecessor), sockets),
        Ok(None) => match activated() {
            Ok(sockets) => (None, sockets),
            Err(error) => {
                return failed(
                    log,
                    UNBOUND,
                    &format!("cannot take the sockets of the service manager: {error}"),
                );
            }
        },
        Err(words) => return failed(log, FAILED, &words),
    };
    let processes = predecessor.as_ref().map(Predecessor::processes).unwrap_or_default();
    let (gateway, welcome) = match start(config, listen, sockets, &processes).await {
        Ok(started) => started,
        Err(error) => {
            let code = unstarted(&error, log);
            if let Some(predecessor) = predecessor {
                predecessor.failed(&error.to_string());
            }
            return code;
        }
    };
    let words = announce(&gateway, welcome.as_ref(), log);
    notify::tell(Fact::Serves);
    if let Some(predecessor) = predecessor {
        gateway.take_over(predecessor);
    }
    let code = obey(signals, &gateway, program.as_ref()).await;
    if let Some(words) = words {
        words.flush(LAST_WORDS);
    }
    code
}

async fn start(
    config: Option<PathBuf>,
    listen: Vec<SocketAddr>,
    sockets: Sockets,
    processes: &[u32],
) -> Result<(Gateway, Option<Embedded>), StartError> {
    let welcome = match &config {
        None => Some(Embedded::new(listen.clone())?),
        Some(_) => None,
    };
    let origin = origin(config, listen)?;
    let gateway = Gateway::start_with(origin, sockets, processes).await?;
    Ok((gateway, welcome))
}

fn unstarted(error: &StartError, log: Log<'_>) -> u8 {
    let words = error.to_string();
    match error {
        StartError::Invalid(faults) => log.fail(INVALID, &words, || invalid(faults)),
        StartError::Bind { .. } | StartError::Admin(_) => failed(log, UNBOUND, &words),
        StartError::Audit(_) | StartError::Locks(_) | StartError::Threads(_) => failed(log, FAILED, &words),
    }
}

fn failed(log: Log<'_>, code: u8, words: &str) -> u8 {
    log.fail(code, words, || fail(code, words))
}

/// Says where it listens; returns what the words go through.
fn announce(gateway: &Gateway, welcome: Option<&Embedded>, log: Log<'_>) -> Option<Lines> {
    let mut text = String::new();
    for address in gateway.addresses() {
        text.push_str(&format!("portreeve listens on {address}\n"));
    }
    if let Some(address) = gateway.admin().http {
        text.push_str(&format!("monitoring is on http://{address}\n"));
    }
    if let (Some(welcome), Some(address)) = (welcome, gateway.addresses().first()) {
        text.push('\n');
        text.push_str(&welcome.commands(*address));
    }
    // Where the audit log is on standard output, nothing else may be.
    let words = match gateway.audit_file() {
        AuditFile::Stdout if log.format == Format::Json => {
            tracing::info!(listen = ?gateway.addresses(), "portreeve listens");
            None
        }
        AuditFile::Stdout => log.lines.cloned(),
        AuditFile::Path(_) => Outlet::standard(io::stdout().as_fd())
            .and_then(|outlet| Lines::start("words", outlet, Format::Text))
            .ok(),
    };
    if let Some(words) = &words {
        words.add(shown(&text).as_bytes());
    }
    words
}

/// Reloads and upgrades when told, until told to stop.
async fn obey(mut signals: Signals, gateway: &Gateway, program: Option<&Program>) -> u8 {
    let replaced = Cell::new(false);
    let mut retiring = pin!(async {
        let by = gateway.replaced().await;
        replaced.set(true);
        notify::tell(Fact::Replaced { by });
        gateway.retire().await;
    });
    // A service manager sends its signal to a gateway, too, that an administrator told to drain before: that is its first one.
    let mut more_stops = loop {
        tokio::select! {
            order = signals.next() => match order {
                Order::Reload => gateway.reload_in_background(),
                Order::Upgrade => upgrade(gateway, program.filter(|_| !replaced.get())),
                Order::Stop => break 1,
            },
            () = gateway.asked_to_drain() => break 2,
            () = &mut retiring => return DONE,
        }
    };
    // The service manager hears of the main process only.
    if !replaced.get() {
        notify::tell(Fact::Stops);
    }
    let stops_again = async {
        loop {
            match signals.next().await {
                Order::Stop if more_stops == 1 => return,
                Order::Stop => more_stops -= 1,
                Order::Upgrade => tracing::warn!("upgrade refused: this gateway is stopping"),
                Order::Reload => {}
            }
        }
    };
    tokio::select! {
        () = gateway.drain() => return DONE,
        () = stops_again => {}
    }
    gateway.abandon().await;
    FAILED
}

fn upgrade(gateway: &Gateway, program: Option<&Program>) {
    match program {
        Some(program) => gateway.upgrade_in_background(program),
        None => tracing::warn!("upgrade refused: send SIGUSR2 to the process that accepts connections"),
    }
}

//! `portreeve ctl`: the client of a running gateway's control socket.
//!
//! It sends one request, prints the answer for people or, with `--json`, unchanged, and exits with the program's codes. It must not
//! know how a gateway is built: it shows only what the socket returns.

mod client;
mod table;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::config;
use crate::gateway::control_socket;
use crate::request::{Action, printable};
use crate::say::{DONE, FAILED, INVALID, UNANSWERED, fail, print};
use client::{Answer, Failure};

/// Inspect and control a running gateway.
#[derive(Args)]
pub struct Ctl {
    /// Control socket of the gateway [default: the configured one, else the standard path].
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
    /// Configuration file to take `admin.socket` from.
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "socket")]
    config: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the gateway's state and its current policies.
    Status,
    /// List open tunnels.
    Tunnels(Wanted),
    /// List open listeners.
    Listeners(Wanted),
    /// Follow the audit log: print each event as it happens.
    Events {
        #[command(flatten)]
        wanted: Wanted,
        /// Only those with this action: connect, listen or accept.
        #[arg(long, value_name = "A")]
        action: Option<Action>,
        /// Only those that this policy decided; give its configured name.
        #[arg(long, value_name = "P")]
        plugin: Option<String>,
    },
    /// Close the tunnels and listeners that match every given filter.
    Close {
        /// Only the tunnel or listener with this id.
        #[arg(long, value_name = "F")]
        tunnel: Option<String>,
        /// Only those of this session.
        #[arg(long, value_name = "S")]
        session: Option<String>,
        /// Only those of this user.
        #[arg(long, value_name = "U")]
        user: Option<String>,
        /// Only those to this target: a network, or a pattern with `*`, as in `*.db.internal` or `unix:/run/*`.
        #[arg(long, value_name = "T")]
        target: Option<String>,
        /// Reason to record in the audit log.
        #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
        reason: Option<String>,
        /// Only show what would be closed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Reload the configuration, keys and policies, as SIGHUP does.
    Reload,
    /// Stop accepting connections, wait for tunnels to end, then exit, as SIGTERM does.
    Drain {
        /// How long to wait for tunnels, as in `10m` [default: `limits.drain-timeout`].
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        timeout: Option<u64>,
    },
}

#[derive(Args)]
struct Wanted {
    /// Only those of this user.
    #[arg(long, value_name = "U")]
    user: Option<String>,
    /// Only those of this session.
    #[arg(long, value_name = "S")]
    session: Option<String>,
    /// Only those to this target: a network, or a pattern with `*`.
    #[arg(long, value_name = "T")]
    target: Option<String>,
}

fn seconds(text: &str) -> Result<u64, String> {
    config::duration(text)
        .map(|time| time.as_secs())
        .map_err(|error| error.to_string())
}

/// Sends the request, prints the answer and returns the exit code.
pub async fn run(asked: Ctl) -> u8 {
    let path = match socket(&asked) {
        Ok(path) => path,
        Err(words) => return say(INVALID, &words, asked.json),
    };
    if let Command::Events { wanted, action, plugin } = &asked.command {
        let mut query = wanted.query();
        query.extend(action.map(|action| ("action", action.as_str())));
        query.extend(plugin.as_deref().map(|plugin| ("plugin", plugin)));
        return follow(&path, &query, asked.json).await;
    }
    let answer = match &asked.command {
        Command::Events { .. } => return DONE,
        Command::Status => client::get(&path, "/v1/status", &[]).await,
        Command::Tunnels(wanted) => client::get(&path, "/v1/tunnels", &wanted.query()).await,
        Command::Listeners(wanted) => client::get(&path, "/v1/listeners", &wanted.query()).await,
        Command::Close {
            tunnel,
            session,
            user,
            target,
            reason,
            dry_run,
        } => {
            let body = json!({
                "tunnel": tunnel, "session": session, "user": user, "target": target,
                "reason": reason, "dry_run": dry_run,
            });
            client::post(&path, "/v1/close", &body).await
        }
        Command::Reload => client::post(&path, "/v1/reload", &json!({})).await,
        Command::Drain { timeout } => client::post(&path, "/v1/drain", &json!({ "timeout": timeout })).await,
    };
    match answer {
        Ok(Answer { ok: true, body }) if asked.json => print(&format!("{body:#}\n")),
        Ok(Answer { ok: true, body }) => print(&table::shown(&asked.command, &body)),
        Ok(Answer { body, .. }) => {
            let words = body
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or("no reason was given");
            say(FAILED, &printable(words, MAX_WORDS), asked.json)
        }
        Err(failure) => failed(&path, failure, asked.json),
    }
}

fn failed(path: &Path, failure: Failure, json: bool) -> u8 {
    match failure {
        Failure::Unanswered(words) => {
            let words = format!("no gateway answers on {}: {words}", path.display());
            say(UNANSWERED, &words, json)
        }
        Failure::Refused(words) => say(FAILED, &printable(&words, MAX_WORDS), json),
        Failure::Garbled(words) => say(FAILED, &format!("cannot read the answer: {words}"), json),
    }
}

/// Prints events until the gateway or the reader is gone. If the connection ends, it reconnects and continues where it was.
async fn follow(path: &Path, query: &[(&str, &str)], json: bool) -> u8 {
    let mut last = None;
    loop {
        let mut code = None;
        let read = client::events(path, query, &mut last, |told| {
            let line = match json {
                true => format!("{}\n", told.data),
                false => table::event(&told.name, &told.data),
            };
            code = Some(print(&line)).filter(|code| *code != DONE);
            code.is_none()
        });
        let read = read.await;
        match (code, read) {
            (Some(code), _) => return code,
            (None, Ok(())) => tokio::time::sleep(PAUSE).await,
            (None, Err(failure)) => return failed(path, failure, json),
        }
    }
}

/// Programs get an object on standard output, people a sentence on standard error.
fn say(code: u8, words: &str, json: bool) -> u8 {
    if !json {
        return fail(code, words);
    }
    match print(&format!("{:#}\n", json!({ "error": words }))) {
        DONE => code,
        unprinted => unprinted,
    }
}

fn socket(asked: &Ctl) -> Result<PathBuf, String> {
    if let Some(path) = &asked.socket {
        return Ok(path.clone());
    }
    let named = match &asked.config {
        Some(file) => config::load(file).map_err(|faults| faults.to_string())?.admin.socket,
        None => None,
    };
    let path = named.or_else(control_socket);
    path.ok_or_else(|| "no home directory: set HOME, or give the control socket with --socket".to_owned())
}

impl Wanted {
    fn query(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("user", &self.user),
            ("session", &self.session),
            ("target", &self.target),
        ];
        let said = all
            .into_iter()
            .filter_map(|(key, value)| Some((key, value.as_deref()?)));
        said.collect()
    }
}

const MAX_WORDS: usize = 4096;
/// Before a connection that ended is made again.
const PAUSE: Duration = Duration::from_millis(250);

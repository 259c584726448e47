//! `portreeve ctl`: the client of a running gateway's control socket.
//!
//! It sends one request, prints the answer for people or, with `--json`, unchanged, and exits with the program's codes. It must not
//! know how a gateway is built: it shows only what the socket returns.

pub(crate) mod client;
mod complete;
mod policy;
mod table;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::config;
use crate::request::{Action, printable};
use crate::say::{DONE, FAILED, INVALID, UNANSWERED, fail, print};
use client::{Failure, Response};

pub(crate) use table::time;

/// Inspect and control a running gateway.
#[derive(Args)]
pub(crate) struct Ctl {
    /// Control socket of the gateway [default: the configured one, else the standard path].
    #[arg(long, value_name = "PATH", global = true)]
    socket: Option<PathBuf>,
    /// Configuration file to take `admin.socket` from.
    #[arg(long, value_name = "FILE", global = true, conflicts_with = "socket")]
    config: Option<PathBuf>,
    /// Print the answer as JSON.
    #[arg(long, global = true)]
    json: bool,
    /// All gateways of the fleet: for status, sessions, tunnels, listeners, events, close, lock and unlock.
    #[arg(long, global = true)]
    fleet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the gateway's state and its current policies.
    Status,
    /// List open sessions.
    Sessions {
        /// Only those of this user.
        #[arg(long, value_name = "U", add = complete::users())]
        user: Option<String>,
        /// Only the session with this id.
        #[arg(long, value_name = "S", add = complete::sessions())]
        session: Option<String>,
        #[command(flatten)]
        again: Again,
    },
    /// List open tunnels.
    Tunnels {
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        again: Again,
    },
    /// List open listeners.
    Listeners {
        #[command(flatten)]
        wanted: Wanted,
        #[command(flatten)]
        again: Again,
    },
    /// Follow the audit log: print each event as it happens.
    Events {
        #[command(flatten)]
        wanted: Wanted,
    },
    /// Close the tunnels and listeners that match every given filter; `--session` alone ends that session.
    Close {
        /// Only the tunnel or listener with this id.
        #[arg(long, value_name = "F", add = complete::forwards())]
        tunnel: Option<String>,
        /// Only those of this session.
        #[arg(long, value_name = "S", add = complete::sessions())]
        session: Option<String>,
        /// Only those of this user.
        #[arg(long, value_name = "U", add = complete::users())]
        user: Option<String>,
        /// Only those to this target: a network, or a pattern with `*`, as in `*.db.internal` or `unix:/run/*`.
        #[arg(long, value_name = "T")]
        target: Option<String>,
        /// Only those that this policy decided; give its configured name.
        #[arg(long, value_name = "P", add = complete::plugins())]
        plugin: Option<String>,
        /// Reason to record in the audit log.
        #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
        reason: Option<String>,
        /// Only show what would be closed.
        #[arg(long)]
        dry_run: bool,
    },
    /// Lock a user out: end what they have open, and let them log in no more.
    Lock {
        /// The user.
        #[arg(add = complete::users())]
        user: String,
        /// Reason to record in the audit log and to tell the user.
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// How long, as in `1h` [default: until `unlock`].
        #[arg(long = "for", value_name = "TIME", value_parser = seconds)]
        time: Option<u64>,
    },
    /// Let a locked user log in again.
    Unlock {
        /// The user.
        #[arg(add = complete::locked())]
        user: String,
    },
    /// List locked users.
    Locks,
    /// Load, prove and take back policies.
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Reload the configuration, keys and policies, as SIGHUP does.
    Reload {
        /// Read and check everything, apply nothing, and say what would change.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show which lines the gateway logs, or change that until it ends.
    LogLevel {
        /// off, error, warn, info, debug or trace, or a list such as `info,policy=debug`.
        #[arg(value_name = "LEVEL|FILTER")]
        filter: Option<String>,
    },
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
    #[arg(long, value_name = "U", add = complete::users())]
    user: Option<String>,
    /// Only those of this session.
    #[arg(long, value_name = "S", add = complete::sessions())]
    session: Option<String>,
    /// Only those to this target: a network, or a pattern with `*`.
    #[arg(long, value_name = "T")]
    target: Option<String>,
    /// Only those with this action: connect, listen or accept.
    #[arg(long, value_name = "A")]
    action: Option<Action>,
    /// Only those that this policy decided; give its configured name.
    #[arg(long, value_name = "P", add = complete::plugins())]
    plugin: Option<String>,
}

#[derive(Args)]
struct Again {
    /// Show the list again every second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

fn seconds(text: &str) -> Result<u64, String> {
    config::duration(text)
        .map(|time| time.as_secs())
        .map_err(|error| error.to_string())
}

/// Sends the request, prints the answer and returns the exit code.
pub(crate) async fn run(asked: Ctl) -> u8 {
    let path = match client::socket(asked.socket.as_deref(), asked.config.as_deref()) {
        Ok(path) => path,
        Err(words) => return say(INVALID, &words, asked.json),
    };
    if asked.fleet && !asked.command.is_of_fleet() {
        let words = "--fleet is for status, sessions, tunnels, listeners, events, close, lock and unlock";
        return say(INVALID, words, asked.json);
    }
    if let Command::Events { wanted } = &asked.command {
        return follow(&path, &with(asked.fleet, wanted.query()), asked.json).await;
    }
    loop {
        let code = once(&asked, &path).await;
        if code != DONE || !asked.command.is_watched() {
            return code;
        }
        tokio::time::sleep(EACH).await;
    }
}

/// Asks once.
async fn once(asked: &Ctl, path: &Path) -> u8 {
    match send(&asked.command, asked.fleet, path).await {
        Ok(Response { ok: true, body }) => {
            let shown = match asked.json {
                true => format!("{body:#}\n"),
                false if asked.fleet => table::of_fleet(&asked.command, &body),
                false => table::shown(&asked.command, &body),
            };
            // On a terminal each list takes the place of the one before.
            let clear = asked.command.is_watched() && !asked.json && std::io::stdout().is_terminal();
            let printed = print(&format!("{}{shown}", if clear { CLEAR } else { "" }));
            match missing(&body).as_slice() {
                [] => printed,
                missing => fail(FAILED, &format!("no answer from {}", missing.join(", "))),
            }
        }
        Ok(Response { body, .. }) => {
            let words = body
                .get("error")
                .and_then(Value::as_str)
                .unwrap_or("no reason was given");
            let lines: Vec<_> = words.lines().map(|line| printable(line, MAX_WORDS)).collect();
            say(FAILED, &lines.join("\n"), asked.json)
        }
        Err(failure) => failed(path, failure, asked.json),
    }
}

async fn send(command: &Command, fleet: bool, path: &Path) -> Result<Response, Failure> {
    let lock = |user: &str| format!("/v1/locks/{}", client::escaped(user));
    match command {
        Command::Events { wanted } => client::get(path, "/v1/events", &wanted.query()).await,
        Command::Status => client::get(path, "/v1/status", &with(fleet, Vec::new())).await,
        Command::Sessions { user, session, .. } => {
            let query = said([("user", user), ("session", session)]);
            client::get(path, "/v1/sessions", &with(fleet, query)).await
        }
        Command::Tunnels { wanted, .. } => client::get(path, "/v1/tunnels", &with(fleet, wanted.query())).await,
        Command::Listeners { wanted, .. } => client::get(path, "/v1/listeners", &with(fleet, wanted.query())).await,
        Command::Close {
            tunnel,
            session,
            user,
            target,
            plugin,
            reason,
            dry_run,
        } => {
            let body = json!({
                "tunnel": tunnel, "session": session, "user": user, "target": target, "plugin": plugin,
                "reason": reason, "dry_run": dry_run,
            });
            client::post(path, "/v1/close", &everywhere(body, fleet)).await
        }
        Command::Lock { user, reason, time } => {
            let body = json!({ "reason": reason, "for": time });
            client::put(path, &lock(user), &everywhere(body, fleet)).await
        }
        Command::Unlock { user } if fleet => client::delete(path, &format!("{}?fleet=true", lock(user))).await,
        Command::Unlock { user } => client::delete(path, &lock(user)).await,
        Command::Locks => client::get(path, "/v1/locks", &[]).await,
        Command::Policy(policy) => policy.send(path).await,
        Command::Reload { dry_run: false } => client::post(path, "/v1/reload", &json!({})).await,
        Command::Reload { dry_run: true } => client::post(path, "/v1/reload", &json!({ "dry_run": true })).await,
        Command::LogLevel { filter: None } => client::get(path, "/v1/log-level", &[]).await,
        Command::LogLevel { filter } => client::put(path, "/v1/log-level", &json!({ "filter": filter })).await,
        Command::Drain { timeout } => client::post(path, "/v1/drain", &json!({ "timeout": timeout })).await,
    }
}

fn with<'a>(fleet: bool, mut query: Vec<(&'static str, &'a str)>) -> Vec<(&'static str, &'a str)> {
    query.extend(fleet.then_some(("fleet", "true")));
    query
}

/// For all gateways. One that is older does not know the key, so it is left out otherwise.
fn everywhere(mut body: Value, fleet: bool) -> Value {
    if let Some(body) = body.as_object_mut().filter(|_| fleet) {
        body.insert("fleet".to_owned(), true.into());
    }
    body
}

/// The gateways of a fleet that did not answer.
fn missing(body: &Value) -> Vec<String> {
    let missing = body.get("missing").and_then(Value::as_array).into_iter().flatten();
    let names = missing.filter_map(Value::as_str);
    names.map(|name| printable(name, MAX_NAME)).collect()
}

impl Command {
    /// Whether all gateways can be told or asked.
    fn is_of_fleet(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::Sessions { .. }
                | Self::Tunnels { .. }
                | Self::Listeners { .. }
                | Self::Events { .. }
                | Self::Close { .. }
                | Self::Lock { .. }
                | Self::Unlock { .. }
        )
    }

    fn is_watched(&self) -> bool {
        match self {
            Self::Sessions { again, .. } | Self::Tunnels { again, .. } | Self::Listeners { again, .. } => again.watch,
            _ => false,
        }
    }
}

/// Says why nothing usable came back; the code of that.
pub(crate) fn failed(path: &Path, failure: Failure, json: bool) -> u8 {
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

impl Wanted {
    fn query(&self) -> Vec<(&'static str, &str)> {
        let mut query = said([
            ("user", &self.user),
            ("session", &self.session),
            ("target", &self.target),
            ("plugin", &self.plugin),
        ]);
        query.extend(self.action.map(|action| ("action", action.as_str())));
        query
    }
}

/// What was given.
fn said<'a, const COUNT: usize>(all: [(&'static str, &'a Option<String>); COUNT]) -> Vec<(&'static str, &'a str)> {
    let given = all
        .into_iter()
        .filter_map(|(key, value)| Some((key, value.as_deref()?)));
    given.collect()
}

const MAX_WORDS: usize = 4096;
/// Of a gateway.
const MAX_NAME: usize = 64;
/// Before a connection that ended is made again.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two lists.
const EACH: Duration = Duration::from_secs(1);
/// ECMA-48: to the upper left corner, and nothing below.
const CLEAR: &str = "\u{1b}[H\u{1b}[J";

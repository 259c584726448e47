//! What the shell offers for an argument that names something of a running gateway: asked of its control socket.
//!
//! A gateway that does not answer at once is not waited for, and nothing is said of it: the line of the user stays as it is.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::time::Duration;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use serde_json::Value;
use tokio::time::timeout;

use super::client::{self, Response};
use crate::request::printable;

/// Users who have a session.
pub(super) fn users() -> ArgValueCompleter {
    of("/v1/sessions", |session| Some((word(session, "user")?, String::new())))
}

/// Users who are locked out.
pub(super) fn locked() -> ArgValueCompleter {
    of("/v1/locks", |lock| Some((word(lock, "user")?, told(lock, "reason"))))
}

/// Sessions.
pub(super) fn sessions() -> ArgValueCompleter {
    of("/v1/sessions", |session| {
        let whose = format!("{} from {}", told(session, "user"), told(session, "client"));
        Some((word(session, "session")?, whose))
    })
}

/// Tunnels and listeners.
pub(super) fn forwards() -> ArgValueCompleter {
    let shown = |forward: &Value| {
        let what = format!("{} to {}", told(forward, "user"), told(forward, "effective"));
        Some((word(forward, "forward")?, what))
    };
    ArgValueCompleter::new(move |current: &OsStr| {
        let mut found = candidates("/v1/tunnels", current, &shown);
        found.extend(candidates("/v1/listeners", current, &shown));
        found
    })
}

/// Policies by their configured names.
pub(super) fn plugins() -> ArgValueCompleter {
    of("/v1/policies", |policy| Some((word(policy, "plugin")?, String::new())))
}

fn of(path: &'static str, shown: fn(&Value) -> Option<(String, String)>) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| candidates(path, current, &shown))
}

/// What fits of a list of the gateway: each value once, with what it is.
fn candidates(
    path: &str,
    current: &OsStr,
    shown: &impl Fn(&Value) -> Option<(String, String)>,
) -> Vec<CompletionCandidate> {
    let Some(begun) = current.to_str() else {
        return Vec::new();
    };
    let mut found: Vec<_> = ask(path).iter().filter_map(shown).collect();
    found.retain(|(value, _)| value.starts_with(begun));
    found.sort();
    found.dedup_by(|one, other| one.0 == other.0);
    found.truncate(MOST);
    let candidate = |(value, what): (String, String)| {
        let what = Some(what).filter(|what| !what.is_empty());
        CompletionCandidate::new(value).help(what.map(Into::into))
    };
    found.into_iter().map(candidate).collect()
}

/// A list; empty where nothing usable comes back in time.
fn ask(path: &str) -> Vec<Value> {
    let (named, config) = named(std::env::args_os());
    let Ok(socket) = client::socket(named.as_deref(), config.as_deref()) else {
        return Vec::new();
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else {
        return Vec::new();
    };
    let asked = runtime.block_on(async { timeout(PATIENCE, client::get(&socket, path, &[])).await });
    match asked {
        Ok(Ok(Response {
            ok: true,
            body: Value::Array(all),
        })) => all,
        _ => Vec::new(),
    }
}

/// The values of `--socket` and `--config` on the line that is being completed.
fn named(line: impl Iterator<Item = OsString>) -> (Option<PathBuf>, Option<PathBuf>) {
    let (mut socket, mut config) = (None, None);
    let mut words = line.peekable();
    while let Some(word) = words.next() {
        for (option, place) in [("--socket", &mut socket), ("--config", &mut config)] {
            if word == option {
                *place = words.peek().map(PathBuf::from);
            } else if let Some(value) = word
                .to_str()
                .and_then(|word| word.strip_prefix(option)?.strip_prefix('='))
            {
                *place = Some(PathBuf::from(value));
            }
        }
    }
    (socket, config)
}

/// A value that can be typed and means the same when it is: names of users may have other characters, and are not offered.
fn word(value: &Value, key: &str) -> Option<String> {
    let word = value.get(key)?.as_str()?;
    let is_plain = |one: char| one.is_ascii_alphanumeric() || "._-@+/".contains(one);
    let plain = !word.is_empty() && !word.starts_with('-') && word.chars().all(is_plain);
    plain.then(|| word.to_owned())
}

fn told(value: &Value, key: &str) -> String {
    printable(value.get(key).and_then(Value::as_str).unwrap_or_default(), MAX_WORDS)
}

/// The user waits with a hand on the keyboard.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than this is of no use to a person.
const MOST: usize = 200;
const MAX_WORDS: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gateway_is_the_one_that_the_line_names() {
        #[rustfmt::skip]
        let table: [(&[&str], Option<&str>, Option<&str>); 6] = [
            (&["portreeve", "ctl", "close", "--user", ""],                   None,         None),
            (&["portreeve", "ctl", "--socket", "/a", "close", "--user", ""], Some("/a"),   None),
            (&["portreeve", "ctl", "--socket=/a", "close"],                  Some("/a"),   None),
            (&["portreeve", "ctl", "--config", "c.toml", "close"],           None,         Some("c.toml")),
            (&["portreeve", "ctl", "close", "--config=c.toml"],              None,         Some("c.toml")),
            (&["portreeve", "ctl", "--socket"],                              None,         None),
        ];
        for (line, socket, config) in table {
            let found = named(line.iter().map(OsString::from));
            assert_eq!(
                found,
                (socket.map(PathBuf::from), config.map(PathBuf::from)),
                "{line:?}"
            );
        }
    }

    #[test]
    fn a_value_is_offered_if_the_shell_reads_it_as_it_is() {
        for (name, offered) in [
            ("alice", true),
            ("alice@EXAMPLE.COM", true),
            ("s-01J", true),
            ("", false),
            ("-rf", false),
            ("a b", false),
            ("$(id)", false),
            ("a\u{1b}[2J", false),
        ] {
            assert_eq!(
                word(&serde_json::json!({ "user": name }), "user").is_some(),
                offered,
                "{name:?}"
            );
        }
    }
}

//! `portreeve.toml`: the keys that say what an `sshd_config` says of the server.

mod algorithms;
mod limits;
mod listen;
mod logins;

pub(crate) use self::logins::patterns_of;

use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::keys::KeyFile;
use super::note::{Kind, Notes, Wrong};
use super::people::People;
use super::rules::Ruleset;
use super::sshd::{Directive, Sshd, Use, flag, text_of};
use crate::config::GatewayPorts;

/// A configuration as text, and the files that belong to it.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    /// `portreeve.toml`.
    pub(crate) text: String,
    /// Files beside it: names below the folder, and what is in them.
    pub(crate) files: Vec<(PathBuf, String)>,
}

/// What a configuration is made of.
pub(crate) struct From<'a> {
    /// The imported configuration.
    pub(crate) sshd: &'a Sshd,
    /// The rules that are made of it.
    pub(crate) rules: &'a Ruleset,
    /// The imported keys.
    pub(crate) keys: &'a [KeyFile],
    /// Users with their groups.
    pub(crate) people: &'a People,
}

/// Makes the configuration.
///
/// # Errors
/// What cannot be written in any way that is not less strict.
pub(crate) fn settings(from: &From<'_>, notes: &mut Notes) -> Result<Settings, Wrong> {
    unused(from.sshd, notes);
    let mut page = Page::default();
    let name = from.sshd.default_place().file.display().to_string();
    page.comment(&format!(
        "Made from {name} by `portreeve import sshd`. Each block names the lines that it comes from."
    ));
    page.comment("Every key with its default and meaning: examples/complete.toml. Check it with `portreeve check --config FILE`.");
    listen::server(from.sshd, notes, &mut page);
    forwarding(from, &mut page);
    let files = logins::auth(from, notes, &mut page)?;
    logins::users(from, notes, &mut page);
    policy(&mut page);
    algorithms::algorithms(from.sshd, notes, &mut page);
    floors(from.sshd, notes, &mut page);
    limits::limits(from, notes, &mut page);
    page.section("audit");
    page.comment("\"-\" is standard output; better a file such as /var/log/portreeve/audit.jsonl");
    page.key("file", "\"-\"");
    Ok(Settings { text: page.0, files })
}

/// TOML, line by line.
#[derive(Default)]
struct Page(String);

impl Page {
    fn comment(&mut self, words: &str) {
        let _ = writeln!(self.0, "# {}", words.replace(char::is_control, " "));
    }

    fn section(&mut self, name: &str) {
        let _ = write!(self.0, "\n[{name}]\n");
    }

    fn key(&mut self, name: &str, value: &str) {
        let _ = writeln!(self.0, "{name} = {value}");
    }

    /// A key, and above it the line that it comes from.
    fn from(&mut self, line: &Directive, name: &str, value: &str) {
        self.source(line);
        self.key(name, value);
    }

    fn source(&mut self, line: &Directive) {
        self.comment(&format!("{}: {}", line.place, line.text()));
    }
}

/// Notes on keywords that become nothing.
fn unused(sshd: &Sshd, notes: &mut Notes) {
    for line in &sshd.directives {
        let name = line.keyword.name;
        match line.keyword.use_ {
            Use::NoMeaning(why) => notes.add(Kind::NoMeaningHere, &line.place, name, why),
            Use::Deprecated => notes.add(Kind::NoMeaningHere, &line.place, name, "sshd itself ignores it"),
            // Off, as it is here.
            Use::Unsaid(_) if name == "KbdInteractiveAuthentication" && flag(line.first()) == Ok(false) => {}
            Use::Unsaid(instead) => notes.unsaid(&line.place, name, instead),
            Use::Mapped if name == "ForceCommand" => {
                let words = "no command is ever run, and users can forward, as they can with sshd";
                notes.add(Kind::NoMeaningHere, &line.place, name, words);
            }
            Use::Mapped => {}
        }
    }
    for keyword in ONE_FOR_ALL {
        for (_, line) in sshd.scoped(keyword) {
            notes.unsaid(
                &line.place,
                keyword,
                "one value holds for all: the one outside of Match blocks is used",
            );
        }
    }
}

fn forwarding(from: &From<'_>, page: &mut Page) {
    page.section("forwarding");
    page.comment("What is off here is off for everyone; what is on is decided by rules.toml.");
    for keyword in [
        "AllowTcpForwarding",
        "AllowStreamLocalForwarding",
        "DisableForwarding",
        "GatewayPorts",
    ] {
        from.sshd.all(keyword).for_each(|line| page.source(line));
    }
    let switches = from.rules.switches;
    page.key("local", &switches.local.to_string());
    page.key("remote", &switches.remote.to_string());
    page.key("local-sockets", &switches.local_sockets.to_string());
    page.key("remote-sockets", &switches.remote_sockets.to_string());
    let gateway_ports = match switches.gateway_ports {
        GatewayPorts::No => "no",
        GatewayPorts::Yes => "yes",
        GatewayPorts::ClientSpecified => "client-specified",
    };
    page.key("gateway-ports", &quoted(gateway_ports));
}

fn policy(page: &mut Page) {
    page.0.push_str(
        "\n[[policy.plugin]]\n# The first rule that matches decides; what no rule matches is denied.\nname = \"rules\"\n\
         component = \"builtin:rules\"\nsettings-file = \"rules.toml\"\n",
    );
}

/// Written out, because `sshd` has none of it.
fn floors(sshd: &Sshd, notes: &mut Notes, page: &mut Page) {
    page.section("floors");
    page.comment("No rule can permit these. sshd permitted them: shorten the list if users need one.");
    page.key(
        "deny",
        "[\"169.254.0.0/16\", \"fe80::/10\", \"224.0.0.0/4\", \"ff00::/8\", \"0.0.0.0/8\", \"::/128\", \"255.255.255.255/32\"]",
    );
    page.key("own-listeners", "true");
    page.key("privileged-listen-ports", "false");
    notes.stricter(
        &sshd.default_place(),
        "floors",
        "no forward reaches link-local addresses (with the metadata services of clouds), multicast, or the gateway's own ports; \
         nobody listens below port 1024: see `[floors]`",
    );
}

/// Seconds as a duration of the configuration.
fn duration(seconds: u64) -> String {
    let (number, unit) = match seconds {
        0 => return quoted("0"),
        _ if seconds.is_multiple_of(DAY) => (seconds / DAY, "d"),
        _ if seconds.is_multiple_of(3600) => (seconds / 3600, "h"),
        _ if seconds.is_multiple_of(60) => (seconds / 60, "m"),
        _ => (seconds, "s"),
    };
    quoted(&format!("{number}{unit}"))
}

/// A text as TOML has it.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.replace('\n', "\u{0}"))
        .to_string()
        .replace("\\u0000", "\\n")
}

/// A list of texts.
pub(crate) fn list(texts: &[String]) -> String {
    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
    format!("[{}]", texts.join(", "))
}

/// The path of a file that a keyword names, as sshd would open it.
fn absolute(text: &str) -> PathBuf {
    std::path::absolute(text).unwrap_or_else(|_| Path::new(text).to_owned())
}

/// Says what a file lacks that the configuration names.
fn expect_file(path: &Path, line: &Directive, notes: &mut Notes) {
    if let Err(words) = text_of(path) {
        let words = format!(
            "{}: {words}; `portreeve check` fails until the gateway can read it",
            path.display()
        );
        notes.add(Kind::NotOnThisMachine, &line.place, line.keyword.name, words);
    }
}

/// Whether a keyword is switched on, or by default.
fn is_on(sshd: &Sshd, keyword: &'static str, default: bool) -> bool {
    sshd.global(keyword)
        .map_or(default, |line| flag(line.first()).unwrap_or(default))
}

const DAY: u64 = 24 * 60 * 60;
const YEAR: u64 = 365 * DAY;

/// Keywords that may stand in a Match block, while portreeve has one value.
const ONE_FOR_ALL: [&str; 7] = [
    "Banner",
    "ClientAliveCountMax",
    "ClientAliveInterval",
    "MaxAuthTries",
    "RekeyLimit",
    "StreamLocalBindUnlink",
    "UnusedConnectionTimeout",
];

//! The values of keywords, as OpenSSH's `servconf.c` reads them (`a2port`, `convtime` and `hpdelim` of its `misc.c`).

use super::{Directive, Sshd};
use crate::import::note::Wrong;

/// Which directions `AllowTcpForwarding` and `AllowStreamLocalForwarding` permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Forwards {
    /// Connections for the client.
    pub(crate) local: bool,
    /// Listeners for the client.
    pub(crate) remote: bool,
}

/// A host of `PermitOpen` or `PermitListen`, without brackets.
pub(crate) type Host = String;

/// What `PermitOpen` or `PermitListen` permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Permits {
    /// Everything.
    Any,
    /// Nothing.
    Nothing,
    /// These hosts with these ports; no port: any.
    Listed(Vec<(Host, Option<u16>)>),
}

/// `yes` or `no`.
///
/// # Errors
/// If it is neither.
pub(crate) fn flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => Err(format!("`{text}` is neither `yes` nor `no`")),
    }
}

/// A value of `AllowTcpForwarding` or `AllowStreamLocalForwarding`.
///
/// # Errors
/// If it is none.
pub(crate) fn forwards(text: &str) -> Result<Forwards, String> {
    let (local, remote) = match text.to_ascii_lowercase().as_str() {
        "yes" | "all" => (true, true),
        "no" => (false, false),
        "local" => (true, false),
        "remote" => (false, true),
        _ => return Err(format!("`{text}` is none of yes, no, all, local, remote")),
    };
    Ok(Forwards { local, remote })
}

/// A time such as `90`, `2m` or `1h30m`, in seconds (`convtime`).
///
/// # Errors
/// If it is none.
pub(crate) fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no time: write it as 90, 2m or 1h30m");
    let mut total: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|one: char| !one.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit = after.chars().next();
        let factor = match unit.map(|unit| unit.to_ascii_lowercase()) {
            None | Some('s') => 1,
            Some('m') => 60,
            Some('h') => 60 * 60,
            Some('d') => 24 * 60 * 60,
            Some('w') => 7 * 24 * 60 * 60,
            Some(_) => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_| wrong())?;
        total = number
            .checked_mul(factor)
            .and_then(|more| total.checked_add(more))
            .ok_or_else(wrong)?;
        rest = after.get(unit.map_or(0, char::len_utf8)..).unwrap_or_default();
    }
    match text.is_empty() || total > i32::MAX as u64 {
        true => Err(wrong()),
        false => Ok(total),
    }
}

/// The arguments of `PermitOpen`, or of `PermitListen`, where a port alone is a port of any host.
///
/// # Errors
/// What is wrong with one of them.
pub(crate) fn permits(keyword: &str, arguments: &[String]) -> Result<Permits, String> {
    if let [word @ ("any" | "none")] = arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        return Ok(if *word == "any" { Permits::Any } else { Permits::Nothing });
    }
    let listed = arguments.iter().map(|text| match text.as_str() {
        "any" | "none" => Err(format!("`{text}` must stand alone")),
        port if keyword == "PermitListen" && !port.contains(':') => Ok(("*".to_owned(), port_or_any(port)?)),
        text => host_and_port(text),
    });
    listed.collect::<Result<_, _>>().map(Permits::Listed)
}

fn host_and_port(text: &str) -> Result<(Host, Option<u16>), String> {
    let wrong = || format!("`{text}` is no host with a port: write host:port or [v6]:port, where either may be `*`");
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').ok_or_else(wrong)?,
        None => text.split_at(text.find([':', '/']).ok_or_else(wrong)?),
    };
    let port = rest.strip_prefix(':').ok_or_else(wrong)?;
    Ok((host.to_owned(), port_or_any(port)?))
}

fn port_or_any(text: &str) -> Result<Option<u16>, String> {
    match text {
        "*" => Ok(None),
        _ => port(text).map(Some),
    }
}

/// `a2port`, without names of services.
fn port(text: &str) -> Result<u16, String> {
    let number = text.parse().ok().filter(|port: &u16| *port != 0);
    number.ok_or_else(|| format!("`{text}` is no port from 1 to 65535"))
}

/// An address of `ListenAddress`, and its port if it has one.
///
/// # Errors
/// If it is none.
fn listen_address(arguments: &[String]) -> Result<(Host, Option<u16>), String> {
    let text = match arguments {
        [address] => address,
        [address, word, _] if word.eq_ignore_ascii_case("rdomain") => address,
        _ => {
            return Err(
                "expected an address, with its port or without, and nothing but `rdomain NAME` after it".to_owned(),
            );
        }
    };
    // An IPv6 address without brackets, and so without a port.
    if !text.starts_with('[') && text.matches(':').count() > 1 {
        return Ok((text.clone(), None));
    }
    let (host, rest) = match text.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some(parts) => parts,
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(text) => Some(port(text)?),
        None if rest.is_empty() => None,
        None => return Err(format!("`{text}` is no address")),
    };
    Ok((host.to_owned(), port))
}

impl Sshd {
    /// Every port of `Port`, 22 if there is none.
    fn ports(&self) -> Vec<u16> {
        let ports: Vec<_> = self.all("Port").filter_map(|one| port(one.first()).ok()).collect();
        if ports.is_empty() { vec![22] } else { ports }
    }

    /// What is listened on, with the line that says so: a host as typed, or none for every address, and a port.
    pub(crate) fn listens(&self) -> Vec<(Option<&Directive>, Option<Host>, u16)> {
        let ports = self.ports();
        let named = self
            .all("ListenAddress")
            .filter_map(|line| Some((line, listen_address(&line.arguments).ok()?)));
        let named: Vec<_> = named
            .flat_map(|(line, (host, port))| {
                let ports = port.map_or_else(|| ports.clone(), |port| vec![port]);
                ports
                    .into_iter()
                    .map(move |port| (Some(line), Some(host.clone()), port))
            })
            .collect();
        if !named.is_empty() {
            return named;
        }
        let line = |port: &u16| self.all("Port").find(|line| line.first().parse() == Ok(*port));
        ports.iter().map(|port| (line(port), None, *port)).collect()
    }
}

/// Everything that OpenSSH would not take, of the keywords that are read further.
pub(super) fn check(found: &Sshd) -> Vec<Wrong> {
    let wrong = found.directives.iter().filter_map(|line| {
        let words = value(line).err()?;
        Some(Wrong {
            place: line.place.clone(),
            words: format!("{}: {words}", line.keyword.name),
        })
    });
    wrong.collect()
}

fn value(line: &Directive) -> Result<(), String> {
    let text = line.first();
    if SINGLE.contains(&line.keyword.name)
        && let Some(extra) = line.arguments.get(1)
    {
        return Err(format!("`{extra}` is one argument too many"));
    }
    match line.keyword.name {
        "AllowTcpForwarding" | "AllowStreamLocalForwarding" => forwards(text).map(drop),
        "DisableForwarding"
        | "PubkeyAuthentication"
        | "PasswordAuthentication"
        | "StreamLocalBindUnlink"
        | "StrictModes"
        | "UseDNS"
        | "RefuseConnection" => flag(text).map(drop),
        "GatewayPorts" => gateway_ports(text),
        "PermitOpen" | "PermitListen" => permits(line.keyword.name, &line.arguments).map(drop),
        "Port" => port(text).map(drop),
        "ListenAddress" => listen_address(&line.arguments).map(drop),
        "AddressFamily" => one_of(text, &["any", "inet", "inet6"]),
        "PermitRootLogin" => one_of(
            text,
            &[
                "yes",
                "no",
                "prohibit-password",
                "without-password",
                "forced-commands-only",
            ],
        ),
        "LoginGraceTime" | "ClientAliveInterval" => seconds(text).map(drop),
        "UnusedConnectionTimeout" if !text.eq_ignore_ascii_case("none") => seconds(text).map(drop),
        "MaxAuthTries" | "ClientAliveCountMax" => text
            .parse::<u32>()
            .map(drop)
            .map_err(|_| format!("`{text}` is no number")),
        "AllowUsers" | "DenyUsers" => line.arguments.iter().try_for_each(|one| user(one)),
        "AllowGroups" | "DenyGroups" => match line.arguments.iter().any(String::is_empty) {
            true => Err("a name is empty".to_owned()),
            false => Ok(()),
        },
        _ => Ok(()),
    }
}

fn gateway_ports(text: &str) -> Result<(), String> {
    one_of(text, &["yes", "no", "clientspecified"])
}

fn one_of(text: &str, words: &[&str]) -> Result<(), String> {
    match words.contains(&text.to_ascii_lowercase().as_str()) {
        true => Ok(()),
        false => Err(format!("`{text}` is none of {}", words.join(", "))),
    }
}

/// A pattern of `AllowUsers` (`match_user` in test mode).
fn user(text: &str) -> Result<(), String> {
    match text.rsplit_once('@') {
        _ if text.is_empty() => Err("a name is empty".to_owned()),
        Some((_, hosts)) => super::addresses(hosts).map(drop),
        None => Ok(()),
    }
}

/// Keywords with one argument.
const SINGLE: [&str; 20] = [
    "AddressFamily",
    "AllowStreamLocalForwarding",
    "AllowTcpForwarding",
    "Banner",
    "ClientAliveCountMax",
    "ClientAliveInterval",
    "DisableForwarding",
    "GatewayPorts",
    "HostKey",
    "LoginGraceTime",
    "MaxAuthTries",
    "PasswordAuthentication",
    "PermitRootLogin",
    "Port",
    "PubkeyAuthentication",
    "StreamLocalBindUnlink",
    "StrictModes",
    "TrustedUserCAKeys",
    "UnusedConnectionTimeout",
    "UseDNS",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_convtime_does() {
        for (text, expected) in [
            ("0", Some(0)),
            ("90", Some(90)),
            ("2m", Some(120)),
            ("1h30m", Some(5400)),
            ("1W", Some(604_800)),
            ("1h30", Some(3630)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("-1", None),
            ("99999999999", None),
        ] {
            assert_eq!(seconds(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn permitted_targets_are_read_as_hpdelim_does() {
        let listed = |host: &str, port| Some(Permits::Listed(vec![(host.to_owned(), port)]));
        #[rustfmt::skip]
        let table = [
            ("PermitOpen",   "any",                Some(Permits::Any)),
            ("PermitOpen",   "none",               Some(Permits::Nothing)),
            ("PermitOpen",   "db:5432",            listed("db", Some(5432))),
            ("PermitOpen",   "db:*",               listed("db", None)),
            ("PermitOpen",   "*:22",               listed("*", Some(22))),
            ("PermitOpen",   "[2001:db8::1]:443",  listed("2001:db8::1", Some(443))),
            ("PermitOpen",   "[/run/app.sock]:*",  listed("/run/app.sock", None)),
            ("PermitOpen",   "5432",               None),
            ("PermitOpen",   "db/5432",            None),
            ("PermitOpen",   "db:0",               None),
            ("PermitOpen",   "db:65536",           None),
            ("PermitOpen",   "2001:db8::1:443",    None),
            ("PermitOpen",   "[::1]443",           None),
            ("PermitListen", "8080",               listed("*", Some(8080))),
            ("PermitListen", "*",                  listed("*", None)),
            ("PermitListen", "localhost:8080",     listed("localhost", Some(8080))),
        ];
        for (keyword, text, expected) in table {
            assert_eq!(permits(keyword, &[text.to_owned()]).ok(), expected, "{keyword} {text}");
        }
        assert!(permits("PermitOpen", &["any".to_owned(), "db:1".to_owned()]).is_err());
    }

    #[test]
    fn an_address_to_listen_on_may_have_a_port() {
        for (text, expected) in [
            ("0.0.0.0", Some(("0.0.0.0", None))),
            ("10.0.0.1:2200", Some(("10.0.0.1", Some(2200)))),
            ("::", Some(("::", None))),
            ("[::1]:22", Some(("::1", Some(22)))),
            ("[::1]", Some(("::1", None))),
            ("bastion:22", Some(("bastion", Some(22)))),
            ("bastion:x", None),
        ] {
            let found = listen_address(&[text.to_owned()]).ok();
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(found, expected, "{text}");
        }
    }
}

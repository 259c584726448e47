//! Targets of `PermitOpen` and `PermitListen` as targets of a rule.
//!
//! OpenSSH compares a host with the text that the client sends, byte for byte (`open_match` and `remote_open_match` in
//! `channels.c`); a rule compares what that means. So another spelling of the same host is the same target here.

use std::net::IpAddr;

use super::sshd::Permits;
use crate::auth::matches;
use crate::config::GatewayPorts;
use crate::request::{Host, SocketPath};

/// What a list permits, as a rule has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Targets {
    /// `targets` of a rule.
    pub(crate) listed: Vec<String>,
    /// Entries that no rule permits, each with the reason.
    pub(crate) left_out: Vec<LeftOut>,
}

/// An entry that is not in the rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LeftOut {
    /// As it was typed, but for brackets.
    pub(crate) entry: String,
    /// Why.
    pub(crate) why: &'static str,
    /// Whether OpenSSH permits something by it.
    pub(crate) permitted: bool,
}

impl Targets {
    fn leave_out(&mut self, host: &str, port: Option<u16>, why: &'static str, permitted: bool) {
        let port = port.map_or_else(|| "*".to_owned(), |port| port.to_string());
        self.left_out.push(LeftOut {
            entry: format!("{host}:{port}"),
            why,
            permitted,
        });
    }

    fn list(&mut self, target: String) {
        if !self.listed.contains(&target) {
            self.listed.push(target);
        }
    }
}

/// What `PermitOpen` permits to connect to.
pub(crate) fn opened(permits: &Permits) -> Targets {
    let mut targets = Targets::default();
    let Permits::Listed(entries) = permits else {
        return targets;
    };
    for (host, port) in entries {
        match (host.as_str(), port) {
            ("*", port) => {
                targets.list(target("*", *port));
                // An entry for any host and any port is the only pattern that means sockets, too.
                if port.is_none() {
                    targets.list(EVERY_SOCKET.to_owned());
                }
            }
            (path, None) if path.starts_with('/') => match socket(path) {
                Some(socket) => targets.list(socket),
                None => targets.leave_out(path, None, "a rule cannot name this path of a socket", true),
            },
            (path, Some(_)) if path.starts_with('/') => {
                targets.leave_out(
                    path,
                    *port,
                    "a socket has no port, so sshd permits nothing by it: write `[/path]:*`",
                    false,
                );
            }
            (name, port) => match spelled(name) {
                Some(name) => targets.list(target(&name, *port)),
                None if name.contains(['*', '?']) => {
                    targets.leave_out(name, *port, "sshd knows no pattern here except a lone `*`, so it permits nothing by it; a rule can have one", false);
                }
                None => targets.leave_out(name, *port, "no client can ask for this host", false),
            },
        }
    }
    targets
}

/// What `PermitListen` permits to listen on. It names what the client asks for, a rule what is listened on then.
pub(crate) fn listened(permits: &Permits, gateway_ports: GatewayPorts) -> Targets {
    let mut targets = Targets::default();
    let Permits::Listed(entries) = permits else {
        return targets;
    };
    for (host, port) in entries {
        if host.chars().any(|one| one.is_ascii_uppercase()) {
            targets.leave_out(
                host,
                *port,
                "sshd compares requests in lower case, so it permits nothing by this",
                false,
            );
            continue;
        }
        match gateway_ports {
            _ if host == "*" => targets.list(target("*", *port)),
            GatewayPorts::Yes => targets.list(target("*", *port)),
            GatewayPorts::No => loopback(host)
                .into_iter()
                .for_each(|name| targets.list(target(name, *port))),
            GatewayPorts::ClientSpecified => match spelled(host).or_else(|| pattern(host)) {
                Some(name) => targets.list(target(&name, *port)),
                None => targets.leave_out(host, *port, "a rule cannot name this address to listen on", true),
            },
        }
    }
    targets
}

/// What is listened on, for a client that may ask for these: everything is loopback without gateway ports.
fn loopback(pattern: &str) -> Vec<&'static str> {
    match pattern {
        "127.0.0.1" => vec!["127.0.0.1"],
        "::1" => vec!["[::1]"],
        _ => {
            let both = [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")];
            let fitting = both
                .iter()
                .filter(|(text, _)| matches(pattern, text))
                .map(|(_, name)| *name);
            std::iter::once("localhost").chain(fitting).collect()
        }
    }
}

fn target(host: &str, port: Option<u16>) -> String {
    match port {
        Some(port) => format!("{host}:{port}"),
        None => format!("{host}:*"),
    }
}

/// A host as a rule names it, if it is a name or an address.
fn spelled(text: &str) -> Option<String> {
    if text.contains(['*', '?']) {
        return None;
    }
    match Host::parse(text).ok()? {
        Host::Any => None,
        Host::Name(name) => Some(name.as_str().to_owned()),
        Host::Address(IpAddr::V6(address)) => Some(format!("[{address}]")),
        Host::Address(address) => Some(address.to_string()),
    }
}

/// A pattern on names or IPv4 addresses that a rule can have.
fn pattern(text: &str) -> Option<String> {
    let fine = |one: char| one.is_ascii_alphanumeric() || matches!(one, '.' | '-' | '_' | '*' | '?');
    let wild = text.contains(['*', '?']) && text.chars().all(fine);
    (wild && !text.starts_with('.') && !text.contains("..") && !text.ends_with('.')).then(|| text.to_owned())
}

fn socket(path: &str) -> Option<String> {
    let path = SocketPath::parse(path).ok()?;
    let text = path.as_str();
    (!text.contains(['*', '?'])).then(|| format!("unix:{text}"))
}

/// Every socket, as a target of a rule.
pub(crate) const EVERY_SOCKET: &str = "unix:/**";
/// Every host and port.
pub(crate) const EVERY_HOST: &str = "*:*";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::import::sshd::permits;

    #[test]
    fn targets_of_permitopen_become_targets_of_a_rule() {
        #[rustfmt::skip]
        let table: [(&str, &[&str], bool); 11] = [
            ("db:5432",              &["db:5432"],             true),
            ("DB.:5432",             &["db:5432"],             true),
            ("db:*",                 &["db:*"],                true),
            ("*:22",                 &["*:22"],                true),
            ("*:*",                  &["*:*", "unix:/**"],     true),
            ("127.1:80",             &["127.0.0.1:80"],        true),
            ("[2001:db8::0:1]:443",  &["[2001:db8::1]:443"],   true),
            ("[/run/app.sock]:*",    &["unix:/run/app.sock"],  true),
            ("[/run/app.sock]:1",    &[],                      false),
            ("*.lan:80",             &[],                      false),
            ("db..x:80",             &[],                      false),
        ];
        for (text, expected, complete) in table {
            let found = opened(&permits("PermitOpen", &[text.to_owned()]).expect(text));
            assert_eq!(
                (found.listed.as_slice(), found.left_out.is_empty()),
                (expected.map_owned().as_slice(), complete),
                "{text}"
            );
        }
    }

    #[test]
    fn targets_of_permitlisten_are_what_is_listened_on() {
        use GatewayPorts::{ClientSpecified, No, Yes};
        #[rustfmt::skip]
        let table: [(&str, GatewayPorts, &[&str]); 11] = [
            ("8080",             No,               &["*:8080"]),
            ("localhost:8080",   No,               &["localhost:8080"]),
            ("127.0.0.1:8080",   No,               &["127.0.0.1:8080"]),
            ("[::1]:8080",       No,               &["[::1]:8080"]),
            ("127.0.0.?:8080",   No,               &["localhost:8080", "127.0.0.1:8080"]),
            ("0.0.0.0:8080",     No,               &["localhost:8080"]),
            ("localhost:8080",   Yes,              &["*:8080"]),
            ("localhost:8080",   ClientSpecified,  &["localhost:8080"]),
            ("10.0.*:*",         ClientSpecified,  &["10.0.*:*"]),
            ("LAN:8080",         ClientSpecified,  &[]),
            (":8080",            ClientSpecified,  &[]),
        ];
        for (text, gateway_ports, expected) in table {
            let found = listened(&permits("PermitListen", &[text.to_owned()]).expect(text), gateway_ports);
            assert_eq!(found.listed, expected, "{text} {gateway_ports:?}");
        }
    }

    trait Owned {
        fn map_owned(&self) -> Vec<String>;
    }

    impl Owned for &[&str] {
        fn map_owned(&self) -> Vec<String> {
            self.iter().map(|one| (*one).to_owned()).collect()
        }
    }
}

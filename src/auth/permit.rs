//! One `permitopen` and one `permitlisten` entry: what it names, and whether a request is that.
//!
//! The comparisons are OpenSSH's (`channels.c`, `open_match` and `remote_open_match`), down to what surprises people:
//! `permitopen` compares the host byte for byte with what the client sent, so `db`, `DB`, `db.` and its address are four
//! destinations; `permitlisten` is a pattern, compared with the lower-cased requested address.

use std::fmt;
use std::num::NonZeroU16;

use super::pattern;
use crate::request::{Host, SocketPath};

/// An entry of `permitopen`: a destination that a key may connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitOpen {
    host: String,
    port: Port,
}

/// An entry of `permitlisten`: an address and port that a key may listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PermitListen {
    host: String,
    port: Port,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Port {
    Any,
    Only(NonZeroU16),
}

/// What is wrong with an entry, and how it is written right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadPermit(pub(super) &'static str);

impl PermitOpen {
    /// `host:port`, `[v6]:port`; either may be `*`. OpenSSH also takes `host/port`.
    pub(super) fn parse(text: &str) -> Result<Self, BadPermit> {
        let (host, port) = host_and_port(text, &[':', '/'])?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    pub(super) fn permits_tcp(&self, host: &str, port: u16) -> bool {
        self.port.covers(port) && (self.host == ANY || self.host == host)
    }

    /// Why no request can be what this names, with a way to write it; OpenSSH takes such an entry, too.
    pub(super) fn never_matches(&self) -> Option<&'static str> {
        if self.host == ANY {
            return None;
        }
        if self.host.starts_with('/') {
            let named = SocketPath::parse(&self.host).is_ok();
            return match self.port {
                Port::Any if named => None,
                Port::Any => Some("not a socket path; write it without `.`, `..` and empty parts"),
                Port::Only(_) => Some("a socket has no port; write `[/path]:*`"),
            };
        }
        if self.host.contains(['*', '?']) {
            return Some("`permitopen` accepts no pattern except a lone `*`; write each host");
        }
        Host::parse(&self.host)
            .is_err()
            .then_some("clients cannot request this host; write a name or an address")
    }

    pub(super) fn permits_socket(&self, path: &str) -> bool {
        names_socket(&self.host, self.port, path)
    }
}

impl PermitListen {
    /// `port`, `host:port`, `[v6]:port`; the host is a pattern, a bare port means any host.
    pub(super) fn parse(text: &str) -> Result<Self, BadPermit> {
        if !text.contains(':') {
            return Ok(Self {
                host: ANY.to_owned(),
                port: Port::parse(text)?,
            });
        }
        let (host, port) = host_and_port(text, &[':'])?;
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    /// Port 0, "choose one for me", cannot be listed: only `*` covers it.
    pub(super) fn permits_tcp(&self, requested_host: &str, port: u16) -> bool {
        self.port.covers(port) && pattern::matches(&self.host, &requested_host.to_ascii_lowercase())
    }
}

impl PermitListen {
    /// As [`PermitOpen::never_matches`].
    pub(super) fn never_matches(&self) -> Option<&'static str> {
        let upper = self.host.bytes().any(|byte| byte.is_ascii_uppercase());
        upper.then_some("requests are compared in lower case; write this in lower case")
    }
}

impl Port {
    fn parse(text: &str) -> Result<Self, BadPermit> {
        if text == ANY {
            return Ok(Self::Any);
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadPermit(
                "write the port as a number from 1 to 65535, or `*`; an IPv6 address needs [brackets]",
            ));
        }
        text.parse()
            .map(Self::Only)
            .map_err(|_| BadPermit("expected a port from 1 to 65535, or `*`"))
    }

    fn covers(self, requested: u16) -> bool {
        match self {
            Self::Any => true,
            Self::Only(port) => port.get() == requested,
        }
    }
}

/// A socket has no port, so only an entry for any port can mean one; its host is `*` or the path itself, which can
/// only be written in brackets: `[/run/app.sock]:*`.
fn names_socket(host: &str, port: Port, path: &str) -> bool {
    port == Port::Any && (host == ANY || host == path)
}

fn host_and_port<'a>(text: &'a str, separators: &[char]) -> Result<(&'a str, Port), BadPermit> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed
                .split_once(']')
                .ok_or(BadPermit("close the bracket: `[address]:port`"))?;
            (host, rest.strip_prefix(separators))
        }
        None => text
            .split_once(separators)
            .map_or((text, None), |(host, port)| (host, Some(port))),
    };
    if host.len() > LONGEST_HOST {
        return Err(BadPermit("a host name may have at most 1024 bytes"));
    }
    let port = port.ok_or(BadPermit("write `host:port`, where either may be `*`"))?;
    Ok((host, Port::parse(port)?))
}

impl fmt::Display for PermitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_entry(f, &self.host, self.port)
    }
}

impl fmt::Display for PermitListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_entry(f, &self.host, self.port)
    }
}

fn write_entry(f: &mut fmt::Formatter<'_>, host: &str, port: Port) -> fmt::Result {
    match host.contains([':', '/']) {
        true => write!(f, "[{host}]:")?,
        false => write!(f, "{host}:")?,
    }
    match port {
        Port::Any => f.write_str(ANY),
        Port::Only(port) => write!(f, "{port}"),
    }
}

/// A whole host or a whole port; in `permitopen` there are no other patterns.
const ANY: &str = "*";

/// `NI_MAXHOST` without its terminating NUL.
const LONGEST_HOST: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permitopen_compares_what_the_client_sent_byte_for_byte() {
        #[rustfmt::skip]
        let table = [
            // entry                 host           port  permitted
            ("db:5432",              "db",          5432, true),
            ("db:5432",              "DB",          5432, false),
            ("db:5432",              "db.",         5432, false),
            ("db:5432",              "db",          5433, false),
            ("DB:5432",              "DB",          5432, true),
            ("DB:5432",              "db",          5432, false),
            ("localhost:80",         "localhost",   80,   true),
            ("localhost:80",         "127.0.0.1",   80,   false),
            ("localhost:80",         "::1",         80,   false),
            ("127.0.0.1:80",         "localhost",   80,   false),
            ("*:80",                 "anything",    80,   true),
            ("*:80",                 "",            80,   true),
            ("*:80",                 "anything",    81,   false),
            ("host:*",               "host",        1,    true),
            ("host:*",               "host",        0,    true),
            ("host:*",               "hosts",       1,    false),
            ("*:*",                  "::1",         22,   true),
            ("*.lan:80",             "a.lan",       80,   false),
            ("*.lan:80",             "*.lan",       80,   true),
            ("db?:80",               "db1",         80,   false),
            ("10.0.0.0:80",          "10.0.0.1",    80,   false),
            ("[::1]:80",             "::1",         80,   true),
            ("[::1]:80",             "[::1]",       80,   false),
            ("[::1]:80",             "0:0::1",      80,   false),
            ("db/5432",              "db",          5432, true),
            (":80",                  "",            80,   true),
            (":80",                  "db",          80,   false),
        ];
        for (entry, host, port, permitted) in table {
            let parsed = PermitOpen::parse(entry).expect(entry);
            assert_eq!(
                parsed.permits_tcp(host, port),
                permitted,
                "{entry} for {host:?} port {port}"
            );
        }
    }

    #[test]
    fn permitlisten_matches_a_pattern_against_the_lower_cased_request() {
        #[rustfmt::skip]
        let table = [
            // entry                 host           port  permitted
            ("8080",                 "localhost",   8080, true),
            ("8080",                 "",            8080, true),
            ("8080",                 "0.0.0.0",     8080, true),
            ("8080",                 "localhost",   8081, false),
            ("localhost:8080",       "localhost",   8080, true),
            ("localhost:8080",       "LocalHost",   8080, true),
            ("localhost:8080",       "localhost.",  8080, false),
            ("localhost:8080",       "127.0.0.1",   8080, false),
            ("localhost:8080",       "::1",         8080, false),
            ("localhost:8080",       "",            8080, false),
            ("LOCALHOST:8080",       "localhost",   8080, false),
            ("LOCALHOST:8080",       "LOCALHOST",   8080, false),
            ("127.0.0.?:8080",       "127.0.0.7",   8080, true),
            ("*.lan:8080",           "a.lan",       8080, true),
            ("*.lan:8080",           "a.b.LAN",     8080, true),
            ("*:8080",               "",            8080, true),
            ("[::1]:8080",           "::1",         8080, true),
            (":8080",                "",            8080, true),
            (":8080",                "localhost",   8080, false),
            ("localhost:*",          "localhost",   0,    true),
            ("localhost:*",          "localhost",   9,    true),
            ("*",                    "anything",    0,    true),
            ("*:1",                  "localhost",   0,    false),
        ];
        for (entry, host, port, permitted) in table {
            let parsed = PermitListen::parse(entry).expect(entry);
            assert_eq!(
                parsed.permits_tcp(host, port),
                permitted,
                "{entry} for {host:?} port {port}"
            );
        }
    }

    #[test]
    fn a_socket_is_listed_by_its_bracketed_path_and_any_port() {
        #[rustfmt::skip]
        let table = [
            ("[/run/app.sock]:*", "/run/app.sock", true),
            ("[/run/app.sock]:*", "/run/APP.sock", false),
            ("[/run/app.sock]:1", "/run/app.sock", false),
            ("[/run/*]:*",        "/run/app.sock", false),
            ("*:*",               "/run/app.sock", true),
            ("*:80",              "/run/app.sock", false),
            ("db:*",              "/run/app.sock", false),
        ];
        for (entry, path, permitted) in table {
            assert_eq!(
                PermitOpen::parse(entry).expect(entry).permits_socket(path),
                permitted,
                "open {entry} {path}"
            );
        }
    }

    #[test]
    fn an_entry_without_a_usable_port_is_refused() {
        let both = [
            "db:", "db:0", "db:65536", "db:-1", "db:+80", "db: 80", "db:http", "db:80-90", "::1:80", "[::1:80",
            "[::1]80", "db:**",
        ];
        for entry in both {
            assert!(PermitOpen::parse(entry).is_err(), "permitopen {entry:?}");
            assert!(PermitListen::parse(entry).is_err(), "permitlisten {entry:?}");
        }
        for entry in ["", "db", "80", "*", "[::1]", "/run/app.sock:*"] {
            assert!(PermitOpen::parse(entry).is_err(), "permitopen {entry:?}");
        }
        for entry in ["", "0", "db", "65536", "db/80"] {
            assert!(PermitListen::parse(entry).is_err(), "permitlisten {entry:?}");
        }
        assert!(PermitOpen::parse(&format!("{}:80", "a".repeat(1025))).is_err());
    }

    #[test]
    fn an_entry_that_nothing_can_match_is_known() {
        #[rustfmt::skip]
        let open = [
            ("db:5432",              None),
            ("DB.example.:5432",     None),
            ("*:*",                  None),
            ("[::1]:80",             None),
            ("[/run/app.sock]:*",    None),
            ("*.lan:80",             Some("write each host")),
            ("db?:80",               Some("write each host")),
            (":80",                  Some("write a name")),
            (".lan:80",              Some("write a name")),
            ("db..lan:80",           Some("write a name")),
            ("[::1%eth0]:80",        Some("write a name")),
            ("[/run/app.sock]:80",   Some("write `[/path]:*`")),
            ("[/run/../app]:*",      Some("without `.`")),
            ("[/run/]:*",            Some("without `.`")),
        ];
        for (entry, expected) in open {
            let found = PermitOpen::parse(entry).expect(entry).never_matches();
            match expected {
                Some(words) => assert!(found.is_some_and(|found| found.contains(words)), "{entry}: {found:?}"),
                None => assert_eq!(found, None, "{entry}"),
            }
        }
        for (entry, is_odd) in [
            ("LOCALHOST:80", true),
            ("localhost:80", false),
            ("8080", false),
            ("*.LAN:1", true),
        ] {
            let found = PermitListen::parse(entry).expect(entry).never_matches();
            assert_eq!(found.is_some(), is_odd, "{entry}");
        }
    }

    #[test]
    fn an_entry_is_shown_as_it_is_written() {
        for entry in ["db:5432", "[::1]:80", "*:*", "[/run/app.sock]:*"] {
            assert_eq!(PermitOpen::parse(entry).expect(entry).to_string(), entry);
            assert_eq!(PermitListen::parse(entry).expect(entry).to_string(), entry);
        }
    }
}

//! The three parsers where bytes of others become types, and what must hold of them for every input.
//!
//! `tests/fuzz.rs` drives these functions with a bounded, seeded mutation of the seeds below; the crate in this folder
//! drives them with libFuzzer, for as long as one likes.

use std::path::Path;

use portreeve::auth::{self, KeyLine};
use portreeve::config;
use portreeve::request::{Endpoint, Host, SocketPath};

/// An endpoint: what was accepted prints as itself, and is canonical already.
pub(crate) fn endpoint(text: &str) {
    if let Ok(host) = Host::parse(text) {
        let printed = host.to_string();
        assert_eq!(
            Host::parse(&printed).as_ref(),
            Ok(&host),
            "the host {text:?} prints as {printed:?}"
        );
        match &host {
            Host::Any => panic!("{text:?} was read as every address"),
            Host::Name(name) => {
                assert!(name.len() <= 253 && name.is_ascii(), "the name {name:?} of {text:?}");
                assert!(
                    !name.bytes().any(|byte| byte.is_ascii_uppercase()),
                    "the name {name:?} of {text:?}"
                );
                let address: Result<std::net::IpAddr, _> = name.parse();
                assert!(address.is_err(), "{text:?} is a name that reads as an address");
            }
            Host::Address(address) => assert_eq!(*address, address.to_canonical(), "of {text:?}"),
        }
        for port in [0, 1, 65_535, 65_536, u32::MAX] {
            assert_eq!(Endpoint::to_connect(text, port).is_ok(), (1..=65_535).contains(&port));
        }
    }
    if let Ok(endpoint) = text.parse::<Endpoint>() {
        let printed = endpoint.to_string();
        // A host by the name of `unix` prints as a socket would: it is refused, and never read as another place.
        let looks_like_socket = printed.starts_with("unix:") && matches!(endpoint, Endpoint::Tcp { .. });
        match printed.parse::<Endpoint>() {
            Ok(again) => assert_eq!(again, endpoint, "the endpoint {text:?} prints as {printed:?}"),
            Err(error) => assert!(
                looks_like_socket,
                "the endpoint {text:?} prints as {printed:?}: {error}"
            ),
        }
    }
    if let Ok(path) = SocketPath::parse(text) {
        assert_eq!(path.as_str(), text);
        assert!(
            text.starts_with('/') && text.len() <= 107 && !text.contains(['\0', '\n']),
            "{text:?}"
        );
    }
}

/// Lines of an `authorized_keys` file: none permits more than its options say, and reading is repeatable.
pub(crate) fn key_lines(text: &str) {
    text.split('\n').for_each(key_line);
}

fn key_line(text: &str) {
    let line = match auth::parse_line(text) {
        Ok(Some(line)) => line,
        Ok(None) => return assert!(matches!(text.trim_start().chars().next(), None | Some('#')), "{text:?}"),
        Err(error) => return assert!(!error.to_string().is_empty(), "{text:?}: {error:?}"),
    };
    let limits = line.options.limits();
    let lists_hosts = !line.options.permit_open.is_empty();
    let lists_listeners = !line.options.permit_listen.is_empty();
    for (host, port) in [("db.internal", 5432), ("10.0.0.1", 22), ("", 0), ("*", 65_535)] {
        let (connect, listen) = (limits.connect_tcp(host, port), limits.listen_tcp(host, port));
        if !line.options.port_forwarding {
            assert!(connect.is_err() && listen.is_err(), "{text:?} forwards without leave");
            assert!(
                limits.connect_socket("/run/a.sock").is_err(),
                "{text:?} forwards without leave"
            );
            assert!(limits.listen_socket().is_err(), "{text:?} forwards without leave");
        } else {
            assert!(
                connect.is_ok() || lists_hosts,
                "{text:?} refuses {host}:{port} without a list"
            );
            assert!(
                listen.is_ok() || lists_listeners,
                "{text:?} refuses to listen without a list"
            );
        }
        let listed = line.options.permit_open.iter().map(ToString::to_string);
        let mut listed = listed.filter(|entry| names(entry, host, port));
        assert!(
            connect.is_err() || !lists_hosts || listed.next().is_some(),
            "{text:?} permits {host}:{port}"
        );
    }
    let repeated = auth::parse_line(text);
    assert!(matches!(repeated, Ok(Some(KeyLine { key, .. })) if key == line.key));
}

/// Whether the printed `permitopen` entry speaks of this host and port, by another way than the parser's.
fn names(entry: &str, host: &str, port: u16) -> bool {
    let Some((place, number)) = entry.rsplit_once(':') else {
        return false;
    };
    let place = place
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(place);
    (place == "*" || place == host) && (number == "*" || number == port.to_string())
}

/// A configuration: it is meant, or there is at least one fault, and each is in the text.
pub(crate) fn configuration(text: &str) {
    let Err(faults) = config::parse(text, Path::new("portreeve.toml")) else {
        return;
    };
    assert!(
        !faults.faults.is_empty(),
        "{text:?} is no configuration, and nothing is wrong with it"
    );
    let lines = text.split('\n').count();
    for fault in &faults.faults {
        if fault.file != faults.file || fault.line == 0 {
            continue;
        }
        assert!(fault.line <= lines, "line {} of {lines}: {fault}", fault.line);
        let line = text.split('\n').nth(fault.line - 1).unwrap_or_default();
        assert!(
            fault.column >= 1 && fault.column <= line.chars().count() + 1,
            "{fault} in {line:?}"
        );
        assert!(!fault.message.is_empty(), "{fault:?}");
    }
}

/// What to begin with.
pub(crate) const ENDPOINTS: &[&str] = &[
    "localhost:8000",
    "DB.Internal.:5432",
    "[2001:db8::1]:443",
    "[::ffff:10.0.0.1]:22",
    "127.1:80",
    "0x7f.1",
    "2130706433",
    "bücher.example:443",
    "*:0",
    "unix:/run/app/metrics.sock",
    "/run/a.sock",
    "xn--bcher-kva.example",
    "fe80::1%eth0",
];

/// What to begin with.
pub(crate) const KEY_LINES: &[&str] = &[
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINeq1q2UHWOiofHWo3o7mlNRgIcRSGImWFtTdN+oza4v alice@example.org",
    "restrict,port-forwarding,permitopen=\"db.internal:5432\",permitopen=\"*:22\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFazxweXFmS910yPeJG8MmojgY3VWxclGe9G0qZzLDo2",
    "from=\"10.0.0.0/8,!10.0.0.1\",expiry-time=\"20271231\",permitlisten=\"localhost:*\" ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEOEmo3LwgB8wFsNGZovjf5V9cOHiQKfMZWZObRfy0zg x",
    "cert-authority,principals=\"a,b\",no-port-forwarding ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICM+XTh46pWYQd/dwDgIxGHG9fPMT7kV4vmZowRQCyfi ca",
    "command=\"echo \\\"hi\\\"\",no-pty ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHSYCDotto1D1jCCJOfVOoobDwi+K6s9XXEOdhbDZ475",
    "# a comment",
    "",
];

/// What to begin with.
pub(crate) const CONFIGURATIONS: &[&str] = &[
    include_str!("../../examples/complete.toml"),
    include_str!("../../examples/bastion.toml"),
    include_str!("../../examples/remote-access.toml"),
    include_str!("../../examples/chain.toml"),
];

//! Endpoints as text: `host:port`, `[v6]:port`, `unix:/path`, with wildcards in a condition and without in `to`.

use super::hostname;
use crate::condition::EndpointPattern;
use crate::network::{self, Network};
use crate::outcome::Destination;
use crate::pattern::{Pattern, Style};
use crate::range::{Range, RangeSet};

/// A host name, an address, or a pattern of names.
pub fn host(text: &str) -> Result<Pattern, String> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if let Some(address) = network::address(bare) {
        return Ok(Pattern::Exact(address.to_string().into()));
    }
    if Network::parse(text).is_ok() {
        return Err(format!("`{text}` is a network, networks belong in `addresses`"));
    }
    if let Some((_, rest)) = text.split_once("://") {
        let name = rest.split(['/', ':']).next().unwrap_or_default();
        return Err(format!("`{text}` is a URL, write the host alone, such as `{name}`"));
    }
    if text.contains('/') {
        return Err(format!(
            "`{text}` is no host, socket paths belong in `sockets` and networks in `addresses`"
        ));
    }
    if text.contains(':') {
        return Err(format!(
            "`{text}` is no host, a host with its port belongs in `targets`, a part of the IPv6 addresses in `addresses`"
        ));
    }
    if !text.is_ascii() {
        return Err(format!("`{text}` is not ASCII, write the form that begins with `xn--`"));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.is_empty()
        || name
            .bytes()
            .any(|byte| !byte.is_ascii_alphanumeric() && !b"-_.*?".contains(&byte))
    {
        return Err(format!(
            "`{text}` is no host, write a name, an address or a pattern such as `*.db.internal`"
        ));
    }
    if name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!(
            "`{text}` is no whole address, write all four numbers or a pattern such as `10.0.*`"
        ));
    }
    let name = name.to_ascii_lowercase();
    match hostname::never_matches(&name) {
        Some(why) => Err(format!("`{text}` can match no host, {why}")),
        None => Ok(Pattern::new(&name, Style::Name)),
    }
}

/// The path of a socket, or a pattern of paths.
pub fn socket(text: &str) -> Result<Pattern, String> {
    path(text).map(|path| Pattern::new(path, Style::Path))
}

/// `*`, a port, or a range of ports.
pub fn ports(text: &str) -> Option<Range<u16>> {
    if text == "*" {
        return Some((0, u16::MAX));
    }
    match text.split_once('-') {
        Some((low, high)) => Some((port(low.trim())?, port(high.trim())?)).filter(|(low, high)| low <= high),
        None => port(text).map(|port| (port, port)),
    }
}

/// Whether this is a range of ports whose end comes first.
pub fn is_reversed(text: &str) -> bool {
    let range = text.strip_prefix('!').unwrap_or(text).split_once('-');
    range.is_some_and(|(low, high)| {
        port(low.trim())
            .zip(port(high.trim()))
            .is_some_and(|(low, high)| low > high)
    })
}

/// An endpoint in a `targets` list.
pub fn pattern(text: &str) -> Result<EndpointPattern, String> {
    if is_socket(text) {
        return socket(text).map(EndpointPattern::Socket);
    }
    let tcp = |host, range| Ok(EndpointPattern::Tcp(host, RangeSet::new(vec![range], Vec::new())));
    let Some((name, range)) = text.rsplit_once(':') else {
        return match ports(text) {
            Some(range) => tcp(Pattern::Any, range),
            None => Err(format!(
                "`{text}` has no port, write `{text}:443`, or `{text}:*` for every port"
            )),
        };
    };
    let Some(range) = ports(range).filter(|_| !name.contains(':') || name.starts_with('[')) else {
        return Err(if is_reversed(range) {
            format!("`{text}` has a range that ends before it begins, swap the two ports")
        } else if network::address(text).is_some() {
            format!("`{text}` has no port, write `[{text}]:443`, or `[{text}]:*` for every port")
        } else {
            format!("`{text}` is no target, write `host:443`, `host:8000-8999`, `[2001:db8::1]:*` or `unix:/path`")
        });
    };
    tcp(if name.is_empty() { Pattern::Any } else { host(name)? }, range)
}

/// The `to` of a rewrite.
pub fn destination(text: &str) -> Result<Destination, String> {
    if text.contains(['*', '?']) {
        return Err(format!("`{text}` must name one endpoint, without a wildcard"));
    }
    if is_socket(text) {
        return path(text).map(|path| Destination::Socket(path.into()));
    }
    let exact = |name: &str| match host(name)? {
        Pattern::Exact(name) => Ok(Some(name)),
        _ => Err(format!("`{text}` must name one endpoint, without a wildcard")),
    };
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    if network::address(bare).is_some() {
        return Ok(Destination::Tcp(exact(text)?, None));
    }
    let Some((name, number)) = text.rsplit_once(':') else {
        return match port(text) {
            Some(number) => Err(format!(
                "`{text}` could be a host or a port, write `:{number}` for the port"
            )),
            None => Ok(Destination::Tcp(exact(text)?, None)),
        };
    };
    let wrong = || {
        format!(
            "`{text}` is no endpoint, write `host:443`, `[2001:db8::1]:443`, `host` or `:443` to keep the rest, or `unix:/path`"
        )
    };
    if name.contains(':') && !name.starts_with('[') {
        return Err(wrong());
    }
    let number = port(number).ok_or_else(wrong)?;
    Ok(Destination::Tcp(
        if name.is_empty() { None } else { exact(name)? },
        Some(number),
    ))
}

fn is_socket(text: &str) -> bool {
    text.starts_with('/') || text.starts_with("unix:")
}

fn path(text: &str) -> Result<&str, String> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    let Some(rest) = path.strip_prefix('/') else {
        return Err(format!(
            "`{text}` is no socket, write an absolute path such as `/run/app/*.sock`"
        ));
    };
    if rest.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!(
            "`{text}` can match no socket, leave out `.`, `..` and empty components"
        ));
    }
    if path.chars().any(char::is_control) {
        return Err(format!(
            "`{}` can match no socket, leave out the control character",
            path.escape_debug()
        ));
    }
    if path.bytes().filter(|byte| *byte != b'*').count() > LONGEST_PATH {
        return Err(format!(
            "`{text}` can match no socket, the path of a socket has at most {LONGEST_PATH} bytes"
        ));
    }
    Ok(path)
}

/// `sizeof(sun_path) - 1` on Linux, unix(7).
const LONGEST_PATH: usize = 107;

fn port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

//! Questions to a request.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use crate::calendar::{self, CalendarError};
use crate::time::{Moment, UtcOffset};
use crate::{Action, Certificate, Endpoint, HostPort, Request, SocketAddress, Value};

impl Request {
    /// Asks the gateway to connect to the target (`-L`, `-D`, `-W`, `-J`).
    #[must_use]
    pub fn is_connect(&self) -> bool {
        self.action == Action::Connect
    }

    /// Asks the gateway to listen on the target (`-R`).
    #[must_use]
    pub fn is_listen(&self) -> bool {
        self.action == Action::Listen
    }

    /// Somebody has connected to a listener that was allowed: see [`peer`](Self::peer).
    #[must_use]
    pub fn is_accept(&self) -> bool {
        self.action == Action::Accept
    }

    /// The target's host, in canonical form; none for a Unix socket.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.target.host()
    }

    /// The target's port; none for a Unix socket.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.target.port()
    }

    /// The target's path, where it is a Unix socket.
    #[must_use]
    pub fn socket(&self) -> Option<&str> {
        match &self.target {
            Endpoint::Socket(path) => Some(path),
            Endpoint::Tcp(_) => None,
        }
    }

    /// The target's address, where its host is an address and not a name. For the addresses of a name, ask
    /// [`names::resolve`](crate::names::resolve).
    #[must_use]
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.as_deref()?.parse().ok()
    }

    /// Who asks.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.principal.user
    }

    /// Whether the user is in a group.
    #[must_use]
    pub fn in_group(&self, group: &str) -> bool {
        self.principal.groups.iter().any(|one| one == group)
    }

    /// Whether the user is in one of the groups; in none of no groups.
    pub fn in_any_group<G: AsRef<str>>(&self, groups: impl IntoIterator<Item = G>) -> bool {
        groups.into_iter().any(|group| self.in_group(group.as_ref()))
    }

    /// The certificate that the user logged in with, if they did.
    #[must_use]
    pub fn certificate(&self) -> Option<&Certificate> {
        self.principal.credential.certificate.as_ref()
    }

    /// A claim of the user's configuration.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<&Value> {
        find(&self.principal.claims, name)
    }

    /// A claim that is a text; none where it is missing or something else.
    #[must_use]
    pub fn claim_text(&self, name: &str) -> Option<&str> {
        self.claim(name)?.as_text()
    }

    /// A further fact of the request. This version of the gateway gives none.
    #[must_use]
    pub fn extra(&self, name: &str) -> Option<&Value> {
        find(&self.extra, name)
    }

    /// The address of the SSH client.
    #[must_use]
    pub fn client(&self) -> Option<IpAddr> {
        self.connection.client.ip.parse().ok()
    }

    /// Who has connected to the listener, of an accept. What a connect claims of its originator is not to be trusted, and
    /// not answered here.
    #[must_use]
    pub fn peer(&self) -> Option<&SocketAddress> {
        self.originator.as_ref().filter(|_| self.is_accept())
    }

    /// Weekday and time of day of the decision, in a zone such as `Europe/Berlin`.
    ///
    /// # Errors
    /// If the gateway does not know the zone. A `check` of the settings can find that out with
    /// [`calendar::knows`].
    pub fn moment_in(&self, zone: &str) -> Result<Moment, CalendarError> {
        calendar::local(self.now, zone).map(|local| Moment::shown(&local))
    }

    /// Weekday and time of day of the decision, by a clock that is this much ahead of UTC.
    #[must_use]
    pub fn moment(&self, offset: UtcOffset) -> Moment {
        Moment::new(self.now, offset)
    }
}

fn find<'a>(values: &'a [(String, Value)], name: &str) -> Option<&'a Value> {
    values.iter().find(|(key, _)| key == name).map(|(_, value)| value)
}

impl Endpoint {
    /// A TCP endpoint.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp(HostPort {
            host: host.into(),
            port,
        })
    }

    /// The host of a TCP endpoint.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp(place) => Some(&place.host),
            Self::Socket(_) => None,
        }
    }

    /// The port of a TCP endpoint.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Tcp(place) => Some(place.port),
            Self::Socket(_) => None,
        }
    }
}

/// `host:port`, `[v6]:port` or `unix:/path`.
impl FromStr for Endpoint {
    type Err = BadEndpoint;

    fn from_str(text: &str) -> Result<Self, BadEndpoint> {
        let bad = || BadEndpoint(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') {
                Ok(Self::Socket(path.to_owned()))
            } else {
                Err(bad())
            };
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        if host.is_empty() || (bracketed.is_none() && host.contains(':')) {
            return Err(bad());
        }
        Ok(Self::tcp(host, port.parse().map_err(|_| bad())?))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(place) if place.host.contains(':') => write!(out, "[{}]:{}", place.host, place.port),
            Self::Tcp(place) => write!(out, "{}:{}", place.host, place.port),
            Self::Socket(path) => write!(out, "unix:{path}"),
        }
    }
}

/// A text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEndpoint(String);

impl fmt::Display for BadEndpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "`{}` is no endpoint: write `host:port`, `[v6]:port` or `unix:/path`",
            self.0
        )
    }
}

impl std::error::Error for BadEndpoint {}

impl Value {
    /// The text, where it is one.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The texts, where it is a list of them; a text alone is a list of one.
    #[must_use]
    pub fn as_texts(&self) -> Option<&[String]> {
        match self {
            Self::Texts(texts) => Some(texts),
            Self::Text(text) => Some(std::slice::from_ref(text)),
            _ => None,
        }
    }

    /// The number, where it is one.
    #[must_use]
    pub fn as_number(&self) -> Option<i64> {
        match self {
            Self::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// True or false, where it is one of them.
    #[must_use]
    pub fn as_flag(&self) -> Option<bool> {
        match self {
            Self::Flag(flag) => Some(*flag),
            _ => None,
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::Texts(texts)
    }
}

impl From<&[&str]> for Value {
    fn from(texts: &[&str]) -> Self {
        Self::Texts(texts.iter().map(|text| (*text).to_owned()).collect())
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

#[cfg(test)]
mod tests {
    use crate::Endpoint;

    #[test]
    fn endpoints_are_written_as_they_are_read() {
        for text in [
            "db.internal:5432",
            "[2001:db8::1]:443",
            "10.0.0.1:65535",
            "unix:/run/db.sock",
        ] {
            let read: Endpoint = text.parse().expect(text);
            assert_eq!(read.to_string(), text);
        }
    }

    #[test]
    fn what_is_no_endpoint_is_named() {
        for text in [
            "",
            "db",
            ":80",
            "db:",
            "db:65536",
            "2001:db8::1:443",
            "unix:run",
            "[::1]",
        ] {
            let error = text.parse::<Endpoint>().expect_err(text);
            assert!(error.to_string().contains(&format!("`{text}`")), "{error}");
        }
    }
}

//! Made-up requests for unit tests (also in [`testing`](crate::testing)) and for `warm:` of [`policy!`](crate::policy!).
//!
//! ```
//! let request = portreeve_policy::sample::connect("db.internal:5432").user("bob").group("dba").build();
//! assert!(request.dry_run && request.in_group("dba"));
//! ```
//!
//! Malformed arguments, such as a target without a port, panic with a message: in a test, or when the gateway loads the policy.
#![allow(clippy::panic, reason = "what is written wrongly should say so where it is")]

use std::net::SocketAddr;

use crate::{Action, Certificate, Connection, Credential, Endpoint, Principal, Request, SocketAddress, Value};

/// A request to connect to `host:port`, `[v6]:port` or `unix:/path`.
#[track_caller]
#[must_use]
pub fn connect(target: &str) -> RequestBuilder {
    RequestBuilder::new(Action::Connect, target)
}

/// A request to listen.
#[track_caller]
#[must_use]
pub fn listen(target: &str) -> RequestBuilder {
    RequestBuilder::new(Action::Listen, target)
}

/// Somebody, `ip:port`, has connected to a listener.
#[track_caller]
#[must_use]
pub fn accept(target: &str, peer: &str) -> RequestBuilder {
    RequestBuilder::new(Action::Accept, target).originator(peer)
}

/// Makes a [`Request`]. What is not said: the user `alice` in no group, with a key, from 192.0.2.1, on Monday, 5 January
/// 2026, 12:00 UTC, in a dry run, as in a case file.
#[derive(Clone, Debug)]
pub struct RequestBuilder(Request);

impl RequestBuilder {
    #[track_caller]
    fn new(action: Action, target: &str) -> Self {
        let requested = match target.parse() {
            Ok(endpoint) => endpoint,
            Err(error) => panic!("{error}"),
        };
        let target = canonical(&requested);
        Self(Request {
            id: "f-test".into(),
            now: MONDAY_NOON * 1000,
            action,
            address: target.host().filter(|host| is_address(host)).map(Into::into),
            target,
            requested,
            originator: None,
            principal: Principal {
                user: "alice".into(),
                groups: Vec::new(),
                credential: Credential {
                    method: "publickey".into(),
                    methods: vec!["publickey".into()],
                    fingerprint: Some("SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU".into()),
                    certificate: None,
                },
                claims: Vec::new(),
            },
            connection: Connection {
                id: "s-test".into(),
                client: peer("192.0.2.1:50000"),
                server: peer("192.0.2.2:22"),
                software: "SSH-2.0-OpenSSH_9.9".into(),
                since: MONDAY_NOON,
            },
            dry_run: true,
            extra: Vec::new(),
        })
    }

    /// The request.
    #[must_use]
    pub fn build(self) -> Request {
        self.0
    }

    /// Who asks.
    #[must_use]
    pub fn user(mut self, user: &str) -> Self {
        self.0.principal.user = user.into();
        self
    }

    /// One more group of the user.
    #[must_use]
    pub fn group(mut self, group: &str) -> Self {
        self.0.principal.groups.push(group.into());
        self
    }

    /// One more claim of the user.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.principal.claims.push((name.into(), value.into()));
        self
    }

    /// When, as `2026-11-24T09:00:00Z`.
    #[track_caller]
    #[must_use]
    pub fn at(mut self, time: &str) -> Self {
        let Some(seconds) = unix_seconds(time) else {
            panic!("`{time}` is no time: write it as `2026-11-24T09:00:00Z`");
        };
        self.0.now = seconds * 1000;
        self.0.connection.since = seconds;
        self
    }

    /// The SSH client, `ip:port`.
    #[track_caller]
    #[must_use]
    pub fn client(mut self, address: &str) -> Self {
        self.0.connection.client = peer(address);
        self
    }

    /// The originator, `ip:port`: who connected to the listener of an accept, what the client claims of a connect.
    #[track_caller]
    #[must_use]
    pub fn originator(mut self, address: &str) -> Self {
        self.0.originator = Some(peer(address));
        self
    }

    /// The fingerprint of the user's key.
    #[must_use]
    pub fn fingerprint(mut self, fingerprint: &str) -> Self {
        self.0.principal.credential.fingerprint = Some(fingerprint.into());
        self
    }

    /// The certificate that the user logged in with.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.0.principal.credential.method = "certificate".into();
        self.0.principal.credential.certificate = Some(certificate);
        self
    }

    /// Whatever no other function sets.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Request)) -> Self {
        change(&mut self.0);
        self
    }
}

/// As the gateway would: lower case, no trailing dot, addresses in their canonical text.
fn canonical(requested: &Endpoint) -> Endpoint {
    let Endpoint::Tcp(place) = requested else {
        return requested.clone();
    };
    let host = match place.host.parse::<std::net::IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => place.host.trim_end_matches('.').to_lowercase(),
    };
    Endpoint::tcp(host, place.port)
}

fn is_address(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok()
}

#[track_caller]
fn peer(text: &str) -> SocketAddress {
    match text.parse::<SocketAddr>() {
        Ok(address) => SocketAddress {
            ip: address.ip().to_canonical().to_string(),
            port: address.port(),
        },
        Err(_) => panic!("`{text}` is no peer: write `192.0.2.1:50000` or `[2001:db8::1]:50000`"),
    }
}

/// `YYYY-MM-DDTHH:MM:SSZ`, from 1970 on.
fn unix_seconds(text: &str) -> Option<u64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let [year, month, day] = numbers(date, '-')?;
    let [hour, minute, second] = numbers(time, ':')?;
    let in_range = year >= 1970 && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // The year of this count begins in March, so that the day of the leap year is its last.
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - DAYS_BEFORE_1970;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

fn numbers(text: &str, between: char) -> Option<[u64; 3]> {
    let numbers: Option<Vec<u64>> = text.split(between).map(|number| number.parse().ok()).collect();
    numbers?.try_into().ok()
}

/// From 1 March of year 0 to 1 January 1970.
const DAYS_BEFORE_1970: u64 = 719_468;
/// 2026-01-05T12:00:00Z
const MONDAY_NOON: u64 = 1_767_614_400;

#[cfg(test)]
mod tests {
    use super::unix_seconds;

    #[test]
    fn times_are_those_of_date() {
        // `date -u -d TIME +%s`
        assert_eq!(unix_seconds("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(unix_seconds("2000-02-29T23:59:59Z"), Some(951_868_799));
        assert_eq!(unix_seconds("2026-01-05T12:00:00Z"), Some(super::MONDAY_NOON));
        assert_eq!(unix_seconds("2026-11-24T09:00:00Z"), Some(1_795_510_800));
        for text in [
            "2026-11-24",
            "2026-13-01T00:00:00Z",
            "2026-11-24T09:00:00+01:00",
            "2026-11-24T25:00:00Z",
        ] {
            assert_eq!(unix_seconds(text), None, "{text}");
        }
    }

    #[test]
    fn a_target_is_made_canonical_and_kept_as_it_was_sent() {
        let request = super::connect("DB.Internal.:22").build();
        assert_eq!(request.target.to_string(), "db.internal:22");
        assert_eq!(request.requested.to_string(), "DB.Internal.:22");
        assert_eq!(request.ip(), None);
        let request = super::connect("[::ffff:10.0.0.1]:22").build();
        assert_eq!(request.target.to_string(), "10.0.0.1:22");
        assert_eq!(request.ip(), "10.0.0.1".parse().ok());
    }

    #[test]
    fn only_an_accept_has_a_peer() {
        let accepted = super::accept("localhost:8080", "198.51.100.7:4000").build();
        assert_eq!(accepted.peer().map(|peer| peer.ip.as_str()), Some("198.51.100.7"));
        let claimed = super::connect("db:1").originator("127.0.0.1:1").build();
        assert_eq!(claimed.peer(), None);
    }
}

//! The limits that a key or certificate puts on forwards, checked once for each forward.

use std::sync::Arc;

use super::permit::{PermitListen, PermitOpen};

/// The forwarding limits of a login. The default is no limit.
///
/// A list that is there permits what it lists and nothing else. Where several credentials speak, as a certificate and
/// the authority's line do, each must permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardLimits {
    forwarding: Forwarding,
    connect: Vec<Arc<[PermitOpen]>>,
    listen: Vec<Arc<[PermitListen]>>,
}

/// A forward that the key or certificate does not permit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Limited {
    /// Stable: `no-port-forwarding`, `permitopen` or `permitlisten`.
    pub code: &'static str,
    /// A sentence for the client, without the full stop.
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Forwarding {
    Permitted,
    Refused,
}

impl Default for ForwardLimits {
    fn default() -> Self {
        Self::new(Forwarding::Permitted, &[], &[])
    }
}

impl ForwardLimits {
    /// An empty list is an absent one: no limit of that kind.
    pub(super) fn new(forwarding: Forwarding, connect: &[PermitOpen], listen: &[PermitListen]) -> Self {
        Self {
            forwarding,
            connect: Some(connect)
                .filter(|list| !list.is_empty())
                .map(Arc::from)
                .into_iter()
                .collect(),
            listen: Some(listen)
                .filter(|list| !list.is_empty())
                .map(Arc::from)
                .into_iter()
                .collect(),
        }
    }

    /// Nothing may be forwarded, as with a certificate that lacks `permit-port-forwarding`.
    pub fn none() -> Self {
        Self::new(Forwarding::Refused, &[], &[])
    }

    /// What both permit.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let forwarding = match (self.forwarding, other.forwarding) {
            (Forwarding::Permitted, Forwarding::Permitted) => Forwarding::Permitted,
            _ => Forwarding::Refused,
        };
        Self {
            forwarding,
            connect: [self.connect.as_slice(), &other.connect].concat(),
            listen: [self.listen.as_slice(), &other.listen].concat(),
        }
    }

    /// `requested_host` is the string the client sent, unchanged: `permitopen` compares it byte for byte.
    pub fn connect_tcp(&self, requested_host: &str, port: u16) -> Result<(), Limited> {
        self.forwarding.check()?;
        match self
            .connect
            .iter()
            .all(|list| list.iter().any(|entry| entry.permits_tcp(requested_host, port)))
        {
            true => Ok(()),
            false => Err(not_opened(
                &endpoint(requested_host, port),
                "; hosts are compared exactly as sent",
            )),
        }
    }

    /// As in OpenSSH, a key with `permitopen` reaches a socket only through an entry for any port that names the path
    /// (`[/run/app.sock]:*`) or any host (`*:*`).
    pub fn connect_socket(&self, path: &str) -> Result<(), Limited> {
        self.forwarding.check()?;
        match self
            .connect
            .iter()
            .all(|list| list.iter().any(|entry| entry.permits_socket(path)))
        {
            true => Ok(()),
            false => Err(not_opened(&shown(path), "; a socket is listed as `[/path]:*`")),
        }
    }

    /// `requested_host` is the address to bind that the client asked for, before gateway-ports changes it. `ssh` sends
    /// `localhost` when its user gave none, and the empty string for `*`.
    pub fn listen_tcp(&self, requested_host: &str, port: u16) -> Result<(), Limited> {
        self.forwarding.check()?;
        match self
            .listen
            .iter()
            .all(|list| list.iter().any(|entry| entry.permits_tcp(requested_host, port)))
        {
            true => Ok(()),
            false => Err(not_listened(&endpoint(requested_host, port), hint(port))),
        }
    }

    /// As in OpenSSH, `permitlisten` never applies to sockets: which of them may be listened on is for the policy.
    pub fn listen_socket(&self) -> Result<(), Limited> {
        self.forwarding.check()
    }
}

impl Forwarding {
    fn check(self) -> Result<(), Limited> {
        match self {
            Self::Permitted => Ok(()),
            Self::Refused => Err(Limited {
                code: "no-port-forwarding",
                reason: "your key or certificate does not permit port forwarding".to_owned(),
            }),
        }
    }
}

fn not_opened(endpoint: &str, hint: &str) -> Limited {
    let reason = format!("the permitopen list of your key does not include {endpoint}{hint}");
    Limited {
        code: "permitopen",
        reason,
    }
}

fn not_listened(endpoint: &str, hint: &str) -> Limited {
    let reason = format!("the permitlisten list of your key does not include {endpoint}{hint}");
    Limited {
        code: "permitlisten",
        reason,
    }
}

fn hint(port: u16) -> &'static str {
    match port {
        0 => "; a port chosen by the server is covered only by `*`",
        _ => "",
    }
}

fn endpoint(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{}]:{port}", shown(host)),
        false => format!("{}:{port}", shown(host)),
    }
}

/// The client chose this text: it goes into a sentence only in printable form and at a bearable length.
fn shown(text: &str) -> String {
    text.escape_debug().take(255).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opens(entries: &[&str]) -> ForwardLimits {
        let list: Vec<_> = entries
            .iter()
            .map(|entry| PermitOpen::parse(entry).expect(entry))
            .collect();
        ForwardLimits::new(Forwarding::Permitted, &list, &[])
    }

    fn listens(entries: &[&str]) -> ForwardLimits {
        let list: Vec<_> = entries
            .iter()
            .map(|entry| PermitListen::parse(entry).expect(entry))
            .collect();
        ForwardLimits::new(Forwarding::Permitted, &[], &list)
    }

    /// Asks for the same four forwards of each kind and tells the code of each refusal.
    fn codes(limits: &ForwardLimits) -> [&'static str; 4] {
        [
            limits.connect_tcp("db", 5432),
            limits.connect_socket("/run/app.sock"),
            limits.listen_tcp("localhost", 8080),
            limits.listen_socket(),
        ]
        .map(|answer| answer.map_or_else(|limited| limited.code, |()| "ok"))
    }

    #[test]
    fn each_limit_applies_to_its_own_direction_only() {
        #[rustfmt::skip]
        let table = [
            (ForwardLimits::default(),            ["ok", "ok", "ok", "ok"]),
            (ForwardLimits::none(),               ["no-port-forwarding"; 4]),
            (opens(&["db:5432"]),                 ["ok", "permitopen", "ok", "ok"]),
            (opens(&["web:80", "db:*"]),          ["ok", "permitopen", "ok", "ok"]),
            (opens(&["web:80"]),                  ["permitopen", "permitopen", "ok", "ok"]),
            (opens(&["[/run/app.sock]:*"]),       ["permitopen", "ok", "ok", "ok"]),
            (listens(&["8080"]),                  ["ok", "ok", "ok", "ok"]),
            (listens(&["8081", "localhost:*"]),   ["ok", "ok", "ok", "ok"]),
            (listens(&["8081"]),                  ["ok", "ok", "permitlisten", "ok"]),
            (listens(&["*"]),                     ["ok"; 4]),
        ];
        for (limits, expected) in table {
            assert_eq!(codes(&limits), expected, "{limits:?}");
        }
    }

    #[test]
    fn an_intersection_permits_what_both_permit() {
        let everything = ForwardLimits::default();
        #[rustfmt::skip]
        let table = [
            (opens(&["db:5432"]),   everything.clone(),      ["ok", "permitopen", "ok", "ok"]),
            (opens(&["db:5432"]),   opens(&["*:5432"]),      ["ok", "permitopen", "ok", "ok"]),
            (opens(&["db:5432"]),   opens(&["web:80"]),      ["permitopen", "permitopen", "ok", "ok"]),
            (opens(&["db:5432"]),   listens(&["8081"]),      ["ok", "permitopen", "permitlisten", "ok"]),
            (opens(&["db:5432"]),   ForwardLimits::none(),   ["no-port-forwarding"; 4]),
            (everything.clone(),    everything.clone(),      ["ok"; 4]),
        ];
        for (one, other, expected) in table {
            assert_eq!(codes(&one.intersect(&other)), expected, "{one:?} and {other:?}");
            assert_eq!(codes(&other.intersect(&one)), expected, "{other:?} and {one:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_endpoint_in_printable_form() {
        let limited = opens(&["db:1"])
            .connect_tcp("evil\n\u{1b}[2J", 80)
            .expect_err("not listed");
        assert!(limited.reason.contains(r"evil\n\u{1b}[2J:80"), "{limited}");
        let limited = listens(&["1"]).listen_tcp("::1", 0).expect_err("not listed");
        assert!(
            limited.reason.contains("[::1]:0; a port chosen by the server"),
            "{limited}"
        );
        let limited = opens(&["db:1"])
            .connect_tcp(&"x".repeat(100_000), 80)
            .expect_err("not listed");
        assert!(limited.reason.len() < 400, "{}", limited.reason.len());
    }
}

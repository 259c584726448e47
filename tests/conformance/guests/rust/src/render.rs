//! The canonical text of what a guest is given.

use crate::portreeve::policy::names::LookupError;
use crate::portreeve::policy::state::StateError;
use crate::portreeve::policy::types::{Action, Certificate, Ended, Endpoint, Request, SocketAddress, Value};

pub trait Render {
    fn render(&self) -> String;
}

impl Render for Request {
    fn render(&self) -> String {
        let (principal, connection) = (&self.principal, &self.connection);
        let credential = &principal.credential;
        let action = match self.action {
            Action::Connect => "connect",
            Action::Listen => "listen",
            Action::Accept => "accept",
        };
        [
            format!("id={} now={} action={action}", self.id.render(), self.now),
            format!("target={} requested={}", self.target.render(), self.requested.render()),
            format!(
                "address={} originator={}",
                self.address.render(),
                self.originator.render()
            ),
            format!("user={} groups={}", principal.user.render(), principal.groups.render()),
            format!(
                "method={} fingerprint={}",
                credential.method.render(),
                credential.fingerprint.render()
            ),
            format!(
                "certificate={} claims={}",
                credential.certificate.render(),
                principal.claims.render()
            ),
            format!(
                "session={} client={}",
                connection.id.render(),
                connection.client.render()
            ),
            format!(
                "server={} software={}",
                connection.server.render(),
                connection.software.render()
            ),
            format!(
                "since={} dry-run={} extra={}",
                connection.since,
                self.dry_run,
                self.extra.render()
            ),
        ]
        .join(" ")
    }
}

impl Render for Certificate {
    fn render(&self) -> String {
        format!(
            "(key-id={} serial={} issuer={} principals={} valid-after={} valid-before={} critical-options={} extensions={})",
            self.key_id.render(),
            self.serial,
            self.issuer.render(),
            self.principals.render(),
            self.valid_after,
            self.valid_before,
            self.critical_options.render(),
            self.extensions.render()
        )
    }
}

impl Render for Ended {
    fn render(&self) -> String {
        format!(
            "id={} cause={} milliseconds={} bytes-up={} bytes-down={} dialled={}",
            self.id.render(),
            self.cause.render(),
            self.milliseconds,
            self.bytes_up,
            self.bytes_down,
            self.dialled.render()
        )
    }
}

impl Render for Endpoint {
    fn render(&self) -> String {
        match self {
            Endpoint::Tcp(place) => format!("tcp({},{})", place.host.render(), place.port),
            Endpoint::Socket(path) => format!("socket({})", path.render()),
        }
    }
}

impl Render for SocketAddress {
    fn render(&self) -> String {
        format!("({},{})", self.ip.render(), self.port)
    }
}

impl Render for Value {
    fn render(&self) -> String {
        match self {
            Value::Text(text) => format!("text({})", text.render()),
            Value::Texts(texts) => format!("texts({})", texts.render()),
            Value::Number(number) => format!("number({number})"),
            Value::Flag(flag) => format!("flag({flag})"),
        }
    }
}

impl Render for String {
    fn render(&self) -> String {
        format!("\"{self}\"")
    }
}

impl<T: Render> Render for Option<T> {
    fn render(&self) -> String {
        self.as_ref().map_or_else(|| "-".to_owned(), Render::render)
    }
}

impl<T: Render> Render for (String, T) {
    fn render(&self) -> String {
        format!("{}={}", self.0.render(), self.1.render())
    }
}

impl<T: Render> Render for Vec<T> {
    fn render(&self) -> String {
        let items: Vec<_> = self.iter().map(Render::render).collect();
        format!("[{}]", items.join(","))
    }
}

/// The length in UTF-8, and FNV-1a of 32 bits.
pub fn digest(text: &str) -> String {
    let hash = text.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("{} bytes, fnv1a {hash:08x}", text.len())
}

pub fn resolved(answer: &Result<Vec<String>, LookupError>) -> String {
    match answer {
        Ok(addresses) => addresses.render(),
        Err(LookupError::NotGranted) => "err(not-granted)".into(),
        Err(LookupError::NoSuchName) => "err(no-such-name)".into(),
        Err(LookupError::TimedOut) => "err(timed-out)".into(),
        Err(LookupError::OverBudget) => "err(over-budget)".into(),
        Err(LookupError::Failed(words)) => format!("err(failed {})", words.render()),
    }
}

pub fn got(answer: &Result<Option<Vec<u8>>, StateError>) -> String {
    match answer {
        Ok(None) => "-".into(),
        Ok(Some(bytes)) => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        Err(error) => failed(error),
    }
}

pub fn put(answer: &Result<(), StateError>) -> String {
    answer.as_ref().map_or_else(failed, |()| "ok".into())
}

pub fn added(answer: &Result<i64, StateError>) -> String {
    answer.as_ref().map_or_else(failed, ToString::to_string)
}

fn failed(error: &StateError) -> String {
    match error {
        StateError::NotGranted => "err(not-granted)",
        StateError::OverBudget => "err(over-budget)",
        StateError::TooLarge => "err(too-large)",
        StateError::Unavailable => "err(unavailable)",
    }
    .to_owned()
}

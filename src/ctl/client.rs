//! One HTTP request over the control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::config;
use crate::gateway::control_socket;

/// What came back.
pub(crate) struct Response {
    /// Whether the status says success.
    pub(crate) ok: bool,
    pub(crate) body: Value,
}

/// Why nothing usable came back.
pub(crate) enum Failure {
    /// No gateway is there, or it does not answer.
    Unanswered(String),
    /// The gateway said no.
    Refused(String),
    /// It does not speak this protocol.
    Garbled(String),
}

/// The control socket that a command line names: by its path, by a configuration, or not at all.
///
/// # Errors
/// If the configuration is invalid, or no path can be derived.
pub(crate) fn socket(path: Option<&Path>, config: Option<&Path>) -> Result<PathBuf, String> {
    if let Some(path) = path {
        return Ok(path.to_owned());
    }
    let named = match config {
        Some(file) => config::control_socket_in(file)
            .map_err(|words| format!("{words}\nname the control socket itself with --socket"))?,
        None => None,
    };
    let path = named.or_else(control_socket);
    path.ok_or_else(|| "no home directory: set HOME, or give the control socket with --socket".to_owned())
}

pub(crate) async fn get(socket: &Path, path: &str, query: &[(&str, &str)]) -> Result<Response, Failure> {
    let query = url_query(query);
    send(socket, Method::GET, &format!("{path}{query}"), Bytes::new()).await
}

pub(crate) async fn post(socket: &Path, path: &str, body: &Value) -> Result<Response, Failure> {
    send(socket, Method::POST, path, body.to_string().into()).await
}

pub(crate) async fn put(socket: &Path, path: &str, body: &Value) -> Result<Response, Failure> {
    send(socket, Method::PUT, path, body.to_string().into()).await
}

pub(crate) async fn delete(socket: &Path, path: &str) -> Result<Response, Failure> {
    send(socket, Method::DELETE, path, Bytes::new()).await
}

async fn send(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Response, Failure> {
    // A change may compile a policy first; what is only shown is there.
    let patience = if method == Method::GET { QUICK } else { PATIENCE };
    let asked = timeout(patience, exchange(socket, method, path, body)).await;
    let late = || Failure::Unanswered(format!("no answer within {} seconds", patience.as_secs()));
    asked.unwrap_or_else(|_| Err(late()))
}

/// One server-sent event.
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) data: Value,
}

/// Reads events after `last`, which becomes the id of the last one, until the gateway ends the connection. False from `tell` ends
/// it from this side.
#[expect(clippy::disallowed_methods, reason = "a client of the gateway is no forward")]
pub(crate) async fn events(
    socket: &Path,
    query: &[(&str, &str)],
    last: &mut Option<String>,
    mut tell: impl FnMut(Told) -> bool,
) -> Result<(), Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreached(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(garbled)?;
    let mut request = Request::builder()
        .uri(format!("/v1/events{}", url_query(query)))
        .header(header::HOST, "portreeve");
    if let Some(last) = last {
        request = request.header("Last-Event-ID", last.as_str());
    }
    let request = request.body(Full::new(Bytes::new())).map_err(garbled)?;
    let reading = async {
        let response = sender.send_request(request).await.map_err(garbled)?;
        let ok = response.status().is_success();
        let mut body = response.into_body();
        if !ok {
            let body = Limited::new(body, MAX_BODY).collect().await.map_err(garbled)?;
            let body: Value = serde_json::from_slice(&body.to_bytes()).map_err(garbled)?;
            let words = body.get("error").and_then(Value::as_str).unwrap_or_default();
            return Err(Failure::Refused(words.to_owned()));
        }
        let mut lines = Lines::default();
        while let Some(frame) = body.frame().await {
            // The gateway has gone, or has made room: what comes next is asked for again.
            let Ok(frame) = frame else { return Ok(()) };
            let Some(bytes) = frame.data_ref() else { continue };
            for (id, told) in lines.take(bytes)? {
                if id.is_some() {
                    *last = id;
                }
                if !tell(told) {
                    return Ok(());
                }
            }
        }
        Ok(())
    };
    tokio::pin!(reading);
    tokio::select! {
        biased;
        read = &mut reading => read,
        // What came before the end is still read.
        _ = connection => reading.await,
    }
}

/// Bytes of a stream of server-sent events, until they are whole events.
#[derive(Default)]
struct Lines {
    rest: Vec<u8>,
    id: Option<String>,
    name: String,
    data: String,
}

impl Lines {
    fn take(&mut self, bytes: &[u8]) -> Result<Vec<(Option<String>, Told)>, Failure> {
        self.rest.extend_from_slice(bytes);
        let mut told = Vec::new();
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\n', '\r']);
            if line.is_empty() {
                let (name, data) = (std::mem::take(&mut self.name), std::mem::take(&mut self.data));
                if !data.is_empty() {
                    let data = serde_json::from_str(&data).map_err(garbled)?;
                    told.push((self.id.take(), Told { name, data }));
                }
                continue;
            }
            match line
                .split_once(':')
                .map(|(key, value)| (key, value.strip_prefix(' ').unwrap_or(value)))
            {
                Some(("id", value)) => self.id = Some(value.to_owned()),
                Some(("event", value)) => value.clone_into(&mut self.name),
                Some(("data", value)) => self.data.push_str(value),
                _ => {}
            }
        }
        match self.rest.len() > MAX_EVENT {
            true => Err(garbled("an event that does not end")),
            false => Ok(told),
        }
    }
}

fn unreached(error: &std::io::Error) -> Failure {
    let whose = match error.kind() {
        std::io::ErrorKind::PermissionDenied => " (it is for root, the gateway's user and the members of admin.group)",
        _ => "",
    };
    Failure::Unanswered(format!("{error}{whose}"))
}

fn garbled(error: impl std::fmt::Display) -> Failure {
    Failure::Garbled(error.to_string())
}

#[expect(clippy::disallowed_methods, reason = "a client of the gateway is no forward")]
async fn exchange(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Response, Failure> {
    let stream = UnixStream::connect(socket).await.map_err(|error| unreached(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(garbled)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "portreeve")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(garbled)?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(garbled)?;
        let ok = response.status().is_success();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(garbled)?.to_bytes();
        let body = serde_json::from_slice(&body).map_err(garbled)?;
        Ok(Response { ok, body })
    };
    // The connection moves only while it is polled.
    tokio::pin!(answered);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        ended = connection => match ended {
            Ok(()) => answered.await,
            Err(error) => Err(garbled(error)),
        },
    }
}

/// `?a=b&c=d`, in the form that HTML gives it (application/x-www-form-urlencoded).
fn url_query(pairs: &[(&str, &str)]) -> String {
    let mut query = String::new();
    for (key, value) in pairs {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(key);
        query.push('=');
        percent_encode(value, b"-_.~*:/", &mut query);
    }
    query
}

/// Any text as one segment of a path (RFC 3986, section 2.1).
pub(crate) fn escaped(segment: &str) -> String {
    let mut path = String::new();
    percent_encode(segment, b"-_.~", &mut path);
    path
}

fn percent_encode(text: &str, plain: &[u8], into: &mut String) {
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            true => into.push(char::from(byte)),
            false => into.push_str(&format!("%{byte:02X}")),
        }
    }
}

/// A reload compiles components, which may take this long.
const PATIENCE: Duration = Duration::from_secs(320);
const QUICK: Duration = Duration::from_secs(10);
const MAX_BODY: usize = 256 << 20;
const MAX_EVENT: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::{Lines, url_query};

    #[test]
    fn events_are_whole_however_their_bytes_come() {
        let stream = ": alive\n\nid: 7-1\nevent: tunnel-opened\ndata: {\"user\":\"ü\"}\n\nevent: missed\ndata: {\"missed\":3}\n\n";
        for size in [1, 2, 7, 1000] {
            let mut lines = Lines::default();
            let chunks = stream.as_bytes().chunks(size);
            let told = chunks.flat_map(|chunk| lines.take(chunk).ok().unwrap());
            let told: Vec<_> = told.map(|(id, told)| (id, told.name, told.data.to_string())).collect();
            let expected = [
                (
                    Some("7-1".to_owned()),
                    "tunnel-opened".to_owned(),
                    r#"{"user":"ü"}"#.to_owned(),
                ),
                (None, "missed".to_owned(), r#"{"missed":3}"#.to_owned()),
            ];
            assert_eq!(told, expected, "{size}");
        }
    }

    #[test]
    fn what_means_something_in_an_address_is_escaped() {
        assert_eq!(url_query(&[]), "");
        let pairs = [("user", "a b&c=d"), ("target", "*.db:5432"), ("session", "ü%")];
        assert_eq!(
            url_query(&pairs),
            "?user=a%20b%26c%3Dd&target=*.db:5432&session=%C3%BC%25"
        );
    }
}

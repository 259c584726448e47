//! One HTTP request over the control socket.

use std::path::Path;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;
use tokio::time::timeout;

/// What came back.
pub(super) struct Answer {
    /// Whether the status says success.
    pub(super) ok: bool,
    pub(super) body: Value,
}

/// Why nothing usable came back.
pub(super) enum Failure {
    /// No gateway is there, or it does not answer.
    Unanswered(String),
    /// It does not speak this protocol.
    Garbled(String),
}

pub(super) async fn get(socket: &Path, path: &str, query: &[(&str, &str)]) -> Result<Answer, Failure> {
    let query = url_query(query);
    send(socket, Method::GET, &format!("{path}{query}"), Bytes::new()).await
}

pub(super) async fn post(socket: &Path, path: &str, body: &Value) -> Result<Answer, Failure> {
    send(socket, Method::POST, path, body.to_string().into()).await
}

async fn send(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Answer, Failure> {
    let asked = timeout(PATIENCE, exchange(socket, method, path, body)).await;
    asked.unwrap_or_else(|_| Err(Failure::Unanswered("it took too long".to_owned())))
}

async fn exchange(socket: &Path, method: Method, path: &str, body: Bytes) -> Result<Answer, Failure> {
    let unanswered = |error: &dyn std::fmt::Display| Failure::Unanswered(error.to_string());
    let garbled = |error: &dyn std::fmt::Display| Failure::Garbled(error.to_string());
    let stream = UnixStream::connect(socket).await.map_err(|error| unanswered(&error))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| garbled(&error))?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "portreeve")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| garbled(&error))?;
    let answered = async {
        let response = sender.send_request(request).await.map_err(|error| garbled(&error))?;
        let ok = response.status().is_success();
        let body = Limited::new(response.into_body(), MAX_BODY).collect().await;
        let body = body.map_err(|error| garbled(&error))?.to_bytes();
        let body = serde_json::from_slice(&body).map_err(|error| garbled(&error))?;
        Ok(Answer { ok, body })
    };
    // The connection moves only while it is polled.
    tokio::pin!(answered);
    tokio::select! {
        biased;
        answer = &mut answered => answer,
        ended = connection => match ended {
            Ok(()) => answered.await,
            Err(error) => Err(garbled(&error)),
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
        for byte in value.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'*' | b':' | b'/' => {
                    query.push(char::from(byte));
                }
                other => query.push_str(&format!("%{other:02X}")),
            }
        }
    }
    query
}

/// A reload compiles components, which may take this long.
const PATIENCE: Duration = Duration::from_secs(320);
const MAX_BODY: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::url_query;

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
